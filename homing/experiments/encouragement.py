"""Encouragement designs: what a message does to those who receive it, when only sending it can be randomised.

Sending is not receiving: some are never reached, some get it another way. Comparing those who received it with those
who did not compares different people; comparing those to whom it was sent with the others answers for the sending.
Randomised sending as an instrument answers for the receiving, among the people whose receiving it decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, SupportError, describe
from homing.estimates import Estimate
from homing.experiments.intervals import RatioSet, ratio_set, with_t
from homing.experiments.regression import adjusted_difference

FloatArray = NDArray[np.float64]

#: Below this first-stage F an interval from a standard error is not to be trusted (Staiger and Stock, 1997).
WEAK_F = 10.0


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
    anderson_rubin: RatioSet
    sent: Estimate
    received: Estimate
    first_stage_f: float
    weak: bool
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "effect": self.effect.to_dict(),
            "anderson_rubin": self.anderson_rubin.to_dict(),
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
    coefficients, covariance = adjusted_difference(z, np.column_stack([d, y]), x)
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
        effect=with_t(effect, float(ratio @ covariance @ ratio), df, level),
        anderson_rubin=ratio_set(r, f, covariance, df, level),
        sent=with_t(r, covariance[1, 1], df, level),
        received=with_t(f, covariance[0, 0], df, level),
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
