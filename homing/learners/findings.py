"""What is wrong with a log, or odd about it, before a policy is learnt from its sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset

#: In days.
SECOND = 1.0 / 86_400
#: Features beyond these sizes are warned of, and refused: penalties and networks are made for sizes of about 1, and
#: sums of squares have to tell small ones too.
LARGE, TOO_LARGE = 1e4, 1e8
#: Rows of a narrow table that are looked at together.
ROWS_AT_ONCE = 64


def findings(
    dataset: LoggedDataset, weights: NDArray[np.float64], gaps: Gaps, *, rewards: bool = True
) -> dict[str, str]:
    """Named warnings for the report: sentences that say what was found and what follows from it.

    Args:
        dataset: the log.
        weights: (m,).
        gaps: of the log.
        rewards: whether they are learnt from; without, they need not vary.

    Raises:
        InvalidInputError: if nothing can be learnt: no decision had a choice, no weighted objective ever varies, or a
            feature is too large to compute with.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((2, 1)), candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool), action=[0, 1],
        ...     propensity=[0.5, 0.5], reward=[[0.0], [1.0]], objectives=("clicked",), user=[0, 1], time=[0, 1])
        >>> sorted(findings(data, np.ones(1), Gaps.of(data)))
        ['candidates-alike', 'constant-features', 'contextual-bandit']
    """
    return Ranges.of(dataset, gaps).findings(dataset.objectives, weights, rewards=rewards)


@dataclass(frozen=True, eq=False)
class Ranges:
    """The smallest and the largest that a log holds of each number that warnings rest on; of its parts, `merged`.

    Attributes:
        low, high: by name: `choices` (1,) eligible candidates of a decision; `reward` (m,); `context` (d,);
            `candidate` and `chosen` (a + b,), codes and numbers of all candidates and of what was chosen; `days` (1,)
            to the user's next decision; `follows` (1,), whether there is one; `silence` (1,), whether chance chose
            between it and a message; `followed` (m,), rewards of decisions that are not their user's last.
    """

    low: dict[str, NDArray[np.float64]]
    high: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, dataset: LoggedDataset, gaps: Gaps) -> Ranges:
        """Those of a log with at least one decision."""
        store = dataset.candidates
        chosen = store.offsets[:-1] + dataset.action
        follows = gaps.next != np.arange(dataset.n)
        columns: dict[str, Sequence[NDArray[Any]]] = {
            "choices": [dataset.eligible.sum(axis=1, keepdims=True)],
            "reward": [dataset.reward],
            "context": [dataset.context],
            "candidate": [store.codes, store.numeric],
            "chosen": [store.codes[chosen], store.numeric[chosen]],
            "days": [gaps.days[:, None]],
            "follows": [follows[:, None]],
            "silence": [silence_by_chance(dataset)[:, None]],
        }
        low, high = (
            {name: np.concatenate([_by_column(edge, array) for array in arrays]) for name, arrays in columns.items()}
            for edge in (np.minimum, np.maximum)
        )
        low["followed"], high["followed"] = _edges(dataset.reward[follows])
        return cls(low, high)

    def merged(self, other: Ranges) -> Ranges:
        """Those of both."""
        return Ranges(
            {name: np.minimum(one, other.low[name]) for name, one in self.low.items()},
            {name: np.maximum(one, other.high[name]) for name, one in self.high.items()},
        )

    def findings(
        self, objectives: Sequence[str], weights: NDArray[np.float64], *, rewards: bool = True
    ) -> dict[str, str]:
        """See `findings`; `rewards` says whether they are learnt from."""
        choices = int(self.high["choices"][0])
        if choices < 2:
            raise InvalidInputError(
                describe(
                    "eligible candidates of a decision",
                    choices,
                    "must be >= 2 somewhere",
                    "Log decisions between a message and silence: where there is no choice there is nothing to learn.",
                )
            )
        constant, names = self._constant("reward"), np.array(objectives)
        if rewards and constant[weights != 0].all():
            raise InvalidInputError(
                describe(
                    "rewards",
                    dict(zip(names.tolist(), self.low["reward"].tolist(), strict=True)),
                    "must vary",
                    "The objectives that count are the same in every row: look at their kinds and windows.",
                )
            )
        out: dict[str, str] = {}
        for name in ("context", "candidate"):
            size = float(np.maximum(np.abs(self.low[name]), np.abs(self.high[name])).max(initial=0.0))
            if size > TOO_LARGE:
                step = "Standardise features, as a FeatureEncoder does: mean 0, deviation 1."
                raise InvalidInputError(describe(f"largest {name} feature", size, f"must be <= {TOO_LARGE:g}", step))
            if size > LARGE:
                out[f"large-{name}-features"] = (
                    f"Numbers of the {name} are as large as {size:.3g}: learners are made for sizes of about 1, and "
                    "learn badly or nothing from these. Standardise them, as a FeatureEncoder does."
                )
        if constant.any():
            out["constant-rewards"] = (
                f"{', '.join(names[constant])}: the same in every row, so that nothing is learnt of it."
            )
        if abs(weights.sum()) < 1e-9 * np.abs(weights).sum():
            out["weights-sum-to-zero"] = (
                f"The weights {weights.tolist()} sum to 0: the objectives are traded against each other, and what "
                "moves all of them alike counts nothing."
            )
        if not self.high["silence"].any():
            out["silence-not-random"] = (
                "Chance never chose between silence and a message: what a message adds over silence is not identified "
                "by the log, only extrapolated."
            )
        if not self.high["follows"].any():
            out["contextual-bandit"] = (
                "No user decided twice: there are no sequences, and only what a decision itself brings is learnt."
            )
        elif self.high["days"][0] < SECOND:
            out["no-time-between-decisions"] = (
                "A user's decisions lie less than a second apart: nothing is discounted, and values grow with each."
            )
        flat = self._constant("context")
        if flat.any():
            out["constant-features"] = f"{int(flat.sum())} of {len(flat)} context columns never vary, and tell nothing."
        if self._constant("candidate").all():
            out["candidates-alike"] = "All candidates have the same features: no message can be told from silence."
        elif self._constant("chosen").all():
            out["one-action"] = (
                "The log always chose the same candidate: what others would have brought is extrapolated."
            )
        return out

    def cut_off(self, objectives: Sequence[str], ended: NDArray[np.float64]) -> dict[str, str]:
        """A warning of objectives that vary, but not in a decision that learners over transitions learn from.

        Such is an end that is known: who churns decides no more, and that last decision is truncated unless the user
        has been silent for `gone_after_days`.

        Args:
            objectives: m names.
            ended: (t, m), rewards of terminal decisions.
        """
        low, high = _edges(ended)
        same = np.minimum(low, self.low["followed"]) == np.maximum(high, self.high["followed"])
        never = same & ~self._constant("reward")
        if not never.any():
            return {}
        return {
            "rewards-cut-off": (
                f"{', '.join(np.array(objectives)[never])}: varies only in users' last decisions, which the log's end "
                "cuts off and which are left out, so that nothing is learnt of it. Pass a smaller gone_after_days, "
                "after which a silent user has left."
            )
        }

    def _constant(self, name: str) -> NDArray[np.bool_]:
        out: NDArray[np.bool_] = self.low[name] == self.high[name]
        return out


def silence_by_chance(dataset: LoggedDataset) -> NDArray[np.bool_]:
    """Decisions in which chance chose between silence and a message, as far as the log tells, (n,).

    Example:
        >>> data = LoggedDataset(
        ...     context=[[0.0], [1.0]], candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool), action=[0, 1],
        ...     propensity=[1.0, 0.9], reward=[[0.0], [1.0]], objectives=("clicked",), user=[0, 0], time=[0, 1])
        >>> silence_by_chance(data).any()  # silent only where it was certain
        np.False_
    """
    if dataset.probs is not None:
        out: NDArray[np.bool_] = (dataset.probs[:, 0] > 0.0) & (dataset.probs[:, 0] < 1.0)
        return out
    silent: NDArray[np.bool_] = (dataset.action == 0) & (dataset.propensity < 1.0)
    return silent


def _edges(reward: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest of each column; of no rows, what leaves others' as they are."""
    return reward.min(axis=0, initial=np.inf), reward.max(axis=0, initial=-np.inf)


def _by_column(edge: np.ufunc, array: NDArray[Any]) -> NDArray[np.float64]:
    """The smallest or the largest of each column of (n, w); many rows at once, for NumPy is slow along short ones."""
    n, width = array.shape
    whole = n - n % ROWS_AT_ONCE
    if whole and width:
        wide = edge.reduce(array[:whole].reshape(-1, ROWS_AT_ONCE * width), axis=0)
        array = np.concatenate([wide.reshape(-1, width), array[whole:]])
    out: NDArray[np.float64] = edge.reduce(array, axis=0).astype(np.float64)
    return out
