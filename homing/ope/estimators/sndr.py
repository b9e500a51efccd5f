"""The self-normalised doubly robust estimator."""

from __future__ import annotations

from dataclasses import dataclass

from homing.ope.estimators.base import RowEstimate, Rows, linear, model_terms, self_normalised


@dataclass(frozen=True)
class SNDR:
    """V = mean(Σ_a π(a|x) q̂(x,a)) + Σ w (r - q̂) / Σ w: the correction is a weighted mean of residuals.

    Consistent as DR is, and its correction stays inside the range of the residuals however large the weights are. A
    constant that the model lacks is corrected without noise: with q̂ = 0 it is SNIPS. The interval treats the normaliser
    as random: φ_i = (q̂_π,i - mean q̂_π) + w_i (r_i - q̂_i - s) / mean(w), s being the correction.

    Wrong to use as proof of support, as SNIPS is: look at `Support.weight_mean`.

    References:
        Thomas and Brunskill (2016), "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning",
        its weighted doubly robust estimator for one step;
        Kallus and Uehara (2019), "Intrinsically Efficient, Stable, and Bounded Off-Policy Evaluation for Reinforcement
        Learning", for its properties.

    Example:
        >>> import numpy as np
        >>> rows = Rows(np.array([2.0, 1.0]), np.array([1.0, 0.0]), q_logged=np.full(2, 0.5), q_policy=np.full(2, 0.5))
        >>> round(SNDR()(rows).value, 6)
        0.666667
    """

    name: str = "sndr"
    needs_q_hat: bool = True

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        model, correction = linear(predicted), self_normalised(rows.weight, residual)
        details = {"correction": correction.value}
        influence = model.influence + correction.influence
        value = model.value + correction.value
        return RowEstimate(value, influence, details, weighted=correction.weighted, plain=True)
