"""Users' decisions as trajectories: log weights, discounts, and who is where at each step."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.ope.estimate import Clusters

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Trajectories:
    """Users' decisions in time order, with cumulative log weights.

    All arrays over decisions (n,) are in the order of `order`: user by user, in time. Estimators need no more of the
    log than this, so lengths may differ, candidates may be ragged and some ineligible.

    Args:
        user: (n,), whose decision each row is; rows of one user in time order.
        weight: (n,), π(a | x) / propensity of the logged action.
        gamma: discount per decision, or per `time_unit` of elapsed time.
        time: int64 (n,), microseconds; needed with `time_unit`.
        time_unit: what `gamma` discounts by, in a semi-Markov process.

    Attributes:
        count: G, the number of users.
        order: int64 (n,), rows of the log, sorted by user then time.
        user: int64 (n,), the trajectory of each decision, 0 to count - 1.
        step: int64 (n,), its position in the trajectory.
        lengths: int64 (G,), decisions of each user.
        first, last: int64 (G,), position in `order` of each user's first and last decision.
        ratio: float64 (n,), ρ_t = π(a_t | x_t) / propensity.
        log_weight: float64 (n,), log ρ_{0:t} = Σ_{s <= t} log ρ_s; -inf once π was 0.
        discount: float64 (n,), D_t = γ^t, or γ^(elapsed time / `time_unit`) since the user's first decision.
        carry: float64 (n,), D_{t+1} / D_t: the discount from this decision to the next, 0 at the last one.

    Example:
        >>> paths = Trajectories([7, 3, 7], [2.0, 1.0, 0.5], gamma=0.9)
        >>> paths.order.tolist(), paths.step.tolist(), np.exp(paths.log_weight).tolist()
        ([1, 0, 2], [0, 0, 1], [1.0, 2.0, 1.0])
    """

    def __init__(
        self,
        user: ArrayLike,
        weight: ArrayLike,
        *,
        gamma: float,
        time: ArrayLike | None = None,
        time_unit: timedelta | None = None,
    ) -> None:
        clusters = Clusters.of(np.asarray(user))
        self.count = clusters.count
        self.order: IntArray = np.argsort(clusters.code, kind="stable")  # rows of one user are in time order already
        self.user = clusters.code[self.order]
        self.first: IntArray = np.flatnonzero(np.concatenate([[True], self.user[1:] != self.user[:-1]]))
        self.lengths: IntArray = np.diff(np.concatenate([self.first, [len(self.user)]]))
        self.last = self.first + self.lengths - 1
        self.step: IntArray = np.arange(len(self.user)) - np.repeat(self.first, self.lengths)
        self.ratio: FloatArray = np.asarray(weight, dtype=np.float64)[self.order]
        # Sums, not products: ratios of long products underflow to 0/0. Zeros are counted apart from the logs, because
        # -inf would poison the subtraction that restarts the sum at each user.
        zero = self.ratio == 0.0
        logs = np.zeros(len(self.ratio))
        np.log(self.ratio, out=logs, where=~zero)
        self.log_weight = self._sums_within(logs)
        self.log_weight[self._sums_within(zero.astype(np.float64)) > 0] = -np.inf
        elapsed = self.step.astype(np.float64)
        if time_unit is not None:
            assert time is not None, "the caller gives both"
            at = np.asarray(time, dtype=np.int64)[self.order]
            elapsed = (at - np.repeat(at[self.first], self.lengths)) / (time_unit / timedelta(microseconds=1))
        self.discount: FloatArray = gamma**elapsed
        self.carry: FloatArray = gamma ** np.diff(elapsed, append=0.0).clip(min=0.0)
        self.carry[self.last] = 0.0

    @property
    def horizon(self) -> int:
        """T, the decisions of the longest trajectory."""
        return int(self.lengths.max())

    @cached_property
    def by_step(self) -> IntArray:
        """Positions (n,) sorted by step, users in order within one."""
        return np.argsort(self.step, kind="stable")

    @cached_property
    def step_starts(self) -> IntArray:
        """(T + 1,): the positions of step t are `by_step[step_starts[t]:step_starts[t + 1]]`; never empty."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.step))])

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums by user (G,) of values by decision (n,)."""
        return np.asarray(np.add.reduceat(values, self.first), dtype=np.float64)

    def following(self, values: FloatArray) -> FloatArray:
        """At each decision the value (n,) at the user's next one; 0 at the last."""
        out = np.roll(values, -1)
        out[self.last] = 0.0
        return out

    def _sums_within(self, values: FloatArray) -> FloatArray:
        """Cumulative sums that start anew at each trajectory."""
        total = np.cumsum(values)
        before = total[self.first] - values[self.first]
        return np.asarray(total - np.repeat(before, self.lengths), dtype=np.float64)


def totals(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sums (size,) of values (n,) by index (n,).

    >>> totals(np.array([0, 2, 0]), np.array([1.0, 2.0, 3.0]), 3).tolist()
    [4.0, 0.0, 2.0]
    """
    return np.asarray(np.bincount(index, weights=values, minlength=size), dtype=np.float64)
