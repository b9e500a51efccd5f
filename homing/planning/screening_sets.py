"""`screen` where a user may get several candidates: the sets of them that may be best at some prices."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.runs import end_of_run, longer, most_worth, room_of
from homing.planning.sets import best_set, list_sets, reduced, sort_live


@compiled
def screen_sets(
    offsets: Any,
    value: Any,
    cell: Any,
    costs: Any,
    hour: Any,
    group: Any,
    most: Any,
    gap: Any,
    users: Any,
    low: Any,
    high: Any,
    floored: Any,
    flat: Any,
    pick: Any,
    counted: Any,
    room: Any,
) -> Any:
    """Fix the users whose choice is the same at all prices in a box; list the options of the others.

    Args:
        users: (n,) to visit, rising.
        low: (1 + K, cells), tables of the lowest prices.
        high: of the highest ones.
        floored: float32, not above `low`.
        flat: (1 + K,) whether all messages have the same there.
        pick: (users of the layout, most) int32 out: rows chosen, counted from the user's first; −1 for none.
        counted: (1 + K, cells) out, to which messages and costs of the fixed are added.
        room: options of one user at most.

    Returns:
        Total value of the fixed; of the open users, who they are, where the options of each begin, and the rows of the
        options (O, most), −1 where there are fewer.
    """
    widest = 1
    for n in range(users.shape[0]):
        widest = max(widest, offsets[users[n] + 1] - offsets[users[n]])
    scratch = np.empty(room_of(offsets, users), np.float32)
    live = np.empty(widest + 1, np.int64)
    at = np.empty(widest, np.int64)
    worth = np.empty(widest)
    held = np.zeros(widest, np.bool_)
    ahead = np.empty(widest + 1)
    picked = np.empty(most, np.int64)
    tried = np.empty(most + 1, np.int64)
    totals = np.empty(most + 1)
    kept = np.empty(most, np.int64)
    sets = np.empty((room, most), np.int64)
    open_user = np.empty(users.shape[0], np.int64)
    first_option = np.empty(users.shape[0] + 1, np.int64)
    item = np.empty((users.shape[0] + 16, most), np.int64)
    n_open, n_options = 0, 0
    total = 0.0
    x = 0
    while x < users.shape[0]:
        run = end_of_run(offsets, users, x, scratch.shape[0])
        start = offsets[users[x]]
        most_worth(offsets, value, cell, costs, users[x], users[run - 1] + 1, floored, flat, scratch)
        for u in range(users[x], users[run - 1] + 1):
            first = offsets[u]
            for d in range(most):
                pick[u, d] = -1
            n_live = 0
            for i in range(first, offsets[u + 1]):
                live[n_live] = i
                n_live += scratch[i - start] > np.float32(0.0)
            n = 0
            for a in range(n_live):
                r = reduced(live[a], value, cell, costs, low)
                if r > 0.0:
                    at[n], worth[n] = live[a], r
                    n += 1
            if n == 0:
                continue
            sort_live(at, worth, n)
            _, count = best_set(at, worth, n, hour, group, most, gap, picked, tried, totals, ahead)
            for d in range(count):
                kept[d] = at[picked[d]]
                held[kept[d] - first] = True
            mine = 0.0
            fixed = True
            for a in range(n):
                if held[at[a] - first]:
                    worth[a] = reduced(at[a], value, cell, costs, high)
                    mine += worth[a]
                    fixed = fixed and worth[a] > 0.0
            for d in range(count):
                held[kept[d] - first] = False
            if fixed:
                sort_live(at, worth, n)
                best, _ = best_set(at, worth, n, hour, group, most, gap, picked, tried, totals, ahead)
                # Sums in another order differ in the last digits; what is that near is open.
                fixed = best <= mine
            if fixed:
                for d in range(count):
                    i = kept[d]
                    pick[u, d] = i - first
                    total += value[i]
                    counted[0, cell[i]] += 1.0
                    for k in range(costs.shape[0]):
                        counted[k + 1, cell[i]] += costs[k, i]
                continue
            for a in range(n):
                worth[a] = reduced(at[a], value, cell, costs, high)
            sort_live(at, worth, n)
            m = 0
            while m < n and worth[m] > 0.0:
                m += 1
            least, _ = best_set(at, worth, m, hour, group, most, gap, picked, tried, totals, ahead)
            for a in range(n):
                worth[a] = reduced(at[a], value, cell, costs, low)
            sort_live(at, worth, n)
            count = list_sets(at, worth, n, least, hour, group, most, gap, tried, totals, ahead, sets)
            item = longer(item, n_options + count)
            open_user[n_open], first_option[n_open] = u, n_options
            n_open += 1
            for a in range(count):
                for d in range(most):
                    item[n_options, d] = sets[a, d]
                n_options += 1
        x = run
    first_option[n_open] = n_options
    return total, open_user[:n_open].copy(), first_option[: n_open + 1].copy(), item[:n_options]
