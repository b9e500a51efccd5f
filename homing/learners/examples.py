"""The rows a reward model learns from: each decision's context, the candidate that was sent, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import CandidateStore, LoggedDataset

Link = str


@dataclass(frozen=True, eq=False)
class Examples:
    """n examples: context (n, d), the chosen candidate (n, c), reward (n, m), user (n,)."""

    context: NDArray[np.float32]
    chosen: CandidateStore
    reward: NDArray[np.float64]
    user: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: LoggedDataset) -> Examples:
        """The chosen candidates of a dataset, still as codes."""
        store = dataset.candidates
        flat = store.offsets[:-1] + dataset.action
        chosen = CandidateStore(
            store.codes[flat], store.levels, store.numeric[flat], np.arange(dataset.n + 1, dtype=np.int64)
        )
        return cls(dataset.context, chosen, dataset.reward, dataset.user)

    def __len__(self) -> int:
        return len(self.context)

    def rows(self, index: NDArray[np.int64]) -> Examples:
        """Some of the examples."""
        return Examples(self.context[index], self.chosen.take(index), self.reward[index], self.user[index])

    def candidate(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Columns of the chosen candidates of some rows, (len(rows), c)."""
        return self.chosen[rows][:, 0, :]


def links_of(reward: NDArray[np.float64]) -> tuple[Link, ...]:
    """`logit` for objectives that are 0 or 1 and are sometimes each, `identity` for all others."""
    binary = ((reward == 0) | (reward == 1)).all(axis=0)
    varies = reward.min(axis=0, initial=np.inf) < reward.max(axis=0, initial=-np.inf)
    return tuple("logit" if b and v else "identity" for b, v in zip(binary, varies, strict=True))


def user_folds(user: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each row, (n,), all rows of a user in the same one.

    Raises:
        InvalidInputError: if there are fewer users than folds.
    """
    users, code = np.unique(user, return_inverse=True)
    if len(users) < folds:
        raise InvalidInputError(
            describe("number of users", len(users), f"must be at least {folds}", "Gather a longer log before training.")
        )
    order: NDArray[np.int64] = rng.permutation(len(users)) % folds
    return order[code]


def validation_rows(user: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Rows of about `share` of the users, bool (n,); at least one user on either side."""
    users, code = np.unique(user, return_inverse=True)
    if len(users) < 2:
        raise InvalidInputError(
            describe("number of users", len(users), "must be at least 2", "Gather a longer log before training.")
        )
    count = min(max(round(share * len(users)), 1), len(users) - 1)
    held = np.zeros(len(users), dtype=bool)
    held[rng.permutation(len(users))[:count]] = True
    out: NDArray[np.bool_] = held[code]
    return out


def seed_of(rng: np.random.Generator) -> int:
    """A seed for a generator of another library, drawn from ours."""
    return int(rng.integers(2**62))
