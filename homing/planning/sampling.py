"""Users to begin with: samples of them, and rough prices by steps on a few at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.layout import IntArray
from homing.planning.sets import best_set, sort_live

#: Users of a sample that are read together.
_NEIGHBOURS = 64


def sample(n: int, size: int, rng: np.random.Generator) -> IntArray:
    """Users (about `size` of n) spread evenly over all: from each part a few neighbours at random, read in one go.

    Example:
        >>> sample(10, 4, np.random.default_rng(0)).tolist()
        [1, 2, 5, 7]
    """
    if size >= n:
        return np.arange(n)
    parts = max(min(size, 1024), size // _NEIGHBOURS)
    each = size // parts
    ends = np.arange(parts + 1) * n // parts
    begin = ends[:-1] + (rng.random(parts) * (np.diff(ends) - each + 1)).astype(np.int64)
    out: IntArray = (begin[:, None] + np.arange(each)).ravel()
    return out


@compiled
def steps(
    offsets: Any,
    columns: Any,
    cell: Any,
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
        columns: 1 + K arrays (N,): values, then each cost.
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
        use[:] = 0.0
        for x in batches[b]:
            n, top = 0, 0.0
            for i in range(np.uint64(offsets[x]), np.uint64(offsets[x + 1])):
                c, r = cell[i], np.float64(columns[0][i])
                for e in range(start[c], start[c + 1]):
                    j = row[e]
                    r -= price[j] if kind[j] == 0 else price[j] * columns[kind[j]][i]
                if most > 1 and r > 0.0:
                    at[n], worth[n] = i, r
                    n += 1
                elif r > top:
                    at[0], top, n = i, r, 1
            picked[0], count = 0, n
            if most > 1:
                sort_live(at, worth, n)
                _, count = best_set(at, worth, n, hour, group, most, gap, picked, tried, totals, ahead)
            for d in range(count):
                i = at[picked[d]]
                for e in range(start[cell[i]], start[cell[i] + 1]):
                    j = row[e]
                    use[j] += 1.0 if kind[j] == 0 else columns[kind[j]][i]
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
