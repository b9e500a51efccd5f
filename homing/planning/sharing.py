"""Limits of the whole, shared among parts so that what keeps the parts' limits keeps the whole one's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def shared(used: FloatArray, limit: FloatArray, budget: NDArray[np.bool_], counted: NDArray[np.bool_]) -> FloatArray:
    """Limits of each part (parts, b), in proportion to what the part would use.

    Budgets add up to at most the whole limit, floors to at least. Where messages are counted shares are whole numbers;
    what rounding leaves goes to the parts that lost most by it (largest remainder).

    Args:
        used: (parts, b), what each part would use.
        limit: (b,).
        budget: (b,), whether it is a budget; else a floor.
        counted: (b,), whether it counts messages.

    Example:
        >>> used = np.array([[3.0, 1.0], [6.0, 1.0]])
        >>> shared(used, np.array([8.0, 4.0]), np.array([True, False]), np.array([True, True])).tolist()
        [[3.0, 2.0], [5.0, 2.0]]
    """
    out = np.empty_like(used)
    parts = len(used)
    for b in range(used.shape[1]):
        column, whole = used[:, b], float(limit[b])
        total = float(column.sum())
        if budget[b] and total <= whole:
            # All that would be used fits; what is over is spread, so that repair has room.
            share = column + (whole - total) / parts
        elif total > 0:
            share = column * (whole / total)
        else:
            share = np.full(parts, whole / parts)
        if counted[b]:
            whole = np.floor(whole) if budget[b] else np.ceil(whole)
            low = np.floor(share)
            missing = round(float(whole - low.sum()))
            order = np.argsort(-(share - low), kind="stable")
            low[order[: max(0, missing)]] += 1.0
            share = low
        elif budget[b]:
            # Sums of rounded numbers must not end above the whole one.
            share = share * (1.0 - 1e-12)
        else:
            share = share * (1.0 + 1e-12)
        out[:, b] = share
    return out
