"""`solve`: the plan for a problem, by prices.

1. Sampled dual steps give rough prices, from a few thousand users.
2. On growing samples of users the dual is minimised by Newton steps; the sample's noise gives an interval for what
   prices take off each kind of candidate. Users whose choice nothing in it changes are fixed in one pass (`screen`);
   only the others have options.
3. The last sample is everybody: one pass over the candidates, then the dual of the open users alone.
4. Their weights are rounded, what is broken is mended, what is left is filled; where that falls short and few are open,
   an integer program chooses for them.

The dual value at the prices bounds every plan's value from above, so that the answer tells how good it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_finite, check_shape
from homing.planning.choosing import best_total, screen, steps
from homing.planning.exact import MOST_CANDIDATES, choose_exactly
from homing.planning.layout import FloatArray, IntArray, Layout, lay_out
from homing.planning.limits import Floor
from homing.planning.newton import Finished, Interval, descend
from homing.planning.options import MOST_OPTIONS, Options, best_options, join, options_of
from homing.planning.plan import InfeasibleFloorsError, LimitUse, Plan, UnmetFloorsError
from homing.planning.problem import PlanningProblem
from homing.planning.repair import gather, move_users, round_weights, swap_users

#: Users of a block: what one thread visits at a time, and the order in which sums are made.
BLOCK = 2**15
_FIRST_SAMPLE = 4096
_GROWTH = 8
_ROUNDS = 30
#: Pairs of moves that are tried where no single one helps.
_FIRST_MOVES, _SECOND_MOVES = 1024, 64
#: Users of a sample that are read together.
_NEIGHBOURS = 16
#: Half widths of the intervals, in standard deviations of the prices from a sample.
_SURE = 3.0
_ENOUGH = 1e-9
#: Gap from which few open users are chosen anew by the integer program.
_FINE = 1e-4


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
    layout = lay_out(problem)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        return _Search(problem, layout, np.random.default_rng(seed), pool).plan(warm_start)


@dataclass(frozen=True, eq=False)
class Box:
    """What prices may take off a message and off a unit of each cost, by cell (1 + K, cells) each."""

    low: FloatArray
    high: FloatArray

    def contains(self, tables: FloatArray) -> bool:
        """Whether these tables lie within."""
        return bool(np.all(tables >= self.low) and np.all(tables <= self.high))


@dataclass(frozen=True, eq=False)
class Screened:
    """What one pass at a box of prices leaves.

    Attributes:
        value: Σ value of what fixed users get.
        use: (m,) their units.
        options: of the open users.
    """

    value: float
    use: FloatArray
    options: Options


class _Search:
    def __init__(self, problem: PlanningProblem, layout: Layout, rng: np.random.Generator, pool: ThreadPoolExecutor):
        self.problem, self.layout, self.rng, self.pool = problem, layout, rng, pool
        self.rows = layout.rows
        self.pick = np.empty((layout.n_users, layout.most), dtype=np.int32)
        sample = self._sample(min(_FIRST_SAMPLE, layout.n_users))
        self.worth = self._typical_value(sample)
        self.scale = self._typical_use()
        # No floor subsidises without end: where that is not enough it is infeasible.
        most = 1000.0 * max(self.worth, float(np.abs(layout.value[:1_000_000]).max(initial=0.0))) / self.scale
        self.whole = Interval(
            np.where(np.isfinite(self.rows.floor), -most, 0.0), np.where(np.isfinite(self.rows.ceiling), np.inf, 0.0)
        )

    def plan(self, warm_start: NDArray[np.float64] | Plan | None) -> Plan:
        n = self.layout.n_users
        sizes = [s for s in (_FIRST_SAMPLE * _GROWTH**i for i in range(20)) if 2 * s < n]
        if warm_start is None:
            price, deviation = self._begin()
            gamma = self.worth / 8
        else:
            price, deviation = self._begin_from(warm_start)
            gamma = self.worth / 64
            sizes = sizes[-1:]
        for size in sizes:
            users = self._sample(size)
            screened, done = self._settle(users, price, deviation, gamma, gamma / 4)
            price, deviation = done.price, self._deviation(screened, done, len(users))
            gamma = max(gamma / 4, 1e-3 * self.worth)
        screened, done = self._settle(np.arange(n), price, deviation, gamma, 0.0)
        return self._rounded(screened, done)

    def _settle(
        self, users: IntArray, price: FloatArray, deviation: FloatArray, gamma: float, last: float
    ) -> tuple[Screened, Finished]:
        """Screen some users and minimise their dual; anew in a wider box where prices leave it."""
        share = len(users) / self.layout.n_users if self.layout.n_users else 1.0
        sure = _SURE
        while True:
            tables = self.rows.tables(price)
            box = Box(tables - sure * deviation, tables + sure * deviation)
            screened = self._screen(users, box)
            floor = self.rows.floor * share - screened.use
            ceiling = self.rows.ceiling * share - screened.use
            enough = _ENOUGH * abs(screened.value + float(screened.options.value.sum()))
            done = descend(
                screened.options,
                self.rows,
                floor,
                ceiling,
                price,
                self.whole,
                self.scale,
                gamma,
                last=last,
                enough=enough,
            )
            price = done.price
            if last or box.contains(self.rows.tables(price)):  # a sample's prices are about right in any case
                return screened, done
            sure *= 2.0

    def _screen(self, users: IntArray, box: Box) -> Screened:
        def visit(block: IntArray) -> tuple[float, FloatArray, Options]:
            counted = np.zeros(box.low.shape)
            value, *found = screen(*self.layout.columns, block, box.low, box.high, self.pick, counted, MOST_OPTIONS)
            return value, counted, options_of(self.layout, *found)

        parts = list(self.pool.map(visit, _blocks(users)))
        counted = np.sum([part[1] for part in parts], axis=0)
        return Screened(
            float(sum(part[0] for part in parts)), self.rows.usage(counted), join([part[2] for part in parts])
        )

    # Where to begin -------------------------------------------------------------------------------------------------

    def _begin_from(self, warm_start: NDArray[np.float64] | Plan) -> tuple[FloatArray, FloatArray]:
        """Yesterday's prices, and how far off they may be today."""
        given = warm_start.prices if isinstance(warm_start, Plan) else warm_start
        of_limit = check_finite("warm_start", check_shape("warm_start", given, (len(self.rows.of_limit),)))
        counted = np.bincount(self.rows.of_limit, weights=of_limit, minlength=len(self.rows))
        price = self.whole.clip(counted.astype(np.float64))
        width = 0.03 * np.abs(price) + 0.01 * self.worth / self.scale
        return price, self.rows.spread(np.diag(np.square(width)))

    def _begin(self) -> tuple[FloatArray, FloatArray]:
        """Rough prices, and how far off they may be, as standard deviations of tables."""
        unit = self.worth / self.scale
        users = self._sample(min(_FIRST_SAMPLE, self.layout.n_users))
        batches = users[self.rng.integers(0, len(users), (96, 128))] if len(users) else np.empty((0, 1), np.int64)
        n = max(1, self.layout.n_users)
        price = steps(
            *self.layout.columns,
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
        return price, self.rows.spread(np.diag(np.square(width)))

    def _sample(self, size: int) -> IntArray:
        """Users spread evenly over all: from each part a few neighbours at random, which are read in one go."""
        n = self.layout.n_users
        if size >= n:
            return np.arange(n)
        parts = max(min(size, 1024), size // _NEIGHBOURS)
        each = size // parts
        begin = ((np.arange(parts) + self.rng.random(parts)) * ((n - each) / parts)).astype(np.int64)
        return np.unique(begin[:, None] + np.arange(each))

    def _typical_value(self, users: IntArray) -> float:
        """Mean of the best value of users, where one is above 0; of the absolute values where none is."""
        zero = np.zeros((1 + self.layout.costs.shape[0], len(self.rows.start) - 1))
        total = best_total(*self.layout.columns, users, zero)
        if total > 0.0:
            return float(total) / len(users)
        return float(np.abs(self.layout.value[:100_000]).mean(dtype=np.float64)) if len(self.layout.value) else 1.0

    def _typical_use(self) -> FloatArray:
        """Units of each row that a message takes: 1, or the mean of its cost over candidates that have one."""
        means = np.ones(1 + self.layout.costs.shape[0])
        for k, column in enumerate(self.layout.costs):
            some = column[:100_000]
            if (some > 0).any():
                means[k + 1] = some[some > 0].mean(dtype=np.float64)
        return means[self.rows.cost]

    def _deviation(self, screened: Screened, done: Finished, size: int) -> FloatArray:
        """Standard deviation of the tables of a sample's prices: the sandwich H⁻¹ Var(use) H⁻¹ of the dual."""
        price, curve = done.price, done.minimum.curve
        share = size / self.layout.n_users
        ceiling, floor = self.rows.ceiling * share, self.rows.floor * share
        total = screened.use + done.use
        use = np.maximum(total, self.scale)
        # Var of a sum over messages of amounts: the mean square is about twice the mean's where amounts vary.
        noise = np.sqrt(use * self.scale * np.where(self.rows.cost > 0, 2.0, 1.0))
        slack = np.where(price > 0, 0.0, ceiling - total)
        slack = np.where(price < 0, 0.0, np.minimum(slack, np.where(price == 0.0, total - floor, np.inf)))
        active = (price != 0.0) | (slack < _SURE * noise)
        variance = np.zeros(curve.shape)
        if active.any():
            matrix = curve[np.ix_(active, active)]
            unit = 1.0 / self.scale[active]
            least = 1e-4 * np.max(matrix.diagonal() * unit**2, initial=0.0)
            if least == 0.0:  # nobody's choice answers to prices: they are not known better than values are
                least = float(np.max(noise[active] * unit)) / self.worth
            inverse = np.linalg.inv(matrix + np.diag(least / unit**2))
            variance[np.ix_(active, active)] = inverse * np.square(noise[active]) @ inverse
        return self.rows.spread(variance) + 1e-12 * self.worth

    # The end --------------------------------------------------------------------------------------------------------

    def _rounded(self, screened: Screened, done: Finished) -> Plan:
        rows, layout = self.rows, self.layout
        options, price = screened.options, done.price
        tables = rows.tables(price)
        best = np.empty(len(options), dtype=np.int64)
        best_options(*options.columns, tables, best)
        use = screened.use + options.usage(best, rows)
        self._pick(options, best)
        bench = done.bench
        entries = bench.entries(rows)
        best = np.empty(len(bench), dtype=np.int64)
        best_options(*bench.columns, tables, best)
        last = np.empty(len(done.options), dtype=np.int64)
        round_weights(*done.options.entries(rows), done.minimum.weight, self.scale, last)
        choice = best.copy()
        choice[np.searchsorted(bench.user, done.options.user)] = done.options.origin[last]
        use += bench.usage(choice, rows) - bench.usage(best, rows)

        # What is summed in another order may differ in the last digits.
        slack = np.where(rows.cost > 0, 1e-9, 0.0)
        floor = np.where(np.isfinite(rows.floor), rows.floor * (1 + slack), rows.floor)
        ceiling = np.where(np.isfinite(rows.ceiling), rows.ceiling * (1 - slack), rows.ceiling)
        limits = (floor, ceiling, choice, use)
        _until_none(lambda: move_users(*entries, price, self.scale, *limits, 1.0, False))
        if np.any(use > ceiling):  # no floor is met beyond a budget
            _until_none(lambda: move_users(*entries, price, self.scale, *limits, 1e6, False))
        _until_none(
            lambda: (
                move_users(*entries, price, self.scale, *limits, 1e6, True)
                or swap_users(*entries, price, *limits, _FIRST_MOVES, _SECOND_MOVES)
            )
        )
        self._pick(bench, choice)

        bound = screened.value - float(price @ screened.use) + rows.bound(price)
        bound += sum(self.pool.map(lambda users: best_total(*layout.columns, users, tables), _blocks(options.user)))
        plan = self._told(price, bound, self._worse(bench, choice, best, tables))
        missed = any(item.missing > 0 for item in plan.usage)
        infeasible = False
        if (missed or plan.gap > _FINE) and (missed or plan.upper_bound > 0.0):
            plan, infeasible = self._exactly(plan, bench, price)
        if any(item.missing > 0 for item in plan.usage):
            infeasible = infeasible or self._cannot_be_met(price)
            raise (InfeasibleFloorsError if infeasible else UnmetFloorsError)(plan)
        return plan

    def _told(self, price: FloatArray, bound: float, n_repaired: int) -> Plan:
        """The plan as it stands, with its certificate."""
        chosen, value, used, n_silent = self._gathered()
        prices = self._of_limits(price)
        return Plan(
            chosen=chosen,
            prices=prices,
            value=value,
            upper_bound=bound,
            usage=tuple(
                LimitUse(limit.label, isinstance(limit, Floor), float(limit.limit), float(units), abs(float(p)))
                for limit, units, p in zip(self.problem.limits, used[self.rows.of_limit], prices, strict=True)
            ),
            n_users=self.layout.n_users,
            n_silent=n_silent,
            n_repaired=n_repaired,
        )

    def _exactly(self, plan: Plan, bench: Options, price: FloatArray) -> tuple[Plan, bool]:
        """The plan with some open users, or all of few, chosen by the integer program; and whether there is none."""
        layout, rows = self.layout, self.rows
        tables = rows.tables(price)
        everybody = len(layout.value) <= MOST_CANDIDATES
        owner = self.problem.user_of(plan.chosen)
        if everybody:
            users, mine = np.arange(layout.n_users), np.ones(len(owner), dtype=np.bool_)
            candidates = np.arange(len(layout.value))
        else:
            likely = bench.likely(tables, MOST_CANDIDATES // 2)
            users = np.unique(bench.user[np.searchsorted(bench.first, likely, side="right") - 1])
            mine = np.isin(owner, users)
            item = bench.item[likely]
            candidates = np.unique(np.concatenate([item[item >= 0], plan.chosen[mine]]))
        theirs, others = plan.chosen[mine], plan.chosen[~mine]

        def keeps(chosen: IntArray) -> bool:
            use = rows.usage(self._counted(np.sort(np.concatenate([others, chosen]))))
            return bool(np.all(use >= rows.floor) and np.all(use <= rows.ceiling))

        used = rows.usage(self._counted(others))
        enough = _FINE / 10 * abs(plan.upper_bound)
        found = choose_exactly(layout, candidates, rows.floor - used, rows.ceiling - used, self.scale, enough, keeps)
        if found.chosen is None:
            return plan, found.infeasible and everybody
        missed = any(item.missing > 0 for item in plan.usage)
        if not missed and layout.value[found.chosen].sum(dtype=float) <= layout.value[theirs].sum(dtype=float):
            return plan, False
        owner = self.problem.user_of(found.chosen)
        self.pick[users] = -1
        place = np.arange(len(owner)) - np.searchsorted(owner, owner)
        self.pick[owner, place] = found.chosen - layout.offsets[owner]
        best = np.array([best_total(*layout.columns, users[i : i + 1], tables) for i in range(len(users))])
        cell = layout.cell[found.chosen]
        worth = layout.value[found.chosen] - tables[0, cell]
        worth = worth - (layout.costs[:, found.chosen] * tables[1:, cell]).sum(axis=0)
        got = np.bincount(np.searchsorted(users, owner), weights=worth, minlength=len(users))
        return self._told(price, plan.upper_bound, int((best - got > 1e-7 * self.worth).sum())), False

    def _counted(self, chosen: IntArray) -> FloatArray:
        """Messages and costs of candidates by cell (1 + K, cells)."""
        cells = len(self.rows.start) - 1
        cell = self.layout.cell[chosen].astype(np.int64)
        weights = [np.ones(len(chosen)), *self.layout.costs[:, chosen]]
        return np.stack([np.bincount(cell, weights=w, minlength=cells) for w in weights])

    def _cannot_be_met(self, price: FloatArray) -> bool:
        """Whether these prices prove that the limits exclude each other, whatever candidates are worth (Farkas).

        Had all candidates the value 0, a plan would be worth 0, and the dual bound says that none is worth as much.
        """
        columns = list(self.layout.columns)
        columns[1] = np.zeros_like(self.layout.value)
        tables = self.rows.tables(price)
        blocks = _blocks(np.arange(self.layout.n_users))
        most = sum(self.pool.map(lambda users: best_total(*columns, users, tables), blocks))
        return bool(most + self.rows.bound(price) < -1e-9 * most)

    def _worse(self, options: Options, choice: IntArray, best: IntArray, tables: FloatArray) -> int:
        """How many users get an option that is worth less at the prices than their best one."""
        lost = options.worth(best, tables) - options.worth(choice, tables)
        return int((lost > 1e-7 * self.worth).sum())

    def _gathered(self) -> tuple[IntArray, float, FloatArray, int]:
        """Chosen rows, their value, the units (m,) that they use, and how many users get nothing."""
        layout = self.layout

        def visit(block: IntArray) -> tuple[IntArray, float, FloatArray, int]:
            counted = np.zeros((1 + self.rows.n_costs, len(self.rows.start) - 1))
            begin, end = (block[0], block[-1] + 1) if len(block) else (0, 0)
            found = gather(layout.offsets, layout.value, layout.cell, layout.costs, self.pick, begin, end, counted)
            return found[0], found[1], counted, found[2]

        chosen, values, counts, silent = zip(*self.pool.map(visit, _blocks(np.arange(layout.n_users))), strict=True)
        return np.concatenate(chosen), float(sum(values)), self.rows.usage(np.sum(counts, axis=0)), int(sum(silent))

    def _pick(self, options: Options, choice: IntArray) -> None:
        item = options.item[choice]
        self.pick[options.user] = np.where(item >= 0, item - self.layout.offsets[options.user][:, None], -1)

    def _of_limits(self, price: FloatArray) -> FloatArray:
        """Prices of the problem's limits: a row's price is its budget's where it is above 0, else its floor's."""
        of_row = price[self.rows.of_limit]
        is_floor = np.arange(len(of_row)) >= len(self.problem.budgets)
        return np.where(is_floor, np.minimum(of_row, 0.0), np.maximum(of_row, 0.0)) + 0.0


def _until_none(moves: Callable[[], int]) -> None:
    for _ in range(_ROUNDS):
        if not moves():
            return


def _blocks(users: IntArray) -> list[IntArray]:
    return [users[a : a + BLOCK] for a in range(0, max(1, len(users)), BLOCK)]
