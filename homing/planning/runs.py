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
    """Position after the last of the neighbours from users[x] on whose candidates fit into the room."""
    run = x + 1
    while (
        run < users.shape[0]
        and users[run] == users[run - 1] + 1
        and offsets[users[run] + 1] - offsets[users[x]] <= room
    ):
        run += 1
    return run


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
def longer(array: Any) -> Any:
    """A copy with room for twice as many rows."""
    out = np.empty((2 * array.shape[0] + 16, array.shape[1]), array.dtype)
    out[: array.shape[0]] = array
    return out
