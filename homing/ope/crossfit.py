"""Cross-fitting: predictions for every row by a model that has not seen its user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_shape
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset

FloatArray = NDArray[np.float64]
#: `fit_predict(train, test)`, or `fit_predict(train, test, weight)` where regression weights are given.
FitPredict = Callable[..., ArrayLike]


def cross_fit(
    dataset: LoggedDataset,
    fit_predict: FitPredict,
    folds: int,
    rng: np.random.Generator,
    *,
    weight: ArrayLike | None = None,
) -> FloatArray:
    """Predicted rewards q̂ (n, k, m) of a log, each row by a model that was fitted on other users.

    Users are split into `folds` parts; each part is predicted by a model fitted on the rest. So all rows can be
    evaluated, and `dr` keeps its promise: a model that has seen a row's reward explains that row's noise too, and the
    interval comes out too narrow. Splitting by row would not do, as a user's rows resemble each other.

    The learner is the caller's: this function only splits, calls and checks.

    Args:
        dataset: the log.
        fit_predict: `fit_predict(train, test)` fits on the dataset `train` and returns predictions for `test`'s
            decisions, (rows, k of test, m), or (rows, k of test) for one objective. Rewards in `test` are blanked to 0.
        folds: number of parts, 2 to the number of users.
        rng: splits the users.
        weight: (n,), regression weights such as `mrdr_weights`; `fit_predict(train, test, weight)` is then called with
            those of `train`.

    Returns:
        float64 (n, k, m), 0 on padding: `evaluate_policy`'s `q_hat`.

    Raises:
        InvalidInputError: if there are fewer users than folds, or predictions have another shape or are not finite.

    References:
        Chernozhukov et al. (2018), "Double/debiased machine learning for treatment and structural parameters",
        definition 3.1; by users instead of rows, as their observations are.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((4, 1)), candidates=np.zeros((4, 2, 1)), eligible=np.ones((4, 2), bool),
        ...     action=[0, 1, 0, 1], propensity=np.full(4, 0.5), reward=[[0.0], [1.0], [0.0], [3.0]],
        ...     objectives=("spend",), user=[0, 0, 1, 1], time=[0, 1, 0, 1])
        >>> def means(train, test):
        ...     by_action = [train.reward[train.action == a].mean() for a in range(test.k)]
        ...     return np.tile(by_action, (test.n, 1))
        >>> cross_fit(data, means, folds=2, rng=np.random.default_rng(0))[:, :, 0].tolist()
        [[0.0, 3.0], [0.0, 3.0], [0.0, 1.0], [0.0, 1.0]]
    """
    fold = user_folds(dataset.user, folds, rng)
    row_weight = None if weight is None else np.asarray(check_shape("weight", weight, (dataset.n,)), dtype=np.float64)
    out = np.zeros((dataset.n, dataset.k, len(dataset.objectives)))
    for number in range(folds):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        train, test = dataset.take(outside), dataset.take(inside)
        test = replace(test, reward=np.zeros_like(test.reward))
        extra = () if row_weight is None else (row_weight[outside],)
        found = np.asarray(fit_predict(train, test, *extra), dtype=np.float64)
        if found.ndim == 2 and out.shape[2] == 1:
            found = found[:, :, None]
        name = f"fit_predict(…) of fold {number}"
        check_shape(name, found, (test.n, test.k, out.shape[2]), next_step="Predict each candidate and objective.")
        # A selection of rows may hold fewer candidates: what it lacks is padding, and stays 0.
        out[inside, : test.k] = check_finite(name, found)
    return out


def user_folds(user: NDArray[np.integer], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of each row (n,), 0 to folds - 1: all rows of a user in one, and users spread evenly.

    Raises:
        InvalidInputError: if there are fewer users than folds, or fewer than two folds.

    >>> user_folds(np.array([7, 7, 3, 5]), 3, np.random.default_rng(0)).tolist()
    [1, 1, 2, 0]
    """
    if not isinstance(folds, int | np.integer) or folds < 2:
        raise InvalidInputError(describe("folds", folds, "must be an integer >= 2", "5 is a good choice."))
    users, code = np.unique(user, return_inverse=True)
    if len(users) < folds:
        raise InvalidInputError(
            describe("number of users", len(users), f"must be at least {folds}, the folds", "Use a log of more users.")
        )
    return np.asarray((rng.permutation(len(users)) % folds)[code.reshape(-1)], dtype=np.int64)
