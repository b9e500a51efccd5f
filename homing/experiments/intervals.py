"""Intervals of single numbers: Student's t, Welch and Satterthwaite, Fieller's set of a ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import SupportError, describe
from homing.estimates import Estimate, t_quantile

FloatArray = NDArray[np.float64]


def with_t(value: float, variance: float, df: int, level: float) -> Estimate:
    """An estimate with its t interval.

    >>> print(with_t(1.0, 0.04, 10, 0.95))
    1 [0.5544, 1.446]
    """
    std_error = float(np.sqrt(max(variance, 0.0)))
    half = t_quantile(level, df) * std_error
    return Estimate(float(value), std_error, float(value - half), float(value + half), level, df, "t")


def satterthwaite(value: float, parts: Sequence[float], dfs: Sequence[int], level: float) -> Estimate:
    """An estimate whose variance is a sum of independently estimated parts; Welch's interval for two means.

    Degrees of freedom (Σ V_i)² / Σ V_i² / ν_i (Satterthwaite, 1946, Biometrics Bulletin 2); the estimate tells them
    rounded down.

    >>> print(satterthwaite(0.5, [0.04, 0.09], [9, 19], 0.95))  # 27.98 degrees of freedom
    0.5 [-0.2386, 1.239]
    """
    from scipy.special import stdtrit

    check_probability("level", level)
    variance = np.asarray(parts, dtype=np.float64)
    spread = float((variance**2 / np.asarray(dfs)).sum())
    df = float(sum(dfs)) if spread == 0.0 else float(variance.sum() ** 2 / spread)
    std_error = float(np.sqrt(variance.sum()))
    half = float(stdtrit(df, 0.5 + level / 2.0)) * std_error
    return Estimate(float(value), std_error, float(value - half), float(value + half), level, int(df), "t")


def welch(baseline: FloatArray, comparison: FloatArray, level: float) -> Estimate:
    """Difference of the means of two samples, comparison minus baseline, with Welch's interval.

    Raises:
        SupportError: if one has fewer than two values.

    Example:
        >>> print(welch(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]), 0.95))
        2 [-2.155, 6.155]
    """
    for name, sample in (("baseline", baseline), ("comparison", comparison)):
        if len(sample) < 2:
            raise SupportError(describe(f"units of the {name} group", len(sample), "must be >= 2"))
    parts = [float(sample.var(ddof=1)) / len(sample) for sample in (baseline, comparison)]
    sizes = [len(baseline) - 1, len(comparison) - 1]
    return satterthwaite(float(comparison.mean() - baseline.mean()), parts, sizes, level)


@dataclass(frozen=True)
class RatioSet:
    """The ratios that a test does not reject: Fieller's set.

    Attributes:
        shape: `interval` (from lower to upper); `rays` (up to lower, and from upper on: the data rule out only what
            lies between); `line` (nothing is ruled out).
        lower: see shape; None for `line`.
        upper: see shape; None for `line`.
        level: coverage, however close to 0 the denominator is.
    """

    shape: Literal["interval", "rays", "line"]
    lower: float | None
    upper: float | None
    level: float

    def __contains__(self, ratio: float) -> bool:
        if self.lower is None or self.upper is None:
            return True
        if self.shape == "interval":
            return self.lower <= ratio <= self.upper
        return ratio <= self.lower or ratio >= self.upper

    def __str__(self) -> str:
        if self.shape == "line":
            return "(-∞, ∞)"
        if self.shape == "rays":
            return f"(-∞, {self.lower:.4g}] ∪ [{self.upper:.4g}, ∞)"
        return f"[{self.lower:.4g}, {self.upper:.4g}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


def ratio_set(top: float, bottom: float, covariance: FloatArray, df: int, level: float) -> RatioSet:
    """The ratios b with (top - b · bottom)² <= q² Var(top - b · bottom), a quadratic inequality.

    Args:
        top: estimate of the numerator.
        bottom: estimate of the denominator.
        covariance: float64 (2, 2), of (bottom, top).
        df: of the covariance.
        level: coverage.

    References:
        Fieller (1954), "Some Problems in Interval Estimation", JRSS B 16.

    Example:
        >>> print(ratio_set(2.0, 1.0, np.diag([0.01, 0.04]), 50, 0.95))
        [1.498, 2.67]
        >>> print(ratio_set(2.0, 0.1, np.diag([0.01, 0.04]), 50, 0.95))
        (-∞, -19.63] ∪ [6.445, ∞)
    """
    q2 = t_quantile(level, df) ** 2
    a = bottom * bottom - q2 * covariance[0, 0]
    b = top * bottom - q2 * covariance[0, 1]
    c = top * top - q2 * covariance[1, 1]
    inside = b * b - a * c
    if a == 0.0 or (a < 0.0 and inside <= 0.0):
        return RatioSet("line", None, None, level)
    root = float(np.sqrt(max(inside, 0.0)))
    low, high = sorted(((b - root) / a, (b + root) / a))
    return RatioSet("interval" if a > 0.0 else "rays", float(low), float(high), level)
