"""The problem as the solver reads it: one small cell number a candidate stands for all its codes.

Limits tell candidates apart by few codes. Codes that no limit names count as one; the combinations that remain are
*cells*, and everything that a price does to a candidate is looked up by its cell: reduced value = value −
table[0, cell] − Σ_k cost_k · table[k, cell]. One cell more stands for no message: it counts in no row and has no price.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.planning.cells import cells_of
from homing.planning.compiled import compiled
from homing.planning.problem import PlanningProblem, stacked
from homing.planning.threads import Pool

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MOST_CELLS = 2**22
#: Candidates that tell what is typical.
_SOME = 100_000


@compiled
def add_prices(start: Any, row: Any, kind: Any, prices: Any, out: Any) -> Any:
    """Add prices (m,) to out (1 + K, cells) at the cells that rows count, under what they count."""
    for c in range(start.shape[0] - 1):
        for e in range(start[c], start[c + 1]):
            out[kind[row[e]], c] += prices[row[e]]


@compiled
def add_usage(start: Any, row: Any, kind: Any, counted: Any, out: Any) -> Any:
    """Add to out (m,) what rows count of (1 + K, cells)."""
    for c in range(start.shape[0] - 1):
        for e in range(start[c], start[c + 1]):
            out[row[e]] += counted[kind[row[e]], c]


@compiled
def find_largest(start: Any, row: Any, kind: Any, tables: Any, out: Any) -> Any:
    """Raise out (m,) to the largest that rows count of (1 + K, cells)."""
    for c in range(start.shape[0] - 1):
        for e in range(start[c], start[c + 1]):
            out[row[e]] = max(out[row[e]], tables[kind[row[e]], c])


@dataclass(frozen=True, eq=False)
class Rows:
    """What is counted, and between which bounds: a budget and a floor on the same thing are one row.

    The price p of a row is what one unit takes off a candidate's value: ≥ 0 where the ceiling binds, ≤ 0 where the
    floor does.

    Attributes:
        floor: (m,), −inf where there is none.
        ceiling: (m,), inf where there is none.
        of_limit: row of each of the problem's limits.
        cost: (m,), 0 where messages are counted, else 1 + the cost column.
        start: (cells + 1,), where the entries of each cell begin; the last cell, that of no message, has none.
        row: (entries,), the rows that each cell counts in.
        n_costs: cost columns.
    """

    floor: FloatArray
    ceiling: FloatArray
    of_limit: IntArray
    cost: IntArray
    start: IntArray
    row: IntArray
    n_costs: int

    def __len__(self) -> int:
        return len(self.floor)

    @property
    def n_cells(self) -> int:
        """Cells, that of no message among them."""
        return len(self.start) - 1

    def tables(self, prices: FloatArray) -> FloatArray:
        """What prices (m,) take off a message and off a unit of each cost, by cell (1 + K, cells)."""
        out = np.zeros((1 + self.n_costs, self.n_cells))
        add_prices(self.start, self.row, self.cost, prices, out)
        return out

    def usage(self, counted: FloatArray) -> FloatArray:
        """Units of each row (m,) from messages and costs by cell (1 + K, cells)."""
        out = np.zeros(len(self))
        add_usage(self.start, self.row, self.cost, counted, out)
        return out

    def largest(self, tables: FloatArray) -> FloatArray:
        """The largest entry (m,) of tables (1 + K, cells), none below 0, at which the price of each row counts."""
        out = np.zeros(len(self))
        find_largest(self.start, self.row, self.cost, tables, out)
        return out

    def bound(self, prices: FloatArray) -> float:
        """What the limits themselves are worth at these prices: Σ p⁺ · ceiling − p⁻ · floor."""
        up, down = prices > 0, prices < 0
        return float(prices[up] @ self.ceiling[up] + prices[down] @ self.floor[down])


@dataclass(frozen=True, eq=False)
class Layout:
    """The candidates as compiled code reads them.

    Attributes:
        offsets: (users + 1,).
        value: (N,) float32.
        cell: (N,) unsigned integers.
        costs: (K, N) float32, of the costs that limits name.
        hour: (N,) int32, or empty where hours do not matter.
        group: (G, N) int32, exclusive columns.
        most: candidates of one user that may be chosen.
        gap: hours between them.
        rows: the limits.
        unit: (1 + K,) units that a message takes of each kind: 1, and the mean of each cost where there is one.
    """

    offsets: IntArray
    value: NDArray[np.float32]
    cell: NDArray[Any]
    costs: NDArray[np.float32]
    hour: NDArray[np.int32]
    group: NDArray[np.int32]
    most: int
    gap: int
    rows: Rows
    unit: FloatArray

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.offsets) - 1

    @property
    def columns(self) -> tuple[Any, ...]:
        """What compiled passes over candidates take first."""
        return self.offsets, self.value, self.cell, self.costs, self.hour, self.group, self.most, self.gap

    @cached_property
    def reals(self) -> tuple[NDArray[np.float32], ...]:
        """Value and costs (1 + K), not to be written to: compiled code loops over a tuple of one type alone."""
        views = tuple(column.view() for column in (self.value, *self.costs))
        for view in views:
            view.flags.writeable = False
        return views

    @cached_property
    def widest(self) -> int:
        """Most candidates of one user."""
        return int(np.diff(self.offsets).max(initial=0))


def lay_out(problem: PlanningProblem, pool: Pool | None = None) -> Layout:
    """Cells and rows of a problem; threads of a pool pass over the candidates, if there is one."""
    kept: dict[str, Layout] = problem.laid_out
    if "layout" not in kept:
        kept["layout"] = replace(_laid_out(problem, pool), value=np.empty(0, dtype=np.float32))
    return replace(kept["layout"], value=problem.value)


def _laid_out(problem: PlanningProblem, pool: Pool | None) -> Layout:
    selections = [problem.selected(limit) for limit in problem.limits]
    tops: dict[str, int] = {}
    for chosen in selections:
        for column, codes in chosen.items():
            tops[column] = max(tops.get(column, 0), codes[-1] + 1)  # codes beyond the last one named count as one
    sizes = {column: top + 1 for column, top in tops.items()}
    cells = int(np.prod([float(size) for size in sizes.values()])) if sizes else 1
    if cells > MOST_CELLS:
        raise InvalidInputError(
            describe(
                "combinations of the codes that limits name",
                cells,
                f"must be at most {MOST_CELLS}",
                "Number the codes of each column from 0 without holes, or join columns that limits name together.",
            )
        )
    strides: dict[str, int] = {}
    stride = 1
    for column, size in sizes.items():
        strides[column] = stride
        stride *= size
    costs = {name: problem.costs[name] for name in problem.costs if any(x.cost == name for x in problem.limits)}
    several = problem.max_per_user > 1
    n = problem.n_candidates
    units = [column[:_SOME] for column in costs.values()]
    cells_filled = cells_of(problem, tops, strides, cells, pool)
    rows = _rows(problem, selections, sizes, strides, list(costs))  # meanwhile
    return Layout(
        offsets=problem.offsets,
        value=problem.value,
        cell=cells_filled(),
        costs=stacked(costs, n),
        hour=problem.codes["hour"].astype(np.int32) if several and problem.min_gap_hours else np.empty(0, np.int32),
        group=np.stack([problem.codes[c].astype(np.int32) for c in problem.exclusive])
        if several and problem.exclusive
        else np.empty((0, n), np.int32),
        most=problem.max_per_user,
        gap=problem.min_gap_hours if several else 0,
        rows=rows,
        unit=np.array([1.0, *(_mean(column[column > 0]) for column in units)]),
    )


def _mean(column: NDArray[np.float32]) -> float:
    return float(column.mean(dtype=np.float64)) if len(column) else 1.0


def _rows(
    problem: PlanningProblem,
    selections: list[dict[str, tuple[int, ...]]],
    sizes: dict[str, int],
    strides: dict[str, int],
    costs: list[str],
) -> Rows:
    cells = 1 + (int(np.prod(list(sizes.values()), dtype=np.int64)) if sizes else 1)
    found: dict[Any, int] = {}
    of_limit, floors, ceilings, kinds, members = [], [], [], [], []
    for position, (limit, chosen) in enumerate(zip(problem.limits, selections, strict=True)):
        key = (limit.cost, tuple(sorted(chosen.items())))
        if key not in found:
            found[key] = len(found)
            floors.append(-np.inf)
            ceilings.append(np.inf)
            kinds.append(0 if limit.cost is None else 1 + costs.index(limit.cost))
            here = np.zeros(1, dtype=np.int64)
            for column, size in sizes.items():
                codes = np.array(chosen.get(column, range(size)), dtype=np.int64)
                here = (here[:, None] + codes[None, :] * strides[column]).ravel()
            members.append(here)
        row = found[key]
        of_limit.append(row)
        if position < len(problem.budgets):
            ceilings[row] = min(ceilings[row], float(limit.limit))
        else:
            floors[row] = max(floors[row], float(limit.limit))
    where = np.concatenate(members) if members else np.empty(0, dtype=np.int64)
    row_of = np.repeat(np.arange(len(members)), [len(m) for m in members])
    order = np.argsort(where, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(where, minlength=cells))]).astype(np.int64)
    return Rows(
        floor=np.array(floors, dtype=np.float64),
        ceiling=np.array(ceilings, dtype=np.float64),
        of_limit=np.array(of_limit, dtype=np.int64),
        cost=np.array(kinds, dtype=np.int64),
        start=start,
        row=row_of[order].astype(np.int64),
        n_costs=len(costs),
    )
