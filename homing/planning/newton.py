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

from homing.planning.compiled import compiled, inlined
from homing.planning.layout import FloatArray, Rows
from homing.planning.options import Options, best_options, count_option, narrow, worth_of

_STEPS = 40
_SEARCHES = 24
#: Deviation of use from its bound that is taken for none, in messages.
_TOLERANCE = 0.05
#: From one γ to the next, and half width, in γ, of the neighbourhood of prices outside of which users are settled.
_SHRINK = 8.0
_REACH = 4.0
#: Open users who are moved one by one at the end, at least.
_BENCH = 4096


@inlined
def add_outer(o: Any, p: Any, factor: Any, cell: Any, cost: Any, start: Any, row: Any, kind: Any, curve: Any) -> Any:
    """Add factor · a bᵀ to curve, with a and b the units that options o and p use of each row."""
    for d in range(cell.shape[1]):
        c = cell[o, d]
        if c < 0:
            break
        for e in range(start[c], start[c + 1]):
            i = row[e]
            a = factor if kind[i] == 0 else factor * cost[o, d, kind[i] - 1]
            for g in range(cell.shape[1]):
                b = cell[p, g]
                if b < 0:
                    break
                for f in range(start[b], start[b + 1]):
                    j = row[f]
                    curve[i, j] += a if kind[j] == 0 else a * cost[p, g, kind[j] - 1]


@compiled
def smoothed(
    first: Any,
    value: Any,
    cell: Any,
    cost: Any,
    table: Any,
    gamma: Any,
    start: Any,
    row: Any,
    kind: Any,
    counted: Any,
    curve: Any,
    weight: Any,
) -> Any:
    """Smoothed best options; what they use (1 + K, cells), its Hessian (m, m) and the weights (O,) are written.

    Projection onto the simplex: options whose weight would be negative are dropped until none is (Michelot 1986).

    Args:
        table: (1 + K, cells), of prices.
        start, row, kind: the rows of each cell, and what each row counts.

    Returns:
        Σ over users of the smoothed best option, and by how much more the best one is worth than the weighted ones.
    """
    counted[:] = 0.0
    curve[:] = 0.0
    total = 0.0
    lost = 0.0
    widest = 1
    for u in range(first.shape[0] - 1):
        widest = max(widest, first[u + 1] - first[u])
    worth = np.empty(widest)
    for u in range(first.shape[0] - 1):
        begin = first[u]
        top, second, which = -np.inf, -np.inf, begin
        for o in range(begin, first[u + 1]):
            r = worth_of(o, value, cell, cost, table)
            worth[o - begin] = r
            weight[o] = 0.0
            if r > top:
                second, top, which = top, r, o
            elif r > second:
                second = r
        if second <= top - gamma:
            weight[which] = 1.0
            total += top - 0.5 * gamma
            count_option(which, 1.0, cell, cost, counted)
            continue
        count, mass = 0, 0.0
        for o in range(begin, first[u + 1]):
            if worth[o - begin] > top - gamma:
                weight[o] = 1.0
                count += 1
                mass += worth[o - begin]
        level = (mass - gamma) / count
        dropped = 1
        while dropped:
            dropped = 0
            for o in range(begin, first[u + 1]):
                if weight[o] == 1.0 and worth[o - begin] <= level:
                    weight[o] = 0.0
                    mass -= worth[o - begin]
                    dropped += 1
            count -= dropped
            level = (mass - gamma) / count
        # Curvature: Σ a aᵀ − (Σ a)(Σ a)ᵀ / count over the options with a weight, each with units a of the rows.
        for o in range(begin, first[u + 1]):
            if weight[o] == 0.0:
                continue
            x = (worth[o - begin] - level) / gamma
            weight[o] = x
            total += x * worth[o - begin] - 0.5 * gamma * x * x
            lost += x * (top - worth[o - begin])
            count_option(o, x, cell, cost, counted)
            add_outer(o, o, 1.0 / gamma, cell, cost, start, row, kind, curve)
            for p in range(begin, first[u + 1]):
                if weight[p] != 0.0:
                    add_outer(o, p, -1.0 / (gamma * count), cell, cost, start, row, kind, curve)
    return total, lost


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

    def stops(self, price: FloatArray, whole: Interval) -> bool:
        """Whether a price lies at an end that is not the end of the whole."""
        near = 1e-9 * (self.high - self.low)
        at_low = (price <= self.low + near) & (self.low > whole.low)
        at_high = (price >= self.high - near) & (self.high < whole.high)
        return bool((at_low | at_high).any())


@dataclass(frozen=True, eq=False)
class Minimum:
    """Prices that minimise the smoothed dual, and what they imply.

    Attributes:
        price: (m,).
        use: (m,) units that users use at the smoothed weights.
        curve: (m, m) generalised Hessian.
        weight: (O,) of the options.
        gap: by how much the dual without smoothing lies above the value of the weights: what is not yet known.
        passes: over options.
    """

    price: FloatArray
    use: FloatArray
    curve: FloatArray
    weight: FloatArray
    gap: float
    passes: int


