"""How past days differed: in how many requests came, or in when they came. NumPy alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, describe
from homing.planning.pacing import RETURNS

FloatArray = NDArray[np.float64]
#: A pacer is never surer than this that all that is missing will yet come.
MOST = 0.95


class DaysAlikeError(InvalidInputError):
    """Days differ no more than counting does: nothing can be learnt from them, and nothing depends on it."""


@dataclass(frozen=True)
class Returns:
    """Share of what differs from a forecast that is made up for later in the day, beside its interval.

    Attributes:
        value: the share.
        lower, upper: interval at `level`.
        days: that it was found on.
        level: of the interval.
    """

    value: float
    lower: float
    upper: float
    days: int
    level: float

    @property
    def believed(self) -> float:
        """For `publish(returns=…)` or `RemainingRatio(returns=…)`: of the interval, what is nearest to the default.

        Days that are few, or hardly differ, are so not taken at their word, nor are mixtures of both kinds.

        >>> [Returns(x, low, high, 28, 0.95).believed for x, low, high in [(0.9, 0.0, 0.95), (0.02, 0.0, 0.05)]]
        [0.3, 0.05]
        """
        return min(max(RETURNS, self.lower), self.upper)

    def __str__(self) -> str:
        """One line for people.

        >>> print(Returns(0.9, 0.85, 0.95, 28, 0.95))
        of requests that are missing 90% [85%, 95%] come later (28 days); prices take 85%
        """
        interval = f"{self.value:.0%} [{self.lower:.0%}, {self.upper:.0%}]"
        return f"of requests that are missing {interval} come later ({self.days} days); prices take {self.believed:.0%}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def estimate_returns(history: ArrayLike, *, forecast: ArrayLike | None = None, level: float = 0.95) -> Returns:
    r"""Tell from past days' counts what `RemainingRatio` should believe of the next one.

    At each hour a day so far had m requests where M were expected, and then e where E were. If days differ in size,
    (e − E) / E = (m − M) / M; if they differ in when requests come, e − E = −(m − M); in a mixture of both, with a
    share r of the variance of the second kind, e − E = (m − M) ((1 − r) E / M − r) on average. Moments over days and
    the hours of the first half of the traffic, less what counting adds (variance M of a Poisson count), give

        r = Σ (E (m − M)² − M (e − E)(m − M) − M E) / Σ (M + E) ((m − M)² − M).

    The interval is the jackknife's over days (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter
    11). Days whose hours differ without any relation between before and after count as about one half.

    When it is wrong to use: with days of other shapes thrown together (a Sunday, a launch) unless each has its own
    forecast; with fewer than about ten days.

    Args:
        history: (days, parts), requests in each part of each day.
        forecast: (parts,) or (days, parts), those expected; the days' mean when None.
        level: of the interval.

    Raises:
        InvalidInputError: if there are fewer than three days or two parts, or counts are negative.
        DaysAlikeError: if days differ no more than counting does.

    Example:
        >>> size = np.random.default_rng(0).lognormal(0.0, 0.3, (60, 1))
        >>> found = estimate_returns(np.random.default_rng(1).poisson(500 * size, (60, 24)))
        >>> found.value < 0.1, found.lower <= found.value <= found.upper
        (True, True)
    """
    counts = check_finite("history", check_shape("history", history, (None, None))).astype(np.float64)
    check_probability("level", level)
    if len(counts) < 3 or counts.shape[1] < 2:
        raise InvalidInputError(describe("history.shape", counts.shape, "must be (3, 2) or more: days and their parts"))
    if (counts < 0).any():
        raise InvalidInputError(describe("history", float(counts.min()), "must be counts >= 0"))
    given = None if forecast is None else np.broadcast_to(np.asarray(forecast, dtype=np.float64), counts.shape)
    above, below = _moments(counts, given)
    if below <= 0.0:
        bound = "must differ by more than counting does"
        raise DaysAlikeError(describe("days of history", len(counts), bound, "Keep the default of `returns`."))
    without = np.array(
        [
            np.divide(*_moments(np.delete(counts, day, 0), None if given is None else np.delete(given, day, 0)))
            for day in range(len(counts))
        ]
    )
    days = len(counts)
    half = NormalDist().inv_cdf((1 + level) / 2) * float(
        np.sqrt((days - 1) / days * np.square(without - without.mean()).sum())
    )
    lower, value, upper = np.clip(above / below + np.array([-half, 0.0, half]), 0.0, MOST).tolist()
    return Returns(value, lower, upper, days, level)


def _moments(counts: FloatArray, forecast: FloatArray | None) -> tuple[float, float]:
    """Numerator and denominator of r."""
    # Days differ less from their own mean than from what it estimates.
    degrees = 1.0 if forecast is not None else len(counts) / (len(counts) - 1)
    expected = np.broadcast_to(counts.mean(axis=0), counts.shape) if forecast is None else forecast
    before = np.cumsum(expected, axis=1)[:, :-1]
    after = expected.sum(axis=1, keepdims=True) - before
    off = np.cumsum(counts - expected, axis=1)
    early, late = off[:, :-1], off[:, -1:] - off[:, :-1]
    above = degrees * (after * early**2 - before * late * early) - before * after
    below = (before + after) * (degrees * early**2 - before)
    # What came at another time in the first half has often been made up for in the second.
    asked = before <= after
    asked[:, 0] = True
    return float(above[asked].sum()), float(below[asked].sum())
