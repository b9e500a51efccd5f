"""Empirical likelihood on weights and rewards themselves, with the constraint that weights have mean 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, describe
from homing.ope.estimate import Clusters, Estimate, interval, t_quantile
from homing.ope.intervals.base import FloatArray


def empirical_likelihood(
    weight: ArrayLike,
    reward: ArrayLike,
    *,
    weight_range: tuple[float, float],
    reward_range: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
    cluster: ArrayLike | None = None,
) -> Estimate:
    """The Cressie–Read value and interval of a policy from its importance weights, which must have mean 1.

    All E_Q[w r] over reweightings Q of the users and of an unseen one with one decision, with E_Q[w] = 1 and within a
    divergence of Student's squared t quantile of the most likely Q. For the divergence of order -2 each end is a
    regression: with a = w r, c = w - 1 and moments over the G + 1 users,

        V = E a - β E c ∓ √(Var(a - β c) (ρ - (E c)² / Var c)),   β = Cov(a, c) / Var c.

    That weights average to 1 is so used as a control: a log whose mean weight came out high is corrected for it. Wrong
    to use where propensities are not true, which breaks the constraint, and with ranges that are merely the sample's.

    Args:
        weight: (n,), π / propensity of the logged actions.
        reward: (n,).
        weight_range: least (below 1) and greatest (above 1, finite) weight that could occur.
        reward_range: least and greatest reward that could occur.
        level: nominal coverage.
        cluster: (n,), labels of what rows belong to; each row by itself when not given.

    Returns:
        An estimate whose value is the most likely one, per decision, and whose standard error is that of a - β c.

    Raises:
        InvalidInputError: if a weight or a reward lies outside of its range, or the arrays do not fit.
        SupportError: if there are fewer than two clusters.

    References:
        Karampatziakis, Langford and Mineiro (2020), "Empirical Likelihood for Contextual Bandits", sections 4.2 (value)
        and 4.3 (interval), with the Cressie–Read divergence of order -2. Where each user has one decision, equal to
        `estimators.bandits.cressieread` of vw-estimators 0.2.2.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> weight = np.where(rng.random(2000) < 0.1, 9.0, 1 / 9)
        >>> reward = (rng.random(2000) < 0.005).astype(float)
        >>> print(empirical_likelihood(weight, reward, weight_range=(1 / 9, 9.0)))
        0.000391 [0.0001033, 0.01334]
    """
    check_probability("level", level)
    w = np.asarray(check_finite("weight", check_shape("weight", weight, (None,))), dtype=np.float64)
    r = np.asarray(check_finite("reward", check_shape("reward", reward, (len(w),))), dtype=np.float64)
    (low_w, high_w), (low_r, high_r) = weight_range, reward_range
    if not 0.0 <= low_w < 1.0 < high_w < np.inf:
        raise InvalidInputError(describe("weight_range", weight_range, "must be finite, >= 0, and hold 1 inside"))
    check_inside("weight", w, weight_range)
    check_inside("reward", r, reward_range)
    labels = np.arange(len(w)) if cluster is None else np.asarray(check_shape("cluster", cluster, (len(w),)))
    clusters = Clusters.of(labels)
    scale = clusters.count / len(w)  # everything in units of a user of average length
    users = _Users(scale * clusters.sums(w * r), scale * clusters.sums(w - 1.0), scale)

    # The most likely Q: what weight is missing, or too much, goes to the unseen user, with the average reward.
    last = high_w if users.control.sum() < 0.0 else low_w
    most = users.with_one(last, float(r.mean()))
    if most.mass_of_last <= 0.0:
        most = users.with_one(last, 0.0)
    value = min(max(most.fitted, low_r), high_r)
    radius = (most.misfit + t_quantile(level, clusters.count) ** 2) / (clusters.count + 1)
    lows, highs = (
        [
            corner.fitted + sign * half
            for unseen in (low_w, high_w)
            if (half := (corner := users.with_one(unseen, reward_end)).half_width(radius)) is not None
        ]
        for reward_end, sign in ((low_r, -1.0), (high_r, 1.0))
    )
    lower, upper = max(min(lows, default=low_r), low_r), min(max(highs, default=high_r), high_r)
    psi = users.residual / clusters.count
    return interval(value, psi - psi.mean(), level).between(min(lower, value), max(upper, value), "cressie-read")


@dataclass(frozen=True, eq=False)
class _Users:
    """Per user: value a (G,), control c (G,), in units of a user of average length; `scale` is that of a decision."""

    value: FloatArray
    control: FloatArray
    scale: float

    def with_one(self, weight: float, reward: float) -> _Moments:
        """Moments of the users and of one unseen, whose one decision has this weight and reward."""
        count = len(self.value) + 1
        a, c = self.scale * weight * reward, self.scale * (weight - 1.0)
        mean_a, mean_c = (float(self.value.sum()) + a) / count, (float(self.control.sum()) + c) / count
        return _Moments(
            count=count,
            last=c,
            mean_a=mean_a,
            mean_c=mean_c,
            var_a=(float(self.value @ self.value) + a * a) / count - mean_a**2,
            var_c=(float(self.control @ self.control) + c * c) / count - mean_c**2,
            cov=(float(self.value @ self.control) + a * c) / count - mean_a * mean_c,
        )

    @property
    def residual(self) -> FloatArray:
        """What the control does not explain, (G,)."""
        centred = self.control - self.control.mean()
        size = float(centred @ centred)
        return self.value if size == 0.0 else self.value - float(centred @ self.value) / size * self.control


@dataclass(frozen=True)
class _Moments:
    """Means, variances and covariance of value and control over the users and one unseen, whose control is `last`."""

    count: int
    last: float
    mean_a: float
    mean_c: float
    var_a: float
    var_c: float
    cov: float

    @property
    def slope(self) -> float:
        return self.cov / self.var_c if self.var_c > 0.0 else 0.0

    @property
    def fitted(self) -> float:
        """E a where the control has mean 0."""
        return self.mean_a - self.slope * self.mean_c

    @property
    def misfit(self) -> float:
        """The divergence that the constraint alone costs."""
        return self.count * self.mean_c**2 / self.var_c if self.var_c > 0.0 else 0.0

    @property
    def mass_of_last(self) -> float:
        """The unseen user's share in the most likely Q, times the number of users."""
        return 1.0 - self.mean_c / self.var_c * (self.last - self.mean_c) if self.var_c > 0.0 else 1.0

    def half_width(self, radius: float) -> float | None:
        """How far E a can move within `radius`; None where the control cannot have mean 0 there."""
        room = radius - self.misfit / self.count
        if self.var_c <= 0.0 or room < 0.0:
            return None
        return math.sqrt(max(self.var_a - self.slope * self.cov, 0.0) * room)


def check_inside(name: str, array: FloatArray, bounds: tuple[float, float]) -> None:
    """Refuse a value outside of its declared range."""
    outside = (array < bounds[0]) | (array > bounds[1])
    if outside.any():
        row = int(np.argmax(outside))
        raise InvalidInputError(
            describe(
                f"{name}[{row}]",
                float(array[row]),
                f"must be in [{bounds[0]:g}, {bounds[1]:g}], as declared",
                "Declare the range that the design allows, not one that the log breaks.",
            )
        )
