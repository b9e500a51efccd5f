"""From prices to a plan: who is open gets one option each, so that no limit is broken and little is lost.

Weights are rounded, what is broken is mended, what is left is filled; where that falls short and few are open, an
integer program chooses for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled
from homing.planning.descent import Finished
from homing.planning.exact import MOST_CANDIDATES, choose_exactly
from homing.planning.layout import FloatArray, IntArray, Layout
from homing.planning.limits import Floor
from homing.planning.options import MOST_OPTIONS, Options
from homing.planning.plan import InfeasibleFloorsError, LimitUse, Plan, UnmetFloorsError
from homing.planning.problem import PlanningProblem
from homing.planning.repair import move_users, round_weights
from homing.planning.screening import Screened, blocks
from homing.planning.sets import best_total
from homing.planning.swaps import swap_users
from homing.planning.threads import Pool
from homing.planning.vertex import to_vertex

_ROUNDS = 30
#: Limits, users, and users between options, up to which weights are brought to a vertex: it takes the square of the
#: first for each of the last. Of more users error diffusion loses next to nothing.
_MOST_ROWS, _MOST_USERS, _MOST_BETWEEN = 1024, 2**18, 16_384
#: Pairs of moves that are tried where no single one helps.
_FIRST_MOVES, _SECOND_MOVES = 1024, 64
#: Gap at which a plan is good enough to be left as it is.
_GOOD = 5e-7
#: Gap from which few open users are chosen anew by the integer program.
_FINE = 1e-4


@dataclass(frozen=True, eq=False)
class Rounding:
    """Makes the plan of prices.

    Attributes:
        problem: what is planned for.
        layout: the same, as compiled passes read it.
        pick: (users, most) rows that users get, counted from the user's first, −1 for none; those of open users are
            filled in.
        pool: threads.
        worth: a typical value.
        scale: (m,) units of each row that a message typically uses.
    """

    problem: PlanningProblem
    layout: Layout
    pick: NDArray[np.int32]
    pool: Pool
    worth: float
    scale: FloatArray

    def plan(self, screened: Screened, done: Finished) -> Plan:
        """The plan, with its certificate.

        Raises:
            InfeasibleFloorsError, UnmetFloorsError: if floors are missed.
        """
        rows, options, sure = self.layout.rows, screened.options, done.sure
        tables = rows.tables(sure)
        worths, _, worth = options.valued(tables)
        bound = self.dual(screened, sure, worth)
        everybody, most = options.best(rows.tables(done.price))
        least = self.dual(screened, done.price, most)
        self._put(options, everybody)
        bench = done.bench
        best, _ = bench.best(rows.tables(done.price))
        last = np.empty(len(done.options), dtype=np.int64)
        open_entries, weight = done.options.entries(rows), done.minimum.weight.copy()
        few = len(rows) <= _MOST_ROWS and self.layout.n_users <= _MOST_USERS
        if few and between(done.options, weight) <= _MOST_BETWEEN:
            to_vertex(*open_entries, self.scale, weight)
        round_weights(*open_entries, weight, self.scale, last)
        choice = best.copy()
        choice[np.searchsorted(bench.user, done.options.user)] = done.options.among(last)
        others = screened.use + options.usage(everybody, rows) - bench.usage(best, rows)
        others_value = screened.value + float(options.value[everybody].sum() - bench.value[best].sum())
        use = others + bench.usage(choice, rows)
        self._repair(bench, done.price, choice, use, least - _GOOD * abs(least) - others_value)
        self._put(bench, choice)
        value = others_value + float(bench.value[choice].sum())
        got = worths[everybody]
        got[np.searchsorted(options.user, bench.user)] = bench.worth_of(choice, tables)
        repaired = int((worth - got > 1e-7 * self.worth).sum())
        plan = self._told(sure, bound, value, others + bench.usage(choice, rows), repaired)
        missed = any(item.missing > 0 for item in plan.usage)
        infeasible = False
        if missed or plan.gap > _FINE:
            plan, infeasible = self._exactly(plan, bench, sure)
        if any(item.missing > 0 for item in plan.usage):
            infeasible = infeasible or self._cannot_be_met(sure)
            raise (InfeasibleFloorsError if infeasible else UnmetFloorsError)(plan)
        return plan

    def dual(self, screened: Screened, price: FloatArray, worth: FloatArray) -> float:
        """The dual value, if nobody who is fixed would get something else at these prices.

        Of users whose options are not all listed the best of what they could get is looked up.

        Args:
            worth: (n,), of the best option of each open user after prices.
        """
        layout, options = self.layout, screened.options
        total = float(worth.sum())
        cut = np.diff(options.first) >= MOST_OPTIONS
        if layout.most > 1 and cut.any():
            tables = layout.rows.tables(price)
            more = self.pool.map(lambda users: best_total(*layout.columns, users, tables), blocks(options.user[cut]))
            total = float(worth[~cut].sum()) + float(sum(more))
        return screened.value - float(price @ screened.use) + layout.rows.bound(price) + total

    def _repair(self, bench: Options, price: FloatArray, choice: IntArray, use: FloatArray, enough: float) -> None:
        """Mend what is broken, then fill what is left until choices are worth enough.

        The arrays choice (n,) and use (m,) are changed.
        """
        rows = self.layout.rows
        entries = bench.entries(rows)
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
                bench.value[choice].sum() < enough
                and (
                    move_users(*entries, price, self.scale, *limits, 1e6, True)
                    or swap_users(*entries, price, *limits, _FIRST_MOVES, _SECOND_MOVES)
                )
            )
        )

    def _told(self, price: FloatArray, bound: float, value: float, use: FloatArray, n_repaired: int) -> Plan:
        """The plan as it stands, with its certificate."""
        chosen, n_silent = list_chosen(self.layout.offsets, self.pick)
        prices = self.of_limits(price)
        return Plan(
            chosen=chosen,
            prices=prices,
            value=value,
            upper_bound=bound,
            usage=tuple(
                LimitUse(limit.label, isinstance(limit, Floor), float(limit.limit), units, price)
                for limit, units, price in zip(
                    self.problem.limits, use[self.layout.rows.of_limit].tolist(), np.abs(prices).tolist(), strict=True
                )
            ),
            n_users=self.layout.n_users,
            n_silent=int(n_silent),
            n_repaired=n_repaired,
        )

    def _exactly(self, plan: Plan, bench: Options, price: FloatArray) -> tuple[Plan, bool]:
        """The plan with some open users, or all of few, chosen by the integer program; and whether there is none."""
        layout, rows = self.layout, self.layout.rows
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
            use = self._used(np.sort(np.concatenate([others, chosen])))
            return bool(np.all(use >= rows.floor) and np.all(use <= rows.ceiling))

        used = self._used(others)
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
        chosen = np.sort(np.concatenate([others, found.chosen]))
        total = float(layout.value[chosen].sum(dtype=np.float64))
        repaired = int((best - got > 1e-7 * self.worth).sum())
        return self._told(price, plan.upper_bound, total, self._used(chosen), repaired), False

    def _used(self, chosen: IntArray) -> FloatArray:
        """Units of each row (m,) that candidates use."""
        rows = self.layout.rows
        cell = self.layout.cell[chosen].astype(np.int64)
        weights = [np.ones(len(chosen)), *self.layout.costs[:, chosen]]
        return rows.usage(np.stack([np.bincount(cell, weights=w, minlength=rows.n_cells) for w in weights]))

    def _cannot_be_met(self, price: FloatArray) -> bool:
        """Whether these prices prove that the limits exclude each other, whatever candidates are worth (Farkas).

        Had all candidates the value 0, a plan would be worth 0, and the dual bound says that none is worth as much.
        """
        columns = list(self.layout.columns)
        columns[1] = np.zeros_like(self.layout.value)
        rows = self.layout.rows
        tables = rows.tables(price)
        everybody = blocks(range(self.layout.n_users))
        most = sum(self.pool.map(lambda users: best_total(*columns, users, tables), everybody))
        return bool(most + rows.bound(price) < -1e-9 * most)

    def _put(self, options: Options, choice: IntArray) -> None:
        """Give users their option (n,), an index over all."""
        put(options.user, options.item, choice, self.layout.offsets, self.pick)

    def of_limits(self, price: FloatArray) -> FloatArray:
        """Prices of the problem's limits: a row's price is its budget's where it is above 0, else its floor's."""
        of_row = price[self.layout.rows.of_limit]
        is_floor = np.arange(len(of_row)) >= len(self.problem.budgets)
        return np.where(is_floor, np.minimum(of_row, 0.0), np.maximum(of_row, 0.0)) + 0.0


def between(options: Options, weight: FloatArray) -> int:
    """How many users have weight (O,) on more than one option."""
    if not len(options):
        return 0
    return int((np.maximum.reduceat(weight, options.first[:-1]) < 1.0 - 1e-9).sum())


def _until_none(moves: Callable[[], int]) -> None:
    for _ in range(_ROUNDS):
        if not moves():
            return


@compiled
def put(user: Any, item: Any, choice: Any, offsets: Any, pick: Any) -> Any:
    """Write rows of chosen options (n,), counted from the user's first, to pick (users, most)."""
    for x in range(user.shape[0]):
        for d in range(pick.shape[1]):
            i = item[choice[x], d]
            pick[user[x], d] = i - offsets[user[x]] * (i >= 0)  # without a branch, for it is not to be guessed


@compiled
def list_chosen(offsets: Any, pick: Any) -> Any:
    """Chosen rows, rising, and how many users get nothing.

    Args:
        pick: (users, most), rows counted from the user's first; −1 for none.
    """
    n = 0
    for pick_of in pick.ravel():
        n += pick_of >= 0
    chosen = np.empty(n + 1, np.int64)
    end = np.uint64(0)
    if pick.shape[1] == 1:
        for u in range(pick.shape[0]):
            chosen[end] = offsets[u] + pick[u, 0]  # to be written over where there is none, without a branch
            end += np.uint64(pick[u, 0] >= 0)
        return chosen[:n], pick.shape[0] - n
    silent = 0
    for u in range(pick.shape[0]):
        begin = end
        for d in range(pick.shape[1]):
            chosen[end] = offsets[u] + pick[u, d]
            end += np.uint64(pick[u, d] >= 0)
        if end > begin + np.uint64(1):
            chosen[begin:end].sort()
        silent += end == begin
    return chosen[:n], silent
