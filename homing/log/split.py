"""Splitting a dataset by user: a user is on one side, always the same one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.log.ids import user_hash_share


def split_by_user(
    dataset: LoggedDataset, share: float, *, salt: str = "homing"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of about `share` of the users, and of the others; both in order.

    A user's side depends on the id, the share and the salt alone: it stays when users come or go, and the first part
    only grows when the share does. The share is that of users, in expectation; a user's rows are never divided.

    Args:
        dataset: with `user_ids`.
        share: in (0, 1).
        salt: names the purpose. Splits with different salts are independent of each other.

    Raises:
        InvalidInputError: if the share is out of bounds or the dataset has no user ids.

    Example:
        >>> n = 1000
        >>> data = LoggedDataset(
        ...     context=np.zeros((n, 1)), candidates=np.zeros((n, 1, 1)), eligible=np.ones((n, 1), bool),
        ...     action=np.zeros(n), propensity=np.ones(n), reward=np.zeros((n, 1)), objectives=("clicked",),
        ...     user=[f"u{i}" for i in range(n)], time=np.arange(n))
        >>> evaluation, train = split_by_user(data, 0.4)
        >>> len(evaluation) + len(train), 350 < len(evaluation) < 450
        (1000, True)
    """
    check_probability("share", share)
    if dataset.user_ids is None:
        raise InvalidInputError(
            describe(
                "dataset.user_ids", None, "must be given", "Build the dataset with user ids: codes alone may change."
            )
        )
    first = np.zeros(len(dataset.user_ids), dtype=bool)
    present = np.unique(dataset.user)
    first[present] = [user_hash_share(user, salt) < share for user in dataset.user_ids[present].tolist()]
    side = first[dataset.user]
    return np.flatnonzero(side), np.flatnonzero(~side)
