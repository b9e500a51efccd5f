"""Traces: what a user brings on each day after a message, day by day, as far as the log goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.learners.lasting import end_of, first_place, promise
from homing.learners.transitions import MICROSECONDS_PER_DAY
from homing.log import LoggedDataset

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Traces:
    """What came on each of w days after s decisions, less what the user's state had promised.

    Attributes:
        row: int64 (s,), the decisions.
        observed: int64 (s,), how many of the w days had passed when the log ended.
        values: float64 (s, w, m); beyond the observed days, nothing that counts.
    """

    row: NDArray[np.int64]
    observed: NDArray[np.int64]
    values: FloatArray

    @classmethod
    def after(cls, dataset: LoggedDataset, rows: NDArray[np.int64], days: int, day_hours: float = 24.0) -> Traces:
        """Read them off the rows that follow.

        Rewards must add up over a user's rows to what happened to them: objectives that attribute everything to the
        latest decision. A reward counts on the day of the decision that it is attributed to; days begin with the
        decision that is followed. What a state promises is what users in such a state bring a day on average, by
        ridge regression: it takes out of the comparison of messages who they were sent to, as far as states tell.

        Args:
            dataset: n decisions, m objectives.
            rows: (s,), which ones to follow.
            days: w.
            day_hours: length of a day.

        Example:
            >>> day = 86_400_000_000
            >>> data = LoggedDataset(
            ...     context=np.zeros((4, 1)), candidates=np.zeros((4, 2, 1)), eligible=np.ones((4, 2), bool),
            ...     action=np.zeros(4), propensity=np.ones(4), reward=[[1.0], [2.0], [4.0], [0.0]],
            ...     objectives=("visits",), user=[0, 0, 0, 1], time=[0, day // 2, day, 2 * day])
            >>> found = Traces.after(data, np.array([0, 2]), days=2)
            >>> found.observed.tolist(), (found.values[0, :, 0] - found.values[0, 1, 0]).round(6).tolist()
            ([2, 1], [-1.0, 0.0])
        """
        span = max(round(day_hours / 24.0 * MICROSECONDS_PER_DAY), 1)
        observed = np.minimum((end_of(dataset) - dataset.time) // span, days)
        order = np.lexsort((dataset.time, dataset.user))
        _, code, count = np.unique(dataset.user, return_inverse=True, return_counts=True)
        ends = np.cumsum(count)
        wanted = dataset.time[rows, None] + span * np.arange(days + 1)
        begin, end = (np.broadcast_to(edge[code[rows], None], wanted.shape) for edge in (ends - count, ends))
        bounds = first_place(dataset.time[order], begin, end, wanted)
        reward = np.asarray(dataset.reward, dtype=np.float64)
        sums = np.concatenate([np.zeros((1, reward.shape[1])), np.cumsum(reward[order], axis=0)])
        values = np.diff(sums[bounds], axis=1)
        total = (values * (np.arange(days) < observed[rows, None])[:, :, None]).sum(axis=1)
        paces = promise(
            dataset.context[rows], total, observed[rows].astype(np.float64), np.zeros(0, dtype=np.int64)
        )  # fmt: skip
        return cls(rows, observed[rows], values - paces[:, None])


def one_each(dataset: LoggedDataset, message: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One decision (s,) of each user for each message that they got, silence being one.

    The days after one send of a message are mostly those after the next, too: both would count one user twice. Which
    one is left to chance, in proportion to 1 / propensity: where the log seldom sent a message its sends count more,
    so that those to whom, and the times at which, it was sent are those at which it could have been.

    Args:
        dataset: n decisions.
        message: (n,), what was sent.
        rng: draws them.
    """
    # The first of exponential clocks that tick at a rate of 1 / propensity.
    rings = rng.exponential(size=dataset.n) * dataset.propensity
    order = np.lexsort((rings, message, dataset.user))
    user, what = dataset.user[order], message[order]
    first = np.ones(dataset.n, dtype=bool)
    first[1:] = (user[1:] != user[:-1]) | (what[1:] != what[:-1])
    out: NDArray[np.int64] = np.sort(order[first])
    return out
