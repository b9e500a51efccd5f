"""Encouragement designs: what a message does to those who receive it, when only sending it can be randomised.

Sending is not receiving: some are never reached, some get it another way. Comparing those who received it with those
who did not compares different people; comparing those to whom it was sent with the others answers for the sending.
Randomised sending as an instrument answers for the receiving, among the people whose receiving it decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, SupportError, describe
from homing.estimates import Estimate, t_quantile

FloatArray = NDArray[np.float64]

#: Below this first-stage F an interval from a standard error is not to be trusted (Staiger and Stock, 1997).
WEAK_F = 10.0


@dataclass(frozen=True)
class EffectSet:
    """The effects that the Anderson–Rubin test does not reject.

    Attributes:
        shape: `interval` (from lower to upper); `rays` (up to lower, and from upper on: the data rule out only what
            lies between); `line` (nothing is ruled out).
        lower: see shape; None for `line`.
        upper: see shape; None for `line`.
        level: coverage, whatever the strength of the instrument.
    """

    shape: Literal["interval", "rays", "line"]
    lower: float | None
    upper: float | None
    level: float

    def __contains__(self, effect: float) -> bool:
        if self.lower is None or self.upper is None:
            return True
        return (self.lower <= effect <= self.upper) == (self.shape == "interval")

    def __str__(self) -> str:
        if self.shape == "line":
            return "(-∞, ∞)"
        if self.shape == "rays":
            return f"(-∞, {self.lower:.4g}] ∪ [{self.upper:.4g}, ∞)"
        return f"[{self.lower:.4g}, {self.upper:.4g}]"


@dataclass(frozen=True)
class ComplierEffect:
    """What receiving does to those whose receiving the assignment decides (compliers).

    Attributes:
        effect: sent's effect on the outcome over sent's effect on receiving, with a t interval from the delta method:
            to be read only where `weak` is False.
        anderson_rubin: the set of effects that are not rejected; right at any strength of the instrument.
        sent: effect of being sent it on the outcome (intention to treat).
        received: effect of being sent it on receiving it: the share of compliers where receiving is yes or no.
        first_stage_f: heteroskedasticity-robust F of `received`.
        weak: whether that is below 10.
        n: units.
    """

    effect: Estimate
    anderson_rubin: EffectSet
    sent: Estimate
    received: Estimate
    first_stage_f: float
    weak: bool
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "effect": self.effect.to_dict(),
            "anderson_rubin": asdict(self.anderson_rubin),
            "sent": self.sent.to_dict(),
            "received": self.received.to_dict(),
            "first_stage_f": self.first_stage_f,
            "weak": self.weak,
            "n": self.n,
        }


def complier_effect(
    sent: ArrayLike,
    received: ArrayLike,
    outcome: ArrayLike,
    *,
    covariates: ArrayLike | None = None,
    level: float = 0.95,
) -> ComplierEffect:
    """The effect of receiving among compliers, by two-stage least squares with the randomised sending as instrument.

    With one instrument this is the ratio of two regression coefficients of `sent` (Wald's estimator; Angrist, Imbens
    and Rubin, 1996, equation 9), of the outcome and of receiving, each adjusted for the same covariates. Their joint
    covariance is HC2, so that without covariates the two parts have exactly Welch's standard errors.

    It is the effect on compliers only, and only if being sent it changes the outcome through receiving alone and keeps
    nobody from receiving. A message that annoys without being opened breaks the first: use `sent` then, which holds
    anyway. With little compliance the ratio is far from normal; the Anderson–Rubin set stays right (Andrews, Stock and
    Sun, 2019, section 5).

    Args:
        sent: (n,) of 0 and 1, the random assignment; one row a randomised unit.
        received: (n,), whether it was received, or how often.
        outcome: (n,).
        covariates: (n, p), measured before assignment.
        level: coverage of the intervals.

    Raises:
        InvalidInputError: shapes differ, a number is not finite, `sent` is not 0 and 1, or covariates repeat another.
        SupportError: nobody's receiving moved with being sent it.

    References:
        Angrist, Imbens and Rubin (1996), "Identification of Causal Effects Using Instrumental Variables", JASA 91.
        Anderson and Rubin (1949), Annals of Mathematical Statistics 20.
        Andrews, Stock and Sun (2019), "Weak Instruments in Instrumental Variables Regression", Annual Review of
        Economics 11.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sent = rng.integers(0, 2, 4000)
        >>> received = sent * (rng.random(4000) < 0.5)
        >>> outcome = 0.4 * received + rng.normal(size=4000)
        >>> found = complier_effect(sent, received, outcome)
        >>> print(found.effect, found.anderson_rubin, found.weak)
        0.4193 [0.296, 0.5426] [0.296, 0.5427] False
    """
    check_probability("level", level)
    z, d, y, x = _checked(sent, received, outcome, covariates)
    coefficients, covariance = _first_of_two(z, d, y, x)
    (f, r), n, df = coefficients, len(z), len(z) - 2 - x.shape[1]
    # What is no more than rounding of the numbers that it was computed from is no first stage.
    if abs(f) <= 1e-12 * max(1.0, float(np.abs(d).max())):
        raise SupportError(
            describe(
                "effect of sent on received",
                float(f),
                "must differ from 0",
                "Receiving did not depend on sending in these data: only the effect of sending can be estimated.",
            )
        )
    effect = r / f
    ratio = np.array([-effect, 1.0]) / f
    first_stage_f = float(f * f / covariance[0, 0]) if covariance[0, 0] > 0 else float(np.finfo(np.float64).max)
    return ComplierEffect(
        effect=_with_t(effect, float(ratio @ covariance @ ratio), df, level),
        anderson_rubin=_anderson_rubin(f, r, covariance, df, level),
        sent=_with_t(r, covariance[1, 1], df, level),
        received=_with_t(f, covariance[0, 0], df, level),
        first_stage_f=first_stage_f,
        weak=first_stage_f < WEAK_F,
        n=n,
    )


def _checked(
    sent: ArrayLike, received: ArrayLike, outcome: ArrayLike, covariates: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    z = check_finite("sent", check_shape("sent", sent, (None,))).astype(np.float64)
    d = check_finite("received", check_shape("received", received, (len(z),))).astype(np.float64)
    y = check_finite("outcome", check_shape("outcome", outcome, (len(z),))).astype(np.float64)
    table = np.empty((len(z), 0)) if covariates is None else covariates
    x = check_finite("covariates", check_shape("covariates", table, (len(z), None))).astype(np.float64)
    other = ~np.isin(z, (0.0, 1.0))
    if other.any():
        row = int(np.argmax(other))
        raise InvalidInputError(describe(f"sent[{row}]", float(z[row]), "must be 0 or 1", "Give the assignment."))
    smaller = int(min(z.sum(), len(z) - z.sum()))
    if smaller < 2:
        raise InvalidInputError(describe("units in the smaller arm", smaller, "must be >= 2"))
    return z, d, y, x


def _first_of_two(z: FloatArray, d: FloatArray, y: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients of z in the regressions of d and of y on 1, z, x, and their joint HC2 covariance (2, 2)."""
    design = np.column_stack([np.ones(len(z)), z, x - x.mean(axis=0)])
    if len(z) <= design.shape[1]:
        raise InvalidInputError(
            describe("units", len(z), f"must be more than the {design.shape[1]} columns of the regression")
        )
    scale = np.sqrt((design**2).sum(axis=0))
    scaled = design / np.where(scale > 0, scale, 1.0)
    if np.linalg.matrix_rank(scaled) < design.shape[1]:
        raise InvalidInputError(
            describe("covariates", x.shape[1], "must not be constant nor combinations of each other or of sent")
        )
    q, triangle = np.linalg.qr(design)
    weight = q @ np.linalg.inv(triangle)[1]  # z's row of (D'D)^-1 D', so that its coefficient is weight @ y
    targets = np.column_stack([d, y])
    residual = targets - q @ (q.T @ targets)
    # HC2 divides by 1 - leverage; a row that alone decides a coefficient leaves no residual, and none to divide.
    room = np.maximum(1.0 - (q**2).sum(axis=1), 1e-12)
    scores = (weight / np.sqrt(room))[:, None] * residual
    return weight @ targets, scores.T @ scores


def _anderson_rubin(f: float, r: float, covariance: FloatArray, df: int, level: float) -> EffectSet:
    """The effects b with (r - b f)^2 <= q^2 Var(r - b f): a quadratic inequality, as in Fieller's theorem."""
    q2 = t_quantile(level, df) ** 2
    a = f * f - q2 * covariance[0, 0]
    b = r * f - q2 * covariance[0, 1]
    c = r * r - q2 * covariance[1, 1]
    inside = b * b - a * c
    if a == 0.0 or (a < 0.0 and inside <= 0.0):
        return EffectSet("line", None, None, level)
    root = float(np.sqrt(max(inside, 0.0)))
    low, high = sorted(((b - root) / a, (b + root) / a))
    return EffectSet("interval" if a > 0.0 else "rays", float(low), float(high), level)


def _with_t(value: float, variance: float, df: int, level: float) -> Estimate:
    std_error = float(np.sqrt(max(variance, 0.0)))
    half = t_quantile(level, df) * std_error
    return Estimate(float(value), std_error, float(value - half), float(value + half), level, df, "t")
