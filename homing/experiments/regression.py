"""The coefficient of one variable in a regression, for several outcomes at once, with their joint robust covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]


def adjusted_difference(z: FloatArray, targets: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients (m,) of z in the regressions of m outcomes on 1, z, x, and their joint covariance (m, m).

    The covariance is HC2 (MacKinnon and White, 1985, Journal of Econometrics 29): for a z of 0 and 1 and no x it is
    exactly Welch's.

    Args:
        z: (n,).
        targets: (n, m).
        x: (n, p), to adjust for; p can be 0.

    Raises:
        InvalidInputError: there are too few rows, or a column is constant or a combination of others.

    Example:
        >>> z, y = np.array([0.0, 0, 1, 1]), np.array([[1.0], [3.0], [6.0], [8.0]])
        >>> difference, covariance = adjusted_difference(z, y, np.empty((4, 0)))
        >>> difference.round(9).tolist(), covariance.round(9).tolist()
        ([5.0], [[2.0]])
    """
    design = np.column_stack([np.ones(len(z)), z, x - x.mean(axis=0)])
    if len(z) <= design.shape[1]:
        bound = f"must be more than the {design.shape[1]} columns of the regression"
        raise InvalidInputError(describe("units", len(z), bound))
    scale = np.sqrt((design**2).sum(axis=0))
    if np.linalg.matrix_rank(design / np.where(scale > 0, scale, 1.0)) < design.shape[1]:
        raise InvalidInputError(
            describe("covariates", x.shape[1], "must not be constant nor combinations of each other or of the groups")
        )
    q, triangle = np.linalg.qr(design)
    weight = q @ np.linalg.inv(triangle)[1]  # z's row of (D'D)^-1 D', so that its coefficient is weight @ y
    residual = targets - q @ (q.T @ targets)
    # HC2 divides by 1 - leverage; a row that alone decides a coefficient leaves no residual, and none to divide.
    room = np.maximum(1.0 - (q**2).sum(axis=1), 1e-12)
    scores = (weight / np.sqrt(room))[:, None] * residual
    return weight @ targets, scores.T @ scores
