"""Few users, exactly: the integer program of what is open, by branch and bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.planning.layout import FloatArray, IntArray, Layout
from homing.planning.quiet import quiet

#: Candidates up to which the integer program is solved, and nodes of its tree: both bound the work.
MOST_CANDIDATES = 4096
_NODES = 2000
#: By how much (in messages) sums of costs are kept from their limits where the program's own tolerance broke one.
_MARGIN = 1e-5


@dataclass(frozen=True, eq=False)
class Exact:
    """What the integer program says.

    Attributes:
        chosen: candidate rows, rising; None where no plan was found.
        infeasible: whether it is proven that there is none.
    """

    chosen: IntArray | None
    infeasible: bool


def choose_exactly(
    layout: Layout,
    candidates: IntArray,
    floor: FloatArray,
    ceiling: FloatArray,
    scale: FloatArray,
    enough: float,
    keeps: Callable[[IntArray], bool],
) -> Exact:
    """The plan that is worth most among some candidates, all others left out.

    maximise v·x, x ∈ {0, 1}, such that floor ≤ A x ≤ ceiling, each user gets at most `layout.most`, at most one of each
    value of an exclusive column, and at most one within any `layout.gap` hours: one row for each clique of candidates
    that exclude each other.

    Args:
        candidates: (n,) rows, rising.
        floor, ceiling: (m,) units that are left for them.
        scale: (m,) units that a message typically uses.
        enough: gap at which to stop, in units of value.
        keeps: whether chosen rows keep the limits to the last digit, which the program's own arithmetic does not tell.

    References:
        Huangfu and Hall (2018), "Parallelizing the dual revised simplex method", Mathematical Programming Computation
        10 (HiGHS).
    """
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import vstack

    if not len(candidates):
        met = bool(np.all(floor <= 0.0) and np.all(ceiling >= 0.0))
        return Exact(candidates if met else None, not met)
    limits = _limits(layout, candidates, scale)
    users = np.searchsorted(layout.offsets, candidates, side="right") - 1
    caps, most = _caps(layout, candidates, users)
    matrix = vstack([limits, caps], format="csc")
    value = layout.value[candidates].astype(np.float64)
    # The program stops at an absolute gap as well, which values in any unit must be far above.
    unit = max(float(np.abs(value).max()), 1e-300)
    # Its gap is a share of what the plan is worth, which is below 0 where floors need messages that do harm.
    reach = max(float(np.maximum(value, 0.0).sum()), float(np.maximum(-value, 0.0).sum()), 1e-300)
    costs = layout.rows.cost > 0
    for margin in (0.0, _MARGIN):
        low = floor / scale + margin * costs
        high = ceiling / scale - margin * costs
        with quiet():
            found = milp(
                -value / unit,
                constraints=LinearConstraint(matrix, np.r_[low, np.full(len(most), -np.inf)], np.r_[high, most]),
                integrality=np.ones(len(value)),
                bounds=(0, 1),
                options={"node_limit": _NODES, "mip_rel_gap": max(1e-9, enough / reach)},
            )
        if found.x is None:
            return Exact(None, found.status == 2 and margin == 0.0)
        chosen = candidates[found.x > 0.5]
        if keeps(chosen):
            return Exact(chosen, False)
    return Exact(None, False)


def _limits(layout: Layout, candidates: IntArray, scale: FloatArray) -> Any:
    """Units of each row (m, n) that the candidates use, in messages; sparse."""
    from scipy.sparse import csr_matrix

    rows = layout.rows
    cell = layout.cell[candidates].astype(np.int64)
    count = rows.start[cell + 1] - rows.start[cell]
    column = np.repeat(np.arange(len(candidates)), count)
    entry = np.arange(len(column)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(rows.start[cell], count)
    row = rows.row[entry]
    units = np.vstack([np.ones(len(candidates)), layout.costs[:, candidates].astype(np.float64)])
    return csr_matrix((units[rows.cost[row], column] / scale[row], (row, column)), shape=(len(rows), len(candidates)))


def _caps(layout: Layout, candidates: IntArray, users: IntArray) -> tuple[Any, FloatArray]:
    """Rows (R, n) of what one user may get together, sparse, and how many of each."""
    from scipy.sparse import csr_matrix

    sets = [(_numbered(users), layout.most)]
    if layout.most > 1:
        sets += [(_numbered(users, group[candidates]), 1) for group in layout.group]
    row = [numbers for numbers, _ in sets]
    column = [np.arange(len(candidates))] * len(sets)
    most = [np.full(numbers.max() + 1, float(cap)) for numbers, cap in sets]
    if layout.gap:
        hour = layout.hour[candidates].astype(np.int64)
        order = np.lexsort((hour, users))
        # From each candidate on, those of the same user within the hours that follow.
        key = users[order] * (int(hour.max()) + layout.gap + 1) + hour[order]
        count = np.searchsorted(key, key + layout.gap, side="left") - np.arange(len(key))
        column.append(order[np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - np.arange(len(key)), count)])
        row.append(np.repeat(np.arange(len(key)), count))
        most.append(np.ones(len(key)))
    shifts = np.cumsum([0, *(len(part) for part in most)])
    rows = np.concatenate([part + shift for part, shift in zip(row, shifts, strict=False)])
    columns = np.concatenate(column)
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(int(shifts[-1]), len(candidates))), np.concatenate(
        most
    )


def _numbered(*columns: IntArray) -> IntArray:
    """Equal rows by one number, from 0."""
    numbers: IntArray = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].ravel()
    return numbers
