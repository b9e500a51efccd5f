"""Many intervals that hold together: what looking at several objectives or candidates costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from homing.checks import check_one_of, check_probability
from homing.errors import InvalidInputError, describe
from homing.ope.intervals.base import FloatArray

Method = Literal["max-t", "sidak", "bonferroni"]


def simultaneous_level(
    influences: Sequence[FloatArray],
    level: float,
    *,
    method: Method = "max-t",
    rng: np.random.Generator | None = None,
    draws: int = 20_000,
) -> float:
    """The level at which each of K intervals must be made, so that all hold together with probability `level`.

    `max-t` uses how the estimates depend on each other: with R the correlation of their influences over users, it is
    the probability that a normal lies within the `level` quantile of max_k |Z_k|, Z ~ N(0, R). Z is what multiplying
    each user's contributions by a common normal draw and summing gives, drawn here from R itself. Candidates that
    resemble each other cost little. `sidak` (level^(1/K), which normal estimates never fall below) and `bonferroni`
    need no rng and no correlation.

    The best of many, chosen on the same log and shown with its own interval, flatters itself; with these levels the
    choice is paid for.

    Args:
        influences: K arrays (G,), on the same users; those that are 0 throughout are certain and cost nothing.
        level: wanted for all together.
        method: how.
        rng: for `max-t`.
        draws: of max_k |Z_k|.

    Raises:
        InvalidInputError: if there is nothing, the arrays are of different users, or `max-t` has no rng.

    References:
        Chernozhukov, Chetverikov and Kato (2013), "Gaussian approximations and multiplier bootstrap for maxima of sums
        of high-dimensional random vectors"; Šidák (1967), "Rectangular Confidence Regions for the Means of Multivariate
        Normal Distributions".

    Example:
        >>> psi = np.random.default_rng(0).normal(size=(2, 500))
        >>> alike = simultaneous_level([psi[0], psi[0]], 0.95, rng=np.random.default_rng(1))
        >>> apart = simultaneous_level([psi[0], psi[1]], 0.95, rng=np.random.default_rng(1))
        >>> round(alike, 3), round(apart, 3), round(simultaneous_level(psi, 0.95, method="sidak"), 3)
        (0.95, 0.973, 0.975)
    """
    check_probability("level", level)
    check_one_of("method", method, ("max-t", "sidak", "bonferroni"))
    sizes = {np.shape(psi) for psi in influences}
    if len(sizes) != 1:
        raise InvalidInputError(
            describe("influences", sorted(sizes), "must be arrays of one length, at least one", "Use one log for all.")
        )
    doubtful = [psi for psi in influences if np.any(psi)]
    count = len(doubtful)
    if count <= 1:
        return level
    if method == "bonferroni":
        return 1.0 - (1.0 - level) / count
    if method == "sidak":
        return float(level ** (1.0 / count))
    if rng is None:
        raise InvalidInputError(
            describe("rng", None, "is needed by 'max-t'", "Pass rng=np.random.default_rng(seed), or method='sidak'.")
        )
    covariance = np.array([[float(one @ two) for two in doubtful] for one in doubtful])
    scale = np.sqrt(np.diag(covariance))
    size, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    normal = rng.standard_normal((draws, count)) * np.sqrt(np.maximum(size, 0.0)) @ axes.T
    widest = float(np.quantile(np.abs(normal).max(axis=1), level))
    # Between one interval's own level and what no dependence can exceed, whatever the draws say.
    return min(max(math.erf(widest / math.sqrt(2.0)), level), float(level ** (1.0 / count)))
