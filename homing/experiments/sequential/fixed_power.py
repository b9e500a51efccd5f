"""Fixed-power designs: run until the effect that matters would be seen, as variances turn out to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability
from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]


def fixed_power_information(
    std_error: ArrayLike, effect: ArrayLike, alpha: ArrayLike, power: float, n: ArrayLike, *, burn_in: float
) -> FloatArray:
    """Units so far over the units that the current variance asks for: (effect / SE)² / (z_{1-α} + z_{power})².

    The day on which it reaches 1 is the only look. Stopping depends on variances alone; where those and means come
    apart (near symmetric averages, that is after a burn-in) the fixed test then keeps its error, and its power is the
    planned one whatever the variance. Zero before the burn-in, and never falling: what was reached stays reached.

    Wrong to use with a short burn-in on rare events or heavy tails: there a small variance comes with a small mean, and
    one stops too early.

    Args:
        std_error: (…, days), of the difference; NaN or 0 where there is none yet.
        effect: scalar or (…, days), to be found with the power, ≠ 0.
        alpha: of one side.
        power: of finding the effect.
        n: (…, days), units so far.
        burn_in: units before which nothing is read off.

    Raises:
        InvalidInputError: if the effect is 0, or a rate is outside of (0, 1).

    References:
        Nordin and Schultzberg (2024), "Precision-based designs for sequential randomized experiments", arXiv
        2405.03487, the fixed power design.

    Example:
        >>> n, std_error = [500, 4000, 8000], [0.1, 0.04, 0.03]
        >>> fixed_power_information(std_error, 0.1, 0.05, 0.8, n, burn_in=1000).round(3).tolist()
        [0.0, 1.011, 1.797]
    """
    from scipy.special import ndtri

    check_probability("power", power)
    levels = np.asarray(alpha, dtype=np.float64)
    for level in np.unique(levels):
        check_probability("alpha", float(level))
    size = np.asarray(check_finite("effect", effect), dtype=np.float64)
    if (size == 0).any():
        raise InvalidInputError(describe("effect", 0.0, "must not be 0", "Give the metric an MDE or a NIM."))
    se, units = np.asarray(std_error, dtype=np.float64), np.asarray(n, dtype=np.float64)
    known = (se > 0) & (units >= burn_in)
    needed = np.asarray(ndtri(1.0 - levels) + ndtri(power))
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.where(known, (size / (se * (needed[..., None] if needed.ndim else needed))) ** 2, 0.0)
    return np.maximum.accumulate(np.atleast_1d(reached), axis=-1)
