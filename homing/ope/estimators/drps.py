"""Doubly robust with pessimistic shrinkage: clipped weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.checks import check_positive
from homing.ope.estimators.base import RowEstimate, Rows, kept_share, linear, model_terms


@dataclass(frozen=True)
class DRps:
    """V = mean(Σ_a π q̂ + min(w, τ) (r - q̂)): no residual weighs more than τ.

    Unlike Switch-DR it keeps part of what it cuts: large weights still count, as τ. Trades variance for the model's
    bias on the part that is cut off; the interval covers the former only.

    Attributes:
        tau: the largest weight; None for √n. It is not tuned on the log, for the reason given at `SwitchDR`.

    References:
        Su, Dimakopoulou, Krishnamurthy and Dudík (2020), "Doubly robust off-policy evaluation with shrinkage",
        section 3 (pessimistic shrinkage); Ionides (2008), "Truncated Importance Sampling", for √n.

    Example:
        >>> rows = Rows(np.array([1.0, 9.0]), np.ones(2), q_logged=np.zeros(2), q_policy=np.zeros(2))
        >>> DRps(tau=5.0)(rows).value
        3.0
    """

    tau: float | None = None
    name: str = "drps"
    needs_q_hat: bool = True

    def __post_init__(self) -> None:
        if self.tau is not None:
            check_positive("tau", self.tau)

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        tau = math.sqrt(len(residual)) if self.tau is None else self.tau
        weight = np.minimum(rows.weight, tau)
        details = {
            "tau": tau,
            "clipped_share": float((rows.weight > tau).mean()),
            "kept_weight_share": kept_share(rows.weight, weight),
        }
        unbiased = linear(predicted + rows.weight * residual)
        return linear(predicted + weight * residual, details, max_weight=tau, unbiased=unbiased)
