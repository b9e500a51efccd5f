"""Reduced states: the few things about a user that messages change, as a label for each decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset

#: Labels (n,), or (n, c) for a state of c parts, or a function of the log that returns them.
State = ArrayLike | Callable[[LoggedDataset], ArrayLike]


@dataclass(frozen=True)
class MessagesSent:
    """The reduced state `messages sent to this user before the decision`, all or the recent ones, counted up to `most`.

    Right where what a message changes for the future goes through how many there were (fatigue). It is no more than a
    first guess: a state that leaves out what matters biases `smis`, `mwl` and `arp`. Add parts, such as days since the
    last visit in bins, as columns of an array.

    Attributes:
        most: counts above it are one state.
        within: count those sent in this time before the decision; all of the log when None.

    References:
        Yuan, Muralidharan, Nandy, Cheng and Prabhakar (2022), "Offline Reinforcement Learning for Mobile
        Notifications", arXiv 2202.03867: badge count and notifications sent in the last day, in ten bins.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((3, 1)), candidates=np.zeros((3, 2, 1)), eligible=np.ones((3, 2), bool),
        ...     action=[1, 1, 0], propensity=np.full(3, 0.5), reward=np.zeros((3, 1)), objectives=("clicked",),
        ...     user=[0, 0, 0], time=[0, 3_600_000_000, 86_400_000_000])
        >>> MessagesSent()(data).tolist(), MessagesSent(within=timedelta(hours=23))(data).tolist()
        ([0, 1, 2], [0, 1, 1])
    """

    most: int = 5
    within: timedelta | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.most, int) and self.most >= 1):
            raise InvalidInputError(describe("most", self.most, "must be an integer >= 1"))
        if self.within is not None:
            check_positive("within.total_seconds()", self.within.total_seconds())

    def __call__(self, dataset: LoggedDataset) -> NDArray[np.int64]:
        """Counts (n,), 0 to `most`."""
        order = np.argsort(dataset.user, kind="stable")
        user = np.unique(dataset.user[order], return_inverse=True)[1].astype(np.int64)
        sent = np.concatenate([[0], np.cumsum(dataset.action[order] != 0)])  # before each position, over all users
        since = np.searchsorted(user, user)
        if self.within is not None:
            # Users and ranks of times in one sorted key: times themselves, times the number of users, would overflow.
            known, rank = np.unique(dataset.time[order], return_inverse=True)
            begin = np.searchsorted(known, dataset.time[order] - int(self.within / timedelta(microseconds=1)))
            key = user * (len(known) + 1) + rank.reshape(-1)
            since = np.searchsorted(key, user * (len(known) + 1) + begin)
        out = np.empty(dataset.n, dtype=np.int64)
        out[order] = np.minimum(sent[:-1] - sent[since], self.most)
        return out


def state_codes(dataset: LoggedDataset, state: State) -> NDArray[np.int64]:
    """Number the distinct states, 0 to K - 1; (n,) in the log's order.

    Raises:
        InvalidInputError: if there is not one label, or one row of parts, for each decision.
    """
    labels = np.asarray(state(dataset) if callable(state) else state)
    if labels.ndim not in (1, 2) or len(labels) != dataset.n:
        raise InvalidInputError(
            describe("state.shape", labels.shape, f"must be ({dataset.n},) or ({dataset.n}, parts)", "One a decision.")
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.argwhere(np.isnan(labels))[0][0])
        raise InvalidInputError(describe(f"state[{row}]", float("nan"), "must be a label", "Give 'unknown' one too."))
    code = np.zeros(dataset.n, dtype=np.int64)
    for part in labels.reshape(dataset.n, -1).T:
        known, index = np.unique(part, return_inverse=True)
        code = np.unique(code * len(known) + index.reshape(-1), return_inverse=True)[1].reshape(-1)
    return code
