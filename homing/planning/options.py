"""What users whose choice is open may still get: for each, the sets that could be best at some prices in a box.

From here on caps, hours between messages and exclusions are settled: a user picks one of a few *options*, the first of
which is silence. An option is a worth, and the cells and costs of its messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from homing.planning.compiled import compiled, inlined
from homing.planning.layout import FloatArray, IntArray, Layout, Rows

#: Options listed of one user; what is not listed is not planned, though the bound counts it.
MOST_OPTIONS = 256


@dataclass(frozen=True, eq=False)
class Options:
    """Options of some users, user by user.

    Attributes:
        user: (n,) index of each user in the layout, rising.
        first: (n + 1,) where each user's options begin.
        value: (O,) worth over silence.
        item: (O, most) candidate rows, −1 where there are fewer.
        cell: (O, most) cell of each, −1 likewise.
        cost: (O, most, K) costs of each.
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
        counted = np.zeros((1 + rows.n_costs, len(rows.start) - 1))
        count_options(self.cell, self.cost, chosen, counted)
        return rows.usage(counted)

    def worth(self, chosen: IntArray, tables: FloatArray) -> FloatArray:
        """Value of options (an index over all) less what prices take off it."""
        out = self.value[chosen].copy()
        for d in range(self.cell.shape[1]):
            cell = self.cell[chosen, d]
            some = cell >= 0
            out[some] -= tables[0, cell[some]] + (self.cost[chosen, d][some] * tables[1:, cell[some]].T).sum(axis=1)
        return out

    def likely(self, tables: FloatArray, most: int) -> IntArray:
        """The options, `most` at most, that lie the least below their user's best one at some prices."""
        worth = self.worth(np.arange(len(self.value)), tables)
        best = np.maximum.reduceat(worth, self.first[:-1]) if len(self) else worth
        lost = np.repeat(best, np.diff(self.first)) - worth
        return np.argsort(np.maximum(lost, 1e-5 * np.abs(worth).max(initial=0.0)), kind="stable")[:most]

    def entries(self, rows: Rows) -> tuple[Any, ...]:
        """The options by the rows that they use: first, value, and where the entries of each begin, row, units."""
        return self.first, self.value, *list_entries(self.cell, self.cost, rows.start, rows.row, rows.cost)


def options_of(layout: Layout, user: IntArray, first: IntArray, item: IntArray) -> Options:
    """Options from their candidates (O, most)."""
    return Options(user, first, *look_up(layout.value, layout.cell, layout.costs, item))


def join(parts: list[Options]) -> Options:
    """Options of the users of all parts, in their order."""
    shifts = np.cumsum([0] + [len(p.value) for p in parts])
    first = [p.first[:-1] + shift for p, shift in zip(parts, shifts, strict=False)]
    return Options(
        np.concatenate([p.user for p in parts]),
        np.concatenate([*first, shifts[-1:]]),
        np.concatenate([p.value for p in parts]),
        np.concatenate([p.item for p in parts]),
        np.concatenate([p.cell for p in parts]),
        np.concatenate([p.cost for p in parts]),
        np.arange(shifts[-1]),
    )


def narrow(options: Options, rows: Rows, low: FloatArray, high: FloatArray) -> tuple[FloatArray, Options]:
    """Settle users whose option no price (m,) in an interval changes.

    Returns:
        The units (m,) that they use, and the options of the others.
    """
    counted = np.zeros((1 + rows.n_costs, len(rows.start) - 1))
    columns = narrowed(
        options.user, options.item, options.origin, *options.columns, rows.tables(low), rows.tables(high), counted
    )
    return rows.usage(counted), Options(*columns)


@compiled
def look_up(value: Any, cell: Any, costs: Any, item: Any) -> Any:
    """Value, items, cells and costs of options from their candidates, and a number for each."""
    n, most = item.shape
    out_value = np.zeros(n)
    out_cell = np.full((n, most), -1, np.int32)
    out_cost = np.zeros((n, most, costs.shape[0]), np.float32)
    for o in range(n):
        for d in range(most):
            i = item[o, d]
            if i >= 0:
                out_value[o] += value[i]
                out_cell[o, d] = cell[i]
                for k in range(costs.shape[0]):
                    out_cost[o, d, k] = costs[k, i]
    return out_value, item, out_cell, out_cost, np.arange(n)


@inlined
def worth_of(o: Any, value: Any, cell: Any, cost: Any, table: Any) -> Any:
    """Value of option o less what prices take off it."""
    out = value[o]
    for d in range(cell.shape[1]):
        c = cell[o, d]
        if c < 0:
            break
        out -= table[0, c]
        for k in range(cost.shape[2]):
            out -= cost[o, d, k] * table[k + 1, c]
    return out


