"""Who is silent in a plan, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.layout import lay_out
from homing.planning.plan import Plan
from homing.planning.problem import PlanningProblem


@dataclass(frozen=True)
class Silence:
    """Silent users by the reason.

    Attributes:
        no_candidates: nothing could have been sent.
        not_worth_it: no candidate is worth more than silence.
        priced_out: something is, but not more than the budgets that it would use are worth to others; by the limit that
            costs their best candidate most.
        no_room: something is worth its prices, yet the last units went to users for whom it makes more of a
            difference.
    """

    no_candidates: int
    not_worth_it: int
    priced_out: dict[str, int]
    no_room: int

    @property
    def total(self) -> int:
        """All silent users."""
        return self.no_candidates + self.not_worth_it + sum(self.priced_out.values()) + self.no_room

    def times(self, factor: float) -> Silence:
        """Counts of a sample as those of `factor` times its users."""
        if factor == 1.0:
            return self
        return Silence(
            round(factor * self.no_candidates),
            round(factor * self.not_worth_it),
            {name: round(factor * count) for name, count in self.priced_out.items()},
            round(factor * self.no_room),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "total": self.total}


def why_silent(problem: PlanningProblem, plan: Plan) -> Silence:
    """Reasons of every user whom the plan sends nothing.

    Example:
        >>> from homing.planning import Budget, solve
        >>> problem = PlanningProblem(user=[0, 1, 2], value=[3.0, 2.0, -1.0], budgets=[Budget(1)])
        >>> why_silent(problem, solve(problem))
        Silence(no_candidates=0, not_worth_it=1, priced_out={'messages': 1}, no_room=0)
    """
    layout = lay_out(problem)
    of_row = np.zeros(len(layout.rows))
    np.add.at(of_row, layout.rows.of_limit, plan.prices)
    served = np.zeros(problem.n_users, dtype=np.bool_)
    served[problem.user_of(plan.chosen)] = True
    best = np.empty(problem.n_users, dtype=np.int64)
    after = np.empty(problem.n_users)
    best_of_each(layout.offsets, layout.value, layout.cell, layout.costs, layout.rows.tables(of_row), best, after)
    silent = ~served
    empty = silent & (best < 0)
    idle = silent & (best >= 0) & (layout.value[np.maximum(best, 0)] <= 0) if layout.value.size else empty & False
    # A price of its own last user leaves nothing over: up to rounding that is priced out, too.
    scale = 1e-9 * max(1.0, float(np.abs(layout.value).max(initial=0.0)))
    out = silent & ~empty & ~idle & (after <= scale)
    rows = best[out]
    blamed, most = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), -np.inf)
    columns = {name: column[rows] for name, column in problem.codes.items()}
    columns |= {name: column[np.flatnonzero(out)] for name, column in problem.segments.items()}
    for b, limit in enumerate(problem.limits):
        price = np.full(len(rows), float(plan.prices[b]))
        if limit.cost is not None:
            price *= problem.costs[limit.cost][rows]
        for name, codes in problem.selected(limit).items():
            price[~np.isin(columns[name], codes)] = 0.0
        blamed, most = np.where(price > most, b, blamed), np.maximum(price, most)
    counts = np.bincount(blamed, minlength=len(problem.limits))
    return Silence(
        no_candidates=int(empty.sum()),
        not_worth_it=int(idle.sum()),
        priced_out={item.name: int(n) for item, n in zip(plan.usage, counts, strict=True) if n},
        no_room=int((silent & ~empty & ~idle & ~out).sum()),
    )


@compiled
def best_of_each(offsets, value, cell, costs, table, best, after):  # type: ignore[no-untyped-def]
    """Each user's candidate of largest value (−1 without any), and the largest value after prices."""
    for u in range(offsets.shape[0] - 1):
        best[u], after[u] = -1, -np.inf
        for i in range(offsets[u], offsets[u + 1]):
            if best[u] < 0 or value[i] > value[best[u]]:
                best[u] = i
            worth = value[i] - table[0, cell[i]]
            for k in range(costs.shape[0]):
                worth -= costs[k, i] * table[k + 1, cell[i]]
            after[u] = max(after[u], worth)
