"""How much effects are shrunk, told by the effects themselves: empirical Bayes for groups of coefficients.

y_i = z_iᵀθ + noise of variance σ²/ω_i, and θ_j ~ N(0, τ²_g) for the coefficients j of group g; those of no group are
free. τ² maximises the marginal likelihood, by EM (MacKay 1992, "Bayesian Interpolation", Neural Computation 4:3;
Tipping 2001, "Sparse Bayesian Learning and the Relevance Vector Machine", JMLR 1, with a variance for each group). A
group in which there is nothing but noise is shrunk to nothing, and no penalty has to be searched for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
#: In a list of groups: not shrunk.
FREE = -1
STEPS = 60


def shrunk(
    gram: FloatArray, moment: FloatArray, noise: float, group: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """θ (f,), and τ² of each group (g,).

    Args:
        gram: Σ ω z zᵀ, (f, f).
        moment: Σ ω z y, (f,).
        noise: σ².
        group: of each coefficient, (f,): 0 to g − 1, or `FREE`.

    Example:
        Two coefficients in a group, each told with standard error 1: 5 and −5 are not noise, 0.4 and −0.4 are.

        >>> shrunk(np.eye(2), np.array([5.0, -5.0]), 1.0, np.array([0, 0]))[0].round(1).tolist()
        [4.8, -4.8]
        >>> shrunk(np.eye(2), np.array([0.4, -0.4]), 1.0, np.array([0, 0]))[0].round(1).tolist()
        [0.0, -0.0]
    """
    free, bound = np.flatnonzero(group == FREE), np.flatnonzero(group != FREE)
    left, right = gram / noise, moment / noise
    theta = np.zeros(len(right))
    variance = np.zeros(int(group.max(initial=FREE)) + 1)
    if len(bound):
        # What is free explains all that it can, whatever the others are.
        both = left[np.ix_(free, bound)]
        taken = np.linalg.lstsq(left[np.ix_(free, free)], np.column_stack([both, right[free]]), rcond=1e-10)[0]
        inner = left[np.ix_(bound, bound)] - both.T @ taken[:, :-1]
        told = right[bound] - both.T @ taken[:, -1]
        of, size = group[bound], np.maximum(np.bincount(group[bound], minlength=len(variance)), 1)
        scale = np.bincount(of, weights=np.maximum(np.diag(inner), 0.0), minlength=len(variance))
        variance = size / np.maximum(scale, 1e-300)
        for _ in range(STEPS):
            root = np.sqrt(variance[of])
            inverse = np.linalg.inv(root[:, None] * inner * root + np.eye(len(bound)))
            mean = root * (inverse @ (root * told))
            second = mean**2 + variance[of] * np.diag(inverse)
            variance = np.maximum(np.bincount(of, weights=second, minlength=len(variance)) / size, 1e-300)
        theta[bound] = mean
    rest = right[free] - left[np.ix_(free, bound)] @ theta[bound]
    theta[free] = np.linalg.lstsq(left[np.ix_(free, free)], rest, rcond=1e-10)[0]
    return theta, variance
