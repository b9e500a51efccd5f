"""How much data would decide: the size of log at which the lower ends that the rules ask for lie above 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from homing.ope import Estimate

#: Probability with which a log of the size that is named would show all that it must, if effects are as estimated. What
#: is promised is 0.8: a size comes from one log's spread and skewness, which are themselves estimates, and the sentence
#: that names it has two digits.
POWER = 0.85
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Demand:
    """One thing to be shown, that the lower end L of an interval lies above 0, at this size of the log and at others.

    L = V - q S - u, with V the estimate, S its standard error, q the interval's quantile and u what the interval adds
    for what was not seen (`cressie-read`), which falls with the size and not with its root. V and S are not
    independent: where a few events make the mean, a log with more of them has a greater S too. By the delta method a
    user's contribution ψ moves L by ψ - q (ψ² - mean) / (2 S), so that on a log of t times this size, with x = 1 / √t,

        E L = V - q S x - u x²,   Var L = S² x² (1 - q γ x + q² κ x² / 4),

    γ = Σ ψ³ / S³ and κ = Σ ψ⁴ / S⁴ - 1 / G over G users. The term in γ is that of the Edgeworth expansion of a
    Studentised mean: where the estimate is that a rare harm does not rise (γ < 0), the lower end is spread wider than
    the estimate itself, by about 1 + q |γ| / 2. Where γ > 0, as of rare gains, it is narrower, which is not counted on.

    Attributes:
        bound: the estimate that must lie above 0, with its interval.
        skewness: γ, of the estimate.
        kurtosis: κ, four times the squared relative spread of S.

    References:
        Hall (1992), "The Bootstrap and Edgeworth Expansion", chapter 2, for γ; the normal quantile z of the power
        stands for that of V / S, which differs by (z² - 1) γ / 6: at a power of 0.8 to 0.9 by less than 0.11 γ.

    Example:
        >>> rare = np.r_[np.full(990, 1e-5), np.full(10, -99e-5)]  # 10 events in 1,000, a harm: fewer is good
        >>> bound = Estimate(0.009, 0.0031, 0.0028, 0.0152, 0.95, 999)
        >>> demand = Demand.of(bound, rare)
        >>> round(demand.skewness, 2), round(demand.missed(1.0), 2)
        (-0.31, 0.25)
    """

    bound: Estimate
    skewness: float
    kurtosis: float

    @classmethod
    def of(cls, bound: Estimate, psi: NDArray[np.float64]) -> Demand:
        """From the estimate and each user's contribution (G,) to its error."""
        second = float(psi @ psi)
        if second == 0.0:
            return cls(bound, 0.0, 0.0)
        squares = psi**2 / second
        return cls(bound, float(psi @ squares) / math.sqrt(second), float(squares @ squares) - 1.0 / len(psi))

    def negated(self) -> Demand:
        """That the upper end lies below 0."""
        return Demand(self.bound.negated(), -self.skewness, self.kurtosis)

    @property
    def has_size(self) -> bool:
        """Whether some size shows it: the estimate is on the right side, and its spread is known."""
        return self.bound.value > 0.0 and self.bound.std_error > 0.0

    def missed(self, times: float) -> float:
        """Probability that a log of so many times this size does not show it, if the estimate is true."""
        half, x = self.bound.value - self.bound.lower, 1.0 / math.sqrt(times)
        quantile = half / self.bound.std_error
        if self.bound.interval == "cressie-read":
            quantile = min(quantile, _NORMAL.inv_cdf(0.5 + self.bound.level / 2.0))
        sampled = quantile * self.bound.std_error
        beyond = self.bound.value - sampled * x - (half - sampled) * x**2
        variance = 1.0 - quantile * min(self.skewness, 0.0) * x + (quantile * x) ** 2 * self.kurtosis / 4.0
        return _NORMAL.cdf(-beyond / (self.bound.std_error * x * math.sqrt(variance)))


def times_needed(groups: Sequence[Sequence[Demand]], power: float = POWER) -> float | None:
    """How many times this log would show, with probability `power`, one demand of every group at once.

    The probability of missing any is at most the sum of those of missing each, however they depend on each other
    (Boole); the size is the least at which the sum is 1 - `power`. So a demand that is far easier than the others costs
    nothing, and two that are equally hard are each planned at (1 + power) / 2.

    Args:
        groups: any one of a group suffices; what no size shows is left out.
        power: wanted for all groups together.

    Returns:
        At least 1; None if no group has a size.

    Example:
        >>> one = Demand(Estimate(1.0, 1.0, -0.96, 2.96, 0.95, 1000, "cluster-t"), 0.0, 0.0)
        >>> round(times_needed([[one]]), 2), round(times_needed([[one], [one]]), 2), times_needed([[one.negated()]])
        (8.98, 11.56, None)
    """
    known = [[item for item in group if item.has_size] for group in groups]
    known = [group for group in known if group]
    if not known:
        return None

    def missed(times: float) -> float:
        return sum(min(item.missed(times) for item in group) for group in known)

    low = high = 1.0
    while missed(high) > 1.0 - power:
        low, high = high, 2.0 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if missed(middle) > 1.0 - power else (low, middle)
    return high
