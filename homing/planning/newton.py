"""Semi-smooth Newton on the dual of users' options, smoothed a little and then less and less.

With weights x over a user's options, max_x Σ r·x − γ/2 Σ x² over the simplex is once differentiable in the prices: its
x is the projection of r / γ onto the simplex (Nesterov 2005, "Smooth minimization of non-smooth functions"; the same
term as in ECLIPSE). Its generalised Hessian is that of few users, those whose best options lie within γ, so that a step
costs one pass over options and a small linear system. For γ small enough the solution is that of γ = 0 (Mangasarian and
Meyer 1979, "Nonlinear perturbation of linear programs"); users that have only one option left are settled on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray
from homing.planning.options import Options, narrow

_STEPS = 40
_SEARCHES = 24


@compiled
def smoothed(
    first: Any, value: Any, start: Any, row: Any, amount: Any, price: Any, gamma: Any, use: Any, curve: Any, weight: Any
) -> Any:
    """Σ over users of the smoothed best option; use (m,), its generalised Hessian (m, m) and weights (O,) are written.

    Projection onto the simplex: options whose weight would be negative are dropped until none is (Michelot 1986).
    """
    m = price.shape[0]
    use[:] = 0.0
    curve[:] = 0.0
    total = 0.0
    widest = 1
    for u in range(first.shape[0] - 1):
        widest = max(widest, first[u + 1] - first[u])
    worth = np.empty(widest)
    sums = np.zeros(m)
    for u in range(first.shape[0] - 1):
        top = -np.inf
        for o in range(first[u], first[u + 1]):
            r = value[o]
            for e in range(start[o], start[o + 1]):
                r -= amount[e] * price[row[e]]
            worth[o - first[u]] = r
            top = max(top, r)
        count, mass = 0, 0.0
        for o in range(first[u], first[u + 1]):
            weight[o] = 0.0
            if worth[o - first[u]] > top - gamma:
                weight[o] = 1.0
                count += 1
                mass += worth[o - first[u]]
        while True:
            level = (mass - gamma) / count
            dropped = 0
            for o in range(first[u], first[u + 1]):
                r = worth[o - first[u]]
                if weight[o] == 1.0 and r <= level:
                    weight[o] = 0.0
                    mass -= r
                    dropped += 1
            if dropped == 0:
                break
            count -= dropped
        for o in range(first[u], first[u + 1]):
            if weight[o] == 0.0:
                continue
            x = (worth[o - first[u]] - level) / gamma if count > 1 else 1.0
            weight[o] = x
            total += x * worth[o - first[u]] - 0.5 * gamma * x * x
            for e in range(start[o], start[o + 1]):
                use[row[e]] += x * amount[e]
                if count > 1:
                    sums[row[e]] += amount[e]
                    for f in range(start[o], start[o + 1]):
                        curve[row[e], row[f]] += amount[e] * amount[f] / gamma
        if count > 1:
            for o in range(first[u], first[u + 1]):
                if weight[o] != 0.0:
                    for e in range(start[o], start[o + 1]):
                        i = row[e]
                        for p in range(first[u], first[u + 1]):
                            if weight[p] != 0.0:
                                for f in range(start[p], start[p + 1]):
                                    curve[i, row[f]] -= amount[e] * amount[f] / (gamma * count)
            for o in range(first[u], first[u + 1]):
                for e in range(start[o], start[o + 1]):
                    sums[row[e]] = 0.0
    return total


@dataclass(frozen=True, eq=False)
class Interval:
    """Where prices may be: (m,) each."""

    low: FloatArray
    high: FloatArray

    def clip(self, price: FloatArray) -> FloatArray:
        """The nearest prices within."""
        return np.clip(price, self.low, self.high)

    def around(self, price: FloatArray, width: FloatArray) -> Interval:
        """The part of it within `width` of some prices."""
        return Interval(np.maximum(self.low, price - width), np.minimum(self.high, price + width))

    def at_edge(self, price: FloatArray, whole: Interval) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows (m,) whose price lies at the lower, at the upper end, where that is not the end of the whole."""
        near = 1e-6 * (self.high - self.low)
        return (price <= self.low + near) & (self.low > whole.low), (price >= self.high - near) & (
            self.high < whole.high
        )


@dataclass(frozen=True, eq=False)
class Minimum:
    """Prices that minimise the smoothed dual, and what they imply.

    Attributes:
        price: (m,).
        use: (m,) units that users use at the smoothed weights.
        curve: (m, m) generalised Hessian.
        weight: (O,) of the options.
        passes: over options.
    """

    price: FloatArray
    use: FloatArray
    curve: FloatArray
    weight: FloatArray
    passes: int


