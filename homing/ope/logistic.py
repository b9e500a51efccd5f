"""Logistic regression, as density ratios need it: weighted, a little penalised, solved exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]
#: Newton steps before a fit counts as failed.
MAX_STEPS = 100


def ridge_logistic(x: FloatArray, positive: FloatArray, total: FloatArray, penalty: float) -> FloatArray:
    """Ridge-penalised weighted logistic regression by Newton's method; the first column is the intercept."""
    ridge = np.full(x.shape[1], penalty)
    ridge[0] = 1e-9  # for a log that holds one label alone

    def loss(beta: FloatArray) -> float:
        z = x @ beta
        return float(total @ np.logaddexp(0.0, z) - positive @ z + 0.5 * (ridge * beta) @ beta)

    beta = np.zeros(x.shape[1])
    at = loss(beta)
    for _ in range(MAX_STEPS):
        share = 0.5 * (1.0 + np.tanh(0.5 * (x @ beta)))
        gradient = x.T @ (total * share - positive) + ridge * beta
        hessian = (x * (total * share * (1.0 - share))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        # The Newton decrement bounds how far the loss is above its minimum.
        if gradient @ step <= 1e-12 * max(1.0, abs(at)):
            return np.asarray(beta - step, dtype=np.float64)
        scale = 1.0
        while (new := loss(beta - scale * step)) > at - 1e-4 * scale * (gradient @ step) and scale > 1e-6:
            scale *= 0.5
        beta, at = beta - scale * step, new
    raise InvalidInputError(
        describe("steps of the regression", MAX_STEPS, "were not enough to converge", "Use a larger penalty.")
    )
