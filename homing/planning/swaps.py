"""Pairs of moves, where no single one helps: one raises value and takes room that the other makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.repair import shift, shift_more


@compiled
def swap_users(
    first: Any,
    value: Any,
    start: Any,
    row: Any,
    amount: Any,
    price: Any,
    floor: Any,
    ceiling: Any,
    choice: Any,
    use: Any,
    firsts: Any,
    seconds: Any,
) -> Any:
    """Pairs of moves that together raise value within the limits, where neither does alone; returns how many.

    The first of a pair raises value and overfills one row; the second makes room there. Of each, the cheapest at the
    prices are tried.

    Args:
        firsts: moves tried as the first of a pair.
        seconds: moves tried against each of them.
    """
    m = price.shape[0]
    spare = 0.0
    for j in range(m):
        if price[j] > 0.0:
            spare += price[j] * (ceiling[j] - use[j])
        elif price[j] < 0.0:
            spare += price[j] * (floor[j] - use[j])
    n = 0
    user = np.empty(value.shape[0], np.int64)
    option = np.empty(value.shape[0], np.int64)
    loss = np.empty(value.shape[0])
    for u in range(first.shape[0] - 1):
        base = 0.0
        for o in range(-1, first[u + 1] - first[u]):
            which = choice[u] if o < 0 else first[u] + o
            worth = value[which]
            for e in range(start[which], start[which + 1]):
                worth -= amount[e] * price[row[e]]
            if o < 0:
                base = worth
            elif which != choice[u] and base - worth < spare:
                user[n], option[n], loss[n] = u, which, base - worth
                n += 1
    # Among moves that cost the same at the prices, those that give up little value come first: they leave use as it is.
    key = np.empty(n)
    for i in range(n):
        key[i] = loss[i] + 1e-6 * (value[choice[user[i]]] - value[option[i]])
    order = np.argsort(key, kind="mergesort")
    widest = 1
    for o in range(start.shape[0] - 1):
        widest = max(widest, start[o + 1] - start[o])
    touched = np.empty(4 * widest, np.int64)
    change = np.zeros(m)
    relieving = np.empty((m, seconds), np.int64)
    n_relieving = np.zeros(m, np.int64)
    starting = np.empty(firsts, np.int64)
    n_starting = 0
    for i in order:
        count = shift(choice[user[i]], option[i], start, row, amount, change, touched)
        over = 0
        for t in range(count):
            j = touched[t]
            over += change[j] > 0.0 and use[j] + change[j] > ceiling[j]
            if change[j] < 0.0 and n_relieving[j] < seconds:
                relieving[j, n_relieving[j]] = i
                n_relieving[j] += 1
            change[j] = 0.0
        if over == 1 and value[option[i]] > value[choice[user[i]]] and n_starting < firsts:
            starting[n_starting] = i
            n_starting += 1
    swaps = 0
    moved = np.zeros(first.shape[0] - 1, np.bool_)
    for s in range(n_starting):
        i = starting[s]
        u, old = user[i], choice[user[i]]
        if moved[u]:
            continue
        count = shift(old, option[i], start, row, amount, change, touched)
        full = -1
        for t in range(count):
            if use[touched[t]] + change[touched[t]] > ceiling[touched[t]]:
                full = touched[t]
        for t in range(count):
            change[touched[t]] = 0.0
        if full < 0:
            continue
        for r in range(n_relieving[full]):
            k = relieving[full, r]
            v = user[k]
            if v == u or moved[v]:
                continue
            gain = value[option[i]] - value[old] + value[option[k]] - value[choice[v]]
            if gain <= 1e-12:
                continue
            count = shift(old, option[i], start, row, amount, change, touched)
            count = shift_more(choice[v], option[k], start, row, amount, change, touched, count)
            fits = True
            for t in range(count):
                j = touched[t]
                after = use[j] + change[j]
                fits = fits and (change[j] <= 0.0 or after <= ceiling[j]) and (change[j] >= 0.0 or after >= floor[j])
            for t in range(count):
                j = touched[t]
                if fits:
                    use[j] += change[j]
                change[j] = 0.0
            if fits:
                choice[u], choice[v] = option[i], option[k]
                moved[u], moved[v] = True, True
                swaps += 1
                break
    return swaps
