"""Priorities: classes of candidates, of which each goes before the next whatever that costs the next (lexicographic).

Class by class the value of its candidates is maximised, with all that goes before kept as it is: what it sends is taken
off users' caps and off budgets and floors. Floors that count later classes stay: while a class is planned, what they
need of later candidates takes part, for (nearly) nothing, so that no class makes a later floor impossible.

References:
    Isermann (1982), "Linear lexicographic optimization", OR Spektrum 4:223–228 (the sequential method).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from homing.planning.demand import use_of
from homing.planning.layout import FloatArray, IntArray, Layout, lay_out
from homing.planning.limits import Budget, Floor, Limit
from homing.planning.plan import LimitUse, Plan, PriorityClass, UnmetFloorsError
from homing.planning.problem import PlanningProblem, UserOffsets, derived
from homing.planning.solver import solve

#: What a later candidate that a floor needs costs, in mean values of a candidate: next to nothing, so that no more of
#: them take part than floors ask for, the most valuable ones first.
_NOTHING = 1e-9
#: How much more a message that stands must be worth than any other of its user's, at first; four times as much where
#: it falls, so often.
_FIRMLY, _ATTEMPTS = 2.0, 20
#: Shares by which sums of costs are kept from their budgets: none, unless sums in another order end above them.
_MARGINS = (0.0, 1e-12)


def solve_in_order(
    problem: PlanningProblem, *, warm_start: NDArray[np.float64] | Plan | None = None, seed: int = 0, threads: int = 0
) -> Plan:
    """Plan class by class; see `solve`, which comes here where a problem has priorities.

    Raises:
        InfeasibleFloorsError, UnmetFloorsError: as `solve`.
    """
    layout = lay_out(problem)
    rank = ranks(problem)
    named = np.zeros(problem.n_candidates, dtype=np.bool_)
    for floor in problem.floors:
        named |= counted(problem, floor)
    before = warm_start.classes if isinstance(warm_start, Plan) else ()
    begin = warm_start.prices if isinstance(warm_start, Plan) else warm_start
    taken: IntArray = np.empty(0, dtype=np.int64)
    classes: list[PriorityClass] = []
    repaired = 0
    labels = [Limit(0, where).label for where in problem.priorities]
    for number, label in enumerate([*labels, "all others"]):
        stage = _Stage(problem, layout, rank, named, number, taken)
        from_here = np.array(before[number].prices) if len(before) == len(labels) + 1 else begin
        found, sent = stage.solve(from_here, seed, threads)
        repaired += found.n_repaired
        taken = np.sort(np.concatenate([taken, sent]))
        classes.append(
            PriorityClass(
                name=label,
                value=float(problem.value[sent].sum(dtype=np.float64)),
                upper_bound=found.upper_bound,
                messages=len(sent),
                prices=tuple(found.prices.tolist()),
            )
        )
    by_class = np.array([item.prices for item in classes]).reshape(len(classes), -1)
    # One more unit goes to the first class that has a use for it.
    first = np.argmax(by_class != 0.0, axis=0)
    prices = by_class[first, np.arange(by_class.shape[1])]
    return _told(problem, layout, taken, prices, tuple(classes), repaired)


def ranks(problem: PlanningProblem) -> NDArray[np.uint8]:
    """(N,), the class of each candidate: the first of `problem.priorities` that it matches, or the one after all.

    Example:
        >>> ranks(PlanningProblem([0, 1, 2], [1.0, 1.0, 1.0], {"campaign": [2, 0, 1]},
        ...                       priorities=[{"campaign": 1}, {"campaign": [1, 2]}])).tolist()
        [1, 2, 0]
    """
    out = np.full(problem.n_candidates, len(problem.priorities), dtype=np.uint8)
    for number in reversed(range(len(problem.priorities))):
        out[counted(problem, Limit(0, problem.priorities[number]))] = number
    return out


def counted(problem: PlanningProblem, limit: Limit) -> NDArray[np.bool_]:
    """(N,), which candidates a limit counts."""
    out = np.ones(problem.n_candidates, dtype=np.bool_)
    for column, codes in problem.selected(limit).items():
        if column in problem.codes:
            out &= np.isin(problem.codes[column], codes)
        else:
            out &= np.repeat(np.isin(problem.segments[column], codes), np.diff(problem.offsets))
    return out


class _Stage:
    """One class's problem, beside what stands already.

    Args:
        problem, layout: the whole.
        rank: (N,) classes.
        named: (N,), what some floor counts.
        number: the class.
        taken: rows that stand, rising.
    """

    def __init__(
        self,
        problem: PlanningProblem,
        layout: Layout,
        rank: NDArray[np.uint8],
        named: NDArray[np.bool_],
        number: int,
        taken: IntArray,
    ) -> None:
        self.problem, self.number = problem, number
        user = np.repeat(np.arange(problem.n_users), np.diff(problem.offsets))
        open_user = np.bincount(user[taken], minlength=problem.n_users) < problem.max_per_user
        new = (rank == number) | ((rank > number) & named)
        new &= open_user[user] & ~_excluded(problem, taken, user)
        new &= ~_too_large(problem, use_of(layout, taken))
        # What stands of users who may get more takes part, so that their caps hold; the rest is taken off the limits.
        has_new = np.bincount(user[new], minlength=problem.n_users) > 0
        stays = np.zeros(problem.n_candidates, dtype=np.bool_)
        stays[taken] = (open_user & has_new)[user[taken]]
        gone = taken[~stays[taken]]
        self.rows = np.flatnonzero(new | stays)
        self.layout, self.taken = layout, taken
        self.stays = stays[self.rows]
        self.own = (rank[self.rows] == number) & ~self.stays
        self.offsets = np.concatenate([[0], np.cumsum(np.bincount(user[self.rows], minlength=problem.n_users))])
        self.gone, self.standing = use_of(layout, gone), use_of(layout, taken[stays[taken]])
        self.value, self.most = self._values(user[self.rows])

    def _values(self, user: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values in this stage, and the largest one of each row's user among what may be sent (both (n,))."""
        value = self.problem.value[self.rows].astype(np.float64)
        other = ~self.own & ~self.stays
        if other.any():
            low, high = value[other].min(), value[other].max()
            nothing = _NOTHING * max(float(np.abs(self.problem.value).mean(dtype=np.float64)), 1e-30)
            value[other] = -nothing * (1.0 + (high - value[other]) / max(high - low, 1e-300))
        most = np.zeros(self.problem.n_users)
        np.maximum.at(most, user, np.abs(value))
        return value, most[user]

    def solve(self, warm_start: NDArray[np.float64] | None, seed: int, threads: int) -> tuple[Plan, IntArray]:
        """The stage's plan with a bound of this class's value alone, and the rows that this class sends."""
        ceilings = np.array([item.limit for item in self.problem.budgets], dtype=np.float64)
        for margin in _MARGINS:
            found, sent = self._solve(margin, warm_start, seed, threads)
            used = use_of(self.layout, np.sort(np.concatenate([self.taken, sent])))
            if np.all(used[: len(ceilings)] <= ceilings):
                break
        return found, sent

    def _solve(
        self, margin: float, warm_start: NDArray[np.float64] | None, seed: int, threads: int
    ) -> tuple[Plan, IntArray]:
        problem = self.problem
        budgets, floors = self._left(margin)
        stage = derived(
            problem,
            user=UserOffsets(self.offsets),
            value=self.value.astype(np.float32),
            codes={name: column[self.rows] for name, column in problem.codes.items()},
            costs={name: column[self.rows] for name, column in problem.costs.items()},
            budgets=budgets,
            floors=floors,
            priorities=(),
        )
        firm = _FIRMLY * self.most[self.stays]
        # What a user's candidates are worth may be nothing, beside prices that others make.
        typical = float(np.abs(self.value).mean()) if len(self.value) else 0.0
        firm[firm == 0.0] = typical or 1.0
        for attempt in range(_ATTEMPTS):
            value = self.value.copy()
            value[self.stays] += firm
            tried = derived(stage, value=value.astype(np.float32))
            try:
                found = solve(tried, warm_start=warm_start, seed=seed, threads=threads)
            except UnmetFloorsError as error:
                if not self.number:
                    # Floors that cannot be met whatever goes first are told as those of the whole.
                    solve(derived(problem, priorities=()), seed=seed, threads=threads)
                raise UnmetFloorsError(replace(error.plan, chosen=self.rows[error.plan.chosen])) from error
            kept = np.zeros(len(self.rows), dtype=np.bool_)
            kept[found.chosen] = True
            if kept[self.stays].all() or not self.stays.any():
                break
            # Where it fell; in the end everywhere: what is added makes the bound of the class a little loose.
            fell = ~kept[self.stays] | (attempt >= _ATTEMPTS // 2)
            firm[fell] = np.maximum(4.0 * firm[fell], typical)
        else:
            raise UnmetFloorsError(replace(found, chosen=self.rows[found.chosen]))
        standing = float(tried.value[self.stays].sum(dtype=np.float64))
        # Later candidates take off next to nothing, which the bound must not count as this class's loss.
        other = tried.value[~self.own & ~self.stays].astype(np.float64)
        slack = float(-other.min(initial=0.0)) * min(len(other), problem.n_users * problem.max_per_user)
        return replace(found, upper_bound=found.upper_bound - standing + slack), self.rows[kept & self.own]

    def _left(self, margin: float) -> tuple[tuple[Budget, ...], tuple[Floor, ...]]:
        """Budgets and floors less what is gone. What stands fits, to the last digit, and so do floors."""
        problem, of_limit = self.problem, self.layout.rows.of_limit
        whole = np.array([item.limit for item in problem.limits], dtype=np.float64)
        budget = np.arange(len(whole)) < len(problem.budgets)
        costs = np.array([item.cost is not None for item in problem.limits], dtype=np.bool_)
        left = np.maximum(whole * (1.0 - margin * (budget & costs)) - self.gone, 0.0)
        left[budget] = np.maximum(left[budget], self.standing[budget])
        ceiling = np.full(len(self.layout.rows), np.inf)
        np.minimum.at(ceiling, of_limit[budget], left[budget])
        left[~budget] = np.minimum(left[~budget], ceiling[of_limit[~budget]])
        b = len(problem.budgets)
        return (
            tuple(
                replace(item, limit=float(x), name=item.label)
                for item, x in zip(problem.budgets, left[:b], strict=True)
            ),
            tuple(
                replace(item, limit=float(x), name=item.label) for item, x in zip(problem.floors, left[b:], strict=True)
            ),
        )


def _excluded(problem: PlanningProblem, taken: IntArray, user: IntArray) -> NDArray[np.bool_]:
    """(N,), candidates that are taken, or exclude each other with what their user gets already."""
    out = np.zeros(problem.n_candidates, dtype=np.bool_)
    out[taken] = True
    if problem.max_per_user == 1 or not len(taken):
        return out
    owner = user[taken]
    slot = np.arange(len(taken)) - np.searchsorted(owner, owner)
    for number in range(int(slot.max()) + 1):
        of_user = np.full(problem.n_users, -1, dtype=np.int64)
        of_user[owner[slot == number]] = taken[slot == number]
        other = of_user[user]
        rows = np.flatnonzero(other >= 0)
        other = other[rows]
        for name in problem.exclusive:
            out[rows] |= problem.codes[name][rows] == problem.codes[name][other]
        if problem.min_gap_hours:
            hour = problem.codes["hour"].astype(np.int64)
            out[rows] |= np.abs(hour[rows] - hour[other]) < problem.min_gap_hours
    return out


def _too_large(problem: PlanningProblem, used: FloatArray) -> NDArray[np.bool_]:
    """(N,), candidates that alone use more of a budget than is left of it: no plan sends them."""
    out = np.zeros(problem.n_candidates, dtype=np.bool_)
    for budget, units in zip(problem.budgets, used[: len(problem.budgets)], strict=True):
        left = budget.limit - units
        if budget.cost is not None:
            out |= counted(problem, budget) & (problem.costs[budget.cost] > left)
        elif left < 1.0:
            out |= counted(problem, budget)
    return out


def _told(
    problem: PlanningProblem,
    layout: Layout,
    chosen: IntArray,
    prices: FloatArray,
    classes: tuple[PriorityClass, ...],
    repaired: int,
) -> Plan:
    used = use_of(layout, chosen)
    return Plan(
        chosen=chosen,
        prices=prices,
        value=sum(item.value for item in classes),
        upper_bound=sum(item.upper_bound for item in classes),
        usage=tuple(
            LimitUse(item.label, isinstance(item, Floor), float(item.limit), float(units), abs(float(price)))
            for item, units, price in zip(problem.limits, used, prices, strict=True)
        ),
        n_users=problem.n_users,
        n_silent=problem.n_users - len(np.unique(problem.user_of(chosen))),
        n_repaired=repaired,
        classes=classes,
    )
