"""What users whose choice is open may still get: for each, the sets that could be best at some prices in a box.

From here on caps, hours between messages and exclusions are settled: a user picks one of a few *options*, the first of
which is silence. An option is a worth, and the cells and costs of its messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled, inlined
from homing.planning.layout import FloatArray, IntArray, Layout, Rows

#: Options listed of a user who may get several; what is not listed is not planned, though the bound counts it.
MOST_OPTIONS = 256


@dataclass(frozen=True, eq=False)
class Options:
    """Options of some users, user by user.

    Attributes:
        user: (n,) index of each user in the layout, rising.
        first: (n + 1,) where each user's options begin.
        value: (O,) worth over silence.
        item: (O, most) candidate rows, −1 where there are fewer.
        cell: (most, O) cell of each; that of no message where there are fewer.
        cost: (most, K, O) costs of each.
        origin: (O,) index of each among the options from which these were narrowed down.
    """

    user: IntArray
    first: IntArray
    value: FloatArray
    item: IntArray
    cell: IntArray
    cost: FloatArray
    origin: IntArray

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def columns(self) -> tuple[Any, ...]:
        """What compiled passes over options take first."""
        return self.first, self.value, self.cell, self.cost

    def restarted(self) -> Options:
        """The same, from which others are narrowed down."""
        return replace(self, origin=np.arange(len(self.value)))

    def usage(self, chosen: IntArray, rows: Rows) -> FloatArray:
        """Units of each row (m,) if each user gets the option `chosen` (n,), an index over all options."""
        counted = np.zeros((1 + rows.n_costs, rows.n_cells))
        count_options(self.cell, self.cost, chosen, counted)
        return rows.usage(counted)

    def best(self, tables: FloatArray) -> tuple[IntArray, FloatArray]:
        """The option (n,) of each user that is worth most after prices, the first of equal ones; and that worth."""
        return self.best_of(self.worth(tables))

    def best_of(self, worth: FloatArray) -> tuple[IntArray, FloatArray]:
        """The same, of what options are worth after prices (O,)."""
        choice, top = np.empty(len(self), dtype=np.int64), np.empty(len(self))
        best_two(self.first, worth, 0, len(self), choice, top, np.empty(len(self)))
        return choice, top

    def worth_of(self, chosen: IntArray, tables: FloatArray) -> FloatArray:
        """Value of some options less what prices take off it."""
        cell = self.cell[:, chosen]
        taken = tables[0][cell] + (self.cost[:, :, chosen] * np.moveaxis(tables[1:][:, cell], 0, 1)).sum(axis=1)
        out: FloatArray = self.value[chosen] - taken.sum(axis=0)
        return out

    def worth(self, tables: FloatArray) -> FloatArray:
        """(O,) value less what prices take off it."""
        out = np.empty(len(self.value))
        worth_after(self.value, self.cell, self.cost, tables, 0, len(out), out)
        return out

    def likely(self, tables: FloatArray, most: int) -> IntArray:
        """The `most` options that lie the least below their user's best one at some prices; and those best ones.

        Users of whom only the best option would be listed have no choice, and are left out.
        """
        worth = self.worth(tables)
        best, top = self.best(tables)
        lost = np.maximum(np.repeat(top, np.diff(self.first)) - worth, 1e-5 * np.abs(worth).max(initial=0.0))
        lost[best] = np.inf
        others = np.argsort(lost, kind="stable")[: min(most, len(lost) - len(best))]
        users = np.unique(np.searchsorted(self.first, others, side="right") - 1)
        return np.union1d(others, best[users])

    def entries(self, rows: Rows) -> tuple[Any, ...]:
        """The options by the rows that they use: first, value, and where the entries of each begin, row, units."""
        return self.first, self.value, *list_entries(self.cell, self.cost, rows.start, rows.row, rows.cost)


def options_of(layout: Layout, user: IntArray, first: IntArray, item: IntArray) -> Options:
    """Options from their candidates (O, most)."""
    value, cell, cost = look_up(layout.value, layout.cell, layout.costs, item, layout.rows.n_cells - 1)
    return Options(user, first, value, item, cell, cost, np.arange(len(item)))


def join(parts: list[Options]) -> Options:
    """Options of the users of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    shifts = np.cumsum([0] + [len(p.value) for p in parts])
    first = [p.first[:-1] + shift for p, shift in zip(parts, shifts, strict=False)]
    return Options(
        np.concatenate([p.user for p in parts]),
        np.concatenate([*first, shifts[-1:]]),
        np.concatenate([p.value for p in parts]),
        np.concatenate([p.item for p in parts]),
        np.concatenate([p.cell for p in parts], axis=1),
        np.concatenate([p.cost for p in parts], axis=2),
        np.arange(shifts[-1]),
    )


