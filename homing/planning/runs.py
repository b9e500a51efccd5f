"""Compiled: runs of neighbouring users, whose candidates are read in one go."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled

#: Candidates read at once, about: what is made of them stays in the cache.
RUN = 4096


@compiled
def room_of(offsets: Any, users: Any) -> Any:
    """Candidates that a run holds at most: `RUN`, or those of the one who has more."""
    most = RUN
    for n in range(users.shape[0]):
        most = max(most, offsets[users[n] + 1] - offsets[users[n]])
    return most


@compiled
def end_of_run(offsets: Any, users: Any, x: Any, room: Any) -> Any:
    """Position after the last of the neighbours from users[x] on who fit into the room, they and their candidates."""
    low, high = x + 1, min(users.shape[0], x + room)  # whether neighbours, and theirs, fit: first all do, then none
    while low < high:
        run = (low + high + 1) // 2
        last = users[run - 1]
        if last - users[x] == run - 1 - x and offsets[last + 1] - offsets[users[x]] <= room:
            low = run
        else:
            high = run - 1
    return low


@compiled
def most_worth(
    offsets: Any, value: Any, cell: Any, costs: Any, begin: Any, end: Any, tables: Any, flat: Any, worth: Any
) -> Any:
    """What each row of the users from `begin` to before `end` is worth after prices, in vector instructions.

    Args:
        tables: (1 + K, cells) float32, lower than prices are by more than rounding takes off the differences: no row
            that is worth more than 0 after prices is worth less than that here.
        flat: (1 + K,) whether all messages have the same price in a table.
        worth: float32 out, from the first row on.
    """
    first = offsets[begin]
    rows = value[first : offsets[end]]
    cells = cell[first : offsets[end]]
    table = tables[0]
    for i in range(rows.shape[0]):
        worth[i] = rows[i] - table[cells[i]]
    for k in range(costs.shape[0]):
        cost = costs[k, first : offsets[end]]
        table = tables[k + 1]
        if flat[k + 1]:
            price = table[0]
            for i in range(rows.shape[0]):
                worth[i] -= cost[i] * price
        else:
            for i in range(rows.shape[0]):
                worth[i] -= cost[i] * table[cells[i]]


@compiled
def longer(array: Any, room: Any) -> Any:
    """The array, or, where it has not so many rows, a copy with twice as many or more."""
    if room <= array.shape[0]:
        return array
    out = np.empty((max(2 * array.shape[0], room), *array.shape[1:]), array.dtype)
    out[: array.shape[0]] = array
    return out
