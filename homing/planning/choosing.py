"""Compiled: the best that one user can get at given prices, alone and in passes over users.

All passes take the columns of a `Layout` first, then the users to visit.
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
def live_candidates(
    offsets: Any, value: Any, cell: Any, costs: Any, begin: Any, end: Any, tables: Any, scratch: Any, live: Any
) -> Any:
    """Rows from those of user `begin` to those before user `end` that could be worth more than 0, with some to spare.

    Vector instructions in float32 at prices that are lower by more than their rounding: no row that is worth more is
    missed, and few that are not are found.

    Args:
        tables: (1 + K, cells) float32.
        scratch: float32, as long as there are rows.
        live: int64 out, rows counted from the first.

    Returns:
        How many there are.
    """
    first = offsets[begin]
    rows = value[first : offsets[end]]
    cells = cell[first : offsets[end]]
    table = tables[0]
    for i in range(rows.shape[0]):
        scratch[i] = rows[i] - table[cells[i]]
    for k in range(costs.shape[0]):
        cost = costs[k, first : offsets[end]]
        table = tables[k + 1]
        for i in range(rows.shape[0]):
            scratch[i] -= cost[i] * table[cells[i]]
    n = 0
    for i in range(rows.shape[0]):
        live[n] = i
        n += scratch[i] > np.float32(0.0)
    return n


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
def longer(array: Any) -> Any:
    """A copy with room for twice as many."""
    out = np.empty((2 * array.shape[0] + 16, array.shape[1]), array.dtype)
    out[: array.shape[0]] = array
    return out


@compiled
def screen(
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
    pick: Any,
    counted: Any,
    room: Any,
) -> Any:
    """Fix the users whose choice is the same at all prices in a box; list the options of the others.

    A set S is best at all prices if it is best when its own candidates are charged the highest and all others the
    lowest ones: Σ_{S∖S'} r − Σ_{S'∖S} r is least there for every other set S'. A set may be best at some prices if it
    is worth as much at the lowest ones as the best set at the highest ones.

    Args:
        users: (n,) to visit, rising.
        low: (1 + K, cells), tables of the lowest prices.
        high: of the highest ones.
        pick: (users of the layout, most) int32 out: rows chosen, counted from the user's first; −1 for none.
        counted: (1 + K, cells) out, to which messages and costs of the fixed are added.
        room: options of one user at most.

    Returns:
        Total value of the fixed; of the open users, who they are, where the options of each begin, and the rows of the
        options (O, most).
    """
    widest = 1
    for n in range(users.shape[0]):
        widest = max(widest, offsets[users[n] + 1] - offsets[users[n]])
    lowered = (low - np.abs(low) * 1e-6).astype(np.float32)
    chunk = max(widest, 8192)
    scratch = np.empty(chunk, np.float32)
    live = np.empty(chunk + 1, np.int64)
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
        # A run of neighbours is read as one.
        run = x + 1
        while (
            run < users.shape[0]
            and users[run] == users[run - 1] + 1
            and offsets[users[run] + 1] - offsets[users[x]] <= chunk
        ):
            run += 1
        n_live = live_candidates(offsets, value, cell, costs, users[x], users[run - 1] + 1, lowered, scratch, live)
        start = offsets[users[x]]
        seen = 0
        for u in range(users[x], users[run - 1] + 1):
            first, end = offsets[u], offsets[u + 1] - start
            fixed = False
            for d in range(most):
                pick[u, d] = -1
            count = 0
            mark = seen
            if most == 1:
                top, second = 0.0, 0.0
                while seen < n_live and live[seen] < end:
                    i = start + live[seen]
                    seen += 1
                    r = reduced(i, value, cell, costs, low)
                    if r > second:
                        if r > top:
                            second, top = top, r
                            kept[0] = i
                        else:
                            second = r
                if top == 0.0:
                    continue
                count = 1
                fixed = reduced(kept[0], value, cell, costs, high) > second
            n = 0
            if most > 1 or not fixed:
                seen = mark
                while seen < n_live and live[seen] < end:
                    i = start + live[seen]
                    seen += 1
                    r = reduced(i, value, cell, costs, low)
                    if r > 0.0:
                        at[n], worth[n] = i, r
                        n += 1
                if n == 0:
                    continue
            if most > 1:
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
            if most == 1:
                least = max(0.0, worth[:n].max())
            else:
                sort_live(at, worth, n)
                m = 0
                while m < n and worth[m] > 0.0:
                    m += 1
                least, _ = best_set(at, worth, m, hour, group, most, gap, picked, tried, totals, ahead)
            for a in range(n):
                worth[a] = reduced(at[a], value, cell, costs, low)
            sort_live(at, worth, n)
            count = list_sets(at, worth, n, least, hour, group, most, gap, tried, totals, ahead, sets)
            while n_options + count > item.shape[0]:
                item = longer(item)
            open_user[n_open], first_option[n_open] = u, n_options
            n_open += 1
            for a in range(count):
                for d in range(most):
                    item[n_options, d] = sets[a, d]
                n_options += 1
        x = run
    first_option[n_open] = n_options
    return total, open_user[:n_open].copy(), first_option[: n_open + 1].copy(), item[:n_options]


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


@compiled
def steps(
    offsets: Any,
    value: Any,
    cell: Any,
    costs: Any,
    hour: Any,
    group: Any,
    most: Any,
    gap: Any,
    batches: Any,
    start: Any,
    row: Any,
    kind: Any,
    floor: Any,
    ceiling: Any,
    scale: Any,
    least: Any,
    prices: Any,
) -> Any:
    """Sampled dual steps from zero: subgradients of a few users at a time, each row's step scaled by their squares.

    AdaGrad (Duchi, Hazan, Singer 2011, section 1.1) on the dual; the mean of the second half of the steps is returned.

    Args:
        batches: (steps, users a step).
        start, row, kind: the rows of each cell, and what each row counts.
        floor, ceiling: (m,) a user.
        scale: (m,) first step of each price.
        least: (m,) lowest price: no floor subsidises without end.
        prices: (m,) where to begin.
    """
    m = prices.shape[0]
    price = prices.copy()
    mean = np.zeros(m)
    squares = np.zeros(m)
    cells = start.shape[0] - 1
    table = np.empty((1 + costs.shape[0], cells))
    use = np.empty(m)
    widest = 0
    for x in batches.ravel():
        widest = max(widest, offsets[x + 1] - offsets[x])
    at = np.empty(widest, np.int64)
    worth = np.empty(widest)
    ahead = np.empty(widest + 1)
    picked = np.empty(most, np.int64)
    tried = np.empty(most + 1, np.int64)
    totals = np.empty(most + 1)
    half = batches.shape[0] // 2
    for b in range(batches.shape[0]):
        table[:] = 0.0
        for c in range(cells):
            for e in range(start[c], start[c + 1]):
                table[kind[row[e]], c] += price[row[e]]
        use[:] = 0.0
        for x in batches[b]:
            n = 0
            for i in range(offsets[x], offsets[x + 1]):
                r = reduced(i, value, cell, costs, table)
                if r > 0.0:
                    at[n], worth[n] = i, r
                    n += 1
            sort_live(at, worth, n)
            _, count = best_set(at, worth, n, hour, group, most, gap, picked, tried, totals, ahead)
            for d in range(count):
                i = at[picked[d]]
                for e in range(start[cell[i]], start[cell[i] + 1]):
                    j = row[e]
                    use[j] += 1.0 if kind[j] == 0 else costs[kind[j] - 1, i]
        for j in range(m):
            mean_use = use[j] / batches.shape[1]
            slope = 0.0
            if price[j] > 0.0 or (price[j] == 0.0 and mean_use > ceiling[j]):
                slope = ceiling[j] - mean_use
            elif price[j] < 0.0 or mean_use < floor[j]:
                slope = floor[j] - mean_use
            if slope != 0.0:
                squares[j] += slope * slope
                moved = price[j] - scale[j] * slope / np.sqrt(squares[j])
                if moved * price[j] < 0.0:
                    moved = 0.0  # a price stops at zero before it changes its sign
                if floor[j] == -np.inf:
                    moved = max(moved, 0.0)
                if ceiling[j] == np.inf:
                    moved = min(moved, 0.0)
                price[j] = max(moved, least[j])
        if b >= half:
            mean += price
    return mean / max(1, batches.shape[0] - half)
