"""Doubly robust with optimistic shrinkage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.ope.estimators.base import FloatArray, RowEstimate, Rows, kept_share, linear, model_terms


@dataclass(frozen=True)
class DRos:
    """V = mean(Σ_a π q̂ + ŵ (r - q̂)) with ŵ = λ w / (w² + λ): large weights are pulled towards 0 smoothly.

    λ = ∞ is DR, λ = 0 the model alone. Trades variance for the model's bias; the interval covers the former only.

    Attributes:
        lam: λ >= 0; None for n, which halves weights of √n and leaves small ones alone. It is not tuned on the log, for
            the reason given at `SwitchDR`.

    References:
        Su, Dimakopoulou, Krishnamurthy and Dudík (2020), "Doubly robust off-policy evaluation with shrinkage",
        equation 9.

    Example:
        >>> rows = Rows(np.array([2.0]), np.ones(1), q_logged=np.zeros(1), q_policy=np.zeros(1))
        >>> DRos(lam=4.0)(rows).value
        1.0
    """

    lam: float | None = None
    name: str = "dros"
    needs_q_hat: bool = True

    def __post_init__(self) -> None:
        if self.lam is not None and self.lam != 0.0:
            check_positive("lam", self.lam)

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        lam = float(len(residual)) if self.lam is None else self.lam
        weight = shrunken(rows.weight, lam)
        details = {"lambda": lam, "kept_weight_share": kept_share(rows.weight, weight)}
        unbiased = linear(predicted + rows.weight * residual)
        # λ w / (w² + λ) is largest at w = √λ.
        return linear(predicted + weight * residual, details, max_weight=math.sqrt(lam) / 2.0, unbiased=unbiased)


def shrunken(weight: FloatArray, lam: float) -> FloatArray:
    """λ w / (w² + λ), (n,)."""
    if lam < 0:
        raise InvalidInputError(describe("lam", lam, "must be >= 0"))
    return np.divide(lam * weight, weight**2 + lam, out=np.zeros_like(weight), where=weight > 0)
