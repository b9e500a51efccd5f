"""How much effects are shrunk, told by the effects themselves: empirical Bayes for groups of coefficients.

y_i = z_iᵀθ + noise of variance σ²/ω_i, and θ_j ~ N(0, τ²_g) for the coefficients j of group g; those of no group are
free. τ² maximises the marginal likelihood: it is where τ² Σ_j (1 − C_jj / τ²) = Σ_j mean_j² over a group, C the
posterior's covariance, and stepping so comes there at a geometric rate even if it is 0, as EM does not (MacKay 1992,
"Bayesian Interpolation", Neural Computation 4:3; Tipping 2001, "Sparse Bayesian Learning and the Relevance Vector
Machine", JMLR 1, eq. 16–17, here with a variance for each group). A group in which there is nothing but noise is shrunk
to nothing, and no penalty has to be searched for.

What is told of θ is its posterior, N(mean, (Σ ω z zᵀ/σ² + diag 1/τ²)⁻¹), as if τ² were known, with 1/τ² = 0 for what is
free (Bishop 2006, "Pattern Recognition and Machine Learning", eq. 3.53–3.54): a little too sure, the less so the larger
the groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
#: In a list of groups: not shrunk.
FREE = -1
STEPS = 60
#: Of what a column moves, what the free ones must leave of it: a copy of them tells nothing by itself.
COPY = 1e-10
#: Standard errors on the wrong side from which on the tail of a normal is taken from its series.
FAR = 30.0
#: A variance is at least this share of what noise alone would tell.
LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Shrunk:
    """The posterior of f coefficients in g groups.

    Attributes:
        theta: float64 (f,), its mean.
        covariance: float64 (f, f).
        variance: float64 (g,), τ² of each group.
    """

    theta: FloatArray
    covariance: FloatArray
    variance: FloatArray

    def errors(self, z: FloatArray) -> FloatArray:
        """Standard deviations (n,) of zᵀθ for n rows z (n, f)."""
        out: FloatArray = np.sqrt(np.maximum(np.einsum("nf,nf->n", z @ self.covariance, z), 0.0))
        return out

    def signed(self, j: int, sign: float) -> Shrunk:
        """The mean and the covariance of the posterior, given that θ_j has this sign; itself where θ_j is not told.

        θ_j is a normal truncated at 0 (Johnson, Kotz and Balakrishnan 1994, "Continuous Univariate Distributions",
        volume 1, section 10.1), and what else is told moves with it as before.

        Args:
            j: a coefficient.
            sign: 1 or −1.

        Example:
            Told as 0 ± 1, and known to be positive: a half-normal, with mean √(2/π).

            >>> told = Shrunk(np.zeros(2), np.array([[1.0, 0.5], [0.5, 1.0]]), np.zeros(0)).signed(0, 1.0)
            >>> told.theta.round(3).tolist(), told.covariance.round(3).tolist()
            ([0.798, 0.399], [[0.363, 0.182], [0.182, 0.841]])
        """
        if not self.covariance[j, j] > 0.0:
            return self
        error = float(np.sqrt(self.covariance[j, j]))
        t = sign * float(self.theta[j]) / error
        below = float(torch.special.log_ndtr(torch.tensor(t, dtype=torch.float64)))
        hazard = float(np.exp(-0.5 * t * t - 0.5 * np.log(2.0 * np.pi) - below))
        above = t + hazard
        if t < -FAR:  # by its series, for nothing is left of the difference
            above = -1.0 / t + 2.0 / t**3
            hazard = above - t
        slope = self.covariance[:, j] / error
        return Shrunk(
            self.theta + sign * hazard * slope,
            self.covariance - hazard * above * np.outer(slope, slope),
            self.variance,
        )


def shrunk(gram: FloatArray, moment: FloatArray, noise: float, group: NDArray[np.int64]) -> Shrunk:
    """The posterior of θ; 0 and without error for what is free and no row moves.

    Args:
        gram: Σ ω z zᵀ, (f, f).
        moment: Σ ω z y, (f,).
        noise: σ².
        group: of each coefficient, (f,): 0 to g − 1, or `FREE`.

    Example:
        Two coefficients in a group, each told with standard error 1: 5 and −5 are not noise, 0.4 and −0.4 are.

        >>> shrunk(np.eye(2), np.array([5.0, -5.0]), 1.0, np.array([0, 0])).theta.round(1).tolist()
        [4.8, -4.8]
        >>> shrunk(np.eye(2), np.array([0.4, -0.4]), 1.0, np.array([0, 0])).theta.round(1).tolist()
        [0.0, -0.0]
    """
    free, bound = np.flatnonzero(group == FREE), np.flatnonzero(group != FREE)
    left, right = gram / noise, moment / noise
    theta, covariance = np.zeros(len(right)), np.zeros_like(left)
    variance = np.zeros(int(group.max(initial=FREE)) + 1)
    # What is free explains all that it can, whatever the others are.
    both = left[np.ix_(free, bound)]
    inverse = np.linalg.pinv(left[np.ix_(free, free)], rcond=1e-10, hermitian=True)
    taken = inverse @ both
    if len(bound):
        inner = left[np.ix_(bound, bound)] - both.T @ taken
        told = right[bound] - taken.T @ right[free]
        still = np.diag(inner) <= COPY * np.diag(left)[bound]
        inner[still], inner[:, still], told[still] = 0.0, 0.0, 0.0
        of, size = group[bound], np.maximum(np.bincount(group[bound], minlength=len(variance)), 1)
        scale = np.bincount(of, weights=np.maximum(np.diag(inner), 0.0), minlength=len(variance))
        variance = noisy = np.divide(size, scale, out=np.zeros(len(scale)), where=scale > 0.0)
        for _ in range(STEPS):
            root = np.sqrt(variance[of])
            unit = np.linalg.inv(root[:, None] * inner * root + np.eye(len(bound)))
            mean = root * (unit @ (root * told))
            known = np.bincount(of, weights=1.0 - np.diag(unit), minlength=len(variance))
            squares = np.bincount(of, weights=mean**2, minlength=len(variance))
            # The mean and the covariance that are told belong to the variances before the last step.
            variance = np.maximum(squares / np.maximum(known, LEAST), LEAST * noisy)
        theta[bound] = mean
        covariance[np.ix_(bound, bound)] = root[:, None] * unit * root
    theta[free] = inverse @ (right[free] - both @ theta[bound])
    crossed = taken @ covariance[np.ix_(bound, bound)]
    covariance[np.ix_(free, bound)], covariance[np.ix_(bound, free)] = -crossed, -crossed.T
    covariance[np.ix_(free, free)] = inverse + crossed @ taken.T
    return Shrunk(theta, covariance, variance)
