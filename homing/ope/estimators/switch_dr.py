"""Switch-DR: trust the log where weights are small, the model where they are not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.checks import check_positive
from homing.ope.estimators.base import RowEstimate, Rows, linear, model_terms


@dataclass(frozen=True)
class SwitchDR:
    """V = mean(Σ_a π q̂ + w 1[w <= τ] (r - q̂)).

    Trades the variance of large weights for the model's bias on those rows; the interval covers the former only.
    Wrong to use where large weights are the rule: then it is the model's opinion.

    τ is not tuned on the log: the bias that shrinking adds is known no better than the variance that it saves, and an
    interval that forgets this is several times too narrow. √n lets the bias vanish as the log grows.

    Attributes:
        tau: the largest weight that is used; None for √n.

    References:
        Wang, Agarwal and Dudík (2017), "Optimal and Adaptive Off-policy Evaluation in Contextual Bandits", section 4;
        Ionides (2008), "Truncated Importance Sampling", for √n.

    Example:
        >>> rows = Rows(np.array([1.0, 9.0]), np.ones(2), q_logged=np.zeros(2), q_policy=np.zeros(2))
        >>> SwitchDR(tau=5.0)(rows).value
        0.5
    """

    tau: float | None = None
    name: str = "switch-dr"
    needs_q_hat: bool = True

    def __post_init__(self) -> None:
        if self.tau is not None:
            check_positive("tau", self.tau)

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        tau = math.sqrt(len(residual)) if self.tau is None else self.tau
        kept = rows.weight <= tau
        return linear(
            predicted + np.where(kept, rows.weight, 0.0) * residual,
            {"tau": tau, "switched_share": float(1.0 - kept.mean())},
            max_weight=tau,
            unbiased=None if kept.all() else linear(predicted + rows.weight * residual),
        )
