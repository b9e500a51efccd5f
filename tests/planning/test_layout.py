"""Cells of candidates, and what rows count of them, against sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from homing.planning import Budget, PlanningProblem, UserOffsets
from homing.planning.layout import Layout, lay_out
from homing.planning.scanning import all_within

USERS, EACH = 40, 5


def laid_out(columns: int) -> tuple[PlanningProblem, Layout]:
    """Five code columns of one type or another, of which some are limited; codes go beyond what limits name."""
    rng = np.random.default_rng(columns)
    n = USERS * EACH
    kinds = (np.uint8, np.uint16, np.uint32, np.uint8, np.uint16)
    codes = {f"c{i}": rng.integers(0, 4, n).astype(kind) for i, kind in enumerate(kinds)}
    budgets = [Budget(9, {f"c{i}": code}) for i in range(columns) for code in range(2)]
    budgets += [Budget(9, {f"c{i}": 2 for i in range(columns)}, name="all of them"), Budget(9, cost="money")]
    money = {"money": rng.gamma(1.0, 0.5, n)}
    problem = PlanningProblem(
        UserOffsets(np.arange(USERS + 1) * EACH), rng.random(n), codes=codes, costs=money, budgets=budgets
    )
    return problem, lay_out(problem)


@pytest.mark.parametrize("columns", range(1, 6))
def test_rows_count_what_limits_name(columns: int) -> None:
    problem, layout = laid_out(columns)
    rows, some = layout.rows, np.arange(0, problem.n_candidates, 3)
    weights = (np.ones(len(some)), problem.costs["money"][some].astype(np.float64))
    counted = np.array([np.bincount(layout.cell[some], w, rows.n_cells) for w in weights])
    use = rows.usage(counted)[rows.of_limit]
    price = np.random.default_rng(0).random(len(rows))
    taken = np.zeros(problem.n_candidates)
    for position, limit in enumerate(problem.limits):
        mine = np.ones(problem.n_candidates, dtype=bool)
        for column, chosen in problem.selected(limit).items():
            mine &= np.isin(problem.codes[column], chosen)
        units = mine * (1.0 if limit.cost is None else problem.costs[limit.cost].astype(np.float64))
        assert use[position] == pytest.approx(units[some].sum())
        taken += price[rows.of_limit[position]] * units
    tables = rows.tables(price)
    cell = layout.cell
    assert tables[0, cell] + tables[1, cell] * problem.costs["money"] == pytest.approx(taken)
    largest = rows.largest(tables)
    assert largest[rows.of_limit[-1]] == tables[1].max() and largest[rows.of_limit[0]] <= tables[0].max()


@pytest.mark.parametrize("n", [0, 1, 4, 7, 64, 1003])
def test_no_value_out_of_bounds_is_missed(n: int) -> None:
    """Wherever it stands, of four quarters and of what is left of them."""
    low, high = np.float32(-2.0), np.float32(3.0)
    column = np.random.default_rng(n).uniform(-2.0, 3.0, n).astype(np.float32)
    assert all_within(column, low, high)
    for row in range(n):
        for wrong in (np.nan, np.inf, -np.inf, 3.5, -2.5):
            changed = column.copy()
            changed[row] = wrong
            assert not all_within(changed, low, high)
