"""The dual of users' options without smoothing: Newton with one γ after the other, each smaller than the last.

Users who have only one option left near the prices are settled on the way, so that the last steps cost next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.planning.layout import FloatArray, Rows
from homing.planning.newton import Interval, Minimum, minimise
from homing.planning.options import Options, narrow

#: Deviation of use from its bound that is taken for none, in messages.
_TOLERANCE = 0.05
#: From one γ to the next, and half width, in γ, of the neighbourhood of prices outside of which users are settled.
_SHRINK = 8.0
_REACH = 4.0
#: Open users who are moved one by one at the end, at least.
_BENCH = 4096


@dataclass(frozen=True, eq=False)
class Finished:
    """The end of the descent in γ.

    Attributes:
        price: (m,).
        minimum: at the smallest γ.
        counted: (1 + K, cells) messages and costs of all users that were open.
        options: of the users who were open then, for its weights.
        bench: of the users who were open when there were few enough to move them one by one; `options.origin` counts
            among these.
        passes: over options, all told.
    """

    price: FloatArray
    minimum: Minimum
    counted: FloatArray
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
    wider: list[tuple[Options, Options, FloatArray, FloatArray, Interval, FloatArray]] = []
    within = whole
    reach = _REACH
    before: tuple[float, FloatArray] | None = None
    least, tie = max(last, 1e-9 * gamma), 1e-4 * gamma
    fixed = np.zeros((1 + rows.n_costs, rows.n_cells))
    while True:
        minimum = minimise(options, rows, floor, ceiling, price, within, scale, gamma, _TOLERANCE)
        passes += minimum.passes
        price = minimum.price
        if wider and within.stops(price, whole):
            options, bench, floor, ceiling, within, fixed = wider.pop()
            reach *= 2.0
            continue
        if minimum.gap <= enough or gamma <= least:
            return Finished(price, minimum, fixed + minimum.counted, options, bench, passes)
        if before is not None:
            # While nobody's set of options changes, prices are linear in γ: where they would be at γ = 0.
            ahead = whole.clip(price + (price - before[1]) * gamma / (before[0] - gamma))
            ahead = np.where(ahead * price < 0.0, 0.0, ahead)
            passes += 1
            if _gap(options, rows, floor, ceiling, ahead, minimum) <= enough:
                return Finished(ahead, minimum, fixed + minimum.counted, options, bench, passes)
        before = (gamma, price)
        wider.append((options, bench, floor, ceiling, within, fixed))
        within = whole.around(price, reach * gamma / scale)
        counted, options = narrow(options, rows, within.low, within.high)
        use = rows.usage(counted)
        floor, ceiling, fixed = floor - use, ceiling - use, fixed + counted
        # Ties are kept on the bench: the last digits of prices break them, and moving them costs nothing.
        if gamma > tie and (len(options) >= _BENCH or len(bench) > 4 * _BENCH):
            bench = options = options.restarted()
        gamma /= _SHRINK


def _gap(
    options: Options, rows: Rows, floor: FloatArray, ceiling: FloatArray, price: FloatArray, minimum: Minimum
) -> float:
    """By how much the dual at some prices lies above the value of the weights of a minimum."""
    total = float(options.best(rows.tables(price))[1].sum())
    up, down = price > 0.0, price < 0.0
    total += float(price[up] @ ceiling[up] + price[down] @ floor[down])
    return total - float(minimum.weight @ options.value)
