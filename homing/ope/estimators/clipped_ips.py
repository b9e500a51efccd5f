"""Inverse propensity scoring with clipped weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.checks import check_positive
from homing.ope.estimators.base import RowEstimate, Rows, kept_share, linear


@dataclass(frozen=True)
class ClippedIPS:
    """V = mean(min(w, τ) r): no row weighs more than τ.

    Biased towards 0 by E[(w - τ)⁺ r], which the interval does not cover; `kept_weight_share` in the details says how
    much weight is left. √n, the default, lets the bias vanish as the log grows; τ is not tuned on the log, for the
    reason given at `SwitchDR`. Wrong to use where rewards are far from 0: what is cut off counts as reward 0.

    Attributes:
        tau: the largest weight; None for √n.

    References:
        Ionides (2008), "Truncated Importance Sampling" (√n);
        Bottou et al. (2013), "Counterfactual Reasoning and Learning Systems", section 4.

    Example:
        >>> ClippedIPS(tau=5.0)(Rows(weight=np.array([1.0, 9.0]), reward=np.ones(2))).value
        3.0
    """

    tau: float | None = None
    name: str = "clipped-ips"
    needs_q_hat: bool = False

    def __post_init__(self) -> None:
        if self.tau is not None:
            check_positive("tau", self.tau)

    def __call__(self, rows: Rows) -> RowEstimate:
        tau = math.sqrt(len(rows.weight)) if self.tau is None else self.tau
        weight = np.minimum(rows.weight, tau)
        details = {
            "tau": tau,
            "clipped_share": float((rows.weight > tau).mean()),
            "kept_weight_share": kept_share(rows.weight, weight),
        }
        return linear(weight * rows.reward, details, max_weight=tau, unbiased=linear(rows.weight * rows.reward))
