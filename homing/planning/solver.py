"""`solve`: the plan for a problem, by prices.

1. Sampled dual steps give rough prices, from a few thousand users.
2. On growing samples of users the dual is minimised by Newton steps; the sample's noise gives an interval for every
   price. Users whose choice no price in it changes are fixed in one pass (`screen`); only the others have options.
3. The last sample is everybody: one pass over the candidates, then the dual of the open users alone.
4. Their weights are rounded, what is broken is mended, what is left is filled.

The dual value at the prices bounds every plan's value from above, so that the answer tells how good it is.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.planning.choosing import best_total, screen, steps
from homing.planning.layout import FloatArray, IntArray, Layout, lay_out
from homing.planning.newton import Finished, Interval, descend
from homing.planning.options import Options, join, options_of
from homing.planning.plan import InfeasibleFloorsError, Plan, usage_of
from homing.planning.problem import PlanningProblem
from homing.planning.repair import best_options, move_users, round_weights

#: Users of a block: what one thread visits at a time, and the order in which sums are made.
BLOCK = 2**15
_FIRST_SAMPLE = 4096
_GROWTH = 8
_ROUNDS = 30


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
        InfeasibleFloorsError: if floors cannot be met beside the other limits; it says which, and by how much.

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
    layout = lay_out(problem)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        return _Search(problem, layout, np.random.default_rng(seed), pool).plan(warm_start)


@dataclass(frozen=True, eq=False)
class Screened:
    """What one pass at an interval of prices leaves.

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
        self.scale = self._typical_use(sample)
        # No floor subsidises without end: where that is not enough it is infeasible.
        most = 1000.0 * max(self.worth, float(np.abs(layout.value[:1_000_000]).max(initial=0.0))) / self.scale
        self.whole = Interval(
            np.where(np.isfinite(self.rows.floor), -most, 0.0), np.where(np.isfinite(self.rows.ceiling), np.inf, 0.0)
        )

    def plan(self, warm_start: NDArray[np.float64] | Plan | None) -> Plan:
        price, within = self._begin(warm_start)
        n = self.layout.n_users
        sizes = [_FIRST_SAMPLE * _GROWTH**i for i in range(20)]
        for size in [s for s in sizes if 2 * s < n]:
            users = self._sample(size)
            screened, done, within = self._settle(users, price, within, [self.worth / 8, self.worth / 32])
            price = done.minimum.price
            within = self._interval(done, screened, size)
        users = np.arange(n)
        gammas = [self.worth / 32 / 4.0**i for i in range(12)]
        screened, done, within = self._settle(users, price, within, gammas)
        return self._rounded(screened, done)

    def _settle(
        self, users: IntArray, price: FloatArray, within: Interval, gammas: list[float]
    ) -> tuple[Screened, Finished, Interval]:
        """Screen some users and minimise their dual; anew with a wider interval where prices end at its edge."""
        share = len(users) / max(1, self.layout.n_users)
        while True:
            screened = self._screen(users, within)
            floor = self.rows.floor * share - screened.use
            ceiling = self.rows.ceiling * share - screened.use
            done = descend(screened.options, floor, ceiling, price, within, self.scale, gammas, settle=8.0)
            price = done.minimum.price
            low, high = within.at_edge(price, self.whole)
            if not (low.any() or high.any()):
                return screened, done, within
            width = 4.0 * np.maximum(within.high - within.low, self.worth / self.scale / 64)
            within = Interval(
                np.where(low, np.maximum(within.low - width, self.whole.low), within.low),
                np.where(high, np.minimum(within.high + width, self.whole.high), within.high),
            )

    def _screen(self, users: IntArray, within: Interval) -> Screened:
        low, high = self.rows.tables(within.low), self.rows.tables(within.high)

        def visit(block: IntArray) -> tuple[float, FloatArray, Options]:
            counted = np.zeros(low.shape)
            value, _ = screen(*self.layout.columns, block, low, high, self.pick, counted)
            still = block[self.pick[block, 0] == -2]
            return value, counted, options_of(self.layout, still, low, high)

        parts = list(self.pool.map(visit, _blocks(users)))
        counted = np.sum([part[1] for part in parts], axis=0)
        return Screened(
            float(sum(part[0] for part in parts)), self.rows.usage(counted), join([part[2] for part in parts])
        )

    # Where to begin -------------------------------------------------------------------------------------------------

    def _begin(self, warm_start: NDArray[np.float64] | Plan | None) -> tuple[FloatArray, Interval]:
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
        return price, self.whole.around(price, np.maximum(0.5 * np.abs(price), 0.25 * unit))

    def _sample(self, size: int) -> IntArray:
        """Users spread evenly over all, one at random from each part."""
        n = self.layout.n_users
        if size >= n:
            return np.arange(n)
        out: IntArray = ((np.arange(size) + self.rng.random(size)) * (n / size)).astype(np.int64)
        return out

    def _typical_value(self, users: IntArray) -> float:
        """Mean of the best value of users who have one above 0; of the absolute values where nobody has."""
        zero = np.zeros((1 + self.layout.costs.shape[0], len(self.rows.start) - 1))
        total = best_total(*self.layout.columns, users, zero)
        if total > 0.0:
            return float(total) / len(users)
        return float(np.abs(self.layout.value[:100_000]).mean(dtype=np.float64)) if len(self.layout.value) else 1.0

    def _typical_use(self, users: IntArray) -> FloatArray:
        """Units of each row that a message takes: 1, or the mean of its cost over candidates that have one."""
        means = np.ones(1 + self.layout.costs.shape[0])
        for k, column in enumerate(self.layout.costs):
            some = column[:1_000_000]
            if (some > 0).any():
                means[k + 1] = some[some > 0].mean(dtype=np.float64)
        return means[self.rows.cost]

    def _interval(self, done: Finished, screened: Screened, size: int) -> Interval:
        """Where the prices of everybody lie, by the noise of a sample: a sandwich H⁻¹ Var(use) H⁻¹ of the dual."""
        price, curve = done.minimum.price, done.minimum.curve
        unit = self.worth / self.scale
        left_use = done.minimum.use
        share = size / self.layout.n_users
        total = np.minimum(self.rows.ceiling * share, np.maximum(left_use + screened.use, 1.0 * self.scale))
        noise = np.sqrt(total * self.scale * 2.0)
        active = price != 0.0
        width = np.full(len(price), 0.02) * unit
        if active.any():
            matrix = curve[np.ix_(active, active)]
            matrix = matrix + np.diag(1e-6 * matrix.diagonal().max(initial=0.0) + 1e-3 * noise[active] / unit[active])
            inverse = np.linalg.inv(matrix)
            width[active] = np.sqrt(np.square(inverse) @ np.square(noise[active]))
        width = np.minimum(4.0 * width, 0.5 * unit)
        return self.whole.around(price, width)

    # The end --------------------------------------------------------------------------------------------------------

    def _rounded(self, screened: Screened, done: Finished) -> Plan:
        rows, layout = self.rows, self.layout
        options, price = screened.options, done.minimum.price
        best = np.empty(len(options), dtype=np.int64)
        best_options(*options.columns, price, best)
        choice = best.copy()
        last = np.empty(len(done.options), dtype=np.int64)
        round_weights(*done.options.columns, done.minimum.weight, self.scale, last)
        choice[np.searchsorted(options.user, done.options.user)] = done.options.origin[last]

        # What is summed in another order may differ in the last digits.
        slack = np.where(rows.cost > 0, 1e-9, 0.0)
        floor = np.where(np.isfinite(rows.floor), rows.floor * (1 + slack), rows.floor)
        ceiling = np.where(np.isfinite(rows.ceiling), rows.ceiling * (1 - slack), rows.ceiling)
        use = screened.use + options.usage(choice, len(rows))
        for filling in (False, True):
            for _ in range(_ROUNDS):
                if not move_users(*options.columns, price, self.scale, floor, ceiling, choice, use, filling):
                    break
        bound = screened.value - float(price @ screened.use) + rows.bound(price)
        bound += sum(
            self.pool.map(lambda users: best_total(*layout.columns, users, rows.tables(price)), _blocks(options.user))
        )

        pick = self.pick
        item = options.item[choice]
        pick[options.user] = np.where(item >= 0, item - layout.offsets[options.user][:, None], -1)
        chosen = (pick + layout.offsets[:-1, None])[pick >= 0]
        chosen.sort()
        value = float(layout.value[chosen].sum(dtype=np.float64))
        prices = self._of_limits(price)
        plan = Plan(
            chosen=chosen,
            prices=prices,
            value=value,
            upper_bound=bound,
            usage=usage_of(self.problem, chosen, prices),
            n_users=layout.n_users,
            n_silent=int((pick < 0).all(axis=1).sum()),
            n_repaired=int((choice != best).sum()),
        )
        if any(item.missing > 0 for item in plan.usage):
            raise InfeasibleFloorsError(plan)
        return plan

    def _of_limits(self, price: FloatArray) -> FloatArray:
        """Prices of the problem's limits: a row's price is its budget's where it is above 0, else its floor's."""
        of_row = price[self.rows.of_limit]
        is_floor = np.arange(len(of_row)) >= len(self.problem.budgets)
        return np.where(is_floor, np.minimum(of_row, 0.0), np.maximum(of_row, 0.0)) + 0.0


def _blocks(users: IntArray) -> list[IntArray]:
    return [users[a : a + BLOCK] for a in range(0, max(1, len(users)), BLOCK)]