def minimise(
    options: Options,
    rows: Rows,
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
        rows: the limits.
        floor, ceiling: (m,) units that are left for them.
        price: (m,) where to begin.
        within: where prices may be.
        scale: (m,) units that one message typically uses of each row.
        gamma: γ, in units of value.
        tolerance: largest deviation of use from its bound that is taken for none, in messages.
    """
    m = len(price)
    point = _evaluate(options, rows, floor, ceiling, within.clip(price), gamma)
    damping, passes = 1e-10, 1
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
            trial = _evaluate(options, rows, floor, ceiling, moved, gamma)
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
    return Minimum(point.price, point.use, point.curve, point.weight, point.lost, passes)


@dataclass(frozen=True, eq=False)
class _Point:
    price: FloatArray
    dual: float
    use: FloatArray
    curve: FloatArray
    weight: FloatArray
    lost: float


def _evaluate(
    options: Options, rows: Rows, floor: FloatArray, ceiling: FloatArray, price: FloatArray, gamma: float
) -> _Point:
    m = len(price)
    table, curve, weight = rows.tables(price), np.empty((m, m)), np.empty(len(options.value))
    counted = np.empty(table.shape)
    total, lost = smoothed(*options.columns, table, gamma, rows.start, rows.row, rows.cost, counted, curve, weight)
    use = rows.usage(counted)
    up, down = price > 0.0, price < 0.0
    total += float(price[up] @ ceiling[up] + price[down] @ floor[down])
    lost += float(np.abs(price[up] * (ceiling - use)[up]).sum() + np.abs(price[down] * (floor - use)[down]).sum())
    return _Point(price, total, use, curve, weight, lost)


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
        price: (m,).
        minimum: at the smallest γ.
        use: (m,) units of all users that were open.
        options: of the users who were open then, for its weights.
        bench: of the users who were open when there were few enough to move them one by one; `options.origin` counts
            among these.
        passes: over options, all told.
    """

    price: FloatArray
    minimum: Minimum
    use: FloatArray
    options: Options
    bench: Options
    passes: int


def descend(
    options: Options,
    rows: Rows,
    floor: FloatArray,
    ceiling: FloatArray,
    price: FloatArray,
    whole: Interval,
    scale: FloatArray,
    gamma: float,
    *,
    last: float,
    enough: float,
) -> Finished:
    """Minimise with one γ after the other until next to nothing is unknown.

    Users whose option no price nearby changes are settled on the way; should the prices leave that neighbourhood, they
    are opened again.

    Args:
        whole: where prices may be.
        gamma: the first one, in units of value.
        last: γ at which to stop in any case.
        enough: gap at which to stop, in units of value.
    """
    passes = 0
    bench = options
    narrower: list[tuple[Options, FloatArray, FloatArray, Interval, FloatArray]] = []
    within = whole
    reach = _REACH
    before: tuple[float, FloatArray] | None = None
    least, tie = max(last, 1e-9 * gamma), 1e-4 * gamma
    fixed = np.zeros(len(price))
    while True:
        minimum = minimise(options, rows, floor, ceiling, price, within, scale, gamma, _TOLERANCE)
        passes += minimum.passes
        price = minimum.price
        if narrower and within.stops(price, whole):
            options, floor, ceiling, within, fixed = narrower.pop()
            reach *= 2.0
            continue
        if minimum.gap <= enough or gamma <= least:
            return Finished(price, minimum, fixed + minimum.use, options, bench, passes)
        if before is not None:
            # While nobody's set of options changes, prices are linear in γ: where they would be at γ = 0.
            ahead = whole.clip(price + (price - before[1]) * gamma / (before[0] - gamma))
            ahead = np.where(ahead * price < 0.0, 0.0, ahead)
            passes += 1
            if _gap(options, rows, floor, ceiling, ahead, minimum) <= enough:
                return Finished(ahead, minimum, fixed + minimum.use, options, bench, passes)
        before = (gamma, price)
        narrower.append((options, floor, ceiling, within, fixed))
        within = whole.around(price, reach * gamma / scale)
        use, options = narrow(options, rows, within.low, within.high)
        floor, ceiling, fixed = floor - use, ceiling - use, fixed + use
        # Ties are kept on the bench: the last digits of prices break them, and moving them costs nothing.
        if gamma > tie and (len(options) >= _BENCH or len(bench) > 4 * _BENCH):
            bench = options = options.restarted()
        gamma /= _SHRINK


def _gap(
    options: Options, rows: Rows, floor: FloatArray, ceiling: FloatArray, price: FloatArray, minimum: Minimum
) -> float:
    """By how much the dual at some prices lies above the value of the weights of a minimum."""
    best = np.empty(len(options), dtype=np.int64)
    total: float = best_options(*options.columns, rows.tables(price), best)
    up, down = price > 0.0, price < 0.0
    total += float(price[up] @ ceiling[up] + price[down] @ floor[down])
    return total - float(minimum.weight @ options.value)
