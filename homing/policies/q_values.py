"""Q-values: expected discounted returns of each candidate, one head an objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import resolve_weights
from homing.policies.towers import Towers
from homing.policies.types import register


@register("q-values")
@dataclass(frozen=True, eq=False)
class QValues:
    """Q_m(x, c) = V_m(x) + A_m(x, c): what objective m will bring from here on, discounted, after candidate c.

    V is the value of silence and A what a message adds to it (a dueling network, Wang et al. 2016, section 3, with
    silence in the place of the mean). A candidate's score is Σ_m w_m A_m, averaged over the members of an ensemble less
    `caution` times their standard deviation: silence, whose score is always 0, wins where members disagree on what a
    message adds.

    The returns are those of following the learnt policy, under the weights of training, after this decision. With
    `conditioned`, the network is told the weights and answers for the policy of those.

    Attributes:
        towers: e members, m outputs; with `conditioned`, the last m of its context columns are the weights'.
        value: float32 (e, h2, m), V's head.
        value_bias: float32 (e, m).
        weights: float64 (m,), the default importance of each objective.
        caution: standard deviations of the members that a score is lowered by, >= 0.
        conditioned: whether the network sees the weights.
    """

    towers: Towers
    value: NDArray[np.float32]
    value_bias: NDArray[np.float32]
    weights: NDArray[np.float64]
    caution: float = 0.0
    conditioned: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.towers, Towers):
            raise InvalidInputError(describe("towers", type(self.towers).__name__, "must be Towers"))
        for name, dtype in (("value", np.float32), ("value_bias", np.float32), ("weights", np.float64)):
            object.__setattr__(self, name, finite(name, getattr(self, name), dtype))
        e, m = len(self.towers.first), self.towers.outputs
        expect("value", self.value, (e, self.towers.second.shape[2], m))
        expect("value_bias", self.value_bias, (e, m))
        expect("weights", self.weights, (m,))
        if isinstance(self.caution, bool) or not isinstance(self.caution, int | float) or not 0 <= self.caution < 1e6:
            raise InvalidInputError(describe("caution", self.caution, "must be >= 0"))
        if not isinstance(self.conditioned, bool):
            raise InvalidInputError(describe("conditioned", self.conditioned, "must be true or false"))

    def predict(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """Expected discounted return of each objective (n, k, m), in the rewards' own units, under the default weights.

        Over the members, the mean. Batches and single rows agree to about 1e-6 of the largest.
        """
        hidden, advantages = self._forward(context, candidates, self.weights)
        value = np.matmul(hidden, self.value) + self.value_bias[:, None]
        out: NDArray[np.float64] = (value[:, :, None] + advantages).mean(axis=0, dtype=np.float64)
        return out

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k), silence's 0; see `Scorer.scores`."""
        given = resolve_weights(weights, self.weights)
        each = self._forward(context, candidates, given)[1].astype(np.float64) @ given
        out: NDArray[np.float64] = each.mean(axis=0)
        if self.caution and len(each) > 1:
            out -= self.caution * each.std(axis=0)
        return out

    def _forward(
        self, context: NDArray[np.float32], candidates: NDArray[np.float32], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        m = len(self.weights)
        x, c = self.towers.check(context, candidates, m if self.conditioned else 0)
        if self.conditioned:
            told = emphasis(weights, self.weights).astype(np.float32)
            x = np.concatenate([x, np.broadcast_to(told, (len(x), m))], axis=1)
        hidden = self.towers.trunk(x)
        return hidden, self.towers.advantages(hidden, c)


def emphasis(weights: NDArray[np.float64], default: NDArray[np.float64]) -> NDArray[np.float64]:
    """How weights (m,) differ from the default ones: g_m = w_m / default_m as shares of their sum, times m, less 1.

    0 for the default weights and all their multiples. An objective whose default is 0 has no emphasis.

    Example:
        >>> emphasis(np.array([3.0, -1.0]), np.array([1.0, -1.0])).tolist()
        [0.5, -0.5]
    """
    counted = default != 0
    ratio = np.where(counted, weights / np.where(counted, default, 1.0), 0.0)
    total = float(np.abs(ratio).sum())
    if total == 0.0:
        return np.zeros(len(default))
    out: NDArray[np.float64] = np.where(counted, int(counted.sum()) * ratio / total - 1.0, 0.0)
    return out
