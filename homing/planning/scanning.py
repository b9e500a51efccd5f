"""One pass each over a column: the first row that breaks a bound, users from their ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled

LARGEST = np.float32(np.finfo(np.float32).max)


@compiled
def all_within(column: Any, low: Any, high: Any) -> Any:
    """Whether every value is in [low, high]; NaN is not. Written so that it is one vector instruction a few rows.

    Four quarters are read side by side: memory is quicker at several places than at one.
    """
    n = column.shape[0] // 4
    one, two, three, rest = column[:n], column[n : 2 * n], column[2 * n : 3 * n], column[3 * n :]
    within = True
    for i in range(n):
        a, b, c, d = one[i], two[i], three[i], rest[i]
        within = within & (a >= low) & (a <= high) & (b >= low) & (b <= high)
        within = within & (c >= low) & (c <= high) & (d >= low) & (d <= high)
    for i in range(n, rest.shape[0]):
        within = within & (rest[i] >= low) & (rest[i] <= high)
    return within


@compiled
def count_users(ids: Any) -> Any:
    """Number of runs of equal ids, or -1 - row where an id is smaller than the one before it."""
    runs = 1 if ids.shape[0] else 0
    falls = 0
    for i in range(1, ids.shape[0]):
        runs += ids[i] != ids[i - 1]
        falls += ids[i] < ids[i - 1]
    if falls:
        for i in range(1, ids.shape[0]):
            if ids[i] < ids[i - 1]:
                return -1 - i
    return runs


@compiled
def fill_offsets(ids: Any, offsets: Any) -> Any:
    """Where each run of equal ids begins, and the number of rows at the end."""
    u = 0
    for i in range(ids.shape[0]):
        if i == 0 or ids[i] != ids[i - 1]:
            offsets[u] = i
            u += 1
    offsets[u] = ids.shape[0]


@compiled
def first_twin(offsets: Any, value: Any, codes: Any, costs: Any) -> Any:
    """Second row of the first pair of one user's rows that agree in everything, or -1.

    Args:
        offsets: (users + 1,).
        value: (N,).
        codes: (columns, N), of any integer type.
        costs: (K, N).
    """
    for u in range(offsets.shape[0] - 1):
        for i in range(offsets[u], offsets[u + 1]):
            for j in range(offsets[u], i):
                if value[i] == value[j]:
                    same = True
                    for c in range(codes.shape[0]):
                        same = same and codes[c, i] == codes[c, j]
                    for k in range(costs.shape[0]):
                        same = same and costs[k, i] == costs[k, j]
                    if same:
                        return i
    return -1
