"""The linear reward model: bilinear in context and candidate features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.calibration import check_links, expected_reward
from homing.policies.numerics import check_features, check_widths, resolve_weights
from homing.policies.types import register


@register("linear-reward")
@dataclass(frozen=True, eq=False)
class LinearRewardModel:
    """E[r_m | x, c] = link⁻¹(slope_m z_m + offset_m) with z_m = c·W_m x + b_m·c + a_m·x + e_m.

    Attributes:
        interaction: float32 (m, c, d), W.
        candidate: float32 (m, c), b.
        context: float32 (m, d), a.
        intercept: float32 (m,), e.
        links: m of "identity", "logit".
        slope, offset: float64 (m,), calibration on users that the model was not fitted on.
        weights: float64 (m,), the default importance of each objective.

    Example:
        >>> model = LinearRewardModel(np.zeros((1, 2, 1)), np.array([[0.0, 1.0]]), np.zeros((1, 1)), np.zeros(1),
        ...                           ("identity",), np.ones(1), np.zeros(1), np.ones(1))
        >>> model.predict(np.zeros((1, 1)), np.array([[[1.0, 0.0], [0.0, 1.0]]]))[:, :, 0].tolist()
        [[0.0, 1.0]]
    """

    interaction: NDArray[np.float32]
    candidate: NDArray[np.float32]
    context: NDArray[np.float32]
    intercept: NDArray[np.float32]
    links: tuple[str, ...]
    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("interaction", "candidate", "context", "intercept"):
            put(self, name, finite(name, getattr(self, name), np.float32))
        for name in ("slope", "offset", "weights"):
            put(self, name, finite(name, getattr(self, name), np.float64))
        if self.interaction.ndim != 3:
            raise InvalidInputError(describe("interaction.shape", self.interaction.shape, "must be (m, c, d)"))
        m, c, d = self.interaction.shape
        expect("candidate", self.candidate, (m, c))
        expect("context", self.context, (m, d))
        for name in ("intercept", "slope", "offset", "weights"):
            expect(name, getattr(self, name), (m,))
        put(self, "links", check_links(self.links, m))

    def raw(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        """z (n, k, m), before calibration and link."""
        x, c = check_features(context, candidates)
        m, width, d = self.interaction.shape
        check_widths(x, c, d, width)
        taste = (x @ self.interaction.reshape(m * width, d).T).reshape(len(x), m, width) + self.candidate
        rest = x @ self.context.T + self.intercept
        out: NDArray[np.float32] = np.matmul(c, taste.transpose(0, 2, 1)) + rest[:, None, :]
        return out

    def predict(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """Expected rewards (n, k, m); see `RewardModel.predict`. Batches and single rows agree to about 1e-6."""
        return expected_reward(self.raw(context, candidates), self.links, self.slope, self.offset)

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Weighted sum of expected rewards (n, k); see `Scorer.scores`."""
        out: NDArray[np.float64] = self.predict(context, candidates) @ resolve_weights(weights, self.weights)
        return out
