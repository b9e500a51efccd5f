"""Confidence sequences: tests that may be looked at at any time, for as long as one likes, without a planned size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.estimates import mixture_growth, mixture_quantile
from homing.experiments.sequential.boundaries import check_sides

FloatArray = NDArray[np.float64]


def confidence_sequence_bounds(
    information: ArrayLike, alpha: ArrayLike, *, sides: int = 1, tuned_to: ArrayLike | None = None
) -> FloatArray:
    """What z must reach at any look so that over all looks, ever, H0 is rejected with probability of at most alpha.

    The likelihood ratio of z against normal effects around H0, (half-normal, one-sided), is a martingale under H0 that
    exceeds 1 / α with probability of at most α (Ville's inequality). With g = n ρ² and u = z √(g / (g + 1)) it is

        exp(u² / 2) / √(g + 1)  and one-sided  2 Φ(u) exp(u² / 2) / √(g + 1).

    g is chosen so that the bound is least at information 1 (`mixture_growth`; one-sided at 2 α). Two-sided this is the
    asymptotic confidence sequence, difference ± bound · SE; one-sided the mixture is solved exactly, by Newton's
    method, which is a little shorter than the closed form in the reference.

    Wrong to use before averages are near normal (a few hundred units with rare events), and on metrics that keep
    growing for a unit after it was counted. It is wider than a group-sequential test by about a half; that is the price
    of a size that need not be planned.

    Args:
        information: (…, looks), >= 0: units so far over those at which it shall be tightest. Infinite bounds at 0.
        alpha: scalar or (…), over both sides of a two-sided test; one-sided below 1/2.
        sides: 1 or 2.
        tuned_to: the level for which the bound is least at information 1, where that is another.

    References:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic
        confidence sequences", arXiv 2103.06476, theorem 2.2 and, one-sided, appendix B; Robbins (1970), "Statistical
        methods related to the law of the iterated logarithm", for the mixtures.

    Example:
        >>> confidence_sequence_bounds([0.1, 1.0, 10.0], 0.05, sides=2).round(3).tolist()
        [3.855, 3.035, 3.242]
        >>> confidence_sequence_bounds([0.1, 1.0, 10.0], 0.05).round(3).tolist()
        [3.634, 2.766, 2.985]
    """
    growth = _growth(information, alpha if tuned_to is None else tuned_to, sides)
    a = _levels(alpha, sides)
    growth, a = np.broadcast_arrays(growth, a)
    if sides == 2:
        out = np.empty(growth.shape)
        for level in np.unique(a):
            out[a == level] = mixture_quantile(growth[a == level], 1.0 - float(level))
        return out
    with np.errstate(divide="ignore"):
        return _half_normal_root(np.log1p(growth) / 2.0 - np.log(a)) * np.sqrt(1.0 + 1.0 / growth)


def confidence_sequence_p_value(
    z: ArrayLike, information: ArrayLike, alpha: ArrayLike, *, sides: int = 1
) -> FloatArray:
    """The smallest level at which a look so far has reached its bound; it may be read at any time and never rises.

    Args:
        z: (…, looks), large against H0 (one-sided); NaN where there is none yet.
        information: (…, looks), that broadcasts.
        alpha: the level that the sequence is tuned to, as in `confidence_sequence_bounds`: it says where the bound is
            tightest, and the p-value is valid at every level.
        sides: 1 or 2.

    References:
        Johari, Koomen, Pekelis and Walsh (2022), "Always valid inference: continuous monitoring of A/B tests".

    Example:
        >>> confidence_sequence_p_value([1.0, 3.2, 2.0], [0.3, 0.6, 1.0], 0.05, sides=2).round(4).tolist()
        [1.0, 0.0349, 0.0349]
    """
    from scipy.special import log_ndtr

    growth = _growth(information, alpha, sides)
    seen = np.where(np.isnan(z), 0.0 if sides == 2 else -np.inf, np.asarray(z, dtype=np.float64))
    with np.errstate(invalid="ignore"):
        u = seen * np.sqrt(growth / (growth + 1.0))
        log_ratio = u * u / 2.0 - np.log1p(growth) / 2.0
        if sides == 1:
            log_ratio = np.where(np.isneginf(seen), -np.inf, log_ratio + np.log(2.0) + log_ndtr(u))
    return np.minimum.accumulate(np.minimum(1.0, np.exp(-log_ratio)), axis=-1)


def _growth(information: ArrayLike, tuned_to: ArrayLike, sides: int) -> FloatArray:
    """g at each look."""
    t = np.atleast_1d(np.asarray(information, dtype=np.float64))
    if not (t >= 0).all() or np.isinf(t).any():
        step = "It is units so far over those at which the sequence shall be tightest."
        raise InvalidInputError(describe("information", t.tolist(), "must be finite and >= 0", step))
    levels = _levels(tuned_to, sides)
    tuned = np.empty(levels.shape)
    for level in np.unique(levels):
        tuned[levels == level] = mixture_growth(1.0 - (3 - sides) * float(level))
    return t * tuned


def _levels(alpha: ArrayLike, sides: int) -> FloatArray:
    """Levels with an axis for looks."""
    check_sides(sides)
    levels = np.asarray(alpha, dtype=np.float64)[..., None]
    for level in np.unique(levels):
        check_probability("alpha", float(level) * (3 - sides), next_step="One-sided it must be below one half.")
    return levels


def _half_normal_root(log_ratio: FloatArray) -> FloatArray:
    """u with ln 2 + ln Φ(u) + u² / 2 == log_ratio: convex and rising, from where Φ is taken as 1/2, too far right."""
    from scipy.special import log_ndtr

    u = np.sqrt(2.0 * log_ratio)
    for _ in range(60):
        log_cdf = np.asarray(log_ndtr(u))
        slope = u + np.exp(-0.5 * u * u - log_cdf) / np.sqrt(2.0 * np.pi)
        move = (np.log(2.0) + log_cdf + 0.5 * u * u - log_ratio) / slope
        u = u - move
        if np.abs(move).max(initial=0.0) < 1e-12:
            break
    return u
