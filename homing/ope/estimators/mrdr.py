"""More robust doubly robust: the reward model that makes DR's variance smallest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_shape
from homing.log.dataset import LoggedDataset
from homing.ope.estimators.base import FloatArray, RowEstimate, Rows, model_terms


@dataclass(frozen=True)
class MRDR:
    """DR with the model b₀ + b₁ q̂ in q̂'s place, b being what makes the variance of DR smallest on this log.

    With y = w r and the control variates c = (w - 1, w q̂(x,a) - Σ_a π q̂), both of mean 0 under full support,
    V = mean(y) - b' mean(c) and b = Cov(c)⁻¹ Cov(c, y). b = (0, 0) is IPS, (V, 0) SNIPS to first order, (0, 1) DR:
    this is at least as precise as the best of them on large logs of independent rows, also where q̂ is biased or on
    another scale, and whether the policy is random or not. The influence is exact, through the estimate of b.

    Two numbers are fitted to the rows that are evaluated, which costs O(1/n); wrong to use where few rows carry the
    weight (an effective sample size below some hundreds), since b then follows these rows. A model can also be *fitted*
    to this end: train it with `mrdr_weights` and use `dr`.

    The details hold `intercept` b₀ and `slope` b₁: far from 0 and 1 where the model is not calibrated for this policy.

    References:
        Farajtabar, Chow and Ghavamzadeh (2018), "More Robust Doubly Robust Off-policy Evaluation", the estimator for
        contextual bandits, here for models linear in (1, q̂);
        Kallus and Uehara (2019), "Intrinsically Efficient, Stable, and Bounded Off-Policy Evaluation for Reinforcement
        Learning", for the same as a regression on control variates.

    Example:
        >>> rows = Rows(
        ...     weight=np.array([2.0, 0.0, 2.0, 0.0]), reward=np.array([1.0, 0.0, 3.0, 0.0]),
        ...     q_logged=np.array([10.0, 0.0, 30.0, 0.0]), q_policy=np.array([10.0, 10.0, 30.0, 30.0]))
        >>> found = MRDR()(rows)  # the model is ten times too high, and that is all that is wrong with it
        >>> round(found.value, 9), round(found.details["slope"], 9)
        (2.0, 0.1)
    """

    name: str = "mrdr"
    needs_q_hat: bool = True

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, _ = model_terms(rows)
        assert rows.q_logged is not None, "model_terms has looked"
        terms = rows.weight * rows.reward
        controls = np.stack([rows.weight - 1.0, rows.weight * rows.q_logged - predicted], axis=1)
        means = controls.mean(axis=0)
        controls -= means
        value = float(terms.mean())
        spread = controls.T @ controls / len(terms)
        # A control that does not vary (the logging policy's weights, a constant model) gets no coefficient.
        inverse = np.linalg.pinv(spread, rcond=1e-12, hermitian=True)
        b = inverse @ (controls.T @ (terms - value)) / len(terms)
        residual = terms - value - controls @ b
        influence = residual * (1.0 - controls @ (inverse @ means))
        return RowEstimate(value - float(means @ b), influence, {"intercept": float(b[0]), "slope": float(b[1])})


def mrdr_weights(dataset: LoggedDataset, action_probs: ArrayLike) -> FloatArray:
    """Regression weights (n,) of the logged rows with which a reward model makes DR's variance small for one policy.

    w² (1 - propensity), w = π / propensity: fitting q̂ by least squares with them minimises the variance of DR exactly
    where the policy is deterministic, and up to the covariances between actions where it is random (`MRDR` has them).
    A row that the logging policy was certain of counts 0: there DR is the logged reward whatever the model says.

    Scale-free: only ratios matter to a regression. Wrong to use for a model that is judged by its predictions, or for
    several policies at once: the weights are of one policy. They can be extreme; a model needs regularisation or many
    rows with weight.

    Args:
        dataset: the log to fit on, rows (n,).
        action_probs: (n, k), the policy's probabilities on it.

    References:
        Farajtabar, Chow and Ghavamzadeh (2018), "More Robust Doubly Robust Off-policy Evaluation": for contextual
        bandits and a deterministic policy, 1[π(x) = a] (1 - μ) / μ². For random policies some implementations put
        π (1 - μ) / μ² there, which is not the variance: a residual of action a enters DR as π r / μ, so squared as π².

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((2, 1)), candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool),
        ...     action=[0, 1], propensity=[0.8, 0.2], reward=[[0.0], [1.0]], objectives=("clicked",),
        ...     user=[0, 1], time=[0, 1])
        >>> mrdr_weights(data, [[0.5, 0.5], [0.5, 0.5]]).round(6).tolist()
        [0.078125, 5.0]
    """
    probs = np.asarray(check_shape("action_probs", action_probs, (dataset.n, dataset.k)), dtype=np.float64)
    weight = probs[np.arange(dataset.n), dataset.action] / dataset.propensity
    return np.asarray(weight**2 * (1.0 - dataset.propensity), dtype=np.float64)
