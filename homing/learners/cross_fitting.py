"""Rewards predicted by models that saw nothing of the user: what doubly robust estimates are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.learners.examples import user_folds
from homing.learners.reward_models import FittedModel, fit_reward_model
from homing.log import LoggedDataset
from homing.policies import dataset_values


def cross_fitted_rewards(
    dataset: LoggedDataset,
    kind: str,
    weights: NDArray[np.float64],
    *,
    folds: int,
    rng: np.random.Generator,
    params: Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float64], FittedModel]:
    """q̂ (n, k, m), each row from a model that saw none of its user; and one of these models.

    Args:
        dataset: n decisions of at least `folds` users.
        kind: `linear` or `neural`.
        weights: (m,), kept in the models.
        folds: parts by user.
        rng: splits users and seeds fits.
        params: of the reward model.
    """
    fold = user_folds(dataset.user, folds, rng)
    out = np.zeros((dataset.n, dataset.k, len(dataset.objectives)))
    for number in range(folds):
        rows = np.flatnonzero(fold == number)
        others = dataset.take(np.flatnonzero(fold != number))
        fitted = fit_reward_model(others, kind, weights, rng=rng, **dict(params or {}))
        predicted = dataset_values(fitted.model, dataset.take(rows))
        out[rows, : predicted.shape[1]] = predicted
    return out, fitted


def doubly_robust_values(dataset: LoggedDataset, q_hat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Γ (n, k, m): q̂ (n, k, m) corrected at the candidate that was sent by its residual over its propensity.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((1, 1)), candidates=np.zeros((1, 2, 1)), eligible=np.ones((1, 2), bool), action=[1],
        ...     propensity=[0.25], reward=[[3.0]], objectives=("clicked",), user=[0], time=[0])
        >>> doubly_robust_values(data, np.array([[[1.0], [2.0]]]))[0, :, 0].tolist()
        [1.0, 6.0]
    """
    rows = np.arange(dataset.n)
    values = np.where(dataset.eligible[:, :, None], q_hat, 0.0)
    residual = dataset.reward - q_hat[rows, dataset.action]
    values[rows, dataset.action] += residual / dataset.propensity[:, None]
    return values
