"""The dual of users' options without smoothing: Newton with one γ after the other, each smaller than the last.

Users who have only one option left near the prices are settled on the way, so that the last steps cost next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homing.planning.layout import FloatArray, Rows
from homing.planning.newton import Interval, Minimum, minimise
from homing.planning.options import Options, close, narrow
from homing.planning.threads import Pool

#: Deviation of use from its bound that is taken for none, in messages.
_TOLERANCE = 0.05
#: From one γ to the next, and half width, in γ, of the neighbourhood of prices outside of which users are settled.
_SHRINK = 8.0
_REACH = 4.0
#: Steps of Newton at one γ; and of many users before the first are settled.
_STEPS, _ROUGH = 40, 3
#: Passes that these take at most where γ is large enough; and how much larger it may get.
_HARD, _LARGER = 8, 512.0
#: Open users who are moved one by one at the end, at least.
_BENCH = 4096


@dataclass(frozen=True, eq=False)
class Finished:
    """The end of the descent in γ.

    Attributes:
        price: (m,).
        minimum: at the smallest γ.
        curve: (m, m), the Hessian at the first γ, of all options.
        counted: (1 + K, cells) messages and costs of all users that were open.
        options: of the users who were open then, for its weights.
        bench: of the users who were open when there were few enough to move them one by one; `options.kept` counts
            among these.
        passes: over options, all told.
        sure: (m,) prices at which the dual value is known, for nobody who is settled would choose otherwise there.
    """

    price: FloatArray
    minimum: Minimum
    curve: FloatArray
    counted: FloatArray
    options: Options
    bench: Options
    passes: int
    sure: FloatArray


def descend(
    options: Options,
    rows: Rows,
    floor: FloatArray,
    ceiling: FloatArray,
    price: FloatArray,
    whole: Interval,
    scale: FloatArray,
    gamma: float,
    pool: Pool,
    *,
    last: float,
    enough: float,
    loose: float = 0.0,
) -> Finished:
    """Minimise with one γ after the other until next to nothing is unknown.

    Users whose option no price nearby changes are settled on the way; should the prices leave that neighbourhood, they
    are opened again.

    Args:
        whole: where prices may be.
        gamma: the first one, in units of value.
        pool: threads that pass over options.
        last: γ at which to stop in any case.
        enough: gap at which to stop, in units of value.
        loose: a step that promises less of the dual is not taken, in the same units.
    """
    passes = 0
    bench = options
    wider: list[tuple[Options, Options, FloatArray, FloatArray, Interval, FloatArray]] = []
    within = whole
    reach = _REACH
    before: tuple[float, FloatArray] | None = None
    curve: FloatArray | None = None
    least, tie = max(last, 1e-9 * gamma), 1e-4 * gamma
    fixed = np.zeros((1 + rows.n_costs, rows.n_cells))
    rough, first = last == 0.0 and len(options) > 4 * _BENCH, gamma
    while True:
        most = _ROUGH if rough else _STEPS
        minimum = minimise(options, rows, floor, ceiling, price, within, scale, gamma, _TOLERANCE, pool, loose, most)
        passes += minimum.passes
        price = minimum.price
        if rough and minimum.passes > _HARD and gamma < _LARGER * first:  # where many values are tied
            gamma *= _SHRINK
            continue
        curve = minimum.curve if curve is None else curve
        if wider and within.stops(price, whole):
            options, bench, floor, ceiling, within, fixed = wider.pop()
            reach *= 2.0
            continue
        if not rough and (minimum.gap <= enough or gamma <= least):
            return _finished(options, bench, rows, minimum, curve, fixed, 2.0 * gamma, passes)
        if before is not None:
            # While nobody's set of options changes, prices are linear in γ: where they would be at γ = 0.
            ahead = whole.clip(price + (price - before[1]) * gamma / (before[0] - gamma))
            ahead = np.where(ahead * price < 0.0, 0.0, ahead)
            passes += 1
            if _gap(options, rows, floor, ceiling, ahead, minimum) <= enough:
                return Finished(ahead, minimum, curve, fixed + minimum.counted, options, bench, passes, ahead)
        before = None if rough else (gamma, price)
        wider.append((options, bench, floor, ceiling, within, fixed))
        within = whole.around(price, reach * gamma / scale)
        counted, options = narrow(options, rows, within.low, within.high)
        use = rows.usage(counted)
        floor, ceiling, fixed = floor - use, ceiling - use, fixed + counted
        # Ties are kept on the bench: the last digits of prices break them, and moving them costs nothing.
        if gamma > tie and (len(options) >= _BENCH or len(bench) > 4 * _BENCH):
            bench = options = options.restarted()
        gamma, rough = gamma if rough else gamma / _SHRINK, False


def _finished(
    options: Options,
    bench: Options,
    rows: Rows,
    minimum: Minimum,
    curve: FloatArray,
    fixed: FloatArray,
    near: float,
    passes: int,
) -> Finished:
    """The end; of a bench that is too long, users stay for whom something else is worth nearly as much as the best."""
    counted = fixed + minimum.counted
    if options is bench and len(bench) > _BENCH:
        options = close(bench, rows.tables(minimum.price), near)
        minimum = replace(minimum, weight=minimum.weight[options.among(np.arange(len(options.value)))])
        options = bench = options.restarted()
    return Finished(minimum.price, minimum, curve, counted, options, bench, passes, minimum.price)


def _gap(
    options: Options, rows: Rows, floor: FloatArray, ceiling: FloatArray, price: FloatArray, minimum: Minimum
) -> float:
    """By how much the dual at some prices lies above the value of the weights of a minimum."""
    total = float(options.best(rows.tables(price))[1].sum())
    up, down = price > 0.0, price < 0.0
    total += float(price[up] @ ceiling[up] + price[down] @ floor[down])
    return total - float(minimum.weight @ options.value)
