"""A policy's value at today's contexts, from a log of other contexts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.drift import LogDrift
from homing.ope.estimate import Estimate, interval
from homing.ope.estimators.base import self_normalised
from homing.ope.table import check_action_probs, check_predictions

FloatArray = NDArray[np.float64]


def evaluate_today(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    drift: LogDrift,
    *,
    q_hat: ArrayLike | None = None,
    q_today: ArrayLike | None = None,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Estimate a policy's value per decision at today's contexts, under covariate shift.

    With r(x) = p_today(x) / p_log(x) and importance weights w, without a reward model
    Σ r w reward / Σ r w over the log; with one, the doubly robust

        V = mean over today of q̂_π(x) + mean over the log of r w (reward - q̂(x, a)),

    r of mean 1. Rewards must follow contexts and messages as they did (only contexts have moved). The interval is
    clustered by user, over both samples; it takes r as known: where r is wrong, only a model that is right helps, and
    without one it is too narrow by what r was estimated with. Wrong to read where `drift.verdict` is `refuse`.

    Args:
        dataset: the log.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        drift: from `log_drift`, of this log and today.
        q_hat: (n, k) or (n, k, m), a reward model's predictions of the log, fitted on other users.
        q_today: (m', ) or (m', m), its predictions of the policy's value Σ_a π(a | x) q̂(x, a) on today's decisions.
        level: of the intervals.

    Returns:
        By objective, the estimate.

    Raises:
        InvalidInputError: if shapes do not fit, or one of `q_hat` and `q_today` is missing.
        SupportError: if the policy never takes a logged action.

    References:
        Shimodaira (2000), "Improving predictive inference under covariate shift by weighting the log-likelihood
        function"; Kato, Uehara and Yasui (2020), "Off-Policy Evaluation and Learning for External Validity under a
        Covariate Shift", section 4, for the doubly robust estimator.

    Example:
        >>> from homing.ope.diagnostics import Today, log_drift
        >>> rng = np.random.default_rng(0)
        >>> n = 4000
        >>> x, now = rng.normal(0.0, 1.0, (n, 1)), rng.normal(0.5, 1.0, (n, 1))
        >>> action = rng.integers(0, 2, n)
        >>> reward = x[:, 0] * action + rng.normal(0.0, 1.0, n)
        >>> log = LoggedDataset(
        ...     context=x, candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
        ...     propensity=np.full(n, 0.5), reward=reward[:, None], objectives=("spend",), user=np.arange(n),
        ...     time=np.arange(n))
        >>> drift = log_drift(log, Today(now, np.zeros((n, 2, 1)), np.ones((n, 2), bool)), rng=rng)
        >>> print(evaluate_today(log, np.tile([0.0, 1.0], (n, 1)), drift)["spend"])  # 0.5 today, 0 in the log
        0.4981 [0.4279, 0.5683]
    """
    check_probability("level", level)
    probs = check_action_probs(dataset, action_probs)
    check_shape("drift.ratio", drift.ratio, (dataset.n,), next_step="Ask log_drift of this log.")
    if (q_hat is None) != (q_today is None):
        missing = "q_today" if q_today is None else "q_hat"
        raise InvalidInputError(
            describe(missing, None, "must be given with the other", "Predict the log and today with one model.")
        )
    rows, n, m = np.arange(dataset.n), drift.n_log, drift.n_today
    weight = drift.ratio * probs[rows, dataset.action] / dataset.propensity
    model, now = _predictions(dataset, q_hat, q_today, m)
    out = {}
    for j, objective in enumerate(dataset.objectives):
        if model is None or now is None:
            found = self_normalised(weight, dataset.reward[:, j])
            value, influence = found.value, np.concatenate([found.influence / n, np.zeros(m)])
        else:
            term = weight * (dataset.reward[:, j] - model[rows, dataset.action, j])
            correction, predicted = float(term.mean()), float(now[:, j].mean())
            value = predicted + correction
            # r is divided by its mean, which moves with the users.
            influence = np.concatenate([(term - drift.ratio * correction) / n, (now[:, j] - predicted) / m])
        out[objective] = interval(value, drift.clusters.sums(influence), level)
    return out


def _predictions(
    dataset: LoggedDataset, q_hat: ArrayLike | None, q_today: ArrayLike | None, m: int
) -> tuple[FloatArray | None, FloatArray | None]:
    """Both with one entry an objective at the end."""
    if q_hat is None or q_today is None:
        return None, None
    count = len(dataset.objectives)
    now = np.asarray(q_today, dtype=np.float64)
    now = now[:, None] if now.ndim == 1 else now
    check_finite("q_today", check_shape("q_today", now, (m, count)))
    return check_predictions(dataset, q_hat), now
