"""Moments of users' sums, which tell how an estimate errs and whether the log can bear it at all: mergeable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
#: Largest weights that are kept for each policy: those that a fit of the tail takes of a hundred million users.
KEPT = 30_001


@dataclass(frozen=True)
class Columns:
    """Which of the columns z (D,) that are summed hold what.

    Attributes:
        count: decisions.
        logged, events: r, and whether it is not 0, by objective.
        weight, squares: w and w², by policy.
        weighted: w r, by policy and objective.
    """

    count: int
    logged: Mapping[str, int]
    events: Mapping[str, int]
    weight: Mapping[str, int]
    squares: Mapping[str, int]
    weighted: Mapping[tuple[str, str], int]


@dataclass(frozen=True, eq=False)
class UserMoments:
    """Of disjoint users; those of the union of two disjoint sets of users are their sum.

    Attributes:
        count: users.
        products: (D, D), Σ_g z_g z_gᵀ.
        absolute: Σ |A| over users' A = Σ w r, by policy and objective.
        cubes: (Σ A³, Σ A² W, Σ A W², Σ W³), W = Σ w, by policy and objective.
        weighing: users with W > 0, by policy.
        largest: the largest W, in no order, by policy; at least `KEPT` of them where there are so many.
    """

    count: int = 0
    products: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    absolute: Mapping[tuple[str, str], float] = field(default_factory=dict)
    cubes: Mapping[tuple[str, str], FloatArray] = field(default_factory=dict)
    weighing: Mapping[str, int] = field(default_factory=dict)
    largest: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, z: FloatArray, columns: Columns) -> UserMoments:
        """Of users' sums z (G, D)."""
        absolute, cubes, weighing, largest = {}, {}, {}, {}
        for policy, place in columns.weight.items():
            w = z[:, place]
            positive = w[w > 0]
            weighing[policy], largest[policy] = len(positive), positive
        for key, place in columns.weighted.items():
            a, w = z[:, place], z[:, columns.weight[key[0]]]
            aa, ww = a * a, w * w
            absolute[key] = float(np.abs(a).sum())
            cubes[key] = np.array([aa @ a, aa @ w, a @ ww, ww @ w])
        return cls(len(z), z.T @ z, absolute, cubes, weighing, largest)._shortened()

    def __add__(self, other: UserMoments) -> UserMoments:
        if not other.count:
            return self
        if not self.count:
            return other
        return UserMoments(
            self.count + other.count,
            self.products + other.products,
            {key: value + other.absolute[key] for key, value in self.absolute.items()},
            {key: value + other.cubes[key] for key, value in self.cubes.items()},
            {key: value + other.weighing[key] for key, value in self.weighing.items()},
            {key: _largest(value, other.largest[key]) for key, value in self.largest.items()},
        )._shortened()

    def skewness(self, key: tuple[str, str], columns: Columns, value: float) -> float:
        """Σ x³ / (Σ x²)^1.5 over users' x = A - V W, the errors of a self-normalised value V; 0 where none errs.

        The third moment is a difference of sums: wrong where V is more than some 10,000 times x's deviation.
        """
        policy, _ = key
        a, w = columns.weighted[key], columns.weight[policy]
        p = self.products
        square = p[a, a] - 2.0 * value * p[a, w] + value**2 * p[w, w]
        if square <= 1e-12 * p[a, a]:
            return 0.0
        cube = float(self.cubes[key] @ np.array([1.0, -3.0 * value, 3.0 * value**2, -(value**3)]))
        return cube / math.sqrt(square) ** 3

    def _shortened(self) -> UserMoments:
        """Without what has become too many of the largest; a little more is kept, so that this is done rarely."""
        if all(len(values) <= 2 * KEPT for values in self.largest.values()):
            return self
        return replace(self, largest={key: _top(values) for key, values in self.largest.items()})


def _top(values: FloatArray) -> FloatArray:
    return values if len(values) <= KEPT else np.partition(values, len(values) - KEPT)[-KEPT:]


def _largest(one: FloatArray, other: FloatArray) -> FloatArray:
    """Both; of the other, what is below all of `one` is left out once that holds enough."""
    if len(one) >= KEPT:
        other = other[other > one.min()]
    return np.concatenate([one, other])
