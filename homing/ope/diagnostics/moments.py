"""The test that every calibration here is made of: a mean over clusters that should be 0."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def zero_mean_p_value(error: FloatArray, slack: float = 0.0) -> float:
    """Two-sided p-value of the mean of independent errors (G,) being 0, by a t statistic corrected for skewness.

    A mean of skewed terms and its standard error err together: with few events the t statistic rejects too often on
    the side of too few. Hall's transformation g(t) = t + γ t² / 3 + γ² t³ / 27 + γ / 6, γ the skewness of the mean, is
    monotone and removes that to first order.

    Args:
        error: each cluster's sum of what should be 0 on average, in units in which 1e-12 is nothing.
        slack: what the sum of all may fall short of 0 without being evidence, in the same units.

    References:
        Hall (1992), "On the Removal of Skewness by Transformation", section 2.

    Example:
        >>> zero_mean_p_value(np.array([1.0, -1.0, 1.0, -1.0]) / 4)
        1.0
        >>> round(zero_mean_p_value(np.array([3.0, 1.0, 3.0, 1.0]) / 4), 4)  # t = 2 √3 with 3 degrees of freedom
        0.0405
    """
    from scipy.special import stdtr

    count = len(error)
    total = float(error.sum())
    centred = error - total / count
    if total < 0.0:
        total = min(0.0, total + slack)
    square = centred * centred
    variance = float(square.sum())
    if variance <= 1e-24:
        return 1.0 if abs(total) <= 1e-9 else 0.0
    t = total / math.sqrt(count / (count - 1) * variance)
    skew = float((square * centred).sum()) / variance**1.5
    t += skew * t**2 / 3.0 + skew**2 * t**3 / 27.0 + skew / 6.0
    return min(1.0, 2.0 * float(stdtr(count - 1, -abs(t))))
