"""Balanced inverse propensity scoring: weights by telling the log from the policy, without propensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_finite, check_positive, check_shape
from homing.log.dataset import LoggedDataset
from homing.ope.crossfit import user_folds
from homing.ope.estimators.base import FloatArray, RowEstimate, Rows, self_normalised
from homing.ope.logistic import ridge_logistic


@dataclass(frozen=True)
class BalancedIPS:
    """V = Σ ŵ r / Σ ŵ with ŵ from a classifier that tells the policy's candidates from the logged ones.

    Uses no propensity, so it checks `snips` where logged propensities are doubtful: estimates that differ by more than
    their errors say that the propensities, or the classifier, are wrong. Consistent if the classifier's odds are the
    true ratio; the interval takes the weights as given and does not cover an error in them. Wrong to use instead of
    `snips` where propensities are known to be right.

    Needs `ratios={"balanced": balanced_weights(…)}`, or the odds of a classifier of one's own.

    References:
        Sondhi, Arbour and Dimmery (2020), "Balanced Off-Policy Evaluation in General Action Spaces".

    Example:
        >>> rows = Rows(np.ones(2), np.array([1.0, 0.0]), ratios={"balanced": np.array([1.5, 0.5])})
        >>> BalancedIPS()(rows).value
        0.75
    """

    name: str = "balanced-ips"
    needs_q_hat: bool = False

    @property
    def needs_ratio(self) -> str:
        """The weights that it uses, from `Rows.ratios`."""
        return "balanced"

    def __call__(self, rows: Rows) -> RowEstimate:
        return self_normalised(rows.ratio("balanced"), rows.reward)


def balanced_weights(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    features: ArrayLike,
    *,
    folds: int,
    rng: np.random.Generator,
    penalty: float = 1.0,
) -> FloatArray:
    """The odds (n,) that a logged pair of context and candidate is the policy's rather than the log's, by regression.

    A logistic regression sees every logged pair once with label 0, and every candidate with label 1 and weight π(a|x):
    the policy's choices in expectation, nothing is drawn. Its odds estimate π / μ. It is fitted on other users than
    those whose rows it weighs.

    Args:
        dataset: the log; its propensities are not looked at.
        action_probs: (n, k), the policy's probabilities.
        features: (n, k, p), what log π / μ may depend on linearly: one-hot messages, their products with the context.
            An intercept is added, and columns are standardised.
        folds: of the cross-fitting, by user.
        rng: splits the users.
        penalty: λ > 0 of λ/2 |β|² on the standardised coefficients without the intercept.

    Returns:
        float64 (n,), to be passed as `evaluate_policy(ratios={"balanced": …})`.

    Raises:
        InvalidInputError: if shapes do not fit, there are fewer users than folds, or the regression does not converge.

    References:
        Sondhi, Arbour and Dimmery (2020), "Balanced Off-Policy Evaluation in General Action Spaces", the classification
        of observed against proposed actions.

    Example:
        >>> n = 1000
        >>> action = np.arange(n) % 4 // 3  # candidate 1 was sent in one of four decisions
        >>> data = LoggedDataset(
        ...     context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
        ...     propensity=np.ones(n), reward=np.zeros((n, 1)), objectives=("clicked",), user=np.arange(n),
        ...     time=np.arange(n))
        >>> which = np.broadcast_to(np.eye(2)[None], (n, 2, 2))
        >>> found = balanced_weights(data, np.tile([0.5, 0.5], (n, 1)), which, folds=2, rng=np.random.default_rng(0))
        >>> bool(abs(found[action == 1].mean() - 0.5 / 0.25) < 0.1)
        True
    """
    probs = np.asarray(check_shape("action_probs", action_probs, (dataset.n, dataset.k)), dtype=np.float64)
    check_positive("penalty", penalty)
    wanted = (dataset.n, dataset.k, None)
    shaped = check_finite("features", check_shape("features", features, wanted, next_step="One row a candidate."))
    logged = np.zeros_like(probs)
    logged[np.arange(dataset.n), dataset.action] = 1.0
    row, column = np.nonzero((probs > 0) | (logged > 0))
    x = np.asarray(shaped[row, column], dtype=np.float64)
    taken, seen = probs[row, column], logged[row, column]
    total = taken + seen
    mean = total @ x / total.sum()
    x -= mean
    spread = np.sqrt(total @ x**2 / total.sum())
    x /= np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.ones(len(x)), x])
    fold = user_folds(dataset.user, folds, rng)
    out = np.empty(dataset.n)
    for number in range(folds):
        outside = fold[row] != number
        beta = ridge_logistic(x[outside], taken[outside], total[outside], penalty)
        inside = (seen > 0) & ~outside
        with np.errstate(over="ignore"):
            out[row[inside]] = np.exp(x[inside] @ beta)
    check_finite("balanced weights", out, next_step="Use a larger penalty, or fewer features.")
    return out
