"""What everybody would take at prices, if nothing but their own caps held."""

from __future__ import annotations

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, IntArray, Layout, lay_out
from homing.planning.problem import PlanningProblem, derived
from homing.planning.solver import solve


def demand_of(problem: PlanningProblem, prices: FloatArray, threads: int = 0) -> tuple[float, FloatArray]:
    """Σ of what users are worth after prices, each with what is best at these; and the units of each limit (b,).

    Caps, hours between messages and exclusions hold; limits do not. With Σ price · limit the first is the dual value,
    an upper bound of every plan's: values after prices are rounded to float32 to choose by, and what that may have cost
    is added.

    Args:
        problem: candidates and limits.
        prices: (b,), signed as in `Plan`.
        threads: 0 for one a core.

    Example:
        >>> from homing.planning import Budget
        >>> problem = PlanningProblem(user=[0, 0, 1], value=[3.0, 2.5, 1.0], codes={"channel": [0, 1, 0]},
        ...                           budgets=[Budget(1, {"channel": 0})])
        >>> bound, used = demand_of(problem, np.array([0.75]))
        >>> round(bound, 4), used.tolist()
        (2.75, [1.0])
    """
    layout = lay_out(problem)
    rows = layout.rows
    of_row = np.zeros(len(rows))
    np.add.at(of_row, rows.of_limit, prices)
    worth = np.empty(problem.n_candidates)
    after_prices(layout.value, layout.cell, layout.costs, rows.tables(of_row), worth)
    free = derived(problem, value=worth.astype(np.float32), budgets=(), floors=(), priorities=())
    chosen = solve(free, threads=threads).chosen
    used = use_of(layout, chosen)
    # A candidate that was passed over for rounding was worth at most one unit in the last place more.
    slack = float(np.finfo(np.float32).eps) * float(np.abs(worth[chosen]).sum())
    return float(worth[chosen].sum()) + slack, used


def use_of(layout: Layout, chosen: IntArray) -> FloatArray:
    """Units of each limit (b,) that candidate rows use."""
    rows = layout.rows
    cells = len(rows.start) - 1
    cell = layout.cell[chosen].astype(np.int64)
    weights = (np.ones(len(chosen)), *layout.costs[:, chosen].astype(np.float64))
    out: FloatArray = rows.usage(np.array([np.bincount(cell, w, minlength=cells) for w in weights]))[rows.of_limit]
    return out


@compiled
def after_prices(value, cell, costs, table, worth):  # type: ignore[no-untyped-def]
    """Values after the prices of `table` (1 + K, cells)."""
    for i in range(value.shape[0]):
        c = cell[i]
        worth[i] = value[i] - table[0, c]
        for k in range(costs.shape[0]):
            worth[i] -= costs[k, i] * table[k + 1, c]
