"""Compiled passes over options: what they are worth after prices, which is a user's best one, who has a choice.

All take columns of `Options`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled, inlined


@compiled
def worth_after(value: Any, cell: Any, cost: Any, table: Any, begin: Any, end: Any, out: Any) -> Any:
    """Value of options from `begin` to before `end` less what prices take off it: written to out (O,) there."""
    worth = out[begin:end]
    worth[:] = value[begin:end]
    for d in range(cell.shape[0]):
        row = cell[d, begin:end]
        price = table[0]
        for o in range(worth.shape[0]):
            worth[o] -= price[row[o]]
        for k in range(cost.shape[1]):
            amount = cost[d, k, begin:end]
            price = table[k + 1]
            for o in range(worth.shape[0]):
                worth[o] -= amount[o] * price[row[o]]


@inlined
def worth_of(o: Any, value: Any, cell: Any, cost: Any, table: Any) -> Any:
    """The same of option o alone."""
    out = value[o]
    for d in range(cell.shape[0]):
        c = cell[d, o]
        out -= table[0, c]
        for k in range(cost.shape[1]):
            out -= cost[d, k, o] * table[k + 1, c]
    return out


@inlined
def count_option(o: Any, weight: Any, cell: Any, cost: Any, counted: Any) -> Any:
    """Add an option's messages and costs, by cell, to counted (1 + K, cells)."""
    for d in range(cell.shape[0]):
        c = cell[d, o]
        counted[0, c] += weight
        for k in range(cost.shape[1]):
            counted[k + 1, c] += weight * cost[d, k, o]


@compiled
def count_options(cell: Any, cost: Any, chosen: Any, counted: Any) -> Any:
    """The same for several."""
    for u in range(chosen.shape[0]):
        count_option(chosen[u], 1.0, cell, cost, counted)


@compiled
def best_two(first: Any, worth: Any, begin: Any, end: Any, which: Any, top: Any, second: Any) -> Any:
    """Of users from `begin` to before `end` the option that is worth most, the first of equal ones; how much, and what
    the next best one is worth.

    Every user has an option, and it is not guessed which is the best; worths that are no numbers are left out.
    """
    for u in range(np.uint64(begin), np.uint64(end)):
        at: Any = np.uint64(first[u])  # unsigned indices are not looked at for being below 0
        best, next_best = worth[at] if worth[at] > -np.inf else -np.inf, -np.inf
        for o in range(at + np.uint64(1), np.uint64(first[u + np.uint64(1)])):
            r = worth[o]
            less = r if r < best else best
            next_best = less if less > next_best else next_best
            at = o if r > best else at
            best = r if r > best else best
        x = u - np.uint64(begin)
        which[x], top[x], second[x] = at, best, next_best


@compiled
def contested(first: Any, value: Any, cell: Any, cost: Any, worth: Any, high: Any, counted: Any) -> Any:
    """Options that may still be best at some prices between two tables, of the users who have a choice of them.

    Args:
        worth: (O,) of the options at the lower prices.
        high: (1 + K, cells), the higher ones.
        counted: (1 + K, cells) out, to which messages and costs of the others are added.

    Returns:
        These options, whose they are (an index), and where those of each user begin.
    """
    kept = np.empty(value.shape[0], np.int64)
    n = first.shape[0] - 1
    user, begin = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    which, top, second = np.empty(n, np.int64), np.empty(n), np.empty(n)
    best_two(first, worth, 0, n, which, top, second)
    settled = np.empty(n + 1, np.int64)
    users, options, n_settled = 0, 0, 0
    for u in range(n):  # no branch, for nobody knows who has a choice
        sure = worth_of(which[u], value, cell, cost, high) > second[u]
        settled[n_settled] = which[u]
        n_settled += sure
        user[users] = u
        users += not sure
    for x in range(n_settled):
        count_option(settled[x], 1.0, cell, cost, counted)
    for x in range(users):
        begin[x] = options
        start, end = first[user[x]], first[user[x] + 1]
        least = -np.inf
        for o in range(start, end):
            if worth[o] >= least:
                least = max(least, worth_of(o, value, cell, cost, high))
        for o in range(start, end):
            if worth[o] >= least or o == start:  # silence is kept of those who have a choice
                kept[options] = o
                options += 1
    begin[users] = options
    return kept[:options].copy(), user[:users].copy(), begin[: users + 1].copy()


@compiled
def contenders(first: Any, worth: Any, margin: Any) -> Any:
    """The same, of options that lie less than a margin below their user's best one."""
    kept = np.empty(worth.shape[0], np.int64)
    user = np.empty(first.shape[0], np.int64)
    begin = np.empty(first.shape[0], np.int64)
    which, top, second = np.empty(user.shape[0], np.int64), np.empty(user.shape[0]), np.empty(user.shape[0])
    best_two(first, worth, 0, first.shape[0] - 1, which, top, second)
    users, options = 0, 0
    for u in range(first.shape[0] - 1):
        if second[u] <= top[u] - margin:
            continue
        user[users], begin[users] = u, options
        users += 1
        for o in range(first[u], first[u + 1]):
            if worth[o] > top[u] - margin or o == first[u]:  # silence is kept of those who have a choice
                kept[options] = o
                options += 1
    begin[users] = options
    return kept[:options].copy(), user[:users].copy(), begin[: users + 1].copy()
