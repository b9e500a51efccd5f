"""What planning is held against: the best-paying message first, and whoever comes first. Both keep every budget."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled
from homing.planning.layout import IntArray, Layout


def greedy_value(layout: Layout, rank: NDArray[np.uint8] | None = None) -> float:
    """Value if candidates are taken by falling value, each while its user is free and its budgets have room.

    A user gets up to the problem's cap; hours between messages and exclusions are kept. Floors are not looked at.

    Args:
        layout: the problem.
        rank: (N,) classes: those of lower numbers are taken first; None for one class.
    """
    order = np.argsort(-layout.value, kind="stable") if rank is None else np.lexsort((-layout.value, rank))
    return _taken(layout, order)


def first_come_value(layout: Layout, rank: NDArray[np.uint8] | None = None) -> float:
    """Value if users come one after the other, and each takes what is worth most among what still has room."""
    order = _by_user(layout) if rank is None else np.lexsort((-layout.value, rank, _user(layout)))
    return _taken(layout, order)


def _user(layout: Layout) -> IntArray:
    return np.repeat(np.arange(layout.n_users), np.diff(layout.offsets))


def _by_user(layout: Layout) -> IntArray:
    return np.lexsort((-layout.value, _user(layout)))


def _taken(layout: Layout, order: IntArray) -> float:
    rows, used = layout.rows, np.zeros(len(layout.rows))
    taken = np.full((layout.n_users, layout.most), -1, dtype=np.int64)
    total = take(
        layout.value, layout.cell, layout.costs, rows.start, rows.row, rows.cost, rows.ceiling, layout.hour,
        layout.group, layout.gap, order[layout.value[order] > 0], _user(layout), taken, used,
    )  # fmt: skip
    return float(total)


@compiled
def take(  # type: ignore[no-untyped-def]
    value, cell, costs, start, row, kind, ceiling, hour, group, gap, order, user, taken, used
):
    """Take candidates in an order while they fit; returns their value.

    Args:
        ceiling: (m,).
        order: candidate rows.
        user: (N,).
        taken: (users, most) −1 at first; filled.
        used: (m,), counted on.
    """
    total = 0.0
    for x in range(order.shape[0]):
        i = order[x]
        u = user[i]
        slot = -1
        fits = True
        for s in range(taken.shape[1]):
            other = taken[u, s]
            if other < 0:
                slot = s
                break
            if gap > 0 and abs(hour[other] - hour[i]) < gap:
                fits = False
            for g in range(group.shape[0]):
                if group[g, other] == group[g, i]:
                    fits = False
        if slot < 0 or not fits:
            continue
        c = cell[i]
        for e in range(start[c], start[c + 1]):
            r = row[e]
            unit = 1.0 if kind[r] == 0 else costs[kind[r] - 1, i]
            if used[r] + unit > ceiling[r]:
                fits = False
                break
        if not fits:
            continue
        for e in range(start[c], start[c + 1]):
            r = row[e]
            used[r] += 1.0 if kind[r] == 0 else costs[kind[r] - 1, i]
        taken[u, slot] = i
        total += value[i]
    return total