def minimise(
    options: Options,
    floor: FloatArray,
    ceiling: FloatArray,
    price: FloatArray,
    within: Interval,
    scale: FloatArray,
    gamma: float,
    tolerance: float,
) -> Minimum:
    """Minimise the dual, smoothed by γ, over prices in an interval.

    Args:
        options: of the open users.
        floor, ceiling: (m,) units that are left for them.
        price: (m,) where to begin.
        within: where prices may be.
        scale: (m,) units that one message typically uses of each row.
        gamma: γ, in units of value.
        tolerance: largest deviation of use from its bound that is taken for none, in messages.
    """
    m = len(price)
    point = _evaluate(options, floor, ceiling, within.clip(price), gamma)
    damping = 1e-10
    passes = 1
    for _ in range(_STEPS):
        slope, moving = _slopes(point, floor, ceiling, within)
        if not moving.any() or np.all(np.abs(slope[moving]) <= tolerance * scale[moving]):
            break
        better = None
        for _ in range(_SEARCHES):
            step = np.zeros(m)
            step[moving] = _newton_step(point.curve, slope, moving, scale, damping, gamma)
            moved = within.clip(point.price + step)
            start = np.where(point.price != 0.0, point.price, -slope)  # the side on which a price at zero may move
            moved = np.where(moved * start < 0.0, 0.0, moved)
            trial = _evaluate(options, floor, ceiling, moved, gamma)
            passes += 1
            promised = float(slope @ (moved - point.price))
            if trial.dual <= point.dual + 1e-4 * min(promised, 0.0) and not np.array_equal(moved, point.price):
                better = trial
                damping = max(damping / 10.0, 1e-10)
                break
            damping = max(damping * 30.0, 1e-8)
        if better is None:
            break
        point = better
    return Minimum(point.price, point.use, point.curve, point.weight, passes)


@dataclass(frozen=True, eq=False)
class _Point:
    price: FloatArray
    dual: float
    use: FloatArray
    curve: FloatArray
    weight: FloatArray


def _evaluate(options: Options, floor: FloatArray, ceiling: FloatArray, price: FloatArray, gamma: float) -> _Point:
    m = len(price)
    use, curve, weight = np.empty(m), np.empty((m, m)), np.empty(len(options.value))
    total = smoothed(*options.columns, price, gamma, use, curve, weight)
    up, down = price > 0.0, price < 0.0
    total += float(price[up] @ ceiling[up] + price[down] @ floor[down])
    return _Point(price, total, use, curve, weight)


def _slopes(point: _Point, floor: FloatArray, ceiling: FloatArray, within: Interval) -> tuple[FloatArray, FloatArray]:
    """Derivative by each price on the side where it falls, and which prices are free to move that way."""
    price = point.price
    upward, downward = ceiling - point.use, floor - point.use
    slope = np.where(price > 0.0, upward, np.where(price < 0.0, downward, 0.0))
    at_zero = price == 0.0
    slope = np.where(at_zero & (upward < 0.0), upward, slope)
    slope = np.where(at_zero & (downward > 0.0), downward, slope)
    moving = (slope != 0.0) & ~((slope < 0.0) & (price >= within.high)) & ~((slope > 0.0) & (price <= within.low))
    return np.where(moving, slope, 0.0), moving


def _newton_step(
    curve: FloatArray, slope: FloatArray, moving: FloatArray, scale: FloatArray, damping: float, gamma: float
) -> FloatArray:
    """The damped Newton step in units in which one message counts alike in every row."""
    unit = scale[moving]
    matrix = curve[np.ix_(moving, moving)] / np.outer(unit, unit)
    right = slope[moving] / unit
    diagonal = matrix.diagonal()
    typical = max(float(diagonal.max(initial=0.0)), 1.0 / gamma)
    # Where nobody is near a switch there is no curvature: a step of at most 4 γ towards where somebody is.
    flat = np.where(diagonal < 1e-3 / gamma, np.abs(right) / (4.0 * gamma), 0.0)
    matrix = matrix + np.diag(damping * typical + flat)
    step: FloatArray = -np.linalg.solve(matrix, right) / unit
    return step


@dataclass(frozen=True, eq=False)
class Finished:
    """The end of the descent in γ.

    Attributes:
        minimum: at the smallest γ, over the options that were open then.
        options: those options.
        passes: over options, all told.
    """

    minimum: Minimum
    options: Options
    passes: int


def descend(
    options: Options,
    floor: FloatArray,
    ceiling: FloatArray,
    price: FloatArray,
    within: Interval,
    scale: FloatArray,
    gammas: list[float],
    *,
    settle: float,
) -> Finished:
    """Minimise with one γ after the other; users whose option no price nearby changes are settled on the way.

    Args:
        settle: half width of "nearby", in γ.
    """
    passes = 0
    for gamma in gammas:
        minimum = minimise(options, floor, ceiling, price, within, scale, gamma, 0.05)
        price = minimum.price
        passes += minimum.passes
        if gamma != gammas[-1]:
            within = within.around(price, settle * gamma / scale)
            fixed, left = narrow(options, within.low, within.high)
            use = options.usage(fixed[fixed >= 0], len(price))
            floor, ceiling, options = floor - use, ceiling - use, left
    return Finished(minimum, options, passes)
