"""How heavy the tail of the importance weights is: whether their mean and variance can be trusted at all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_finite
from homing.errors import InvalidInputError, describe
from homing.ope.diagnostics.verdict import Verdict
from homing.ope.estimate import Clusters

FloatArray = NDArray[np.float64]
#: Fewest weights in the tail that a fit is made of.
MIN_TAIL = 5


def kish(weight: FloatArray) -> float:
    """Effective number (Σw)² / Σw² of weighted items, 0 when all weights are 0.

    >>> kish(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    top = float(weight.max(initial=0.0))
    if top == 0.0:
        return 0.0
    scaled = weight / top
    return float(scaled.sum() ** 2 / (scaled**2).sum())


@dataclass(frozen=True)
class WeightTail:
    """The fitted tail of the users' summed weights.

    Attributes:
        k: Pareto shape k̂; moments of order 1/k and more do not exist: above 0.5 no variance, from 1 on no mean. None
            where there is no tail to fit: fewer than `MIN_TAIL` positive weights in it, or all of one size (bounded
            weights).
        threshold: above it estimates from this many users are unreliable, min(1 - 1 / log10 S, 0.7).
        users: S, users with positive weight.
        tail: users whose weights were fitted.
        verdict: `caution` above the threshold, `refuse` from k = 1 on; `fine` where the M weights of the tail span less
            than a factor of √M, as bounded weights do.
        reasons: sentences behind the verdict.
    """

    k: float | None
    threshold: float
    users: int
    tail: int
    verdict: Verdict
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> WeightTail:
        """Read back what `to_dict` wrote."""
        return cls(**{**data, "reasons": tuple(data["reasons"])})


def weight_tail(weight: FloatArray, clusters: Clusters | None = None) -> WeightTail:
    """Fit a generalised Pareto distribution to the largest weights and say whether their mean can be trusted.

    The M = min(S / 5, 3 √S) largest of S positive weights, less the next one as cutoff, are fitted by the
    quasi-Bayesian method of Zhang and Stephens; k̂ is then drawn towards 0.5 as if by 10 more observations. Weights of
    one user are summed first: users are the independent units. The effective sample size sees the weights that are
    there; k̂ tells of those that were not drawn. It is a property of the sample, wrong to read as a bound: bounded
    weights can look heavy below their bound, and a small log may hold none of a heavy tail.

    Args:
        weight: (n,), importance weights >= 0.
        clusters: of the rows; None for independent rows.

    Raises:
        InvalidInputError: on NaN or a negative weight.

    References:
        Zhang and Stephens (2009), "A New and Efficient Estimation Method for the Generalized Pareto Distribution",
        sections 2 and 3; Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto Smoothed Importance Sampling",
        algorithm 1, equation 13 (threshold) and appendix C (prior).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> tail = weight_tail((1 - rng.random(10_000)) ** -0.8)  # Pareto with k = 0.8
        >>> round(tail.k, 1), tail.verdict
        (0.9, 'caution')
    """
    values = np.asarray(check_finite("weight", weight), dtype=np.float64)
    if values.min(initial=0.0) < 0:
        row = int(np.argmax(values < 0))
        raise InvalidInputError(describe(f"weight[{row}]", float(values[row]), "must be >= 0"))
    by_user = values if clusters is None or clusters.count == len(values) else clusters.sums(values)
    positive = by_user[by_user > 0]
    return tail_of_largest(positive, len(positive))


def tail_of_largest(largest: FloatArray, size: int) -> WeightTail:
    """`weight_tail` of S positive weights of which only the largest are at hand.

    Args:
        largest: the largest of them, at least M + 1 for the whole tail; of fewer the tail is those that are there.
        size: S.
    """
    threshold = min(1.0 - 1.0 / math.log10(size), 0.7) if size > 10 else 0.0
    length = min(size // 5, math.ceil(3 * math.sqrt(size)), len(largest) - 1)
    if length < MIN_TAIL:
        return WeightTail(None, threshold, size, max(length, 0), "fine")
    top = np.sort(np.partition(largest, len(largest) - length - 1)[len(largest) - length - 1 :])
    excess = top[1:] - top[0]
    # Ties with the cutoff are no tail; a tail of equal weights is a bound that the policy reaches.
    excess = excess[excess > 1e-12 * top[-1]]
    if len(excess) < MIN_TAIL or excess[-1] - excess[0] <= 1e-9 * top[-1]:
        return WeightTail(None, threshold, size, len(excess), "fine")
    k = _prior(pareto_shape(excess), len(excess))
    # A Pareto tail of M values spans a factor of about M^k. Weights near a few sizes, summed over users who come back
    # more or less often, fit a large k between those sizes but span little: they are bounded.
    narrow = top[-1] < math.sqrt(length) * top[0]
    verdict: Verdict = "fine" if k <= threshold or narrow else "caution" if k < 1.0 else "refuse"
    reasons: tuple[str, ...] = ()
    if verdict != "fine":
        what = (
            f"above {threshold:.2f} users that were not drawn may change the estimate."
            if verdict == "caution"
            else "from 1 on their mean does not exist."
        )
        reasons = (
            f"The largest weights fall off slowly: Pareto k is {k:.2f} on the {len(excess):,} heaviest of {size:,} "
            f"users with weight; {what}",
        )
    return WeightTail(k, threshold, size, len(excess), verdict, reasons)


def pareto_shape(excess: FloatArray) -> float:
    """Shape k of a generalised Pareto distribution for sorted excesses (M,) > 0, location 0; k > 0 is a heavy tail.

    The profile likelihood of b = -k / σ is averaged over a grid under a weak prior; M grid points grow as 30 + √M.

    References:
        Zhang and Stephens (2009), equations 7 to 9, with the sign of k turned.

    Example:
        >>> u = (np.arange(1000) + 0.5) / 1000
        >>> round(pareto_shape(((1 - u) ** -0.5 - 1) / 0.5), 2)
        0.5
    """
    count = len(excess)
    points = 30 + int(math.sqrt(count))
    quartile = excess[int(count / 4 + 0.5) - 1]
    grid = 1.0 / excess[-1] + (1.0 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))) / (3.0 * quartile)
    shape = np.log1p(-grid[:, None] * excess).mean(axis=1)
    # As b tends to 0, -b / k tends to 1 / mean: the exponential distribution.
    rate = np.divide(-grid, shape, out=np.full(points, 1.0 / excess.mean()), where=np.abs(shape) > 1e-300)
    profile = count * (np.log(rate) - shape - 1.0)
    likelihood = np.exp(profile - profile.max())
    best = float(grid @ likelihood / likelihood.sum())
    return float(np.log1p(-best * excess).mean())


def _prior(k: float, count: int) -> float:
    """k drawn towards 0.5 with the weight of 10 observations."""
    return (count * k + 10 * 0.5) / (count + 10)
