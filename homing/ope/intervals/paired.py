"""What one decision can hold under two policies at once: far less than each policy's worst taken together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.intervals.base import Extremes, FloatArray

#: Axes of a `Hull` in degrees, over half a turn; both ends of each are kept. They crowd around -45°, the direction of
#: a difference: its factors are nearly 1 and -1, and points near the diagonal are to give nothing away there.
_ANGLES = np.deg2rad([-90, -67, -55, -49, -46.5, -45, -43.5, -41, -35, -23, 0, 45])
_AXES = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_DIRECTIONS = np.concatenate([_AXES, -_AXES])
#: Their projections fit the processor's cache.
_POINTS_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Hull:
    """A polygon of 24 sides around points of the plane: bounds of every linear function of them.

    Attributes:
        reach: how far the points go in each of 24 directions: along the axes, then against them.

    Example:
        >>> hull = Hull.of(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 3.0]))
        >>> [[abs(round(end, 9)) for end in hull.ends(*line)] for line in ((1.0, -1.0), (1.0, -0.5))]
        [[0.0, 0.0], [0.0, 1.5]]
    """

    reach: tuple[float, ...]

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray) -> Hull:
        """Around points whose coordinates are two arrays of one shape."""
        points = np.stack([x.reshape(-1), y.reshape(-1)])
        high, low = np.full(len(_AXES), -np.inf), np.full(len(_AXES), np.inf)
        for begin in range(0, points.shape[1], _POINTS_AT_ONCE):
            along = _AXES @ points[:, begin : begin + _POINTS_AT_ONCE]
            high, low = np.maximum(high, along.max(axis=1)), np.minimum(low, along.min(axis=1))
        return cls(tuple(float(value) for value in (*high, *-low)))

    def joined(self, other: Hull) -> Hull:
        """Around the points of both."""
        return Hull(tuple(max(one, two) for one, two in zip(self.reach, other.reach, strict=True)))

    @cached_property
    def corners(self) -> FloatArray:
        """Where neighbouring sides meet, (24, 2); each side touches the points, so that no corner is cut off."""
        reach = np.array(self.reach)
        sides = np.stack([_DIRECTIONS, np.roll(_DIRECTIONS, -1, axis=0)], axis=1)
        return np.linalg.solve(sides, np.stack([reach, np.roll(reach, -1)], axis=1)[:, :, None])[:, :, 0]

    def ends(self, a: float, b: float) -> tuple[float, float]:
        """Least and greatest a x + b y."""
        values = self.corners @ np.array([a, b])
        return float(values.min()), float(values.max())


@dataclass(frozen=True)
class Form:
    """An influence φ = q̂_π - centre + w (r - q̂ - shift) / scale: that of IPS, SNIPS, DR and SNDR.

    Attributes:
        centre: what is taken from the model's prediction for the policy, or from 0 without a model.
        shift: what is taken from the residual.
        scale: mean weight of a self-normalised estimator, else 1.
        modelled: whether there is a model.
        reward: least and greatest reward.
        predicted: least and greatest prediction q̂; (0, 0) without a model.
    """

    centre: float
    shift: float
    scale: float
    modelled: bool
    reward: tuple[float, float]
    predicted: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "reward": list(self.reward), "predicted": list(self.predicted)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Form:
        """Read back what `to_dict` wrote."""
        reward, predicted = data["reward"], data["predicted"]
        return cls(
            float(data["centre"]), float(data["shift"]), float(data["scale"]), bool(data["modelled"]),
            (reward[0], reward[1]), (predicted[0], predicted[1]),
        )  # fmt: skip


@dataclass(frozen=True)
class Pairing:
    """Weights that one decision could have under two policies, whichever candidate had been drawn.

    For every decision of the log and every candidate a it holds the point (π(a), π'(a)) / p(a), p the logging
    probability: as logged for the logged candidate; for the others from the log's own `probs`, 1 / eligible where that
    is what was logged throughout, or else, as it is not known, the least propensity of the log. Where it is known that
    is all that could have been drawn in the contexts of the log, and the paired influence

        φ - f φ' = (q̂_π - f q̂_π') - (centre - f centre') + w (r - q̂ - s) / W - f w' (r - q̂ - s') / W'

    is linear in (w, w') for fixed reward and prediction, and linear in these for fixed weights: its ends lie at corners
    of what is kept. Policies that resemble each other have w - w' near 0 throughout, and a decision that was not seen
    can move their difference by little, where each policy's own worst is its largest weight.

    Contexts that were not seen may allow more: their share is of the order of one in the number of users, as with every
    bound that is read off a log.

    Attributes:
        weights: of (w, w').
        predicted: by objective, of (q̂_π, q̂_π'), the model's predictions for both policies.
        weight_mean: mean of the other policy's weights, by which its report is recognised.
    """

    weights: Hull
    weight_mean: float
    predicted: Mapping[str, Hull] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: LoggedDataset, probs: FloatArray, other: FloatArray, q_hat: FloatArray | None) -> Pairing:
        """Of two policies' probabilities (n, k) on a log and a model's predictions (n, k, m)."""
        rows = np.arange(dataset.n)
        logged = [policy[rows, dataset.action] / dataset.propensity for policy in (probs, other)]
        weights = Hull.of(*logged)
        step = max(_POINTS_AT_ONCE // dataset.k, 1)
        share = 1.0 / dataset.eligible.sum(axis=1)
        uniform = dataset.probs is None and np.allclose(dataset.propensity, share, rtol=1e-9, atol=0.0)
        least = float(dataset.propensity.min())
        for begin in range(0, dataset.n, step):
            part = slice(begin, begin + step)
            if dataset.probs is not None:
                chance = dataset.probs[part]
                possible = chance > 0.0
                possible[np.arange(len(possible)), dataset.action[part]] = False  # its propensity is more exact
                points = [policy[part][possible] / chance[possible] for policy in (probs, other)]
            else:
                scale = share[part, None] if uniform else least
                points = [policy[part] / scale for policy in (probs, other)]
            if points[0].size:
                weights = weights.joined(Hull.of(*points))
        predicted = {}
        if q_hat is not None:
            for j, name in enumerate(dataset.objectives):
                q = q_hat[:, :, j]
                predicted[name] = Hull.of(*(np.einsum("nk,nk->n", policy, q) for policy in (probs, other)))
        return cls(weights, float(logged[1].mean()), predicted)

    def check(self, name: str, weight_mean: float) -> None:
        """Refuse another policy of the same name."""
        if abs(weight_mean - self.weight_mean) > 1e-9 * max(abs(weight_mean), 1.0):
            raise InvalidInputError(
                describe(
                    f"mean weight of {name!r}",
                    weight_mean,
                    f"must be {self.weight_mean:g}, that of the policy given as against[{name!r}]",
                    "Evaluate the challenger against the champion's own probabilities.",
                )
            )

    def extremes(self, objective: str, mine: Form, theirs: Form, factor: float) -> Extremes | None:
        """Least and greatest φ - factor φ' at either end of the reward; None if only one of them has a model."""
        if mine.modelled != theirs.modelled:
            return None
        base = self.predicted[objective].ends(1.0, -factor) if mine.modelled else (0.0, 0.0)
        centre = mine.centre - factor * theirs.centre
        out = []
        for reward in mine.reward:
            found = [
                self.weights.ends(
                    (reward - q - mine.shift) / mine.scale, -factor * (reward - q - theirs.shift) / theirs.scale
                )
                for q in mine.predicted
            ]
            low, high = min(ends[0] for ends in found), max(ends[1] for ends in found)
            out.append((base[0] - centre + low, base[1] - centre + high))
        return out[0], out[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "weights": list(self.weights.reach),
            "weight_mean": self.weight_mean,
            "predicted": {name: list(hull.reach) for name, hull in self.predicted.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pairing:
        """Read back what `to_dict` wrote."""
        predicted = {name: Hull(tuple(reach)) for name, reach in data["predicted"].items()}
        return cls(Hull(tuple(data["weights"])), float(data["weight_mean"]), predicted)
