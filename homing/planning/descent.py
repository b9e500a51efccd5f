"""The dual of users' options without smoothing: Newton with one γ after the other, each smaller than the last.

Users who have only one option left near the prices are settled on the way, so that the last steps cost next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homing.planning.layout import FloatArray, Rows
from homing.planning.newton import Dual, Interval, Minimum, minimise
from homing.planning.options import Options, close

#: Deviation of use from its bound that is taken for none, in messages.
_TOLERANCE = 0.05
#: From one γ to the next, and half width, in γ, of the neighbourhood of prices outside of which users are settled.
_SHRINK = 8.0
_REACH = 4.0
#: Steps of Newton at one γ; and of many users before the first are settled.
_STEPS, _ROUGH = 40, 2
#: Half width of that neighbourhood at least after the first steps, as a share of how far prices may have been off.
_LEFT = 0.05
#: Passes that these take at most where γ is large enough; and how much larger it may get.
_HARD, _LARGER = 8, 512.0
#: What the gap of many users falls to at least from one γ to the next, unless the minimum is elsewhere; how often that
#: is believed.
_FALLS, _STUCK = 0.9, 2
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
    dual: Dual,
    price: FloatArray,
    whole: Interval,
    gamma: float,
    finer: float,
    reach: FloatArray,
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
        gamma: of the first steps for many users, in units of value: where more are near a switch, these lead farther.
        finer: the first one with which all is found out.
        reach: (m,) how far prices may be off.
        last: γ at which to stop in any case.
        enough: gap at which to stop, in units of value.
        loose: a step that promises less of the dual, in the same units, is the last.
    """
    passes, rows, bench = 0, dual.rows, dual.options
    wider: list[tuple[Dual, Options, Interval, FloatArray]] = []
    within, steps = whole, reach
    around = _REACH
    before: tuple[float, FloatArray] | None = None
    curve: FloatArray | None = None
    least, tie, hardest = max(last, 1e-9 * finer), 1e-4 * finer, _LARGER * gamma
    fixed = np.zeros((1 + rows.n_costs, rows.n_cells))
    stuck, known = 0, np.inf
    many = rough = last == 0.0 and len(bench) > 4 * _BENCH
    early = enough if many else 0.0  # of few, what is enough is soon not what there is to know
    gamma = gamma if rough else finer
    while True:
        most, ends = _ROUGH if rough else _STEPS, {"enough": early, "loose": loose}
        minimum = minimise(dual, price, within, gamma, steps, _TOLERANCE, most=most, blind=rough, **ends)
        passes += minimum.passes
        price = minimum.price
        if rough and minimum.passes > _HARD and gamma < hardest:  # where many values are tied
            gamma, finer = gamma * _SHRINK, finer * _SHRINK
            continue
        curve = minimum.curve if curve is None else curve
        if wider and minimum.gap > early and within.stops(price, whole):
            dual, bench, within, fixed = wider.pop()
            around, steps = 2.0 * around, reach
            continue
        stuck, known = stuck + 1 if minimum.gap > _FALLS * known else 0, minimum.gap
        if not rough and (minimum.gap <= enough or gamma <= least or (many and stuck == _STUCK)):
            done = Finished(price, minimum, curve, fixed + minimum.counted, dual.options, bench, passes, price)
            return done if last > 0.0 else _shortened(done, rows, 2.0 * gamma)  # nobody of a sample is moved
        if before is not None:
            # While nobody's set of options changes, prices are linear in γ: where they would be at γ = 0.
            ahead = whole.clip(price + (price - before[1]) * gamma / (before[0] - gamma))
            ahead = np.where(ahead * price < 0.0, 0.0, ahead)
            passes += 1
            if _gap(dual, ahead, minimum) <= enough:
                return Finished(ahead, minimum, curve, fixed + minimum.counted, dual.options, bench, passes, ahead)
        before = None if rough else (gamma, price)
        wider.append((dual, bench, within, fixed))
        gamma = finer if rough else gamma
        near = np.maximum(around * gamma / dual.scale, _LEFT * reach if rough else 0.0)
        within, steps = whole.around(price, near), np.minimum(reach, near)
        counted, dual = dual.narrowed(within)
        fixed = fixed + counted
        # Ties are kept on the bench: the last digits of prices break them, and moving them costs nothing.
        if gamma > tie and (len(dual.options) >= _BENCH or len(bench) > 4 * _BENCH):
            bench = dual.options.restarted()
            dual = replace(dual, options=bench)
        gamma, rough = gamma if rough else gamma / _SHRINK, False


def _shortened(done: Finished, rows: Rows, near: float) -> Finished:
    """Of a bench that is too long, users stay for whom something else is worth nearly as much as the best."""
    if done.options is not done.bench or len(done.bench) <= _BENCH:
        return done
    options = close(done.bench, rows.tables(done.price), near)
    minimum = replace(done.minimum, weight=done.minimum.weight[options.among(np.arange(len(options.value)))])
    bench = options.restarted()
    return replace(done, minimum=minimum, options=bench, bench=bench)


def _gap(dual: Dual, price: FloatArray, minimum: Minimum) -> float:
    """By how much the dual at some prices lies above the value of the weights of a minimum."""
    best = float(dual.options.best(dual.rows.tables(price))[1].sum())
    return best + dual.of_limits(price) - float(minimum.weight @ dual.options.value)
