"""Inverse-gap weighting: the less a candidate promises, the more seldom it is tried."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import check_inputs, resolve_weights
from homing.policies.scorer import Scorer, check_part, checked_scores
from homing.policies.types import register


@register("inverse-gap")
@dataclass(frozen=True, eq=False)
class InverseGapPolicy:
    """p(a) = 1 / (K + γ (f(b) − f(a)) / σ) for all K eligible candidates but the best, b, which gets the rest.

    f is the predicted weighted reward and σ² = wᵀΣw its noise, so that γ has no unit and only the weights' ratios
    count. Candidates that tie for the best share what it gets. Nothing eligible has probability 0: 1 / (K + γ · gap)
    bounds importance weights.

    Attributes:
        scorer: predicts f.
        sharpness: γ > 0: near 0 is uniform, large is greedy.
        noise: float64 (m, m), Σ, covariance of the rewards' noise.
        weights: float64 (m,), the default importance of each objective.

    Example:
        >>> from homing.policies import ColumnScorer
        >>> policy = InverseGapPolicy(ColumnScorer(np.array([1.0]), 0), 10.0, np.eye(1), np.ones(1))
        >>> decision = np.zeros((1, 0)), np.array([[[0.5], [0.4], [0.1]]]), np.ones((1, 3), bool)
        >>> policy.action_probs(*decision).round(4).tolist()
        [[0.6071, 0.25, 0.1429]]

    References:
        Foster and Rakhlin (2020), "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles", ICML,
        algorithm 1 (SquareCB), after Abe and Long (1999).
    """

    scorer: Scorer
    sharpness: float
    noise: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_part("scorer", self.scorer, "scores")
        check_positive("sharpness", self.sharpness)
        for name in ("noise", "weights"):
            object.__setattr__(self, name, finite(name, getattr(self, name), np.float64))
        if self.weights.ndim != 1:
            raise InvalidInputError(describe("weights.shape", self.weights.shape, "must be (m,)"))
        m = len(self.weights)
        expect("noise", self.noise, (m, m))

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        x, c, mask = check_inputs(context, candidates, eligible)
        w = resolve_weights(weights, self.weights)
        scores = np.where(mask, checked_scores(self.scorer, x, c, mask, weights), -np.inf)
        gap = np.where(mask, scores.max(axis=1, keepdims=True) - scores, 0.0)
        deviation = math.sqrt(max(float(w @ self.noise @ w), 0.0))
        if deviation > 0:  # without noise, or weights, there is no unit to measure gaps in
            gap = gap / deviation
        best = mask & (gap <= 0.0)
        eligible_count = mask.sum(axis=1, keepdims=True)
        tried = np.where(mask & ~best, 1.0 / (eligible_count + self.sharpness * gap), 0.0)
        rest = (1.0 - tried.sum(axis=1, keepdims=True)) / best.sum(axis=1, keepdims=True)
        out: NDArray[np.float64] = np.where(best, rest, tried)
        return out
