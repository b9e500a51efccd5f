"""Compiled: the best that one user can get at given prices, and what is nearly as good.

All take columns of a `Layout`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled, inlined


@inlined
def reduced(i: Any, value: Any, cell: Any, costs: Any, table: Any) -> Any:
    """Value of candidate i less what prices take off it."""
    c = cell[i]
    out = value[i] - table[0, c]
    for k in range(costs.shape[0]):
        out -= costs[k, i] * table[k + 1, c]
    return out


@inlined
def after_prices(i: Any, columns: Any, cell: Any, tables: Any, varied: Any) -> Any:
    """The same from values and costs as a tuple (1 + K), over which a loop is none when it is compiled.

    Args:
        tables: 1 + K tables (cells,); the sum is made in their precision.
        varied: 1 + K, whether prices of each cost differ between cells.
    """
    c = np.uint64(cell[i])
    out = columns[0][i] - tables[0][c]
    for k in range(1, len(columns)):
        # The same way for all candidates of a loop, which is compiled for both: one price stays in a register.
        out -= columns[k][i] * (tables[k][c] if varied[k] else tables[k][0])
    return out


@inlined
def compatible(i: Any, j: Any, hour: Any, group: Any, gap: Any) -> Any:
    """Whether one user may get both candidates."""
    shared = 0
    for g in range(group.shape[0]):
        shared += group[g, i] == group[g, j]
    return shared == 0 and not (gap and abs(hour[i] - hour[j]) < gap)


@compiled
def sort_live(at: Any, worth: Any, n: Any) -> Any:
    """Sort the first n by falling worth, the earlier candidate first among equal ones."""
    for a in range(1, n):
        w, i = worth[a], at[a]
        b = a - 1
        while b >= 0 and worth[b] < w:
            worth[b + 1], at[b + 1] = worth[b], at[b]
            b -= 1
        worth[b + 1], at[b + 1] = w, i


@compiled
def best_set(
    at: Any,
    worth: Any,
    n: Any,
    hour: Any,
    group: Any,
    most: Any,
    gap: Any,
    picked: Any,
    tried: Any,
    totals: Any,
    ahead: Any,
) -> Any:
    """The set of at most `most` compatible candidates with the largest total; at and worth are sorted, worth > 0.

    Depth first, the best candidates first; a branch is left where even the best that could follow does not help.

    Returns:
        The total and the number of candidates, whose positions in `at` are then in `picked`.
    """
    if n == 0:
        return 0.0, 0
    if (gap == 0 and group.shape[0] == 0) or n == 1:
        total = 0.0
        count = min(n, most)
        for d in range(count):
            picked[d] = d
            total += worth[d]
        return total, count
    ahead[0] = 0.0
    for a in range(n):
        ahead[a + 1] = ahead[a] + worth[a]
    best, count = 0.0, 0
    depth = 0
    tried[0] = -1  # the position that stands at each depth
    totals[0] = 0.0
    while depth >= 0:
        a = tried[depth] + 1
        tried[depth] = a
        if a >= n or totals[depth] + (ahead[min(n, a + most - depth)] - ahead[a]) <= best:
            depth -= 1
            continue
        fits = True
        for d in range(depth):
            if not compatible(at[tried[d]], at[a], hour, group, gap):
                fits = False
                break
        if not fits:
            continue
        total = totals[depth] + worth[a]
        if total > best:
            best, count = total, depth + 1
            for d in range(depth + 1):
                picked[d] = tried[d]
        if depth + 1 < most:
            depth += 1
            tried[depth] = a
            totals[depth] = total
    return best, count


@compiled
def list_sets(
    at: Any,
    worth: Any,
    n: Any,
    least: Any,
    hour: Any,
    group: Any,
    most: Any,
    gap: Any,
    tried: Any,
    totals: Any,
    ahead: Any,
    sets: Any,
) -> Any:
    """Sets of compatible candidates that are worth at least `least`; at and worth are sorted, worth > 0.

    Depth first as in `best_set`. The empty set comes first, whatever it is worth; not more are listed than there is
    room for.

    Args:
        sets: (room, most) out: rows, −1 where there are fewer.

    Returns:
        How many sets there are.
    """
    ahead[0] = 0.0
    for a in range(n):
        ahead[a + 1] = ahead[a] + worth[a]
    least -= 1e-12 * ahead[n]  # sums in another order differ in the last digits
    sets[0, :] = -1
    count = 1
    depth = 0
    tried[0] = -1
    while depth >= 0:
        a = tried[depth] + 1
        tried[depth] = a
        before = totals[depth - 1] if depth else 0.0
        if a >= n or before + (ahead[min(n, a + most - depth)] - ahead[a]) < least:
            depth -= 1
            continue
        fits = True
        for d in range(depth):
            if not compatible(at[tried[d]], at[a], hour, group, gap):
                fits = False
                break
        if not fits:
            continue
        totals[depth] = before + worth[a]
        if totals[depth] >= least:
            for d in range(most):
                sets[count, d] = at[tried[d]] if d <= depth else -1
            count += 1
            if count == sets.shape[0]:
                break
        if depth + 1 < most:
            depth += 1
            tried[depth] = a
    return count


@compiled
def best_total(
    offsets: Any, value: Any, cell: Any, costs: Any, hour: Any, group: Any, most: Any, gap: Any, users: Any, table: Any
) -> Any:
    """Σ over users of the best that each can get at given prices (1 + K, cells)."""
    widest = 0
    for n in range(users.shape[0]):
        widest = max(widest, offsets[users[n] + 1] - offsets[users[n]])
    at = np.empty(widest, np.int64)
    worth = np.empty(widest)
    ahead = np.empty(widest + 1)
    picked = np.empty(most, np.int64)
    tried = np.empty(most + 1, np.int64)
    totals = np.empty(most + 1)
    total = 0.0
    for x in range(users.shape[0]):
        n = 0
        top = 0.0
        for i in range(offsets[users[x]], offsets[users[x] + 1]):
            r = reduced(i, value, cell, costs, table)
            if most == 1:
                top = max(top, r)
            elif r > 0.0:
                at[n], worth[n] = i, r
                n += 1
        if most > 1:
            sort_live(at, worth, n)
            top, _ = best_set(at, worth, n, hour, group, most, gap, picked, tried, totals, ahead)
        total += top
    return total
