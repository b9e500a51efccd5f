"""Time to the next visit as a Weibull distribution: the model behind survival rules for notifications."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import check_features, check_widths
from homing.policies.types import register

#: Logarithms of scales are kept within what hours can mean: e⁻³⁰ to e³⁰.
MAX_LOG_SCALE = 30.0


@register("weibull-visit")
@dataclass(frozen=True, eq=False)
class WeibullVisitModel:
    """P(visit within T | x, c) = 1 − exp(−(T / λ)^κ) with log λ = i + a·x + b·c + c·W x: accelerated failure time.

    It scores candidates by that probability, whatever the weights: it knows one objective, the visit.

    Attributes:
        interaction: float32 (c, d), W.
        candidate: float32 (c,), b.
        context: float32 (d,), a.
        intercept: i.
        shape: κ > 0; 1 is a constant rate, below 1 a rate that falls with time.
        horizon_hours: T.

    References:
        Yuan et al. (2019), "A State Transition Model for Mobile Notifications via Survival Analysis", WSDM, section 4;
        Yuan et al. (2022), "Offline Reinforcement Learning for Mobile Notifications", CIKM, section 3.2.

    Example:
        >>> model = WeibullVisitModel(np.zeros((1, 1)), np.array([-1.0]), np.zeros(1), 2.0, 1.0, np.e)
        >>> model.scores(np.zeros((1, 1)), np.array([[[0.0], [1.0]]])).round(4).tolist()  # silence, message
        [[0.3078, 0.6321]]
    """

    interaction: NDArray[np.float32]
    candidate: NDArray[np.float32]
    context: NDArray[np.float32]
    intercept: float
    shape: float
    horizon_hours: float

    def __post_init__(self) -> None:
        for name in ("interaction", "candidate", "context"):
            object.__setattr__(self, name, finite(name, getattr(self, name), np.float32))
        if self.interaction.ndim != 2:
            raise InvalidInputError(describe("interaction.shape", self.interaction.shape, "must be (c, d)"))
        expect("candidate", self.candidate, self.interaction.shape[:1])
        expect("context", self.context, self.interaction.shape[1:])
        finite("intercept", self.intercept, np.float64)
        check_positive("shape", self.shape)
        check_positive("horizon_hours", self.horizon_hours)

    def log_scale(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """log λ (n, k), λ in hours; context (n, d), candidates (n, k, c)."""
        x, c = check_features(context, candidates)
        check_widths(x, c, self.interaction.shape[1], self.interaction.shape[0])
        taste = x @ self.interaction.T + self.candidate
        own = (x @ self.context).astype(np.float64) + self.intercept
        out: NDArray[np.float64] = np.matmul(c, taste[:, :, None])[:, :, 0].astype(np.float64) + own[:, None]
        return np.clip(out, -MAX_LOG_SCALE, MAX_LOG_SCALE)

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """P(visit within the horizon) (n, k); see `Scorer.scores`."""
        power = self.shape * (np.log(self.horizon_hours) - self.log_scale(context, candidates))
        out: NDArray[np.float64] = -np.expm1(-np.exp(power))
        return out