@inlined
def count_option(o: Any, weight: Any, cell: Any, cost: Any, counted: Any) -> Any:
    """Add an option's messages and costs, by cell, to counted (1 + K, cells)."""
    for d in range(cell.shape[1]):
        c = cell[o, d]
        if c < 0:
            break
        counted[0, c] += weight
        for k in range(cost.shape[2]):
            counted[k + 1, c] += weight * cost[o, d, k]


@compiled
def count_options(cell: Any, cost: Any, chosen: Any, counted: Any) -> Any:
    """The same for several."""
    for u in range(chosen.shape[0]):
        count_option(chosen[u], 1.0, cell, cost, counted)


@compiled
def best_options(first: Any, value: Any, cell: Any, cost: Any, table: Any, choice: Any) -> Any:
    """The option of each user that is worth most at given prices, the first of equal ones; returns their sum."""
    total = 0.0
    for u in range(first.shape[0] - 1):
        top = -np.inf
        choice[u] = first[u]  # silence, where no worth is a number
        for o in range(first[u], first[u + 1]):
            r = worth_of(o, value, cell, cost, table)
            if r > top:
                top = r
                choice[u] = o
        total += top
    return total


@compiled
def list_entries(cell: Any, cost: Any, start: Any, row: Any, kind: Any) -> Any:
    """Options by the rows that they use, from the rows of each cell and what each counts."""
    n = 0
    for c in cell.ravel():
        if c >= 0:
            n += start[c + 1] - start[c]
    out_start = np.empty(cell.shape[0] + 1, np.int64)
    out_row = np.empty(n, np.int64)
    out_amount = np.empty(n)
    n = 0
    for o in range(cell.shape[0]):
        out_start[o] = n
        for d in range(cell.shape[1]):
            c = cell[o, d]
            if c < 0:
                break
            for e in range(start[c], start[c + 1]):
                j = row[e]
                out_row[n] = j
                out_amount[n] = 1.0 if kind[j] == 0 else cost[o, d, kind[j] - 1]
                n += 1
    out_start[cell.shape[0]] = n
    return out_start, out_row, out_amount


@compiled
def narrowed(
    user: Any, item: Any, origin: Any, first: Any, value: Any, cell: Any, cost: Any, low: Any, high: Any, counted: Any
) -> Any:
    """Options that may still be best at some prices between two tables, of the users who have a choice of them.

    Args:
        counted: (1 + K, cells) out, to which messages and costs of the others are added.

    Returns:
        The columns of `Options`.
    """
    keep = np.zeros(value.shape[0], np.bool_)
    at_low = np.empty(value.shape[0])
    users, options = 0, 0
    for u in range(first.shape[0] - 1):
        which, top, second, sure = first[u], -np.inf, -np.inf, -np.inf
        for o in range(first[u], first[u + 1]):
            r = worth_of(o, value, cell, cost, low)
            at_low[o] = r
            if r > top:
                second, top, which = top, r, o
            elif r > second:
                second = r
        if worth_of(which, value, cell, cost, high) > second:
            count_option(which, 1.0, cell, cost, counted)
            continue
        users += 1
        for o in range(first[u], first[u + 1]):
            if at_low[o] >= sure:
                sure = max(sure, worth_of(o, value, cell, cost, high))
        for o in range(first[u], first[u + 1]):
            if at_low[o] >= sure or o == first[u]:
                keep[o] = True
                options += 1
    new_user = np.empty(users, np.int64)
    new_first = np.empty(users + 1, np.int64)
    new_value = np.empty(options)
    new_item = np.empty((options, item.shape[1]), np.int64)
    new_cell = np.empty((options, item.shape[1]), np.int32)
    new_cost = np.empty((options, item.shape[1], cost.shape[2]), np.float32)
    new_origin = np.empty(options, np.int64)
    n, m = 0, 0
    for u in range(first.shape[0] - 1):
        if keep[first[u]]:  # silence is kept of those who have a choice
            new_user[n], new_first[n] = user[u], m
            n += 1
            for o in range(first[u], first[u + 1]):
                if keep[o]:
                    new_value[m], new_origin[m] = value[o], origin[o]
                    for d in range(item.shape[1]):
                        new_item[m, d], new_cell[m, d] = item[o, d], cell[o, d]
                        for k in range(cost.shape[2]):
                            new_cost[m, d, k] = cost[o, d, k]
                    m += 1
    new_first[n] = m
    return new_user, new_first, new_value, new_item, new_cell, new_cost, new_origin
