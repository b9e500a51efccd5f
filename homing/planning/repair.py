"""From weights to a plan: each open user gets one option, and no limit is broken.

At prices p the gap of a plan is Σ over users of what their option is worth less than the best one, plus Σ p · (limit −
use) over priced limits (complementary slackness). Rounding therefore keeps use where the weights put it; then moves of
single users and of pairs, the cheapest first, undo what is broken, and fill what is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled, inlined


@compiled
def round_weights(
    first: Any, value: Any, start: Any, row: Any, amount: Any, weight: Any, scale: Any, choice: Any
) -> Any:
    """One option for each user, such that use strays little from that of the weights: error diffusion, user by user."""
    m = scale.shape[0]
    astray = np.zeros(m)
    mean = np.zeros(m)
    for u in range(first.shape[0] - 1):
        heavy = first[u]
        for o in range(first[u], first[u + 1]):
            if weight[o] > weight[heavy]:
                heavy = o
        choice[u] = heavy
        if weight[heavy] > 1.0 - 1e-9:
            continue
        for o in range(first[u], first[u + 1]):
            for e in range(start[o], start[o + 1]):
                mean[row[e]] += weight[o] * amount[e] / scale[row[e]]
        least = np.inf
        for o in range(first[u], first[u + 1]):
            if weight[o] > 1e-9:
                # Σ (astray − mean + use)² less what is the same for all options.
                far = 0.0
                for e in range(start[o], start[o + 1]):
                    j, a = row[e], amount[e] / scale[row[e]]
                    far += 2.0 * a * (astray[j] - mean[j])
                    for f in range(start[o], start[o + 1]):
                        if row[f] == j:
                            far += a * amount[f] / scale[j]
                if far < least:
                    least = far
                    choice[u] = o
        o = choice[u]
        for e in range(start[o], start[o + 1]):
            astray[row[e]] += amount[e] / scale[row[e]]
        for p in range(first[u], first[u + 1]):
            for e in range(start[p], start[p + 1]):
                astray[row[e]] -= weight[p] * amount[e] / scale[row[e]]
                mean[row[e]] = 0.0


@inlined
def broken(j: Any, use: Any, floor: Any, ceiling: Any, over: Any) -> Any:
    """Units by which a row is under, and `over` times those by which it is over."""
    return over * max(0.0, use - ceiling[j]) + max(0.0, floor[j] - use)


@compiled
def shift_more(old: Any, new: Any, start: Any, row: Any, amount: Any, change: Any, touched: Any, n: Any) -> Any:
    """Add what rows change by if a user goes from one option to another; returns how many of them are touched.

    Args:
        change: (m,) units.
        touched: rows with a change, of which there are n before.
    """
    for side in range(2):
        o = new if side else old
        for e in range(start[o], start[o + 1]):
            j = row[e]
            seen = False
            for t in range(n):
                seen = seen or touched[t] == j
            if not seen:
                touched[n] = j
                n += 1
            change[j] += amount[e] if side else -amount[e]
    return n


@compiled
def shift(old: Any, new: Any, start: Any, row: Any, amount: Any, change: Any, touched: Any) -> Any:
    """The same where nothing is touched before."""
    return shift_more(old, new, start, row, amount, change, touched, 0)


@compiled
def move_users(
    first: Any,
    value: Any,
    start: Any,
    row: Any,
    amount: Any,
    price: Any,
    scale: Any,
    floor: Any,
    ceiling: Any,
    choice: Any,
    use: Any,
    over: Any,
    filling: Any,
) -> Any:
    """One round of moves of single users, the cheapest first; returns how many there were.

    Args:
        choice: (n,) option of each user, changed.
        use: (m,) of all users, changed.
        over: how much more a unit over a budget counts than one under a floor.
        filling: whether to raise value within the limits; else what is broken is mended.
    """
    m = scale.shape[0]
    change = np.zeros(m)
    widest = 1
    for o in range(start.shape[0] - 1):
        widest = max(widest, start[o + 1] - start[o])
    touched = np.empty(2 * widest, np.int64)
    n_options = value.shape[0]
    key = np.empty(n_options)
    user = np.empty(n_options, np.int64)
    option = np.empty(n_options, np.int64)
    n = 0
    for u in range(first.shape[0] - 1):
        old = choice[u]
        base = value[old]
        for e in range(start[old], start[old + 1]):
            base -= amount[e] * price[row[e]]
        for o in range(first[u], first[u + 1]):
            if o == old or (filling and value[o] <= value[old]):
                continue
            count = shift(old, o, start, row, amount, change, touched)
            mended = 0.0
            for t in range(count):
                j = touched[t]
                mended += (
                    broken(j, use[j], floor, ceiling, over) - broken(j, use[j] + change[j], floor, ceiling, over)
                ) / scale[j]
                change[j] = 0.0
            worth = value[o]
            for e in range(start[o], start[o + 1]):
                worth -= amount[e] * price[row[e]]
            if filling:
                if mended >= 0.0:
                    key[n], user[n], option[n] = base - worth, u, o
                    n += 1
            elif mended > 1e-12:
                key[n], user[n], option[n] = (base - worth) / mended, u, o
                n += 1
    moves = 0
    order = np.argsort(key[:n], kind="mergesort")
    moved = np.zeros(first.shape[0] - 1, np.bool_)
    for i in order:
        u, o = user[i], option[i]
        if moved[u]:
            continue
        count = shift(choice[u], o, start, row, amount, change, touched)
        mended = 0.0
        for t in range(count):
            j = touched[t]
            mended += (
                broken(j, use[j], floor, ceiling, over) - broken(j, use[j] + change[j], floor, ceiling, over)
            ) / scale[j]
        fits = mended >= 0.0 if filling else mended > 1e-12
        for t in range(count):
            j = touched[t]
            if fits:
                use[j] += change[j]
            change[j] = 0.0
        if fits:
            choice[u] = o
            moved[u] = True
            moves += 1
    return moves
