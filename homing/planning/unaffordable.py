"""Candidates that alone cost more than a budget has: no plan sends them, and no price says so where costs are tiny."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from homing.planning.layout import IntArray, Layout, lay_out
from homing.planning.plan import Plan, UnmetFloorsError
from homing.planning.problem import PlanningProblem, UserOffsets, derived

#: Budgets of costs that hold fewer typical messages are looked at; to a larger one a single candidate is nothing.
_FEW = 1000.0


def unaffordable(layout: Layout) -> NDArray[np.bool_] | None:
    """(N,), which candidates cost more than some small budget of theirs; None where there are none.

    Example:
        >>> from homing.planning import Budget
        >>> from homing.planning.layout import lay_out
        >>> problem = PlanningProblem([0, 1, 2], [1.0, 1.0, 1.0], costs={"money": [0.0, 0.1, 2.0]},
        ...                           budgets=[Budget(0.5, cost="money")])
        >>> unaffordable(lay_out(problem)).tolist()
        [False, False, True]
    """
    rows = layout.rows
    out: NDArray[np.bool_] | None = None
    for row in np.flatnonzero((rows.cost > 0) & (rows.ceiling < _FEW * layout.unit[rows.cost])):
        counts = np.zeros(rows.n_cells, dtype=np.bool_)
        counts[np.searchsorted(rows.start, np.flatnonzero(rows.row == row), side="right") - 1] = True
        found = counts[layout.cell] & (layout.costs[rows.cost[row] - 1] > rows.ceiling[row])
        out = found if out is None else out | found
    return out if out is not None and out.any() else None


def affordable(problem: PlanningProblem) -> PlanningProblem:
    """A problem without them, of which rows have other numbers; itself where there are none."""
    out = unaffordable(lay_out(problem))
    return problem if out is None else _only(problem, np.flatnonzero(~out))


def solve_without(problem: PlanningProblem, out: NDArray[np.bool_], solve: Callable[[PlanningProblem], Plan]) -> Plan:
    """The plan of a problem without some candidates, in rows of the whole."""
    kept: IntArray = np.flatnonzero(~out)
    try:
        plan = solve(_only(problem, kept))
    except UnmetFloorsError as error:
        raise type(error)(replace(error.plan, chosen=kept[error.plan.chosen])) from None
    return replace(plan, chosen=kept[plan.chosen])


def _only(problem: PlanningProblem, kept: IntArray) -> PlanningProblem:
    lengths = np.bincount(problem.user_of(kept), minlength=problem.n_users)
    return derived(
        problem,
        user=UserOffsets(np.concatenate([[0], np.cumsum(lengths)])),
        value=problem.value[kept],
        codes={name: column[kept] for name, column in problem.codes.items()},
        costs={name: column[kept] for name, column in problem.costs.items()},
    )
