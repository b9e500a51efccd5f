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
from homing.planning.runs import end_of_run, longer, most_worth, room_of, two_best
from homing.planning.screening_sets import screen_sets
from homing.planning.sets import reduced
from homing.planning.threads import Pool

#: Users of a block: what one thread visits at a time, and the order in which sums are made.
BLOCK = 2**15
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
    flat = np.array([row.min() == row.max() for row in floored[:, :-1]])

    def visit(block: IntArray) -> tuple[float, FloatArray, Options]:
        counted = np.zeros(box.low.shape)
        if layout.most > 1:
            shared = block, box.low, box.high, floored, flat, pick, counted
            value, *found = screen_sets(*layout.columns, *shared, MOST_OPTIONS)
            return value, counted, options_of(layout, *found)
        candidates = layout.offsets, layout.value, layout.cell, layout.costs
        value, user, first, *options = screen_one(*candidates, block, floored, raised, flat, pick, counted)
        worth, item, cell, cost = options
        columns = worth[:, 0], item, cell.T, np.ascontiguousarray(cost.T)[None]
        return value, counted, Options(user, first, *columns, np.arange(len(item)))

    parts = list(pool.map(visit, blocks(users)))
    counted = np.sum([part[1] for part in parts], axis=0)
    value = float(sum(part[0] for part in parts))
    return Screened(value, counted, layout.rows.usage(counted), join([part[2] for part in parts]))


def blocks(users: IntArray | range) -> Iterator[IntArray]:
    """Users in pieces for threads, at least one; those of a range are listed a piece at a time."""
    pieces = (users[a : a + BLOCK] for a in range(0, max(1, len(users)), BLOCK))
    return (np.arange(piece.start, piece.stop) if isinstance(piece, range) else piece for piece in pieces)


@compiled
def screen_one(
    offsets: Any,
    value: Any,
    cell: Any,
    costs: Any,
    users: Any,
    floored: Any,
    raised: Any,
    flat: Any,
    pick: Any,
    counted: Any,
) -> Any:
    """`screen` where a user gets one candidate at most. What is decided of every user takes no branches.

    Args:
        floored, raised: (1 + K, cells) float32, see `Box`; the last cell is that of no message.
        flat: (1 + K,) whether all messages have the same in `floored`.
        pick: (users of the layout, 1) out: rows that fixed users get, counted from the user's first; −1 for none.
        counted: (1 + K, cells) out, to which messages and costs of the fixed are added.

    Returns:
        Total value of the fixed; of the open users, who they are, and where the options of each begin; of the options,
        value (O, 1), row (O, 1), −1 for none, cell (O, 1), costs (O, K).
    """
    room = room_of(offsets, users)
    scratch = np.empty(room, np.float32)
    top, second, which = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.int64)
    live = np.empty(room + 1, np.int64)
    user, sure = np.empty(users.shape[0] + 1, np.int64), np.empty(users.shape[0] + 1, np.float32)
    first = np.empty(users.shape[0] + 1, np.int64)
    room = users.shape[0] // 2 + 16
    item, worth = np.empty((room, 1), np.int64), np.empty((room, 1))
    kind, cost = np.empty((room, 1), np.int32), np.empty((room, costs.shape[0]), np.float32)
    n_open, n_options = 0, 0
    total = 0.0
    x, nothing = 0, counted.shape[1] - 1
    while x < users.shape[0]:
        run = end_of_run(offsets, users, x, scratch.shape[0])
        begin_user, end_user = users[x], users[run - 1] + 1
        x = run
        start, end = offsets[begin_user], offsets[end_user]
        if start == end:
            pick[begin_user:end_user, 0] = -1
            continue
        most_worth(offsets, value, cell, costs, begin_user, end_user, floored, flat, scratch)
        ends = offsets[begin_user + 1 : end_user + 1] - start
        two_best(ends, scratch, top, second, which)
        seen = n_open
        rows = value[start:end], cell[start:end], costs[:, start:end]
        value_of_fixed, n_open = fix(
            *rows, raised, ends, top, second, which, pick[begin_user:end_user, 0], counted, user, sure, n_open
        )
        total += value_of_fixed
        for d in range(seen, n_open):
            user[d] += begin_user
            begin, end = offsets[user[d]] - start, offsets[user[d] + 1] - start
            while n_options + end - begin + 1 > item.shape[0]:
                item, worth, kind, cost = longer(item), longer(worth), longer(kind), longer(cost)
            first[d] = n_options
            item[n_options, 0], worth[n_options, 0], kind[n_options, 0], cost[n_options] = -1, 0.0, nothing, 0.0
            n_options += 1
            n, least = 0, max(sure[d], SMALLEST)
            for a in range(begin, end):
                live[n] = a
                n += scratch[a] >= least
            for b in range(n):
                least = max(least, reduced(start + live[b], value, cell, costs, raised) * np.float32(1.0 - 1e-6))
            for b in range(n):
                i = start + live[b]
                item[n_options, 0], worth[n_options, 0], kind[n_options, 0] = i, value[i], cell[i]
                for k in range(costs.shape[0]):
                    cost[n_options, k] = costs[k, i]
                n_options += scratch[live[b]] >= least
    first[n_open] = n_options
    options = worth[:n_options].copy(), item[:n_options].copy(), kind[:n_options].copy(), cost[:n_options].copy()
    return total, user[:n_open].copy(), first[: n_open + 1].copy(), *options


@compiled
def fix(
    value: Any,
    cell: Any,
    costs: Any,
    raised: Any,
    ends: Any,
    top: Any,
    second: Any,
    which: Any,
    pick: Any,
    counted: Any,
    doubtful: Any,
    sure: Any,
    n: Any,
) -> Any:
    """Settle users of a run, of whom the two best are known, without a branch: who is open is not to be guessed.

    Args:
        value, cell, costs: of the run's candidates.
        ends: (users,) where each user's candidates end.
        pick: (users,) out.
        doubtful, sure: out, from n on: the users who are open, and what their best one is worth at the highest prices,
            a little less than that.

    Returns:
        Σ value of what the others get, and the new n.
    """
    nothing = counted.shape[1] - 1
    total = 0.0
    begin = 0
    for u in range(ends.shape[0]):
        sent = top[u] > np.float32(0.0)
        i = np.uint64(which[u] if sent else 0)
        c = cell[i]
        at_least = value[i] - raised[0, c]
        for k in range(costs.shape[0]):
            at_least -= costs[k, i] * raised[k + 1, c]
        settled = at_least > second[u] * np.float32(1.0 + 1e-6)
        doubtful[n], sure[n] = u, at_least * np.float32(1.0 - 1e-6)
        n += sent & (not settled)
        sent = sent & settled
        pick[u] = np.int32(np.int64(i) - begin) if sent else np.int32(-1)
        begin = ends[u]
        total += float(value[i]) if sent else 0.0
        counts_in = np.int64(c) if sent else nothing
        counted[0, counts_in] += 1.0
        for k in range(costs.shape[0]):
            counted[k + 1, counts_in] += costs[k, i]
    counted[:, nothing] = 0.0
    return total, n
