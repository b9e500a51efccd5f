"""One pass over candidates at a box of prices: who gets the same at all of them is settled, who may not is listed.

A set S of a user's candidates is best at all prices of a box if it is best when its own candidates are charged the
highest and all others the lowest ones: Σ_{S∖S'} r − Σ_{S'∖S} r is least there for every other set S'. A set may be best
at some prices if it is worth as much at the lowest ones as the best set at the highest ones.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, IntArray, Layout
from homing.planning.options import MOST_OPTIONS, Options, join, options_of
from homing.planning.runs import end_of_run, longer, most_worth, room_of
from homing.planning.screening_sets import screen_sets
from homing.planning.sets import reduced

#: Users of a block: what one thread visits at a time, and the order in which sums are made.
BLOCK = 2**15


@dataclass(frozen=True, eq=False)
class Box:
    """What prices may take off a message and off a unit of each cost, by cell (1 + K, cells) each."""

    low: FloatArray
    high: FloatArray

    def outside(self, tables: FloatArray) -> FloatArray:
        """By how much tables lie outside, 0 where they do not."""
        return np.maximum(np.maximum(self.low - tables, tables - self.high), 0.0)

    def floored(self) -> NDArray[np.float32]:
        """The low tables in float32, lower by more than it takes to round the differences of values and prices."""
        return (self.low - np.abs(self.low) * 1e-6).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Screened:
    """What one pass at a box of prices leaves.

    Attributes:
        value: Σ value of what fixed users get.
        counted: (1 + K, cells) their messages and costs.
        use: (m,) their units.
        options: of the open users.
    """

    value: float
    counted: FloatArray
    use: FloatArray
    options: Options


def screen(layout: Layout, users: IntArray, box: Box, pick: NDArray[np.int32], pool: ThreadPoolExecutor) -> Screened:
    """Fix the users whose choice is the same at all prices in a box; list the options of the others.

    Args:
        users: (n,) to visit, rising.
        pick: (users of the layout, most) out: rows that fixed users get, counted from the user's first; −1 for none.
    """
    floored = box.floored()
    flat = np.array([row.min() == row.max() for row in floored[:, :-1]])

    def visit(block: IntArray) -> tuple[float, FloatArray, Options]:
        counted = np.zeros(box.low.shape)
        shared = (block, box.low, box.high, floored, flat, pick, counted)
        if layout.most == 1:
            value, *found = screen_one(layout.offsets, layout.value, layout.cell, layout.costs, *shared)
        else:
            value, *found = screen_sets(*layout.columns, *shared, MOST_OPTIONS)
        return value, counted, options_of(layout, *found)

    parts = list(pool.map(visit, blocks(users)))
    counted = np.sum([part[1] for part in parts], axis=0)
    value = float(sum(part[0] for part in parts))
    return Screened(value, counted, layout.rows.usage(counted), join([part[2] for part in parts]))


def blocks(users: IntArray) -> list[IntArray]:
    """Users in pieces for threads, at least one."""
    return [users[a : a + BLOCK] for a in range(0, max(1, len(users)), BLOCK)]


@compiled
def screen_one(
    offsets: Any,
    value: Any,
    cell: Any,
    costs: Any,
    users: Any,
    low: Any,
    high: Any,
    floored: Any,
    flat: Any,
    pick: Any,
    counted: Any,
) -> Any:
    """`screen` where a user gets one candidate at most.

    Args:
        floored: (1 + K, cells) float32, not above `low`.
        flat: (1 + K,) whether all messages have the same there.
        counted: (1 + K, cells) out, to which messages and costs of the fixed are added.

    Returns:
        Total value of the fixed; of the open users, who they are, where the options of each begin, and the rows of the
        options (O, 1), −1 for none.
    """
    n_costs = costs.shape[0]
    scratch = np.empty(room_of(offsets, users), np.float32)
    user = np.empty(users.shape[0], np.int64)
    first = np.empty(users.shape[0] + 1, np.int64)
    item = np.empty((users.shape[0] // 2 + 16, 1), np.int64)
    n_open, n_options = 0, 0
    total = 0.0
    x = 0
    while x < users.shape[0]:
        run = end_of_run(offsets, users, x, scratch.shape[0])
        start = offsets[users[x]]
        most_worth(offsets, value, cell, costs, users[x], users[run - 1] + 1, floored, flat, scratch)
        for u in range(users[x], users[run - 1] + 1):
            begin, end = offsets[u] - start, offsets[u + 1] - start
            top, second = np.float32(0.0), np.float32(0.0)
            for i in range(begin, end):
                second = max(second, min(top, scratch[i]))
                top = max(top, scratch[i])
            pick[u, 0] = -1
            if not top > 0.0:
                continue
            which = begin
            while scratch[which] != top:
                which += 1
            i = start + which
            if reduced(i, value, cell, costs, high) > second * (1.0 + 1e-6):
                pick[u, 0] = which - begin
                total += value[i]
                counted[0, cell[i]] += 1.0
                for k in range(n_costs):
                    counted[k + 1, cell[i]] += costs[k, i]
                continue
            least = 0.0
            for a in range(begin, end):
                if scratch[a] > 0.0:
                    least = max(least, reduced(start + a, value, cell, costs, high))
            while n_options + end - begin + 1 > item.shape[0]:
                item = longer(item)
            user[n_open], first[n_open] = u, n_options
            n_open += 1
            item[n_options, 0] = -1
            n_options += 1
            for a in range(begin, end):
                if scratch[a] > 0.0:
                    r = reduced(start + a, value, cell, costs, low)
                    if r > 0.0 and r >= least:
                        item[n_options, 0] = start + a
                        n_options += 1
        x = run
    first[n_open] = n_options
    return total, user[:n_open].copy(), first[: n_open + 1].copy(), item[:n_options].copy()
