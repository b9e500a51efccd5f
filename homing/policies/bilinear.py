"""Scores that are linear in context × candidate features, one head per objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.numerics import check_features, check_widths, resolve_weights
from homing.policies.types import register


@register("bilinear")
@dataclass(frozen=True, eq=False)
class BilinearScorer:
    """score = Σ_m v_m (c·W_m x + b_m·c), with v the direction of the weights: v = w∘s / |w∘s|.

    Weights are importances of rewards in their own units; times the rewards' deviations s they are comparable. Only
    their ratios count: how sharply the policy chooses stays as trained, and a single objective has no dial but its
    sign. Where all weights are 0, so are all scores.

    Attributes:
        interaction: float32 (m, c, d).
        candidate: float32 (m, c).
        weights: float64 (m,), the default importance of each objective; not all 0.
        scale: float64 (m,), standard deviation of each reward in training, s > 0.
    """

    interaction: NDArray[np.float32]
    candidate: NDArray[np.float32]
    weights: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, dtype in (
            ("interaction", np.float32), ("candidate", np.float32), ("weights", np.float64), ("scale", np.float64)
        ):  # fmt: skip
            object.__setattr__(self, name, finite(name, getattr(self, name), dtype))
        if self.interaction.ndim != 3:
            raise InvalidInputError(describe("interaction.shape", self.interaction.shape, "must be (m, c, d)"))
        m, c, _ = self.interaction.shape
        expect("candidate", self.candidate, (m, c))
        expect("weights", self.weights, (m,))
        expect("scale", self.scale, (m,))
        if not self.weights.any():
            raise InvalidInputError(describe("weights", self.weights.tolist(), "must not all be 0"))
        if (self.scale <= 0).any():
            raise InvalidInputError(describe("scale", self.scale.tolist(), "must be > 0"))

    @classmethod
    def zeros(cls, *, d: int, c: int, m: int) -> BilinearScorer:
        """The scorer that prefers nothing, for d context and c candidate features and m objectives."""
        return cls(np.zeros((m, c, d), np.float32), np.zeros((m, c), np.float32), np.ones(m), np.ones(m))

    def direction(self, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """v (m,), of length 1; 0 where all weights are."""
        given = resolve_weights(weights, self.weights) * self.scale
        length = float(np.linalg.norm(given))
        return given / length if length > 0 else given

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k); see `Scorer.scores`. Rows alone and in a batch agree to float32 rounding, about 1e-6."""
        x, c = check_features(context, candidates)
        check_widths(x, c, self.interaction.shape[2], self.interaction.shape[1])
        v = self.direction(weights).astype(np.float32)
        taste = x @ np.tensordot(v, self.interaction, axes=1).T + v @ self.candidate  # (n, c)
        out: NDArray[np.float64] = np.matmul(c, taste[:, :, None])[:, :, 0].astype(np.float64)
        return out


def finite(name: str, value: object, dtype: type[np.floating]) -> NDArray[np.floating]:
    """An array of `dtype`, if all of it is finite.

    Raises:
        InvalidInputError: if not, or if it holds no numbers.
    """
    try:
        out = np.ascontiguousarray(np.asarray(value, dtype=dtype))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(describe(name, value, "must be numbers")) from error
    if not np.isfinite(out).all():
        raise InvalidInputError(describe(name, "NaN or infinite", "must be finite"))
    return out


def expect(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    """Check an array's shape.

    Raises:
        InvalidInputError: if it differs.
    """
    if array.shape != shape:
        raise InvalidInputError(describe(f"{name}.shape", array.shape, f"must be {shape}"))
