"""An estimate beside its interval: what every number that is not known exactly is told as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, SupportError, describe

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: the point estimate.
        std_error: its standard error, robust to dependence within clusters.
        lower: lower end of the two-sided interval.
        upper: upper end of the two-sided interval.
        level: nominal coverage of [lower, upper].
        df: degrees of freedom of the t quantile, clusters minus one.
        interval: how the interval was made, a name from `homing.ope.INTERVALS`.

    Example:
        >>> print(Estimate(0.2, 0.05, 0.1, 0.3, 0.95, 40))
        0.2 [0.1, 0.3]
    """

    value: float
    std_error: float
    lower: float
    upper: float
    level: float
    df: int
    interval: str = "cluster-t"

    def at(self, level: float) -> Estimate:
        """The same estimate with the t interval of another level.

        Raises:
            InvalidInputError: if it has another kind of interval, which needs more than the standard error.
        """
        if self.interval != "cluster-t":
            raise InvalidInputError(
                describe(
                    "interval",
                    self.interval,
                    "must be 'cluster-t' to change its level",
                    "Ask the report: report.estimate_at(objective, estimator, level=…).",
                )
            )
        half = t_quantile(level, self.df) * self.std_error
        return Estimate(self.value, self.std_error, self.value - half, self.value + half, level, self.df)

    def between(self, lower: float, upper: float, interval: str) -> Estimate:
        """The same estimate and standard error with an interval of another kind."""
        return replace(self, lower=float(lower), upper=float(upper), interval=interval)

    def shifted(self, by: float) -> Estimate:
        """The estimate of this quantity plus a constant."""
        return replace(self, value=self.value + by, lower=self.lower + by, upper=self.upper + by)

    def negated(self) -> Estimate:
        """The estimate of minus this quantity."""
        return replace(self, value=-self.value, lower=-self.upper, upper=-self.lower)

    def to_dict(self) -> dict[str, float | int | str]:
        """Plain numbers for strict JSON."""
        return {
            "value": self.value,
            "std_error": self.std_error,
            "lower": self.lower,
            "upper": self.upper,
            "level": self.level,
            "df": self.df,
            "interval": self.interval,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        """Read back what `to_dict` wrote."""
        return cls(
            float(data["value"]),
            float(data["std_error"]),
            float(data["lower"]),
            float(data["upper"]),
            float(data["level"]),
            int(data["df"]),
            str(data.get("interval", "cluster-t")),
        )

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}]"


@lru_cache(maxsize=256)
def t_quantile(level: float, df: int) -> float:
    """The two-sided t quantile: P(|T_df| <= q) == level.

    >>> round(t_quantile(0.95, 10), 4)
    2.2281
    """
    from scipy.special import stdtrit

    check_probability("level", level)
    return float(stdtrit(df, 0.5 + level / 2.0))


def interval(value: float, psi: FloatArray, level: float) -> Estimate:
    """The cluster-robust interval of an estimate from its clusters' contributions.

    Var = G / (G - 1) · Σ_g ψ_g², quantile of Student's t with G - 1 degrees of freedom (the small-cluster correction
    of Cameron and Miller, 2015, "A Practitioner's Guide to Cluster-Robust Inference", section VI). With singleton
    clusters and a mean this is exactly s / sqrt(n).

    Args:
        value: the point estimate.
        psi: (G,), each cluster's contribution to the error.
        level: nominal coverage.

    Raises:
        SupportError: if there is only one cluster, which says nothing about spread.
        InvalidInputError: if the estimate or its variance is no finite number.

    Example:
        >>> x = np.array([1.0, 2.0, 4.0])
        >>> one = interval(x.mean(), (x - x.mean()) / 3, 0.95)
        >>> bool(np.isclose(one.std_error, x.std(ddof=1) / np.sqrt(3)))
        True
    """
    count = len(psi)
    if count < 2:
        raise SupportError(
            describe(
                "number of clusters",
                count,
                "must be >= 2 for an interval",
                "Evaluate on a log with more users; one user's rows cannot show how much users differ.",
            )
        )
    with np.errstate(over="ignore"):
        std_error = math.sqrt(count / (count - 1) * float(psi @ psi))
    if not (math.isfinite(value) and math.isfinite(std_error)):
        raise InvalidInputError(
            describe("estimate", value, "must be finite, with finite influence", "Look for extreme rewards or weights.")
        )
    half = t_quantile(level, count - 1) * std_error
    return Estimate(float(value), std_error, float(value - half), float(value + half), level, count - 1)


def mixture_growth(level: float) -> float:
    """How large n ρ² should be at the n at which a normal-mixture confidence sequence shall be tightest.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic confidence
    sequences", appendix B: -2 ln α + ln(1 - 2 ln α), α = 1 - level.

    >>> round(mixture_growth(0.95), 3)
    7.936
    """
    alpha = 1.0 - check_probability("level", level)
    return -2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)


def mixture_quantile(growth: ArrayLike, level: float) -> FloatArray:
    """Half width over standard error of a two-sided normal-mixture confidence sequence: 1.96 of a single look.

    √((g + 1) / g · ln((g + 1) / α²)) with g = n ρ², theorem 2.2 there (Robbins 1970); infinite at g = 0.

    >>> mixture_quantile([0.0, mixture_growth(0.95), 100.0], 0.95).round(3).tolist()
    [inf, 3.035, 3.273]
    """
    alpha = 1.0 - check_probability("level", level)
    g = np.asarray(growth, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt((1.0 + 1.0 / g) * (np.log1p(g) - 2.0 * math.log(alpha))))
