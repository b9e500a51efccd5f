"""The prices in a box that are best for the dual, where its minimum lies outside."""

from __future__ import annotations

import numpy as np

from homing.planning.layout import FloatArray, Rows
from homing.planning.newton import Interval
from homing.planning.screening import Box

#: Cells at most whose prices are brought to the end of the box one after the other.
_ROUNDS = 64
_SMALL = np.finfo(np.float64).tiny


def nearest_inside(box: Box, center: FloatArray, price: FloatArray, curve: FloatArray, rows: Rows) -> FloatArray:
    """Prices (m,) in a box at which the dual lies little above its minimum.

    About its minimum the dual is a quadratic with its curvature H, so that its least value in the box is at the prices
    that are nearest by H. One after the other the cell that is farthest outside is brought to the box's end, together
    with those before: p − H⁻¹Aᵀ(A H⁻¹Aᵀ)⁻¹(A p − b), the projection onto A p = b; no price leaves the range from the
    center to the minimum, beyond which H says nothing. What is still outside then is drawn towards the center; or all
    is, where that is better. Wrong to use far from the minimum, where H is another.

    Args:
        center: (m,) prices in the middle of the box.
        price: (m,) at the minimum.
        curve: (m, m), H.
    """
    middle, width = rows.tables(center).ravel(), (box.high - box.low).ravel() / 2.0
    diagonal = curve.diagonal()
    if not (diagonal > 1e6 * _SMALL).any():  # no curvature that can be divided by
        return center
    unit = 1.0 / np.sqrt(np.maximum(diagonal, 1e-6 * diagonal.max()))
    inverse = np.linalg.inv(curve * np.outer(unit, unit) + 1e-9 * np.eye(len(price))) * np.outer(unit, unit)
    between = Interval(np.minimum(center, price), np.maximum(center, price))
    nearest, ends, goal = price, np.empty((0, len(price))), np.empty(0)
    for _ in range(min(_ROUNDS, len(price))):
        moved = rows.tables(nearest).ravel() - middle
        beyond = np.abs(moved) / np.maximum(width, _SMALL)
        worst = int(np.argmax(beyond))
        if beyond[worst] <= 1.0:
            break
        here = np.zeros(len(price))
        here[rows.row[rows.place == worst]] = 1.0
        ends = np.vstack([ends, here])
        goal = np.append(goal, middle[worst] + np.sign(moved[worst]) * width[worst] * (1.0 - 1e-6))
        push = inverse @ ends.T
        nearest = between.clip(price - push @ np.linalg.lstsq(ends @ push, ends @ price - goal, rcond=None)[0])

    def drawn(at: FloatArray) -> tuple[FloatArray, float]:
        beyond = np.abs(rows.tables(at).ravel() - middle) / np.maximum(width, _SMALL)
        inside = center + (at - center) / max(1.0, float(beyond.max()) * (1.0 + 1e-9))
        return inside, 0.5 * float((inside - price) @ curve @ (inside - price))

    return min(drawn(nearest), drawn(price), key=lambda found: found[1])[0]
