"""`LoggedDataset`: decisions as arrays, ready to train on and to evaluate with. Wrong ones cannot be built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_finite, check_propensity, check_shape
from homing.errors import InvalidInputError, describe
from homing.log.candidates import CandidateStore
from homing.log.features import FeatureEncoder

#: How far a logged distribution's sum may be from 1, and its entry from the logged propensity (32-bit logs are fine).
PROBS_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a dataset, padded. Shapes: n rows, k candidates, d and c features, m objectives."""

    rows: NDArray[np.int64]  # (n,) position in the dataset
    context: NDArray[np.float32]  # (n, d)
    candidates: NDArray[np.float32]  # (n, k, c)
    eligible: NDArray[np.bool_]  # (n, k)
    action: NDArray[np.int64]  # (n,)
    propensity: NDArray[np.float64]  # (n,)
    reward: NDArray[np.float64]  # (n, m)


@dataclass(frozen=True, eq=False)
class LoggedDataset:
    """Logged decisions with their rewards: what learners fit and evaluators judge.

    Rows of one user stand in time order. Building one with a propensity outside (0, 1], an ineligible action, NaN or
    unordered users raises `InvalidInputError`.

    Attributes:
        context: float32 (n, d).
        candidates: float32 (n, k, c), or a `CandidateStore`; kept ragged, padded when indexed. Candidate 0 is silence.
        eligible: bool (n, k), False on padding.
        action: int64 (n,), the chosen candidate.
        propensity: float64 (n,), the probability with which it was chosen.
        reward: float64 (n, m), one column per objective.
        objectives: the names of the reward columns.
        user: int64 (n,), the user's code; strings are accepted and coded, their ids then stand in `user_ids`.
        time: int64 (n,), microseconds since 1970-01-01 UTC.
        next: int64 (n,), row of the user's next decision, -1 at the end; computed when not given.
        encoder: how raw features became columns; None for data that was built from arrays.
        user_ids: str (number of users,), the id behind each code of `user`.
        probs: float64 (n, k), the logging policy's whole distribution where the log has it.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((2, 1)), candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool),
        ...     action=[0, 1], propensity=[0.5, 0.5], reward=[[0.0], [1.0]], objectives=("clicked",),
        ...     user=["u1", "u1"], time=[0, 1])
        >>> data.next.tolist(), data.user_ids.tolist()
        ([1, -1], ['u1'])
        >>> data
        LoggedDataset(2 decisions of 1 users, up to 2 candidates, 1 + 1 features, objectives clicked)
    """

    context: NDArray[np.float32]
    candidates: CandidateStore
    eligible: NDArray[np.bool_]
    action: NDArray[np.int64]
    propensity: NDArray[np.float64]
    reward: NDArray[np.float64]
    objectives: tuple[str, ...]
    user: NDArray[np.int64]
    time: NDArray[np.int64]
    next: NDArray[np.int64] | None = None
    encoder: FeatureEncoder | None = None
    user_ids: NDArray[np.str_] | None = None
    probs: NDArray[np.float64] | None = field(default=None)

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen; coercion happens once, here
        candidates: object = self.candidates
        if not isinstance(candidates, CandidateStore):
            put(self, "candidates", CandidateStore.from_padded(np.asarray(candidates)))
        context = check_finite("context", np.asarray(self.context, dtype=np.float32))
        n, k = len(context), self.candidates.shape[1]
        put(self, "context", check_shape("context", context, (n, None)))
        if len(self.candidates) != n:
            raise InvalidInputError(describe("len(candidates)", len(self.candidates), f"must be {n}, one per context"))
        put(self, "eligible", check_shape("eligible", np.asarray(self.eligible, dtype=bool), (n, k)))
        put(self, "action", check_shape("action", np.asarray(self.action, dtype=np.int64), (n,)))
        put(self, "propensity", check_propensity("propensity", check_shape("propensity", self.propensity, (n,))))
        put(self, "objectives", tuple(self.objectives))
        reward = np.asarray(self.reward, dtype=np.float64)
        put(self, "reward", check_finite("reward", check_shape("reward", reward, (n, len(self.objectives)))))
        put(self, "time", check_shape("time", np.asarray(self.time, dtype=np.int64), (n,)))
        user = np.asarray(self.user)
        if user.dtype.kind in "OUS":
            ids, user = np.unique(user.astype(str), return_inverse=True)
            put(self, "user_ids", ids)
        put(self, "user", check_shape("user", user.astype(np.int64), (n,)))
        if self.user_ids is not None:
            put(self, "user_ids", np.asarray(self.user_ids, dtype=str))
            _check_codes(self.user, len(self.user_ids))
        if len(set(self.objectives)) != len(self.objectives):
            raise InvalidInputError(describe("objectives", self.objectives, "must have different names"))
        self._check_actions()
        if self.probs is not None:
            probs = check_finite("probs", np.asarray(self.probs, dtype=np.float64))
            put(self, "probs", check_shape("probs", probs, (n, k)))
            self._check_probs(self.probs)
        following = next_decision(self.user, self.time)
        if self.next is None:
            put(self, "next", following)
        else:
            given = check_shape("next", np.asarray(self.next, dtype=np.int64), (n,))
            if not np.array_equal(given, following):
                row = int(np.argmax(given != following))
                raise InvalidInputError(
                    describe(f"next[{row}]", int(given[row]), f"must be {following[row]}, the user's next decision")
                )
            put(self, "next", given)

    def _check_actions(self) -> None:
        counts = self.candidates.counts
        outside = (self.action < 0) | (self.action >= counts)
        if outside.any():
            row = int(np.argmax(outside))
            raise InvalidInputError(
                describe(f"action[{row}]", int(self.action[row]), f"must be an index into its {counts[row]} candidates")
            )
        padding = np.arange(self.eligible.shape[1])[None, :] >= counts[:, None]
        if (self.eligible & padding).any():
            row = int(np.argmax((self.eligible & padding).any(axis=1)))
            raise InvalidInputError(describe(f"eligible[{row}]", True, "must be False where there is no candidate"))
        ineligible = ~self.eligible[np.arange(self.n), self.action]
        if ineligible.any():
            row = int(np.argmax(ineligible))
            raise InvalidInputError(
                describe(
                    f"action[{row}]",
                    int(self.action[row]),
                    "must be eligible",
                    "Log the eligibility mask as it stood when the action was drawn.",
                )
            )

    def _check_probs(self, probs: NDArray[np.float64]) -> None:
        """Distributions over the eligible candidates, and the propensity is the chosen one's."""
        rows = np.arange(self.n)
        for name, bad, bound in (
            ("probs", ((probs < 0) | ((probs > 0) & ~self.eligible)).any(axis=1), "must be >= 0, 0 if not eligible"),
            ("probs", np.abs(probs.sum(axis=1) - 1.0) > PROBS_TOLERANCE, f"must sum to 1 within {PROBS_TOLERANCE}"),
            ("probs", np.abs(probs[rows, self.action] - self.propensity) > PROBS_TOLERANCE,
             "must agree with the propensity of the chosen candidate"),
        ):  # fmt: skip
            if bad.any():
                row = int(np.argmax(bad))
                raise InvalidInputError(
                    describe(f"{name}[{row}]", probs[row].tolist(), bound, "Log the distribution that was drawn from.")
                )

    def __repr__(self) -> str:
        # Neither arrays nor users' ids: what is printed ends in logs.
        features = f"{self.context.shape[1]} + {self.candidates.shape[2]} features"
        return (
            f"LoggedDataset({self.n:,} decisions of {self.n_users:,} users, up to {self.k} candidates, {features}, "
            f"objectives {', '.join(self.objectives)})"
        )

    @property
    def n(self) -> int:
        """Number of decisions."""
        return len(self.context)

    @property
    def n_users(self) -> int:
        """Number of distinct users."""
        return len(np.unique(self.user))

    @property
    def k(self) -> int:
        """Largest number of candidates of a decision, silence included."""
        return self.candidates.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all data and names: two datasets with the same one hold the same decisions.

        Users count by their ids, or by who shares rows with whom where there are none; so the numbers that stand for
        them, and how arrays lie in memory or on disk, make no difference.
        """
        store, encoder = self.candidates, None if self.encoder is None else self.encoder.to_dict()
        names = [self.objectives, store.levels, encoder, self.probs is not None, self.user_ids is not None]
        digest = hashlib.sha256(json.dumps(names, sort_keys=True).encode())
        codes, user = np.unique(self.user, return_inverse=True)
        arrays: list[NDArray[Any]] = [self.context, store.codes, store.numeric, store.offsets, self.eligible]
        arrays += [self.action, self.propensity, self.reward, user.astype(np.int64), self.time]
        if self.probs is not None:
            arrays.append(self.probs)
        for array in arrays:
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        if self.user_ids is not None:
            digest.update(json.dumps(self.user_ids[codes].tolist()).encode())
        return digest.hexdigest()

    def save(self, directory: str | Path) -> str:
        """Write to a folder (arrays, names, digests); returns the digest of its manifest."""
        from homing.log.store import save_dataset

        return save_dataset(self, directory)

    @staticmethod
    def load(directory: str | Path) -> LoggedDataset:
        """Read a folder that `save` wrote; `CorruptFileError` if its bytes do not match their digests."""
        from homing.log.store import load_dataset

        return load_dataset(directory)

    def rows(self, index: NDArray[np.integer]) -> Batch:
        """The padded arrays of some rows."""
        at: NDArray[np.int64] = np.asarray(index, dtype=np.int64)
        return Batch(at, self.context[at], self.candidates[at], self.eligible[at], self.action[at],
                     self.propensity[at], self.reward[at])  # fmt: skip

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order, `size` at a time, so that memory stays bounded."""
        if size < 1:
            raise InvalidInputError(describe("size", size, "must be >= 1"))
        for start in range(0, self.n, size):
            yield self.rows(np.arange(start, min(start + size, self.n)))

    def take(self, index: NDArray[np.integer]) -> LoggedDataset:
        """The dataset of some rows alone, in the order given; `next` is computed anew."""
        index = np.asarray(index, dtype=np.int64)
        # A selection may hold fewer candidates at most: cut the padding, so that k says what is there.
        store = self.candidates.take(index)
        k = store.shape[1]
        return replace(
            self,
            context=self.context[index],
            candidates=store,
            eligible=self.eligible[index, :k],
            action=self.action[index],
            propensity=self.propensity[index],
            reward=self.reward[index],
            user=self.user[index],
            time=self.time[index],
            next=None,
            probs=None if self.probs is None else self.probs[index, :k],
        )


def _check_codes(user: NDArray[np.int64], n_ids: int) -> None:
    outside = (user < 0) | (user >= n_ids)
    if outside.any():
        row = int(np.argmax(outside))
        raise InvalidInputError(describe(f"user[{row}]", int(user[row]), f"must be an index into {n_ids} user_ids"))


def next_decision(user: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each user's next decision, -1 at the end; (n,).

    Raises:
        InvalidInputError: if a user's rows are not in time order.
    """
    order = np.argsort(user, kind="stable")
    same = user[order][1:] == user[order][:-1]
    backwards = same & (time[order][1:] < time[order][:-1])
    if backwards.any():
        row = int(order[1:][np.argmax(backwards)])
        raise InvalidInputError(
            describe(f"time[{row}]", int(time[row]), "must not be before the user's previous row", "Sort by time.")
        )
    out = np.full(len(user), -1, dtype=np.int64)
    out[order[:-1][same]] = order[1:][same]
    return out