def narrow(options: Options, rows: Rows, low: FloatArray, high: FloatArray) -> tuple[FloatArray, Options]:
    """Settle users whose option no price (m,) in an interval changes.

    Returns:
        Their messages and costs by cell (1 + K, cells), and the options of the others.
    """
    counted = np.zeros((1 + rows.n_costs, rows.n_cells))
    worth = options.worth(rows.tables(low))
    return counted, _kept(options, *contested(*options.columns, worth, rows.tables(high), counted))


def close(options: Options, tables: FloatArray, margin: float) -> Options:
    """The users who lose less than a margin by another option than their best one at some prices; these options."""
    return _kept(options, *contenders(options.first, options.worth(tables), margin))


def _kept(options: Options, keep: NDArray[np.bool_], user: IntArray, first: IntArray) -> Options:
    kept = np.flatnonzero(keep)
    columns = options.value[kept], options.item[kept], options.cell[:, kept], options.cost[:, :, kept]
    return Options(options.user[user], first, *columns, options.origin[kept])


@compiled
def look_up(value: Any, cell: Any, costs: Any, item: Any, nothing: Any) -> Any:
    """Value, cells and costs of options from their candidates; `nothing` is the cell of no message."""
    n, most = item.shape
    out_value = np.zeros(n)
    out_cell = np.full((most, n), nothing, np.uint32)
    out_cost = np.zeros((most, costs.shape[0], n), np.float32)
    for o in range(n):
        for d in range(most):
            i = item[o, d]
            if i >= 0:
                out_value[o] += value[i]
                out_cell[d, o] = cell[i]
                for k in range(costs.shape[0]):
                    out_cost[d, k, o] = costs[k, i]
    return out_value, out_cell, out_cost


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
def list_entries(cell: Any, cost: Any, start: Any, row: Any, kind: Any) -> Any:
    """Options by the rows that they use, from the rows of each cell and what each counts."""
    n = 0
    for c in cell.ravel():
        n += start[c + 1] - start[c]
    out_start = np.empty(cell.shape[1] + 1, np.int64)
    out_row = np.empty(n, np.int64)
    out_amount = np.empty(n)
    n = 0
    for o in range(cell.shape[1]):
        out_start[o] = n
        for d in range(cell.shape[0]):
            c = cell[d, o]
            for e in range(start[c], start[c + 1]):
                j = row[e]
                out_row[n] = j
                out_amount[n] = 1.0 if kind[j] == 0 else cost[d, kind[j] - 1, o]
                n += 1
    out_start[cell.shape[1]] = n
    return out_start, out_row, out_amount


@compiled
def contested(first: Any, value: Any, cell: Any, cost: Any, worth: Any, high: Any, counted: Any) -> Any:
    """Options that may still be best at some prices between two tables, of the users who have a choice of them.

    Args:
        worth: (O,) of the options at the lower prices.
        high: (1 + K, cells), the higher ones.
        counted: (1 + K, cells) out, to which messages and costs of the others are added.

    Returns:
        Whether each option is one of them, whose they are (an index), and where those of each user begin.
    """
    keep = np.zeros(value.shape[0], np.bool_)
    user = np.empty(first.shape[0] - 1, np.int64)
    begin = np.empty(first.shape[0], np.int64)
    which, top, second = np.empty(user.shape[0], np.int64), np.empty(user.shape[0]), np.empty(user.shape[0])
    best_two(first, worth, 0, user.shape[0], which, top, second)
    users, options = 0, 0
    for u in range(first.shape[0] - 1):
        if worth_of(which[u], value, cell, cost, high) > second[u]:
            count_option(which[u], 1.0, cell, cost, counted)
            continue
        user[users], begin[users] = u, options
        users += 1
        sure = -np.inf
        for o in range(first[u], first[u + 1]):
            if worth[o] >= sure:
                sure = max(sure, worth_of(o, value, cell, cost, high))
        for o in range(first[u], first[u + 1]):
            if worth[o] >= sure or o == first[u]:  # silence is kept of those who have a choice
                keep[o] = True
                options += 1
    begin[users] = options
    return keep, user[:users].copy(), begin[: users + 1].copy()


@compiled
def contenders(first: Any, worth: Any, margin: Any) -> Any:
    """The same, of options that lie less than a margin below their user's best one."""
    keep = np.zeros(worth.shape[0], np.bool_)
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
            keep[o] = worth[o] > top[u] - margin or o == first[u]  # silence is kept of those who have a choice
            options += keep[o]
    begin[users] = options
    return keep, user[:users].copy(), begin[: users + 1].copy()
