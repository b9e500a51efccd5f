"""The neural reward model: a trunk that all objectives share, scored with NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.calibration import check_links, expected_reward
from homing.policies.numerics import check_features, check_widths, resolve_weights
from homing.policies.types import register

_ARRAYS = (
    "context", "candidate", "trunk_bias", "hidden", "hidden_bias", "heads", "direct", "heads_bias"
)  # fmt: skip


@register("neural-reward")
@dataclass(frozen=True, eq=False)
class NeuralRewardModel:
    """E[r_m | x, c] = link⁻¹(slope_m z_m + offset_m) with two layers that all objectives share.

    h₁ = relu(x A + c B + p), h₂ = relu(h₁ H + q), z = h₂ V + c D + v. The context's part of the first layer is computed
    once per decision, not once per candidate.

    Attributes:
        context: float32 (d, h1), A.
        candidate: float32 (c, h1), B.
        trunk_bias: float32 (h1,), p.
        hidden: float32 (h1, h2), H.
        hidden_bias: float32 (h2,), q.
        heads: float32 (h2, m), V.
        direct: float32 (c, m), D: main effects of the candidate bypass the trunk.
        heads_bias: float32 (m,), v.
        links: m of "identity", "logit".
        slope, offset: float64 (m,), calibration on users that the model was not fitted on.
        weights: float64 (m,), the default importance of each objective.
    """

    context: NDArray[np.float32]
    candidate: NDArray[np.float32]
    trunk_bias: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    heads: NDArray[np.float32]
    direct: NDArray[np.float32]
    heads_bias: NDArray[np.float32]
    links: tuple[str, ...]
    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in _ARRAYS:
            put(self, name, finite(name, getattr(self, name), np.float32))
        for name in ("slope", "offset", "weights"):
            put(self, name, finite(name, getattr(self, name), np.float64))
        for name, wanted in (("context", "(d, h1)"), ("candidate", "(c, h1)"), ("heads", "(h2, m)")):
            if getattr(self, name).ndim != 2:
                raise InvalidInputError(describe(f"{name}.shape", getattr(self, name).shape, f"must be {wanted}"))
        (_, h1), c, (h2, m) = self.context.shape, len(self.candidate), self.heads.shape
        expect("candidate", self.candidate, (c, h1))
        expect("trunk_bias", self.trunk_bias, (h1,))
        expect("hidden", self.hidden, (h1, h2))
        expect("hidden_bias", self.hidden_bias, (h2,))
        expect("direct", self.direct, (c, m))
        for name in ("heads_bias", "slope", "offset", "weights"):
            expect(name, getattr(self, name), (m,))
        put(self, "links", check_links(self.links, m))

    def raw(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        """z (n, k, m), before calibration and link."""
        x, c = check_features(context, candidates)
        n, k, width = c.shape
        second, flat = self.trunk(x, c).reshape(n * k, len(self.heads)), c.reshape(n * k, width)
        out: NDArray[np.float32] = second @ self.heads + flat @ self.direct + self.heads_bias
        return out.reshape(n, k, out.shape[1])

    def trunk(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        """h₂ (n, k, h2), the last hidden layer."""
        x, c = check_features(context, candidates)
        check_widths(x, c, len(self.context), len(self.candidate))
        n, k, width = c.shape
        own, shared = c.reshape(n * k, width) @ self.candidate, x @ self.context + self.trunk_bias
        first: NDArray[np.float32] = own.reshape(n, k, own.shape[1]) + shared[:, None, :]
        np.maximum(first, 0.0, out=first)
        second: NDArray[np.float32] = first.reshape(n * k, first.shape[2]) @ self.hidden + self.hidden_bias
        np.maximum(second, 0.0, out=second)
        return second.reshape(n, k, second.shape[1])

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
