"""The test that every calibration here is made of: a mean over clusters that should be 0, or a ratio that is 1."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.ope.diagnostics.tails import kish
from homing.ope.estimate import Clusters, Estimate, t_quantile

FloatArray = NDArray[np.float64]
#: Least effective number of users behind a test; below, its t statistic is not Student's.
MIN_EFFECTIVE = 100.0
#: Least number of users with weight before a mean that is too small is evidence: rare large weights may be missing.
MIN_MISSING = 500
#: The heaviest share of users, and what they may carry of all weight before the tail counts as heavy.
TOP, TOP_CARRIES = 0.01, 0.02
#: Expected draws that are missed altogether with probability e^-11, about the level of caution of one test among many.
MISSED = 11.0
#: Quantile at which heavy weights are cut in the test of too large a mean.
CAP = 0.98


@dataclass(frozen=True)
class MomentTest:
    """One moment that true propensities fix, and what the log says of it.

    Attributes:
        what: which decisions or candidates it is about.
        kind: `weight`: the mean of 1{choice} / propensity over what could have been chosen; `frequency`: how often
            candidates were chosen over how often their logged probabilities say.
        ratio: observed over expected, 1 where propensities are true; its interval is clustered by user.
        p_value: two-sided, of ratio 1.
        effective: effective number of users behind it.
    """

    what: str
    kind: Literal["weight", "frequency"]
    ratio: Estimate
    p_value: float
    effective: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


def weight_test(
    what: str,
    observed: FloatArray,
    wanted: FloatArray,
    clusters: Clusters,
    *,
    hidden: FloatArray | None = None,
    largest: float = math.inf,
) -> MomentTest | None:
    """Test that weights (n,) amount to what is wanted (n,); None where too few users stand behind it.

    A heavy tail hides weight: what was cut off cannot make the mean too large, what was not drawn makes it small. Of
    Pareto weights the heaviest 1 % carry more than all that are too rare to be drawn among 100 or more; three times
    what they carry beyond their due is granted before a mean counts as too small, and all of it on few users. Weights
    of two sizes have no such tail: there `hidden` is granted, but no more than `MISSED` draws of the largest weight.
    Few users with weight are evidence too where even the largest weights would have to be drawn more often.

    Args:
        what: for the sentences.
        observed, wanted: (n,), equal on average where propensities are true.
        clusters: of the rows.
        hidden: (n,), wanted weight on choices that may have been too rare to be drawn.
        largest: 1 over the floor of the propensities; infinite where none is known.
    """
    by_user, expected = clusters.sums(observed), clusters.sums(wanted)
    positive = by_user[by_user > 0]
    due = float(expected.sum()) / largest  # so many draws at least, if none weighs more than the largest
    if max(len(positive), due) < MIN_EFFECTIVE:
        return None
    if len(positive) >= MIN_MISSING:
        slack = 3.0 * max(0.0, carried(by_user) - TOP_CARRIES)
    else:
        slack = MISSED / due if due >= MIN_EFFECTIVE else math.inf
    if hidden is not None:
        slack = max(slack, min(float(hidden.sum()), MISSED * largest) / float(expected.sum()))
    cut = by_user
    if by_user.sum() > expected.sum() and slack > 0.0:
        cut, slack = np.minimum(by_user, float(np.quantile(positive, CAP))), math.inf
    effective = max(kish(cut), due)
    if effective < MIN_EFFECTIVE:
        return None
    return MomentTest(what, "weight", _ratio(by_user, expected), _p_value(cut, expected, slack), effective)


def frequency_test(what: str, observed: FloatArray, wanted: FloatArray, clusters: Clusters) -> MomentTest | None:
    """Test that choices (n,) were made as often as their probabilities (n,) say; None on too few users."""
    made, expected = clusters.sums(observed), clusters.sums(wanted)
    effective = kish(np.abs(made - expected))
    if effective < MIN_EFFECTIVE or expected.sum() < MIN_EFFECTIVE / 2:
        return None
    return MomentTest(what, "frequency", _ratio(made, expected), _p_value(made, expected), effective)


def carried(by_user: FloatArray) -> float:
    """Share of all weight that the heaviest users with weight carry."""
    positive = by_user[by_user > 0]
    if not len(positive):
        return 0.0
    top = math.ceil(TOP * len(positive))
    return float(np.partition(positive, len(positive) - top)[len(positive) - top :].sum() / positive.sum())


def _ratio(observed: FloatArray, wanted: FloatArray) -> Estimate:
    """Σ observed / Σ wanted over clusters (G,); its error is (observed - ratio · wanted) / Σ wanted."""
    total = float(wanted.sum())
    ratio = float(observed.sum()) / total
    psi, count = (observed - ratio * wanted) / total, len(observed)
    # As `interval` does, without its inner product: threads of a linear algebra library cost more than they save here.
    error = math.sqrt(count / (count - 1) * float(np.square(psi).sum()))
    half = t_quantile(0.95, count - 1) * error
    return Estimate(ratio, error, ratio - half, ratio + half, 0.95, count - 1)


def _p_value(observed: FloatArray, wanted: FloatArray, slack: float = 0.0) -> float:
    """Two-sided p-value of Σ observed = Σ wanted over clusters (G,), which may fall short by a share of `slack`."""
    return zero_mean_p_value((observed - wanted) / float(wanted.sum()), slack)


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
