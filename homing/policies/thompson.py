"""Thompson sampling over posterior draws of a linear model: a mixture whose probabilities are exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.neural import NeuralRewardModel
from homing.policies.numerics import check_features, check_inputs, check_top, check_widths, resolve_weights
from homing.policies.recovering import group_of, message_of
from homing.policies.scorer import check_part
from homing.policies.types import register

#: Features that are held in memory at a time, at most.
MAX_FEATURES = 2**22
#: Scores that differ by less, relative to the largest, are ties.
TIE = 1e-9


@runtime_checkable
class FeatureMap(Protocol):
    """What a linear model on top sees of each candidate of each decision.

    Example:
        >>> class AsTheyAre:
        ...     def features(self, context, candidates):
        ...         return np.asarray(candidates, dtype=np.float64)
        >>> isinstance(AsTheyAre(), FeatureMap)
        True
    """

    def features(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """φ (n, k, p) for context (n, d) and candidates (n, k, c)."""
        ...


@register("crossed-features")
@dataclass(frozen=True, eq=False)
class CrossedFeatures:
    """φ(x, c) = c ⊗ (1, Pᵀx): each candidate column by itself, and times r directions of the context.

    Attributes:
        projection: float64 (d, r), P.
        columns: c, of a candidate.

    Example:
        >>> CrossedFeatures(np.array([[2.0]]), 2).features(np.array([[3.0]]), np.array([[[1.0, 5.0]]])).tolist()
        [[[1.0, 6.0, 5.0, 30.0]]]
    """

    projection: NDArray[np.float64]
    columns: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "projection", finite("projection", self.projection, np.float64))
        if self.projection.ndim != 2:
            raise InvalidInputError(describe("projection.shape", self.projection.shape, "must be (d, r)"))

    @property
    def size(self) -> int:
        """Number of features, p."""
        return self.columns * (1 + int(self.projection.shape[1]))

    def features(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """φ (n, k, c (1 + r)); see `FeatureMap.features`."""
        x, c = check_features(context, candidates)
        check_widths(x, c, len(self.projection), self.columns)
        z: NDArray[np.float64] = np.column_stack([np.ones(len(x)), x.astype(np.float64) @ self.projection])
        out: NDArray[np.float64] = c.astype(np.float64)[:, :, :, None] * z[:, None, None, :]
        return out.reshape(*c.shape[:2], self.size)


@register("hidden-features")
@dataclass(frozen=True, eq=False)
class HiddenFeatures:
    """φ(x, c): the last hidden layer of a network's trunk, and the candidate's columns as they are.

    Attributes:
        model: whose trunk it is; its heads have no part in it.
    """

    model: NeuralRewardModel

    def __post_init__(self) -> None:
        if not isinstance(self.model, NeuralRewardModel):
            raise InvalidInputError(describe("model", type(self.model).__name__, "must be a NeuralRewardModel"))

    @property
    def size(self) -> int:
        """Number of features, p."""
        return len(self.model.heads) + len(self.model.candidate)

    def features(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """φ (n, k, h2 + c); see `FeatureMap.features`."""
        x, c = check_features(context, candidates)
        return np.concatenate([self.model.trunk(x, c), c], axis=2).astype(np.float64)


@register("message-groups")
@dataclass(frozen=True, eq=False)
class MessageGroups:
    """φ(x, c): which message a candidate is, in which group of users; 1 for the pair that it is, 0 for all others.

    Attributes:
        columns: int64 (a,), candidate columns that tell messages; None where message a is the candidate at position a.
        groups: int64 (g,), context columns that tell groups.
        messages: a, besides silence.
        widths: d and c, the columns of contexts and candidates in training.

    Example:
        >>> pairs = MessageGroups(None, np.zeros(0, int), messages=1, widths=(0, 0))
        >>> pairs.features(np.zeros((1, 0)), np.zeros((1, 3, 0))).tolist()  # silence, message 1, and one that is new
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    """

    columns: NDArray[np.int64] | None
    groups: NDArray[np.int64]
    messages: int
    widths: tuple[int, int]

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "groups", np.asarray(self.groups, dtype=np.int64))
        put(self, "widths", tuple(self.widths))
        if self.columns is not None:
            put(self, "columns", np.asarray(self.columns, dtype=np.int64))
            expect("columns", self.columns, (self.messages,))

    @property
    def size(self) -> int:
        """Number of features, p = (1 + g)(a + 2): users of no group and each group; silence, messages, new ones."""
        return (1 + len(self.groups)) * (self.messages + 2)

    def pairs(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.int64]:
        """Which pair each candidate is, (n, k)."""
        message = message_of(candidates, self.columns, self.messages + 1)
        return group_of(context, self.groups)[:, None] * (self.messages + 2) + message

    def features(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """φ (n, k, p); see `FeatureMap.features`."""
        x, c = check_features(context, candidates)
        check_widths(x, c, *self.widths)
        out = np.zeros((*c.shape[:2], self.size))
        np.put_along_axis(out, self.pairs(x, c)[:, :, None], 1.0, axis=2)
        return out


@register("thompson")
@dataclass(frozen=True, eq=False)
class ThompsonPolicy:
    """Draws one of s parameter vectors, then the candidate that is best under it.

    π(a | x) = 1/s Σ_i 1[a = argmax_b Σ_m w_m θ_im · φ(x, b)], over what is eligible; ties share evenly. Thompson
    sampling draws a candidate with the probability that it is best, and these shares are that probability by Monte
    Carlo, off by at most 1 / (2 √s) in standard deviation. The policy *is* the mixture of these s draws: so the
    probability that is logged is the one that was drawn with, exactly, and a seed gives the same policy.

    What is best under no draw has probability 0: wrap it in `EpsilonGreedyPolicy` to serve it.

    Attributes:
        map: gives φ.
        draws: float64 (s, m, p), of the posterior of each objective's parameters.
        weights: float64 (m,), the default importance of each objective.

    Example:
        >>> draws = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 2.0]], [[3.0, 1.0]]])
        >>> policy = ThompsonPolicy(CrossedFeatures(np.zeros((0, 0)), 2), draws, np.ones(1))
        >>> policy.action_probs(np.zeros((1, 0)), np.eye(2)[None], np.ones((1, 2), bool)).tolist()
        [[0.5, 0.5]]

    References:
        Agrawal and Goyal (2013), "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML, algorithm 1.
    """

    map: FeatureMap
    draws: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_part("map", self.map, "features")
        for name in ("draws", "weights"):
            object.__setattr__(self, name, finite(name, getattr(self, name), np.float64))
        if self.draws.ndim != 3 or not len(self.draws):
            raise InvalidInputError(describe("draws.shape", self.draws.shape, "must be (s, m, p) with s >= 1"))
        s, m, _ = self.draws.shape
        expect("draws", self.draws, (s, m, self.map.size))  # type: ignore[attr-defined]  # of both maps
        expect("weights", self.weights, (m,))

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        x, c, mask = check_inputs(context, candidates, eligible)
        theta = np.tensordot(self.draws, resolve_weights(weights, self.weights), axes=(1, 0))  # (s, p)
        size = max(MAX_FEATURES // (mask.shape[1] * max(theta.shape)), 1)
        out = np.zeros(mask.shape)
        for begin in range(0, len(mask), size):
            rows = slice(begin, begin + size)
            scores = self.map.features(x[rows], c[rows]) @ theta.T  # (b, k, s)
            scores[~mask[rows]] = -np.inf
            top = check_top(scores.max(axis=1, keepdims=True))
            best = scores >= top - TIE * np.maximum(np.abs(top), 1e-300)
            out[rows] = (best / best.sum(axis=1, keepdims=True)).mean(axis=2)
        return out
