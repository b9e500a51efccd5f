"""Semi-smooth Newton on the dual of users' options, smoothed a little and then less and less.

With weights x over a user's options, max_x Σ r·x − γ/2 Σ x² over the simplex is once differentiable in the prices: its
x is the projection of r / γ onto the simplex (Nesterov 2005, "Smooth minimization of non-smooth functions"; the same
term as in ECLIPSE). Its generalised Hessian is that of few users, those whose best options lie within γ, so that a step
costs one pass over options and a small linear system. For γ small enough the solution is that of γ = 0 (Mangasarian and
Meyer 1979, "Nonlinear perturbation of linear programs").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homing.planning.layout import FloatArray, Rows
from homing.planning.options import Options, narrow
from homing.planning.smoothing import mirror, smoothed
from homing.planning.threads import Pool

#: Users whom one thread visits at a time, and the order in which sums are made.
_BLOCK = 2**13
#: Damping up to which a step promises about what there is to win.
_FREE = 1e-6
_SEARCHES = 24
#: How far prices may at least be off, in γ.
_LEAST = 4.0
#: Steps that go farther than so many times what prices may be off are damped before they are tried, up to a damping.
_FAR, _FREE_OF_SIZE = 4.0, 1.0


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
class Dual:
    """The dual of some users' options.

    Attributes:
        options: of the users.
        rows: the limits.
        floor, ceiling: (m,) units that are left for them.
        scale: (m,) units that one message typically uses of each row.
        pool: threads that pass over options.
    """

    options: Options
    rows: Rows
    floor: FloatArray
    ceiling: FloatArray
    scale: FloatArray
    pool: Pool

    def of_limits(self, price: FloatArray) -> float:
        """What the limits themselves are worth at prices: Σ p⁺ · ceiling − p⁻ · floor."""
        up, down = price > 0.0, price < 0.0
        return float(price[up] @ self.ceiling[up] + price[down] @ self.floor[down])

    def narrowed(self, within: Interval) -> tuple[FloatArray, Dual]:
        """Messages and costs by cell (1 + K, cells) of users whose option no price in an interval changes; the rest."""
        counted, options = narrow(self.options, self.rows, within.low, within.high)
        use = self.rows.usage(counted)
        return counted, replace(self, options=options, floor=self.floor - use, ceiling=self.ceiling - use)


@dataclass(frozen=True, eq=False)
class Minimum:
    """Prices that minimise the smoothed dual, and what they imply.

    Attributes:
        price: (m,).
        counted: (1 + K, cells) messages and costs of users at the smoothed weights.
        curve: (m, m) generalised Hessian.
        weight: (O,) of the options.
        gap: by how much the dual without smoothing lies above the value of the weights: what is not yet known.
        passes: over options.
    """

    price: FloatArray
    counted: FloatArray
    curve: FloatArray
    weight: FloatArray
    gap: float
    passes: int


def minimise(
    dual: Dual,
    price: FloatArray,
    within: Interval,
    gamma: float,
    reach: FloatArray,
    tolerance: float,
    *,
    enough: float,
    loose: float,
    most: int,
    blind: bool,
) -> Minimum:
    """Minimise the dual, smoothed by γ, over prices in an interval.

    Args:
        price: (m,) where to begin.
        within: where prices may be.
        gamma: γ, in units of value.
        reach: (m,) how far prices may be off: what few users near a switch say of the curvature is believed so far.
        tolerance: largest deviation of use from its bound that is taken for none, in messages.
        enough: gap at which to stop, in units of value, where no price at zero wants to move.
        loose: a step that promises less of the dual, in the same units, is the last, and is taken without a look at
            where it leads, if that is within reach: all but the price is then what it was before.
        most: steps.
        blind: whether the last of these is taken so too.
    """
    m = len(price)
    weight, spare, worth = (np.empty(len(dual.options.value)) for _ in range(3))
    point, scale = _evaluate(dual, within.clip(price), gamma, weight, worth), dual.scale
    damping, passes, reach = 1e-10, 1, np.maximum(reach, _LEAST * gamma / scale)
    for turn in range(most):
        slope, moving = _slopes(dual, point, within)
        if not moving.any() or np.all(np.abs(slope[moving]) <= tolerance * scale[moving]):
            break
        if point.lost <= enough and not moving[point.price == 0.0].any():
            break
        better = None
        for _ in range(_SEARCHES):
            step = np.zeros(m)
            step[moving] = _newton_step(point.curve, slope, moving, scale, damping, gamma, reach)
            if damping < _FREE_OF_SIZE and np.any(np.abs(step) > _FAR * reach):  # not worth a pass
                damping = max(damping * 30.0, 1e-8)
                continue
            moved = within.clip(point.price + step)
            start = np.where(point.price != 0.0, point.price, -slope)  # the side on which a price at zero may move
            moved = np.where(moved * start < 0.0, 0.0, moved)
            promised = float(slope @ (moved - point.price))
            last = (-loose < promised < 0.0 and damping <= _FREE) or (blind and turn == most - 1)
            if last and np.all(np.abs(moved - point.price) <= reach):
                return Minimum(moved, point.counted, point.curve, point.weight, point.lost, passes)
            trial = _evaluate(dual, moved, gamma, spare, worth)
            passes += 1
            if trial.dual <= point.dual + 1e-4 * min(promised, 0.0) and not np.array_equal(moved, point.price):
                better = trial
                damping = max(damping / 10.0, 1e-10)
                break
            damping = max(damping * 30.0, 1e-8)
        if better is None:
            break
        spare, point = point.weight, better
    return Minimum(point.price, point.counted, point.curve, point.weight, point.lost, passes)


@dataclass(frozen=True, eq=False)
class _Point:
    price: FloatArray
    dual: float
    counted: FloatArray
    use: FloatArray
    curve: FloatArray
    weight: FloatArray
    lost: float


def _evaluate(dual: Dual, price: FloatArray, gamma: float, weight: FloatArray, worth: FloatArray) -> _Point:
    options, rows = dual.options, dual.rows
    m, table = len(price), rows.tables(price)
    shape = table.shape

    def visit(begin: int) -> tuple[float, float, FloatArray, FloatArray]:
        counted, curve, end = np.empty(shape), np.empty((m, m)), min(begin + _BLOCK, len(options))
        some = begin, end, table, gamma, rows.start, rows.row, rows.cost, counted, curve, weight, worth
        return *smoothed(*options.columns, *some), counted, curve

    begins = range(0, max(1, len(options)), _BLOCK)
    parts = [visit(0)] if len(begins) == 1 else list(dual.pool.map(visit, begins))
    total, lost, counted, curve = parts[0]
    for more in parts[1:]:
        total, lost, counted, curve = total + more[0], lost + more[1], counted + more[2], curve + more[3]
    mirror(curve)
    use = rows.usage(counted)
    up, down = price > 0.0, price < 0.0
    lost += float(np.abs(price[up] * (dual.ceiling - use)[up]).sum())
    lost += float(np.abs(price[down] * (dual.floor - use)[down]).sum())
    return _Point(price, total + dual.of_limits(price), counted, use, curve, weight, lost)


def _slopes(dual: Dual, point: _Point, within: Interval) -> tuple[FloatArray, FloatArray]:
    """Derivative by each price on the side where it falls, and which prices are free to move that way."""
    price = point.price
    upward, downward = dual.ceiling - point.use, dual.floor - point.use
    slope = np.where(price > 0.0, upward, np.where(price < 0.0, downward, 0.0))
    at_zero = price == 0.0
    slope = np.where(at_zero & (upward < 0.0), upward, slope)
    slope = np.where(at_zero & (downward > 0.0), downward, slope)
    moving = (slope != 0.0) & ~((slope < 0.0) & (price >= within.high)) & ~((slope > 0.0) & (price <= within.low))
    return np.where(moving, slope, 0.0), moving


def _newton_step(
    curve: FloatArray,
    slope: FloatArray,
    moving: FloatArray,
    scale: FloatArray,
    damping: float,
    gamma: float,
    reach: FloatArray,
) -> FloatArray:
    """The damped Newton step in units in which one message counts alike in every row."""
    unit = scale[moving]
    matrix = curve[np.ix_(moving, moving)] / np.outer(unit, unit)
    right = slope[moving] / unit
    diagonal = matrix.diagonal()
    typical = max(float(diagonal.max(initial=0.0)), 1.0 / gamma)
    # Where hardly anybody is near a switch there is little curvature: a step towards where somebody is.
    flat = np.maximum(np.abs(right) / (reach[moving] * unit) - diagonal, 0.0)
    matrix = matrix + np.diag(damping * typical + flat)
    step: FloatArray = -np.linalg.solve(matrix, right) / unit
    return step
