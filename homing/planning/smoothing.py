"""One pass over options at smoothed prices: what their users take, and how that answers to prices."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled, inlined
from homing.planning.option_passes import best_two, count_option, worth_after


@inlined
def add_outer(o: Any, factor: Any, cell: Any, cost: Any, start: Any, row: Any, kind: Any, curve: Any) -> Any:
    """Add factor · a aᵀ to the upper triangle of curve, with a the units that option o uses of each row."""
    for d in range(cell.shape[0]):
        c = cell[d, o]
        for e in range(start[c], start[c + 1]):
            i = row[e]
            a = factor if kind[i] == 0 else factor * cost[d, kind[i] - 1, o]
            for g in range(cell.shape[0]):
                b = cell[g, o]
                for f in range(start[b], start[b + 1]):
                    j = row[f]
                    if i <= j:
                        curve[i, j] += a if kind[j] == 0 else a * cost[g, kind[j] - 1, o]


@compiled
def smoothed(
    first: Any,
    value: Any,
    cell: Any,
    cost: Any,
    begin_user: Any,
    end_user: Any,
    table: Any,
    gamma: Any,
    start: Any,
    row: Any,
    kind: Any,
    counted: Any,
    curve: Any,
    weight: Any,
    worth: Any,
) -> Any:
    """Smoothed best options of users from `begin_user` to before `end_user`.

    Written are what these use (1 + K, cells), the upper triangle of its Hessian (m, m), the weights (O,), and what
    options are worth after prices (O,).
    Projection onto the simplex: options whose weight would be negative are dropped until none is (Michelot 1986).

    Args:
        table: (1 + K, cells), of prices.
        start, row, kind: the rows of each cell, and what each row counts.

    Returns:
        Σ over users of the smoothed best option, and by how much more the best one is worth than the weighted ones.
    """
    counted[:] = 0.0
    curve[:] = 0.0
    m, nothing = curve.shape[0], counted.shape[1] - 1
    units = np.zeros(m)  # Σ a of a user's options with a weight, and the rows that they use
    touched, toucher = np.empty(m, np.int64), np.full(m, -1, np.int64)
    total = 0.0
    lost = 0.0
    worth_after(value, cell, cost, table, first[begin_user], first[end_user], worth)
    weight[first[begin_user] : first[end_user]] = 0.0
    n = end_user - begin_user
    which, top, second = np.empty(n, np.int64), np.empty(n), np.empty(n)
    best_two(first, worth, begin_user, end_user, which, top, second)
    # Users whose best option is far above the others have it alone; no branch, for nobody knows who these are.
    near, clear = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    n_near, n_clear = 0, 0
    for u in range(n):
        far = second[u] <= top[u] - gamma
        near[n_near], clear[n_clear] = u, which[u]
        n_near += not far
        n_clear += far
        total += (top[u] - 0.5 * gamma) * far
    for x in range(n_clear):
        weight[clear[x]] = 1.0
        count_option(clear[x], 1.0, cell, cost, counted)
    counted[:, nothing] = 0.0
    for x in range(n_near):
        begin, end = first[begin_user + near[x]], first[begin_user + near[x] + 1]
        best = top[near[x]]
        count, mass, bound = 0, 0.0, best - gamma
        for o in range(begin, end):
            if worth[o] > bound:
                count += 1
                mass += worth[o]
        while True:
            level = (mass - gamma) / count
            if level <= bound:
                break
            dropped = 0
            for o in range(begin, end):
                if bound < worth[o] <= level:
                    mass -= worth[o]
                    dropped += 1
            bound = level
            if not dropped:
                break
            count -= dropped
        # Curvature: Σ a aᵀ − (Σ a)(Σ a)ᵀ / count over the options with a weight, each with units a of the rows; of two
        # it is (a − b)(a − b)ᵀ / 2.
        n, sign = 0, 1.0
        for o in range(begin, end):
            r = worth[o]
            if r <= bound:
                continue
            share = (r - level) / gamma
            weight[o] = share
            total += share * r - 0.5 * gamma * share * share
            lost += share * (best - r)
            count_option(o, share, cell, cost, counted)
            if count != 2:
                add_outer(o, 1.0 / gamma, cell, cost, start, row, kind, curve)
            for d in range(cell.shape[0]):
                c = cell[d, o]
                for e in range(start[c], start[c + 1]):
                    j = row[e]
                    if toucher[j] != x:
                        toucher[j], touched[n] = x, j
                        n += 1
                    units[j] += sign if kind[j] == 0 else sign * cost[d, kind[j] - 1, o]
            sign = -1.0 if count == 2 else 1.0
        factor = 0.5 / gamma if count == 2 else -1.0 / (gamma * count)
        for t in range(n):
            i = touched[t]
            a = factor * units[i]
            for s in range(n):
                if i <= touched[s]:
                    curve[i, touched[s]] += a * units[touched[s]]
        for t in range(n):
            units[touched[t]] = 0.0
    return total, lost


@compiled
def mirror(curve: Any) -> Any:
    """Write the upper triangle of a matrix to the lower one."""
    for i in range(curve.shape[0]):
        for j in range(i):
            curve[i, j] = curve[j, i]
