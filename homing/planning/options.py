"""What users whose choice is open may still get: for each, the sets that could be best at some prices in an interval.

From here on caps, hours between messages and exclusions are settled: a user picks one of a few *options*, the first of
which is silence. An option is a worth and the units that it uses of each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.choosing import best_set, compatible, reduced, sort_live
from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, IntArray, Layout

#: Options kept of one user; more are those that are worth least at the interval's middle.
MOST_OPTIONS = 256


@dataclass(frozen=True, eq=False)
class Options:
    """Options of some users, user by user.

    Attributes:
        user: (n,) index of each user in the layout.
        first: (n + 1,) where each user's options begin.
        value: (O,) worth over silence.
        item: (O, most) candidate rows, −1 where there are fewer.
        start: (O + 1,) where each option's entries begin.
        row: (E,) rows that it uses.
        amount: (E,) units.
        origin: (O,) index of each among the options from which these were narrowed down.
    """

    user: IntArray
    first: IntArray
    value: FloatArray
    item: IntArray
    start: IntArray
    row: IntArray
    amount: FloatArray
    origin: IntArray

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def columns(self) -> tuple[Any, ...]:
        """What compiled passes over options take first."""
        return self.first, self.value, self.start, self.row, self.amount

    def usage(self, chosen: IntArray, n_rows: int) -> FloatArray:
        """Units of each row (m,) if each user gets the option `chosen` (n,), an index over all options."""
        lengths = self.start[chosen + 1] - self.start[chosen]
        total = int(lengths.sum())
        at = np.repeat(self.start[chosen] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(total)
        return np.bincount(self.row[at], self.amount[at], minlength=n_rows).astype(np.float64)


def join(parts: list[Options]) -> Options:
    """Options of the users of all parts, in their order."""
    return Options(
        np.concatenate([p.user for p in parts]),
        _offsets(np.concatenate([np.diff(p.first) for p in parts])),
        np.concatenate([p.value for p in parts]),
        np.concatenate([p.item for p in parts]),
        _offsets(np.concatenate([np.diff(p.start) for p in parts])),
        np.concatenate([p.row for p in parts]),
        np.concatenate([p.amount for p in parts]),
        np.arange(sum(len(p.value) for p in parts)),
    )


def options_of(layout: Layout, users: IntArray, low: FloatArray, high: FloatArray) -> Options:
    """Options of some users at prices between two tables (1 + K, cells)."""
    rows = layout.rows
    found = enumerate_sets(*layout.columns, users, low, high, rows.start, rows.row, rows.cost, MOST_OPTIONS)
    first, value, item, start, row, amount = found
    return Options(users, first, value, item, start, row, amount, np.arange(len(value)))


@compiled
def _longer(array: Any) -> Any:
    out = np.empty(2 * array.shape[0] + 16, array.dtype)
    out[: array.shape[0]] = array
    return out


@compiled
def enumerate_sets(
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
    start: Any,
    row: Any,
    kind: Any,
    limit: Any,
) -> Any:
    """Sets that are worth as much at the lowest prices as the best one at the highest prices.

    Every set that is best at some prices in between is among them. Silence comes first, whatever it is worth.

    Args:
        users: (n,) to visit.
        low, high: (1 + K, cells).
        start, row, kind: the rows of each cell, and what each row counts.
        limit: sets kept of one user.
    """
    widest = 1
    for x in range(users.shape[0]):
        widest = max(widest, offsets[users[x] + 1] - offsets[users[x]])
    at = np.empty(widest, np.int64)
    worth = np.empty(widest)
    ahead = np.empty(widest + 1)
    picked = np.empty(most, np.int64)
    tried = np.empty(most + 1, np.int64)
    totals = np.empty(most + 1)

    first = np.empty(users.shape[0] + 1, np.int64)
    out_value = np.empty(4 * users.shape[0] + 16)
    out_item = np.empty((4 * users.shape[0] + 16) * most, np.int64)
    out_start = np.empty(4 * users.shape[0] + 17, np.int64)
    out_row = np.empty(8 * users.shape[0] + 16, np.int64)
    out_amount = np.empty(8 * users.shape[0] + 16)
    o, e = 0, 0
    out_start[0] = 0
    for x in range(users.shape[0]):
        first[x] = o
        begin, end = offsets[users[x]], offsets[users[x] + 1]
        n = 0
        least = 0.0
        for i in range(begin, end):
            r = reduced(i, value, cell, costs, low)
            if r > 0.0:
                at[n], worth[n] = i, r
                n += 1
                if most == 1:
                    least = max(least, reduced(i, value, cell, costs, high))
        if most == 1:
            m = 0
            for a in range(n):
                if worth[a] >= least:
                    at[m], worth[m] = at[a], worth[a]
                    m += 1
            n = m
        else:
            for a in range(n):
                worth[a] = reduced(at[a], value, cell, costs, high)
            m = 0
            sort_live(at, worth, n)
            while m < n and worth[m] > 0.0:
                m += 1
            least, _ = best_set(at, worth, m, hour, group, most, gap, picked, tried, totals, ahead)
            for a in range(n):
                worth[a] = reduced(at[a], value, cell, costs, low)
        sort_live(at, worth, n)
        ahead[0] = 0.0
        for a in range(n):
            ahead[a + 1] = ahead[a] + worth[a]
        least -= 1e-12 * ahead[n]  # sums in another order differ in the last digits
        # Depth -1 is silence; below it all sets in order, a branch left where it cannot become worth enough.
        depth = -1
        while True:
            # Write the set that stands in tried[0 … depth].
            if depth < 0 or totals[depth] >= least:
                if o - first[x] >= limit:
                    break
                if o + 1 >= out_value.shape[0]:
                    out_value, out_start, out_item = _longer(out_value), _longer(out_start), _longer(out_item)
                    while out_item.shape[0] < (out_value.shape[0] + 1) * most:
                        out_item = _longer(out_item)
                    while out_start.shape[0] < out_value.shape[0] + 1:
                        out_start = _longer(out_start)
                out_value[o] = 0.0
                for d in range(most):
                    out_item[o * most + d] = at[tried[d]] if d <= depth else -1
                for d in range(depth + 1):
                    i = at[tried[d]]
                    out_value[o] += value[i]
                    for s in range(start[cell[i]], start[cell[i] + 1]):
                        if e >= out_row.shape[0]:
                            out_row, out_amount = _longer(out_row), _longer(out_amount)
                        j = row[s]
                        out_row[e] = j
                        out_amount[e] = 1.0 if kind[j] == 0 else costs[kind[j] - 1, i]
                        e += 1
                o += 1
                out_start[o] = e
            # Go on to the next set: one candidate more, or another in the last one's place.
            if depth + 1 < most:
                depth += 1
                tried[depth] = tried[depth - 1] if depth else -1
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
                if fits:
                    totals[depth] = before + worth[a]
                    break
            if depth < 0:
                break
    first[users.shape[0]] = o
    items = out_item[: o * most].reshape(o, most)
    return first, out_value[:o], items, out_start[: o + 1], out_row[:e], out_amount[:e]


@compiled
def narrowed(
    user: Any,
    first: Any,
    value: Any,
    item: Any,
    start: Any,
    row: Any,
    amount: Any,
    origin: Any,
    low: Any,
    high: Any,
    use: Any,
) -> Any:
    """Options that may still be best at some prices from `low` to `high` (m,), of the users who have a choice of them.

    Args:
        use: (m,) out, to which the units of the others are added.

    Returns:
        The columns of `Options`.
    """
    keep = np.zeros(value.shape[0], np.bool_)
    users, options, entries = 0, 0, 0
    for u in range(first.shape[0] - 1):
        which, top, second, sure = first[u], -np.inf, -np.inf, -np.inf
        which_high = 0.0
        for o in range(first[u], first[u + 1]):
            at_low, at_high = value[o], value[o]
            for e in range(start[o], start[o + 1]):
                at_low -= amount[e] * low[row[e]]
                at_high -= amount[e] * high[row[e]]
            sure = max(sure, at_high)
            if at_low > top:
                second, top, which, which_high = top, at_low, o, at_high
            elif at_low > second:
                second = at_low
        if which_high > second:
            for e in range(start[which], start[which + 1]):
                use[row[e]] += amount[e]
            continue
        users += 1
        for o in range(first[u], first[u + 1]):
            at_low = value[o]
            for e in range(start[o], start[o + 1]):
                at_low -= amount[e] * low[row[e]]
            if at_low >= sure or o == first[u]:
                keep[o] = True
                options += 1
                entries += start[o + 1] - start[o]
    new_user = np.empty(users, np.int64)
    new_first = np.empty(users + 1, np.int64)
    new_value = np.empty(options)
    new_item = np.empty((options, item.shape[1]), np.int64)
    new_start = np.empty(options + 1, np.int64)
    new_row = np.empty(entries, np.int64)
    new_amount = np.empty(entries)
    new_origin = np.empty(options, np.int64)
    n, m, k = 0, 0, 0
    for u in range(first.shape[0] - 1):
        if keep[first[u]]:  # silence is kept of those who have a choice
            new_user[n], new_first[n] = user[u], m
            n += 1
            for o in range(first[u], first[u + 1]):
                if keep[o]:
                    new_value[m], new_start[m], new_origin[m] = value[o], k, origin[o]
                    new_item[m] = item[o]
                    m += 1
                    for e in range(start[o], start[o + 1]):
                        new_row[k], new_amount[k] = row[e], amount[e]
                        k += 1
    new_first[n], new_start[m] = m, k
    return new_user, new_first, new_value, new_item, new_start, new_row, new_amount, new_origin


def narrow(options: Options, low: FloatArray, high: FloatArray) -> tuple[FloatArray, Options]:
    """Settle users whose option no price in an interval changes.

    Returns:
        The units (m,) that they use, and the options of the others.
    """
    use = np.zeros(len(low))
    columns = narrowed(
        options.user, options.first, options.value, options.item, options.start, options.row, options.amount,
        options.origin, low, high, use,
    )  # fmt: skip
    return use, Options(*columns)


@compiled
def best_options(first: Any, value: Any, start: Any, row: Any, amount: Any, price: Any, choice: Any) -> Any:
    """The option of each user that is worth most at given prices (m,), the first of equal ones; returns their sum."""
    total = 0.0
    for u in range(first.shape[0] - 1):
        top = -np.inf
        for o in range(first[u], first[u + 1]):
            r = value[o]
            for e in range(start[o], start[o + 1]):
                r -= amount[e] * price[row[e]]
            if r > top:
                top = r
                choice[u] = o
        total += top
    return total


def _offsets(lengths: NDArray[Any]) -> IntArray:
    out = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=out[1:])
    return out
