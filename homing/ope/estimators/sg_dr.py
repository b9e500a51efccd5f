"""Subgaussian doubly robust: the power mean's weights on the model's residuals."""

from __future__ import annotations

from dataclasses import dataclass

from homing.ope.estimators.base import RowEstimate, Rows, model_terms
from homing.ope.estimators.sg_ips import check_power_mean, power_mean_estimate


@dataclass(frozen=True)
class SubGaussianDR:
    """V = mean(Σ_a π q̂ + w_λ (r - q̂)) with w_λ = w / (1 - λ + λ w), the weights of `SubGaussianIPS`.

    λ = 0 is DR, λ = 1 adds the plain mean residual to the model. The bias is that of `SubGaussianIPS` with residuals in
    the place of rewards, so small where the model is good; the interval does not cover it.

    Attributes:
        lam: λ in [0, 1]; None to choose it, as at `SubGaussianIPS`.
        delta: δ in (0, 1) of that choice.
        second_moment: E[w²] where it is known.

    References:
        Metelli, Russo and Restelli (2021), "Subgaussian and Differentiable Importance Sampling for Off-Policy
        Evaluation and Learning", for the weights; Su, Dimakopoulou, Krishnamurthy and Dudík (2020), "Doubly robust
        off-policy evaluation with shrinkage", section 3, for shrunken weights on residuals.

    Example:
        >>> import numpy as np
        >>> rows = Rows(np.array([3.0, 0.0]), np.ones(2), q_logged=np.zeros(2), q_policy=np.zeros(2))
        >>> SubGaussianDR(lam=0.5)(rows).value
        0.75
    """

    lam: float | None = None
    delta: float = 0.05
    second_moment: float | None = None
    name: str = "sg-dr"
    needs_q_hat: bool = True

    def __post_init__(self) -> None:
        check_power_mean(self.lam, self.delta, self.second_moment)

    def __call__(self, rows: Rows) -> RowEstimate:
        predicted, residual = model_terms(rows)
        return power_mean_estimate(predicted, rows.weight, residual, self.lam, self.delta, self.second_moment)
