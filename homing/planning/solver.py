"""`solve`: the plan for a problem, by prices.

1. Sampled dual steps give rough prices, from a few thousand users; or yesterday's are taken, and the samples left out.
2. On growing samples of users the dual is minimised by Newton steps; the sample's noise gives an interval for what
   prices take off each kind of candidate. Users whose choice nothing in it changes are fixed in one pass (`screen`);
   only the others have options.
3. The last sample is everybody: one pass over the candidates, then the dual of the open users alone (`descend`).
4. Open users get one option each (`Rounding`).

The dual value at the prices bounds every plan's value from above, so that the answer tells how good it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_finite, check_shape
from homing.planning.descent import Finished, descend
from homing.planning.deviation import deviation, spread
from homing.planning.layout import FloatArray, IntArray, Layout, lay_out
from homing.planning.nearest import nearest_inside
from homing.planning.newton import Dual, Interval
from homing.planning.plan import Plan
from homing.planning.problem import PlanningProblem
from homing.planning.rounding import Rounding
from homing.planning.sampling import sample, steps
from homing.planning.screening import Box, Screened, screen
from homing.planning.sets import best_total
from homing.planning.threads import Pool, pool_of
from homing.planning.unaffordable import solve_without, unaffordable

#: Users with whom rough prices are found, and those of them who tell what is typical.
_FEW, _TYPICAL = 4096, 512
#: Users of the first sample, and how many more there are in the next.
_FIRST_SAMPLE = 2048
_GROWTH = 8
#: Half widths of the intervals, in standard deviations of the prices from a sample: while it is samples that are
#: screened, and for everybody. A narrow one leaves few users open; where prices leave it the bound is a little loose.
_SURE, _SURE_OF_ALL = 3.0, 2.5
#: γ of the first Newton steps, in what prices are off: with samples; and for everybody the least, and what makes it
#: larger, open users a limit: where few are near a switch, steps are many.
_SMOOTH, _SMOOTH_LEAST, _USERS_A_LIMIT = 0.5, 0.05, 80.0
#: A sample's last step promises no more than so many messages' worth: noise alone takes prices farther.
_LOOSE = 8.0
#: Gap at which the descent stops, and what the bound may lie too high where prices leave the box, as shares of the
#: value.
_ENOUGH, _NEAR = 5e-7, 4e-6
#: How far prices may go from the middle of a box, in its half widths.
_FAR = 4.0
#: Gap, as a share of all that is at stake, from which on a minimum was not found; and boxes that are tried.
_LOST, _ATTEMPTS = 1e-3, 24
#: Where prices that are given are cut, in typical values a unit.
_FARTHEST = 1e9
#: What yesterday's prices are off, a standard deviation, in typical values a unit: where all move alike, which adds up
#: in a cell; and, over the root of the messages of a limit, what chance moves, for values change one by one.
_DRIFT, _CHANCE = 0.0005, 0.15


def solve(
    problem: PlanningProblem, *, warm_start: NDArray[np.float64] | Plan | None = None, seed: int = 0, threads: int = 0
) -> Plan:
    """Plan who gets what.

    The plan keeps every limit; `plan.gap` says how much a better one could be worth at most. It depends on the problem
    and the seed alone, not on threads.

    Args:
        problem: candidates and limits.
        warm_start: yesterday's plan or prices, one for each of `problem.limits`: where the search begins.
        seed: of the samples.
        threads: that pass over candidates; 0 for one a core.

    Raises:
        InfeasibleFloorsError: if it is proven that floors cannot be met beside the other limits; it says which, and by
            how much.
        UnmetFloorsError: if no plan was found that meets them, though there may be one.

    References:
        Basu, Ghoting, Mazumder, Pan (2020), "ECLIPSE: an extreme scale linear program solver for web-applications",
        ICML; Bertsekas (2016), "Nonlinear Programming", chapter 6 (duality, complementary slackness).

    Example:
        >>> from homing.planning import Budget, PlanningProblem
        >>> problem = PlanningProblem(
        ...     user=[0, 0, 1, 1], value=[0.5, 0.4, 0.3, 0.1], codes={"channel": [0, 1, 0, 1]},
        ...     budgets=[Budget(1, {"channel": "push"})], names={"channel": ["push", "email"]})
        >>> plan = solve(problem)
        >>> plan.chosen.tolist(), round(plan.value, 3), plan.gap < 1e-6
        ([1, 2], 0.7, True)
    """
    if problem.priorities:
        from homing.planning.priorities import solve_in_order

        return solve_in_order(problem, warm_start=warm_start, seed=seed, threads=threads)
    rng = np.random.default_rng(check_count("seed", seed, least=0))
    with pool_of(threads) as pool:
        layout = lay_out(problem, pool)
        if (out := unaffordable(layout)) is None:
            return _Search(problem, layout, rng, pool).plan(warm_start)
    return solve_without(problem, out, lambda rest: solve(rest, warm_start=warm_start, seed=seed, threads=threads))


def dual_prices(
    problem: PlanningProblem, *, warm_start: NDArray[np.float64] | None = None, seed: int = 0, threads: int = 0
) -> FloatArray:
    """Prices (b,) at which the dual value is least, signed as in `Plan`: what `solve` finds before it makes a plan.

    Where there are few users the plan takes most of the time, and for prices alone it is not needed. Floors that cannot
    be met are no error here: their prices end at a bound.

    Args:
        problem: candidates and limits; priorities are not looked at.
        warm_start: prices where the search begins, as for `solve`.
        seed: of the samples.
        threads: that pass over candidates; 0 for one a core.

    Example:
        >>> from homing.planning import Budget, PlanningProblem
        >>> problem = PlanningProblem(user=[0, 1, 2], value=[3.0, 2.0, 1.0], budgets=[Budget(1)])
        >>> 2.0 - 1e-6 <= float(dual_prices(problem)[0]) <= 3.0 + 1e-6
        True
    """
    layout = lay_out(problem)
    rng = np.random.default_rng(check_count("seed", seed, least=0))
    with pool_of(threads) as pool:
        search = _Search(problem, layout, rng, pool)
        _, done = search.minimum(warm_start)
        return search.rounding().of_limits(done.price)


class _Search:
    def __init__(self, problem: PlanningProblem, layout: Layout, rng: np.random.Generator, pool: Pool):
        self.problem, self.layout, self.rng, self.pool = problem, layout, rng, pool
        self.rows = layout.rows
        self.pick = np.empty((layout.n_users, layout.most), dtype=np.int32)
        self.few = sample(layout.n_users, _FEW, rng)
        self.worth = self._typical_value(self.few[:: max(1, len(self.few) // _TYPICAL)])
        self.unit = layout.unit
        self.scale = self.unit[self.rows.cost]
        # No floor subsidises without end: where that is not enough it is infeasible.
        most = 1000.0 * max(self.worth, float(np.abs(layout.value[:100_000]).max(initial=0.0))) / self.scale
        self.whole = Interval(
            np.where(np.isfinite(self.rows.floor), -most, 0.0), np.where(np.isfinite(self.rows.ceiling), np.inf, 0.0)
        )

    def plan(self, warm_start: NDArray[np.float64] | Plan | None) -> Plan:
        return self.rounding().plan(*self.minimum(warm_start))

    def rounding(self) -> Rounding:
        """What makes a plan of prices."""
        return Rounding(self.problem, self.layout, self.pick, self.pool, self.worth, self.scale)

    def minimum(self, warm_start: NDArray[np.float64] | Plan | None) -> tuple[Screened, Finished]:
        """Everybody, screened, and the prices at which the dual value is least."""
        if warm_start is not None and (found := self._settle(*self._yesterday(warm_start), lost=True)):
            return found
        price, off = self._begin()
        for size in _sizes(self.layout.n_users):
            price, off = self._sampled(size, price, off)
        found = self._settle(price, off, lost=False)
        assert found is not None
        return found

    def _sampled(self, size: int, price: FloatArray, off: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Prices of a sample, and how far off they may be, as standard deviations of tables."""
        users = sample(self.layout.n_users, size, self.rng)
        size, n = len(users), self.layout.n_users
        tables = self.rows.tables(price)
        box = Box(tables - _SURE * off, tables + _SURE * off)
        # Where they leave the box they are about right in any case.
        screened = screen(self.layout, users, box, self.pick, self.pool)
        last = _SMOOTH * self._typical(off)
        reach = self.rows.largest(_SURE * off)
        done = self._descend(
            screened, size / n, price, (last, last), reach, self.whole, last=last, loose=_LOOSE * self.worth
        )
        off = deviation(self.rows, screened, done, self.scale, self.worth, size / n, size)
        # A sample in which hardly anybody's choice answers to a price does not know it to more than what is typical.
        most = self.worth / self.unit[:, None]
        return done.price, np.minimum(off, most) + 1e-6 * most

    def _settle(self, price: FloatArray, off: FloatArray, *, lost: bool) -> tuple[Screened, Finished] | None:
        """Screen everybody and minimise their dual to the end; anew where prices end outside of the box.

        Args:
            price: (m,) where to begin.
            off: how far these may be off, as standard deviations of tables.
            lost: if some prices want to go far beyond it, this was no place to begin: then there is no result.
        """
        users = range(self.layout.n_users)
        widest = _SURE_OF_ALL * off / 4.0
        near = _NEAR if _sizes(len(users)) else 0.0  # of few users another pass costs nothing
        rounding = self.rounding()

        def dual(screened: Screened, price: FloatArray) -> float:
            return rounding.dual(screened, price, screened.options.best(self.rows.tables(price))[1])

        for attempt in range(_ATTEMPTS):
            tables, width = self.rows.tables(price), _SURE_OF_ALL * off
            box = Box(tables - width, tables + width)
            screened = screen(self.layout, users, box, self.pick, self.pool)
            few = _USERS_A_LIMIT * len(self.rows) / max(1, len(screened.options))
            typical = self._typical(off)
            gamma = _SMOOTH * typical, min(_SMOOTH, max(_SMOOTH_LEAST, few)) * typical
            # Where fixed users alone use more than there is, nothing but the end of what is allowed stops a price.
            reach = self.rows.largest(width)
            within = self.whole.around(price, _FAR * reach)
            done = self._descend(screened, 1.0, price, gamma, reach, within, last=0.0, loose=0.0)
            outside = box.outside(self.rows.tables(done.price))
            total = abs(screened.value) + float(np.abs(screened.options.value).sum())
            stopped = within.stops(done.price, self.whole)
            endless = bool(np.any((done.price == self.whole.low) & (self.whole.low < 0.0)))  # a floor cannot be met
            found = done.minimum.gap <= _LOST * total or endless
            if lost and (stopped or not found):
                return None
            if found and not outside.any():
                return screened, done
            inside = nearest_inside(box, price, done.price, done.curve, self.rows)
            above = dual(screened, inside) - dual(screened, done.price)
            if attempt == _ATTEMPTS - 1 or (found and not stopped and above <= near * abs(screened.value)):
                break
            price = done.price
            # They are close to where they belong now; a box that fails again grows, and one in which steps ran out on
            # the way, for many values are tied: they are smoothed more then, and longer.
            off = (widest + 2.0 * outside) / _SURE_OF_ALL if found else 4.0 * off
            widest = 4.0 * widest
        return screened, replace(done, sure=inside)  # outside of the box the dual is not known

    def _descend(
        self,
        screened: Screened,
        share: float,
        price: FloatArray,
        gamma: tuple[float, float],
        reach: FloatArray,
        within: Interval,
        *,
        last: float,
        loose: float,
    ) -> Finished:
        """The dual of the open users at its least, with a share of the limits less what the fixed use."""
        options, rows = screened.options, self.rows
        floor, ceiling = rows.floor * share - screened.use, rows.ceiling * share - screened.use
        enough = _ENOUGH * abs(screened.value + float(options.value.sum()))
        dual = Dual(options, rows, floor, ceiling, self.scale, self.pool)
        return descend(dual, price, within, *gamma, reach, last=last, enough=enough, loose=loose)

    def _typical(self, off: FloatArray) -> float:
        """What prices are off, in units of value."""
        return max(float(np.sqrt(np.mean(np.square(off * self.unit[:, None])))), 1e-6 * self.worth)

    # Where to begin -------------------------------------------------------------------------------------------------

    def _yesterday(self, warm_start: NDArray[np.float64] | Plan) -> tuple[FloatArray, FloatArray]:
        """Yesterday's prices, and how far off they are taken to be, as standard deviations of tables.

        A sample does not tell it: its own noise is more than prices move in a day.
        """
        given = warm_start.prices if isinstance(warm_start, Plan) else warm_start
        of_limit = check_finite("warm_start", check_shape("warm_start", given, (len(self.rows.of_limit),)))
        counted = np.bincount(self.rows.of_limit, weights=of_limit, minlength=len(self.rows))
        unit = self.worth / self.scale
        price = self.whole.clip(np.clip(counted.astype(np.float64), -_FARTHEST * unit, _FARTHEST * unit))
        messages = np.maximum(np.minimum(np.abs(self.rows.floor), self.rows.ceiling) / self.scale, 1.0)
        chance = spread(self.rows, np.diag(np.square(_CHANCE * unit) / messages))
        return price, chance + self.rows.tables(_DRIFT * unit)

    def _begin(self) -> tuple[FloatArray, FloatArray]:
        """Rough prices, and how far off they may be, as standard deviations of tables."""
        unit = self.worth / self.scale
        users = self.few
        batches = users[self.rng.integers(0, len(users), (96, 128))] if len(users) else np.empty((0, 1), np.int64)
        n = max(1, self.layout.n_users)
        price = steps(
            self.layout.offsets,
            self.layout.reals,
            self.layout.cell,
            *self.layout.columns[4:],
            batches,
            self.rows.start,
            self.rows.row,
            self.rows.cost,
            self.rows.floor / n,
            self.rows.ceiling / n,
            unit,
            self.whole.low,
            np.zeros(len(self.rows)),
        )
        width = np.maximum(0.15 * np.abs(price), 0.08 * unit)
        return price, spread(self.rows, np.diag(np.square(width)))

    def _typical_value(self, users: IntArray) -> float:
        """Mean of the best value of users, where one is above 0; of the absolute values where none is."""
        zero = np.zeros((1 + self.rows.n_costs, self.rows.n_cells))
        total = best_total(*self.layout.columns, users, zero)
        if total > 0.0:
            return float(total) / len(users)
        return float(np.abs(self.layout.value[:100_000]).mean(dtype=np.float64)) if len(self.layout.value) else 1.0


def _sizes(n: int) -> list[int]:
    """Of the samples of n users."""
    return [size for size in (_FIRST_SAMPLE * _GROWTH**i for i in range(20)) if 4 * size < n]
