"""The doubly robust estimator."""

from __future__ import annotations

from dataclasses import dataclass

from homing.ope.estimators.base import RowEstimate, Rows, linear, model_terms


@dataclass(frozen=True)
class DR:
    """V = mean(Σ_a π(a|x) q̂(x,a) + w (r - q̂)): the model's prediction, corrected by the log where they disagree.

    Unbiased whatever the model says as long as it has not seen these users' rewards and the policy is supported;
    with q̂ = 0 it is IPS. Wrong to use with a model fitted on the rows that are evaluated.

    References:
        Dudík, Erhan, Langford and Li (2014), "Doubly Robust Policy Evaluation and Optimization", equation 6.

    Example:
        >>> import numpy as np
        >>> DR()(Rows(np.array([2.0]), np.array([1.0]), q_logged=np.array([0.5]), q_policy=np.array([0.25]))).value
        1.25
    """

    name: str = "dr"
    needs_q_hat: bool = True

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        return linear(predicted + rows.weight * residual, plain=True)
