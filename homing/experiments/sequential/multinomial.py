"""Sample ratio mismatch, watched: a test of planned shares that may be looked at daily."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_positive
from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]


def sequential_ratio_p_value(counts: ArrayLike, shares: ArrayLike, *, concentration: float = 1000.0) -> FloatArray:
    """Sequential p-value of the hypothesis that units come to variants in the planned shares.

    The likelihood ratio of the units so far, of a Dirichlet mixture around the shares θ against the shares,

        BF = B(κ θ + S) / B(κ θ) / Π θ_j^{S_j},  B the multivariate beta function, S the counts,

    is a martingale under H0, exactly and for any counts; p = 1 / BF, the least so far, is below α at any time with
    probability of at most α. The chi-square test, looked at daily at .05, rejects a sound experiment in more than one
    of four.

    It is most sensitive to mismatches that are seen after 10 to 20 times κ units: of about 1 in 30 of a share of one
    half with 1000; a mismatch that is larger is found earlier all the same.

    Args:
        counts: (…, looks, variants), units exposed so far.
        shares: (variants,), planned, > 0; they are scaled to sum to 1.
        concentration: κ, of the mixture around the planned shares.

    Returns:
        (…, looks), never rising.

    Raises:
        InvalidInputError: if counts are negative or fall from look to look, or a share is not positive.

    References:
        Lindon and Malek (2022), "Anytime-valid inference for multinomial count data", arXiv 2011.03567, section 3.

    Example:
        >>> counts = [[500, 500], [1040, 960], [5200, 4800]]
        >>> sequential_ratio_p_value(counts, [0.5, 0.5]).round(4).tolist()
        [1.0, 0.5959, 0.0023]
    """
    from scipy.special import gammaln

    check_positive("concentration", concentration)
    theta = np.asarray(check_finite("shares", shares), dtype=np.float64)
    units = np.asarray(check_finite("counts", counts), dtype=np.float64)
    if theta.ndim != 1 or len(theta) < 2 or (theta <= 0).any():
        raise InvalidInputError(describe("shares", theta.tolist(), "must be two or more positive numbers"))
    if units.ndim < 2 or units.shape[-1] != len(theta):
        bound = f"must end with (looks, {len(theta)})"
        raise InvalidInputError(describe("counts.shape", units.shape, bound, "One column for each share."))
    if (units < 0).any() or (np.diff(units, axis=-2) < 0).any():
        bound = "must be >= 0 and never fall from look to look"
        raise InvalidInputError(describe("counts", units.tolist(), bound, "Pass units so far, not units per day."))
    theta = theta / theta.sum()
    prior = concentration * theta
    # Differences of large numbers: the error is 1e-16 n ln n, 1e-5 at a billion units.
    terms = gammaln(prior + units) - gammaln(prior) - units * np.log(theta)
    total = units.sum(axis=-1)
    log_ratio = terms.sum(axis=-1) - gammaln(concentration + total) + gammaln(concentration)
    return np.minimum.accumulate(np.minimum(1.0, np.exp(np.minimum(-log_ratio, 0.0))), axis=-1)
