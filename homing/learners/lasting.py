"""What came of each decision: at once, within a day; and later, as a change of what the user brings a day.

With R(t) what a user brings a day and x their state at the decision, E[R | x] is what the state promises. What comes
*at once* is the first day's sum less that promise. What comes *later* is a change of R that fades with a half-life:
δ κ^t after t days, κ = 2^(−1/half-life). Its least-squares estimate from a single decision, followed by the log for T
days, is

    δ̂ = Σ_t κ^t (R(t) − E[R | x]) / S,     S = ∫ κ^(2t) dt from the end of the first day to T,

and its precision is in proportion to S: decisions near the log's end tell little, and none has to be left out. So an
effect that outlasts the log is told by the part of it that the log shows, and counted whole: what is seen for two
weeks and lasts for two months weighs as much as it should against what happens on the first day. Values of the states
that follow are not used: that a session came tells of who the user is, not of what a message made of them.

The promise is told from states alone, by ridge regression; the decisions' chances do not depend on it otherwise, so an
error in it costs precision and no bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.learners.state_values import BATCH_ROWS, discounted_sums, features
from homing.learners.transitions import MICROSECONDS_PER_DAY, Gaps
from homing.log import LoggedDataset

FloatArray = NDArray[np.float64]
RIDGE = 100.0
#: What is smaller than this share of the mean pace counts as this share.
LEAST_PACE = 0.1


@dataclass(frozen=True, eq=False)
class Pace:
    """What a user's state promises a day, and by which effects are counted: max(a + b·x, least).

    A message that brings a rare visitor one visit more a month brings a daily one many: effects are told in proportion.

    Attributes:
        linear: float64 (1 + d,), a and b.
        least: > 0.
    """

    linear: FloatArray
    least: float

    @classmethod
    def constant(cls, d: int) -> Pace:
        """The same for all, 1: effects are added, not in proportion."""
        return cls(np.append(1.0, np.zeros(d)), 1.0)

    def of(self, context: NDArray[np.floating]) -> FloatArray:
        """Pace (n,) of contexts (n, d)."""
        out: FloatArray = np.maximum(context @ self.linear[1:] + self.linear[0], self.least)
        return out


@dataclass(frozen=True, eq=False)
class Sequel:
    """What came of n decisions, m objectives.

    Attributes:
        at_once: float64 (n, m), the first day's sum less what the state promised.
        later: float64 (n, m), Σ_t κ^t (R(t) − E[R | x]) after the first day.
        exposure: float64 (n,), S; 0 where the log does not go on after the first day.
        promised: float64 (n, m), E[R | x] a day.
    """

    at_once: FloatArray
    later: FloatArray
    exposure: FloatArray
    promised: FloatArray


def sequel(
    dataset: LoggedDataset, gaps: Gaps, permissions: NDArray[np.int64], fade_days: float, first_days: float = 1.0
) -> Sequel:
    """What came of each decision of a log.

    Rewards must add up over a user's rows to what happened to them: objectives that attribute everything to the latest
    decision. Where no user was decided on again after the first day, all that came counts as at once.

    Args:
        dataset: n decisions.
        gaps: where journeys go on.
        permissions: context columns, for `homing.learners.state_values.features`.
        fade_days: half-life of what comes later.
        first_days: length of the first day, as it were.
    """
    n = dataset.n
    reward = np.asarray(dataset.reward, dtype=np.float64)
    left = (end_of(dataset) - dataset.time) / MICROSECONDS_PER_DAY
    order = np.lexsort((dataset.time, dataset.user))
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    after = _first_after(dataset, order, first_days)  # a place in that order; a user's end where there is none
    ends = _ends(dataset.user[order])[place]
    sums = np.concatenate([np.zeros((1, reward.shape[1])), np.cumsum(reward[order], axis=0)])
    first = sums[after[place]] - sums[place]
    goes_on = after[place] < ends
    if not goes_on.any():
        promised = promise(dataset.context, reward, np.ones(n), permissions)
        return Sequel(reward - promised, np.zeros_like(reward), np.zeros(n), promised)
    row = order[np.minimum(after[place], n - 1)]
    lasted = np.where(goes_on, (dataset.time[row] - dataset.time) / MICROSECONDS_PER_DAY, left)
    rate = np.log(2.0) / fade_days
    total = discounted_sums(reward, float(np.exp(-rate)), gaps, dataset.user)
    seen = -np.expm1(-rate * left) / rate
    promised = promise(dataset.context, total, seen, permissions)
    came = np.where(goes_on[:, None], np.exp(-rate * lasted)[:, None] * total[row], 0.0)
    rest = (np.exp(-rate * lasted) - np.exp(-rate * left)) / rate
    exposure = np.maximum(np.exp(-2.0 * rate * first_days) - np.exp(-2.0 * rate * left), 0.0) / (2.0 * rate)
    return Sequel(first - promised * lasted[:, None], came - promised * rest[:, None], exposure, promised)


def end_of(dataset: LoggedDataset) -> int:
    """When the log ends, µs: a step after its last decision, whose outcomes it holds too.

    A step is the median time between one moment of decisions and the next: hours where all are decided on together,
    next to nothing where they come one by one.
    """
    moments = np.unique(dataset.time)
    return int(moments[-1]) + (int(np.median(np.diff(moments))) if len(moments) > 1 else 0)


def promise(
    context: NDArray[np.float32], total: FloatArray, days: FloatArray, permissions: NDArray[np.int64]
) -> FloatArray:
    """E[total / days | x] (n, m) by ridge regression on `features` of the state, weighted by days.

    Args:
        context: (n, d).
        total: (n, m).
        days: (n,), >= 0: those in which the total came together.
        permissions: see `homing.learners.state_values.features`.
    """
    batches = [slice(begin, begin + BATCH_ROWS) for begin in range(0, len(context), BATCH_ROWS)]
    size = 1 + (2 + len(permissions)) * context.shape[1]
    left, right = np.zeros((size, size)), np.zeros((size, total.shape[1]))
    for rows in batches:
        now = features(context[rows], permissions)
        left += now.T @ (days[rows, None] * now)
        right += now.T @ total[rows]
    left[np.diag_indices(size)] += np.where(np.arange(size) > 0, RIDGE, 1e-9)
    theta = np.linalg.lstsq(left, right, rcond=1e-12)[0]
    return np.concatenate([features(context[rows], permissions) @ theta for rows in batches])


def pace_of(context: NDArray[np.float32], promised: FloatArray) -> Pace:
    """The linear pace that tells (n,) promises best.

    Args:
        context: (n, d).
        promised: (n,), with a positive mean.
    """
    x = np.column_stack([np.ones(len(context)), context]).astype(np.float64)
    left = x.T @ x
    left[np.diag_indices(len(left))] += np.append(1e-9, np.full(context.shape[1], RIDGE))
    linear: FloatArray = np.linalg.lstsq(left, x.T @ promised, rcond=1e-12)[0].astype(np.float64)
    return Pace(linear, LEAST_PACE * float(promised.mean()))


def _ends(user: NDArray[np.int64]) -> NDArray[np.int64]:
    """For rows sorted by user, where each one's user ends."""
    bounds = np.append(np.flatnonzero(user[1:] != user[:-1]) + 1, len(user))
    out: NDArray[np.int64] = bounds[np.searchsorted(bounds, np.arange(len(user)), side="right")]
    return out


def _first_after(dataset: LoggedDataset, order: NDArray[np.int64], days: float) -> NDArray[np.int64]:
    """For rows in order of user and time, the first place of the same user at least `days` later; else the end."""
    time = dataset.time[order]
    span = int(days * MICROSECONDS_PER_DAY)
    return first_place(time, np.arange(len(time)), _ends(dataset.user[order]), time + span)


def first_place(
    time: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The first place in [begin, end) whose time is at least `wanted`, `end` where there is none; bisected for all at
    once, so that no number grows with users times days.

    Args:
        time: (n,), ascending within each stretch.
        begin, end, wanted: of one shape.

    Example:
        >>> time, begin, end = np.array([0, 5, 9, 0, 1]), np.array([0, 0, 3]), np.array([3, 3, 5])
        >>> first_place(time, begin, end, np.array([5, 6, 7])).tolist()
        [1, 2, 5]
    """
    low, high = np.array(begin), np.array(end)
    while (between := low < high).any():
        middle = (low + high) // 2
        there = between & (time[np.minimum(middle, len(time) - 1)] >= wanted)
        low, high = np.where(between & ~there, middle + 1, low), np.where(there, middle, high)
    return low
