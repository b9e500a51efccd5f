"""What users whose choice is open may still get: for each, the sets that could be best at some prices in a box.

From here on caps, hours between messages and exclusions are settled: a user picks one of a few *options*, the first of
which is silence. An option is a worth, and the cells and costs of its messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, IntArray, Layout, Rows
from homing.planning.option_passes import best_two, contenders, contested, count_options, worth_after

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
        kept: (O,) index of each among the options from which these were narrowed down; None of ones that were not.
    """

    user: IntArray
    first: IntArray
    value: FloatArray
    item: IntArray
    cell: IntArray
    cost: FloatArray
    kept: IntArray | None = None

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def columns(self) -> tuple[Any, ...]:
        """What compiled passes over options take first."""
        return self.first, self.value, self.cell, self.cost

    def restarted(self) -> Options:
        """The same, from which others are narrowed down."""
        return replace(self, kept=None)

    def among(self, chosen: IntArray) -> IntArray:
        """Some options (n,) as indices among those from which these were narrowed down."""
        return chosen if self.kept is None else self.kept[chosen]

    def usage(self, chosen: IntArray, rows: Rows) -> FloatArray:
        """Units of each row (m,) if each user gets the option `chosen` (n,), an index over all options."""
        counted = np.zeros((1 + rows.n_costs, rows.n_cells))
        count_options(self.cell, self.cost, chosen, counted)
        return rows.usage(counted)

    def best(self, tables: FloatArray) -> tuple[IntArray, FloatArray]:
        """The option (n,) of each user that is worth most after prices, the first of equal ones; and that worth."""
        return self.valued(tables)[1:]

    def valued(self, tables: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """What options are worth after prices (O,), and what `best` says; found once for the same prices."""
        found = self._valued.get(key := tables.tobytes())
        if found is None:
            worth, choice, top = self.worth(tables), np.empty(len(self), dtype=np.int64), np.empty(len(self))
            best_two(self.first, worth, 0, len(self), choice, top, np.empty(len(self)))
            found = self._valued[key] = worth, choice, top
        return found

    @cached_property
    def _valued(self) -> dict[bytes, tuple[FloatArray, IntArray, FloatArray]]:
        return {}

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
    return Options(user, first, value, item, cell, cost)


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


def _kept(options: Options, kept: IntArray, user: IntArray, first: IntArray) -> Options:
    columns = options.value[kept], options.item[kept], options.cell[:, kept], options.cost[:, :, kept]
    return Options(options.user[user], first, *columns, options.among(kept))


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
