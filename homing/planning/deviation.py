"""How far the prices of a sample may be off those of everybody."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled
from homing.planning.descent import Finished
from homing.planning.layout import FloatArray, Rows
from homing.planning.screening import Screened

#: Rows without a price are taken for ones that may have one if the slack is less than so many standard deviations.
_NEAR = 3.0


def deviation(
    rows: Rows, screened: Screened, done: Finished, scale: FloatArray, worth: float, share: float, n: int
) -> FloatArray:
    """Standard deviation of the tables (1 + K, cells) of the prices of a sample of n users: H⁻¹ Var(use) H⁻¹.

    H is the dual's curvature, use what the sample's users want at the prices (the sandwich of an M-estimator; Huber
    1967, "The behavior of maximum likelihood estimates under nonstandard conditions"). That the sample is a share of a
    finite population takes this share off the variance.

    Args:
        scale: (m,) units of each row that a message typically uses.
        worth: a typical value.
        share: of all users in the sample.
    """
    price, curve = done.price, done.minimum.curve
    counted = screened.counted + done.counted
    use = rows.usage(counted)
    noise = np.zeros(curve.shape)
    add_products(rows.start, rows.row, rows.cost, counted, scale, noise)
    noise -= np.outer(use, use) / n
    one = np.square(scale)  # nothing is known better than to a message
    noise += np.diag(np.maximum(one - noise.diagonal(), 0.0))
    near = _NEAR * np.sqrt(noise.diagonal())
    slack = np.minimum(rows.ceiling * share - use, use - rows.floor * share)
    active = (price != 0.0) | (slack < near)
    variance = np.zeros(curve.shape)
    if active.any():
        matrix = curve[np.ix_(active, active)]
        unit = 1.0 / scale[active]
        least = 1e-4 * np.max(matrix.diagonal() * unit**2, initial=0.0)
        if least == 0.0:  # nobody's choice answers to prices: they are not known better than values are
            least = float(np.max(np.sqrt(noise.diagonal()[active]) * unit)) / worth
        inverse = np.linalg.inv(matrix + np.diag(least / unit**2))
        variance[np.ix_(active, active)] = (1.0 - share) * (inverse @ noise[np.ix_(active, active)] @ inverse)
    return spread(rows, variance)


def spread(rows: Rows, variance: FloatArray) -> FloatArray:
    """Standard deviation of the tables (1 + K, cells) of prices with a covariance (m, m)."""
    out = np.zeros((1 + rows.n_costs, rows.n_cells))
    add_spread(rows.start, rows.row, rows.cost, variance, out)
    return np.sqrt(np.maximum(out, 0.0))


@compiled
def add_spread(start: Any, row: Any, kind: Any, variance: Any, out: Any) -> Any:
    """out[k, c] = Σ of the covariances of the rows that cell c counts in."""
    for c in range(start.shape[0] - 1):
        for e in range(start[c], start[c + 1]):
            for f in range(start[c], start[c + 1]):
                if kind[row[e]] == kind[row[f]]:
                    out[kind[row[e]], c] += variance[row[e], row[f]]


@compiled
def add_products(start: Any, row: Any, kind: Any, counted: Any, scale: Any, out: Any) -> Any:
    """out[i, j] += Σ over messages of the products of the units that they use of both rows.

    Where both are of one cost, its mean square is taken for twice its mean times what a message typically costs.
    """
    for c in range(start.shape[0] - 1):
        for e in range(start[c], start[c + 1]):
            i = row[e]
            for f in range(start[c], start[c + 1]):
                j = row[f]
                if kind[i] == 0:
                    out[i, j] += counted[kind[j], c]
                elif kind[j] == 0:
                    out[i, j] += counted[kind[i], c]
                elif kind[i] == kind[j]:
                    out[i, j] += 2.0 * scale[i] * counted[kind[i], c]
                else:
                    out[i, j] += scale[i] * counted[kind[j], c]
