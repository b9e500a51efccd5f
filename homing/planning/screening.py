"""One pass over candidates at a box of prices: who gets the same at all of them is settled, who may not is listed.

A set S of a user's candidates is best at all prices of a box if it is best when its own candidates are charged the
highest and all others the lowest ones: Σ_{S∖S'} r − Σ_{S'∖S} r is least there for every other set S'. A set may be best
at some prices if it is worth as much at the lowest ones as the best set at the highest ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, IntArray, Layout
from homing.planning.options import MOST_OPTIONS, Options, join, options_of
from homing.planning.runs import longer
from homing.planning.screening_sets import screen_sets
from homing.planning.sets import after_prices
from homing.planning.threads import Pool

#: Users of a block, of many and of few: what one thread visits at a time, and the order in which sums are made.
_BLOCK, _SMALL_BLOCK = 2**16, 2**11
#: Users of whom all is made while their candidates are in the nearest cache.
_RUN = 2048
#: Above 0.
SMALLEST = np.float32(np.finfo(np.float32).tiny)


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

    def raised(self) -> NDArray[np.float32]:
        """The high ones, higher."""
        return (self.high + np.abs(self.high) * 1e-6).astype(np.float32)


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


def screen(layout: Layout, users: IntArray | range, box: Box, pick: NDArray[np.int32], pool: Pool) -> Screened:
    """Fix the users whose choice is the same at all prices in a box; list the options of the others.

    Args:
        users: (n,) to visit, rising.
        pick: (users of the layout, most) out: rows that fixed users get, counted from the user's first; −1 for none.
    """
    floored, raised = box.floored(), box.raised()
    flat = np.array([np.ptp(low[:-1]) == 0.0 == np.ptp(high[:-1]) for low, high in zip(floored, raised, strict=True)])
    prices = tuple(floored), tuple(raised), tuple(~flat)

    def visit(block: IntArray) -> tuple[float, FloatArray, Options]:
        counted = np.zeros(box.low.shape[::-1]).T  # what is counted of one cell stands together
        if layout.most > 1:
            shared = block, box.low, box.high, floored, flat, pick, counted
            total, *found = screen_sets(*layout.columns, *shared, MOST_OPTIONS)
            return total, counted, options_of(layout, *found)
        some = layout.offsets, layout.reals, layout.cell, block
        total, user, first, value, item, cell, cost = screen_one(*some, *prices, pick[:, 0], counted)
        return total, counted, Options(user, first, value, item[:, None], cell, cost)

    parts = list(pool.map(visit, blocks(users)))
    counted = np.ascontiguousarray(sum(part[1] for part in parts))
    value = float(sum(part[0] for part in parts))
    return Screened(value, counted, layout.rows.usage(counted), join([part[2] for part in parts]))


def blocks(users: IntArray | range) -> Iterator[IntArray]:
    """Users in pieces for threads, at least one; those of a range are listed a piece at a time."""
    size = min(_BLOCK, max(_SMALL_BLOCK, len(users) // 4))
    pieces = (users[a : a + size] for a in range(0, max(1, len(users)), size))
    return (np.arange(piece.start, piece.stop) if isinstance(piece, range) else piece for piece in pieces)


@compiled
def screen_one(
    offsets: Any, columns: Any, cell: Any, users: Any, floored: Any, raised: Any, varied: Any, pick: Any, counted: Any
) -> Any:
    """`screen` where a user gets one candidate at most.

    Args:
        columns: 1 + K arrays (N,) float32: values, then each cost.
        floored, raised: 1 + K tables (cells,) float32, see `Box`.
        varied: 1 + K, see `after_prices`.
        pick: (users of the layout,) out: rows that fixed users get, counted from the user's first; −1 for none.
        counted: (1 + K, cells) out, to which messages and costs of the fixed are added.

    Returns:
        Total value of the fixed; of the open users, who they are, and where the options of each begin; of the options,
        value (O,), row (O,), −1 for none, cell (1, O), costs (1, K, O).
    """
    nothing, n_users = counted.shape[1] - 1, users.shape[0]
    if not cell.shape[0]:
        for x in range(n_users):
            pick[users[x]] = -1
        n_users = 0
    user, sure = np.empty(n_users + 1, np.int64), np.empty(n_users + 1, np.float32)
    first, fixed = np.empty(n_users + 1, np.int64), np.empty(_RUN + 1, np.uint64)
    item = np.empty(n_users // 2 + 16, np.int64)
    n_open, n_options, total = 0, 0, 0.0
    for x in range(0, n_users, _RUN):
        some, now = users[x : x + _RUN], n_open
        n_fixed, n_more = decide(
            offsets, columns, cell, some, floored, raised, varied, pick, fixed, user[now:], sure[now:]
        )
        n_open += n_more
        for y in range(n_fixed):
            i = fixed[y]
            total += columns[0][i]
            counted[0, cell[i]] += 1.0
            for k in range(1, len(columns)):
                counted[k, cell[i]] += columns[k][i]
        room = n_options + 1
        for d in range(now, n_open):
            room += offsets[user[d] + 1] - offsets[user[d]] + 1
        item = longer(item, room)
        mine = user[now:n_open], sure[now:n_open], first[now:]
        n_options = list_rows(offsets, columns, cell, *mine, floored, varied, item, n_options)
    first[n_open] = n_options
    n = n_options
    value, kind, cost = np.empty(n), np.empty((1, n), np.uint32), np.empty((1, len(columns) - 1, n), np.float32)
    for o in range(n):
        sent = item[o] >= 0
        i = item[o] * sent
        value[o] = columns[0][i] * sent
        kind[0, o] = nothing + (np.int64(cell[i]) - nothing) * sent
        for k in range(1, len(columns)):
            cost[0, k - 1, o] = columns[k][i] * np.float32(sent)
    return total, user[:n_open].copy(), first[: n_open + 1].copy(), value, item[:n].copy(), kind, cost


@compiled
def decide(
    offsets: Any,
    columns: Any,
    cell: Any,
    users: Any,
    floored: Any,
    raised: Any,
    varied: Any,
    pick: Any,
    fixed: Any,
    user: Any,
    sure: Any,
) -> Any:
    """What is best for each user, and for how long.

    All that is made of a candidate is made at once; who is fixed, who is open and who gets nothing is written down
    without a branch, for it is not to be guessed.

    Args:
        pick: (users of the layout,) out, as in `screen_one`.
        fixed: out, rows that fixed users get.
        user, sure: out, the users who are open, and what their best one is worth at the highest prices, a little less.

    Returns:
        How many rows and how many open users there are.
    """
    n_fixed, n_open, last = np.uint64(0), np.uint64(0), np.uint64(cell.shape[0] - 1)
    for x in range(users.shape[0]):
        u = np.uint64(users[x])  # unsigned indices are not looked at for being below 0
        begin, end = np.uint64(offsets[u]), np.uint64(offsets[u + np.uint64(1)])
        top, second = np.float32(0.0), np.float32(0.0)
        which: Any = min(begin, last)
        for i in range(begin, end):
            r = after_prices(i, columns, cell, floored, varied)
            second = max(second, min(top, r))
            which = i if r > top else which
            top = max(top, r)
        least = after_prices(which, columns, cell, raised, varied)
        settled = least > second * np.float32(1.0 + 1e-6)
        sent = top > np.float32(0.0)
        fixed[n_fixed] = which
        n_fixed += np.uint64(sent & settled)
        user[n_open], sure[n_open] = u, least * np.float32(1.0 - 1e-6)
        n_open += np.uint64(sent & (not settled))
        pick[u] = np.int32(which - begin) if sent & settled else np.int32(-1)
    return np.int64(n_fixed), np.int64(n_open)


@compiled
def list_rows(
    offsets: Any,
    columns: Any,
    cell: Any,
    user: Any,
    sure: Any,
    first: Any,
    floored: Any,
    varied: Any,
    item: Any,
    n: Any,
) -> Any:
    """Rows that open users may still get: those that the lowest prices leave as much as is sure; and silence.

    Args:
        first, item: out, where those of each user begin, and the rows from n on, −1 for silence.

    Returns:
        The new n.
    """
    n, worth = np.uint64(n), np.empty(8, np.float32)
    for d in range(user.shape[0]):
        first[d], item[n] = n, -1
        n += np.uint64(1)
        u, least = np.uint64(user[d]), max(sure[d], SMALLEST)
        begin, end = np.uint64(offsets[u]), np.uint64(offsets[u + np.uint64(1)])
        worth = longer(worth, np.int64(end - begin))
        for i in range(begin, end):
            worth[i - begin] = after_prices(i, columns, cell, floored, varied)
        for i in range(begin, end):  # on its own: what is read does not wait for where the last row was written
            item[n] = i
            n += np.uint64(worth[i - begin] >= least)
    return np.int64(n)
