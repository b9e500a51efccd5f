"""The prices in a box that are best for the dual, where its minimum lies outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, Rows
from homing.planning.screening import Box

#: Times that every end of the box is looked at; and by how much of its width prices may miss it then.
_SWEEPS, _NEAR = 8, 0.01
_SMALL = np.finfo(np.float64).tiny


def nearest_inside(box: Box, center: FloatArray, price: FloatArray, curve: FloatArray, rows: Rows) -> FloatArray:
    """Prices (m,) in a box at which the dual lies little above its minimum.

    About its minimum the dual is a quadratic with its curvature H, so that its least value in the box is at the prices
    that are nearest by H: a projection, found end by end (Hildreth 1957, "A quadratic programming procedure", Naval
    Research Logistics Quarterly 4). No price leaves the range from the center to the minimum, beyond which H says
    nothing. What is still outside then is drawn towards the center; or all is, where that is better. Wrong to use far
    from the minimum, where H is another.

    Args:
        center: (m,) prices in the middle of the box.
        price: (m,) at the minimum.
        curve: (m, m), H.
    """
    diagonal = curve.diagonal()
    if not (diagonal > 1e6 * _SMALL).any():  # no curvature that can be divided by
        return center
    free = np.ix_(price != center, price != center)
    unit = 1.0 / np.sqrt(np.maximum(diagonal, 1e-6 * diagonal.max()))
    units = np.outer(unit, unit)
    inverse = np.zeros(curve.shape)
    inverse[free] = np.linalg.inv((curve * units)[free] + 1e-9 * np.eye(len(price))[free]) * units[free]
    nearest = price.copy()
    project(nearest, inverse, box.low, box.high, rows.start, rows.row, rows.cost, _SWEEPS, _NEAR)
    nearest = np.clip(nearest, np.minimum(center, price), np.maximum(center, price))
    middle, width = rows.tables(center), np.maximum((box.high - box.low) / 2.0, _SMALL)

    def drawn(at: FloatArray) -> tuple[FloatArray, float]:
        beyond = float(np.max(np.abs(rows.tables(at) - middle) / width))
        inside = center + (at - center) / max(1.0, beyond * (1.0 + 1e-9))
        return inside, 0.5 * float((inside - price) @ curve @ (inside - price))

    return min(drawn(nearest), drawn(price), key=lambda found: found[1])[0]


@compiled
def project(
    price: Any, inverse: Any, low: Any, high: Any, start: Any, row: Any, kind: Any, sweeps: Any, near: Any
) -> Any:
    """Move prices (m,) to those that are nearest to them by the curvature and whose tables (1 + K, cells) lie within.

    Each end that is left has a multiplier, which is set to where the end is met, or to 0; one after the other, until
    all are met but for `near` of a width.

    Args:
        inverse: (m, m) of the curvature; 0 in the rows of prices that stay.
        start, row, kind: the rows of each cell, and what each row counts.
    """
    held = np.zeros(low.shape)
    for _ in range(sweeps):
        farthest = 0.0
        for c in range(low.shape[1]):
            for k in range(low.shape[0]):
                taken, answer = 0.0, 0.0
                for e in range(start[c], start[c + 1]):
                    taken += price[row[e]] if kind[row[e]] == k else 0.0
                beyond = max(taken - high[k, c], low[k, c] - taken)
                if beyond <= 0.0 and held[k, c] == 0.0:
                    continue
                for e in range(start[c], start[c + 1]):
                    for f in range(start[c], start[c + 1]):
                        if kind[row[e]] == k and kind[row[f]] == k:
                            answer += inverse[row[e], row[f]]
                if answer <= 0.0:
                    continue
                farthest = max(farthest, beyond / (high[k, c] - low[k, c]))
                up, down = held[k, c] + (taken - high[k, c]) / answer, held[k, c] + (taken - low[k, c]) / answer
                push = max(up, 0.0) + min(down, 0.0) - held[k, c]
                held[k, c] += push
                for e in range(start[c], start[c + 1]):
                    if kind[row[e]] == k:
                        for j in range(price.shape[0]):
                            price[j] -= push * inverse[row[e], j]
        if farthest <= near:
            break
