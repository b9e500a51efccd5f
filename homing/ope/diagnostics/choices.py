"""A model of what the logging policy chooses: of all policies, the one whose weights tell most about propensities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.cells import MAX_COLUMNS, Cells
from homing.ope.messages import Messages

FloatArray = NDArray[np.float64]
#: Of each half of the users at most so many rows are asked, with so many numbers in their candidates' features; the
#: model is fitted on so many candidates, in so many steps.
MAX_ROWS, MAX_NUMBERS, MAX_CANDIDATES, MAX_STEPS = 10_000, 4_000_000, 100_000, 30
#: Messages with coefficients of their own.
MAX_MESSAGES = 100
#: Levels of a categorical feature of candidates beyond which it is left to the messages.
MAX_LEVELS = 16
#: Penalty on squared coefficients of standardised features.
RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class ChoiceWeights:
    """Importance weights of the policies that follow a log's choices: the model itself, and what it likes best.

    Attributes:
        asked: bool (n,), rows of the cells that were asked.
        weight: (n, 2), f(a | x) / p; 0 in rows that were not asked.
        hidden: (n, 2), 1{p > 1/2} (1 - f(a | x)) / p: what f does in decisions in which the log had a favourite of
            its own. Where f differs from it, weights are large and rare, and may not have been drawn.
    """

    asked: NDArray[np.bool_]
    weight: FloatArray
    hidden: FloatArray


def choice_weights(dataset: LoggedDataset, messages: Messages, cells: Cells) -> ChoiceWeights:
    """Weights f(a | x) / p of two policies f that follow the log's own choices, fitted on other users than are asked.

    For every policy f the mean of f(a | x) / p is 1. Its variance is least for the policy that wrote the log, whose
    weights are all 1: even in peaked logs, where 1 / p alone has too heavy a tail to tell anything, propensities that
    are off by a factor show at once. The first f is a conditional logit, with a coefficient of each context column for
    each message, and one of each candidate feature; the second always takes what the first likes best, whose p is
    large where the first is right, and so its weights are small.

    Rows whose logged propensity is 1 train f like all others, with all that was eligible in them, but are not asked:
    they had no choice if that is true. If it is not, whether a row looks certain depends on what was chosen; f, which
    does not know, then keeps the mean away from 1 all the same.

    Args:
        dataset: the log.
        messages: of it.
        cells: the rows that are looked at.

    Returns:
        Both policies' weights.

    References:
        McFadden (1974), "Conditional Logit Analysis of Qualitative Choice Behavior", for f; Hesterberg (1995),
        "Weighted Average Importance Sampling and Defensive Mixture Distributions", for E[w] = 1 as a control variate.
    """
    asked, followed = np.zeros(cells.n, dtype=bool), np.zeros((cells.n, 2))
    half = cells.half()
    shown = _Decisions.of(dataset, messages, cells, np.flatnonzero(half), np.flatnonzero(~half))
    first = half[shown.at]
    if shown.informative and first.any() and not first.all():
        one, other = shown.take(np.flatnonzero(first)), shown.take(np.flatnonzero(~first))
        for mine, theirs in ((one, other), (other, one)):
            shares = _fit(theirs)(mine)
            followed[mine.at, 0] = shares[np.arange(mine.n), mine.action]
            followed[mine.at, 1] = shares.argmax(axis=1) == mine.action
            asked[mine.at] = ~cells.certain[mine.at]
    inverse = np.where(asked, cells.inverse, 0.0)[:, None]
    return ChoiceWeights(asked, followed * inverse, (1.0 - followed) * np.where(inverse < 2.0, inverse, 0.0))


@dataclass(frozen=True, eq=False)
class _Decisions:
    """Some rows, candidate by candidate.

    Attributes:
        at: (n,), which of the cells' rows.
        x: (n, P), 1 and the standardised context.
        column: (n, k), column of each candidate's message, 0 to `columns` - 1.
        columns: their number.
        features: float64 (n, k, c), standardised; c may be 0.
        eligible: bool (n, k).
        action: (n,).
    """

    at: NDArray[np.int64]
    x: FloatArray
    column: NDArray[np.int64]
    columns: int
    features: FloatArray
    eligible: NDArray[np.bool_]
    action: NDArray[np.int64]

    @property
    def n(self) -> int:
        return len(self.at)

    @property
    def informative(self) -> bool:
        """Whether there is anything that a policy could follow beyond the message."""
        return bool(self.x.shape[1] > 1 or self.features.shape[2] > 0)

    @classmethod
    def of(cls, dataset: LoggedDataset, messages: Messages, cells: Cells, *halves: NDArray[np.int64]) -> _Decisions:
        """The first rows of each half."""
        levels = dataset.candidates.levels
        small = [i for i, size in enumerate(levels) if size <= MAX_LEVELS]
        width = sum(levels[i] for i in small) + min(dataset.candidates.numeric.shape[1], MAX_COLUMNS)
        most = min(MAX_ROWS, MAX_NUMBERS // (2 * dataset.k * max(width, 1)))
        at = np.concatenate([half[:most] for half in halves])
        rows = cells.rows[at]
        store = dataset.candidates.take(rows)
        real = np.arange(dataset.k) < store.counts[:, None]
        kept = replace(
            store,
            codes=store.codes[:, small],
            levels=tuple(levels[i] for i in small),
            numeric=store.numeric[:, :MAX_COLUMNS],
        )[:]
        flat = _standard(kept[real[:, : kept.shape[1]]])
        features = np.zeros((len(rows), dataset.k, flat.shape[1]))
        features[real] = flat
        x = _standard(dataset.context[rows, :MAX_COLUMNS])
        # Messages by how often they could be chosen; all beyond, and padding (code -1), share the last column.
        known = np.argsort(-messages.totals(dataset.eligible), kind="stable")[:MAX_MESSAGES]
        column = np.full(len(messages.names) + 1, len(known))
        column[known] = np.arange(len(known))
        return cls(
            at,
            np.column_stack([np.ones(len(rows)), x]),
            column[messages.code[rows]],
            int(column.max()) + 1,
            features,
            dataset.eligible[rows],
            dataset.action[rows],
        )

    def take(self, keep: NDArray[np.int64]) -> _Decisions:
        """Some of them."""
        arrays = ("at", "x", "column", "features", "eligible", "action")
        return replace(self, **{name: getattr(self, name)[keep] for name in arrays})


def _standard(values: NDArray[np.float32]) -> FloatArray:
    """Columns (n, ·) that vary, with mean 0 and variance 1."""
    wide = values.astype(np.float64)
    spread = wide.std(axis=0)
    varies = spread > 1e-9 * (np.abs(wide).max(axis=0, initial=0.0) + 1e-300)
    return np.asarray((wide[:, varies] - wide[:, varies].mean(axis=0)) / spread[varies])


def _fit(decisions: _Decisions) -> Callable[[_Decisions], FloatArray]:
    """The conditional logit of most likely choices, as a function to probabilities (n, k)."""
    from scipy.optimize import minimize

    shown = decisions.take(np.arange(min(decisions.n, max(1, MAX_CANDIDATES // decisions.column.shape[1]))))
    at, split = np.arange(shown.n), shown.x.shape[1] * shown.columns
    flat = (shown.column + (at * shown.columns)[:, None]).reshape(-1)

    def shares(theta: FloatArray, asked: _Decisions) -> FloatArray:
        by_message = asked.x @ theta[:split].reshape(-1, asked.columns)
        score = np.take_along_axis(by_message, asked.column, axis=1)
        if asked.features.shape[2]:
            score = score + asked.features @ theta[split:]
        score = np.where(asked.eligible, score, -np.inf)
        size = np.exp(score - score.max(axis=1, keepdims=True))
        return np.asarray(size / size.sum(axis=1, keepdims=True))

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        error = shares(theta, shown)
        likely = np.log(np.maximum(error[at, shown.action], 1e-300)).sum()
        error[at, shown.action] -= 1.0
        summed = np.bincount(flat, weights=error.reshape(-1), minlength=shown.n * shown.columns)
        slope = [(shown.x.T @ summed.reshape(shown.n, -1)).reshape(-1), np.tensordot(error, shown.features, axes=2)]
        return 0.5 * RIDGE * float(theta @ theta) - float(likely), np.concatenate(slope) + RIDGE * theta

    start = np.zeros(split + shown.features.shape[2])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS})
    return lambda asked: shares(found.x, asked)
