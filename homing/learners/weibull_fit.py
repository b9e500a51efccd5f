"""A Weibull model of the time to a visit, of which a log tells between which decisions it was.

With P(T > t) = exp(−(t / λ)^κ) and log λ bilinear in context and candidate this is an accelerated failure time model
(Kalbfleisch and Prentice 2002, "The Statistical Analysis of Failure Time Data", sections 2.2.2 and 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.newton import Local, minimise
from homing.log import LoggedDataset
from homing.policies.weibull import MAX_LOG_SCALE

FloatArray = NDArray[np.float64]
HOUR_US = 3_600_000_000
#: log κ is kept within what visits can mean: a shape of 0.05 to 20.
MAX_LOG_SHAPE = 3.0
#: Hazards are kept within e⁻⁶⁰ to e³⁰.
LEAST_LOG_HAZARD, MOST_LOG_HAZARD = -60.0, 30.0


@dataclass(frozen=True, eq=False)
class VisitTimes:
    """When the next visit after each decision was, in hours: within (lower, upper].

    A log tells that a visit fell between two decisions, not when. Where none is seen up to the user's last decision or
    the horizon, whichever is first, `lower` is that time and `upper` is infinite.

    Attributes:
        lower: float64 (n,), >= 0.
        upper: float64 (n,), > lower.
    """

    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, dataset: LoggedDataset, column: int, horizon_hours: float) -> VisitTimes:
        """Times to the next row of the same user whose reward in `column` is positive.

        Example:
            >>> data = LoggedDataset(
            ...     context=np.zeros((3, 1)), candidates=np.zeros((3, 2, 1)), eligible=np.ones((3, 2), bool),
            ...     action=[0, 1, 0], propensity=[0.5] * 3, reward=[[0], [1], [0]], objectives=("session",),
            ...     user=[7, 7, 7], time=[0, 2 * HOUR_US, 5 * HOUR_US])
            >>> times = VisitTimes.of(data, 0, 24.0)
            >>> times.lower.tolist(), times.upper.tolist()
            ([2.0, 0.0, 0.0], [5.0, 3.0, inf])
        """
        order = np.lexsort((dataset.time, dataset.user))
        hours = dataset.time[order] / HOUR_US
        user = dataset.user[order]
        n = len(order)
        position = np.arange(n)
        last = np.append(np.flatnonzero(user[1:] != user[:-1]), n - 1)
        end = last[np.searchsorted(last, position)]  # each row's user ends there
        # What follows a user's last decision ends with the log: when is not known.
        visited = (dataset.reward[order, column] > 0) & (position < end)
        following = np.minimum.accumulate(np.where(visited, position, n)[::-1])[::-1]
        seen = following <= end
        at = np.where(seen, following, end)
        lower = hours[at] - hours
        upper = np.where(seen, hours[np.minimum(at + 1, n - 1)] - hours, np.inf)
        beyond = upper > horizon_hours
        lower, upper = np.minimum(lower, horizon_hours), np.where(beyond, np.inf, upper)
        out_lower, out_upper = np.empty(n), np.empty(n)
        out_lower[order], out_upper[order] = lower, upper
        if not np.isfinite(out_upper).any():
            raise InvalidInputError(
                describe(
                    f"visits within {horizon_hours:g} hours of a decision", 0, "must be >= 1",
                    "Take a longer horizon_hours, or a log in which users are decided for more than once.",
                )
            )  # fmt: skip
        # Two decisions at one moment leave no time between them.
        return cls(out_lower, np.maximum(out_upper, np.nextafter(out_lower, np.inf)))

    def rows(self, index: NDArray[np.int64]) -> VisitTimes:
        """Some of the rows."""
        return VisitTimes(self.lower[index], self.upper[index])


@dataclass(frozen=True, eq=False)
class Weibull:
    """Parameters of the model.

    Attributes:
        theta: float64 (1 + c, 1 + d), of log λ, as in `BilinearDesign`.
        log_shape: log κ.
    """

    theta: FloatArray
    log_shape: float

    @property
    def shape(self) -> float:
        """κ."""
        return float(np.exp(np.clip(self.log_shape, -MAX_LOG_SHAPE, MAX_LOG_SHAPE)))


def fit_weibull(
    design: BilinearDesign, times: VisitTimes, penalties: Sequence[float], start: Weibull | None = None
) -> list[Weibull]:
    """Maximise the likelihood of interval-censored times less penalty / 2 · (|a|² + |b|² + |W|²), for each penalty.

    Args:
        design: context and the chosen candidate of n decisions.
        times: of their next visits.
        penalties: in observations; each fit starts where the one before it ended.
        start: parameters to begin with; without, a constant rate.
    """
    if start is None:
        seen = np.isfinite(times.upper)
        middle = np.where(seen, (times.lower + np.where(seen, times.upper, 0.0)) / 2.0, times.lower)
        theta = np.zeros(design.shape)
        theta[0, 0] = np.log(max(float(middle.sum()) / max(int(seen.sum()), 1), 1e-6))
        start = Weibull(theta, 0.0)
    loss, out, known = CensoredTimes.of(times), [], None
    point = np.append(start.theta.ravel(), start.log_shape)
    for penalty in penalties:
        point, known = minimise(design, loss, penalty, point, known)
        out.append(Weibull(point[:-1].reshape(design.shape), float(point[-1])))
    return out


def mean_loss(fitted: Weibull, design: BilinearDesign, times: VisitTimes) -> float:
    """Mean negative log likelihood."""
    return CensoredTimes.of(times)(design.outputs(fitted.theta), np.array([fitted.log_shape])).value / design.n


@dataclass(frozen=True, eq=False)
class CensoredTimes:
    """−Σ_i log P(lower_i < T_i <= upper_i) in z = log λ (n,) and k = log κ, with its derivatives.

    With h(t) = exp(κ (log t − z)), a row's loss is h(lower) − log(1 − exp(−(h(upper) − h(lower)))), the second term
    only where the visit was seen. It is convex in z, as the Gumbel density of log times is log-concave.

    Attributes:
        log_lower, log_upper: float64 (n,); what stands for 0 and infinity is not read.
        begun: bool (n,), lower > 0.
        seen: bool (n,), upper < infinity.

    Example:
        >>> rate = CensoredTimes.of(VisitTimes(np.array([2.0, 0.0]), np.array([np.inf, 1.0])))
        >>> rate(np.zeros(2), np.zeros(1)).value  # λ = κ = 1: 2 hours without, and −log(1 − 1/e)
        2.4586751453870...
    """

    log_lower: FloatArray
    log_upper: FloatArray
    begun: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, times: VisitTimes) -> CensoredTimes:
        """Of the times of n rows."""
        begun, seen = times.lower > 0.0, np.isfinite(times.upper)
        return cls(np.log(np.where(begun, times.lower, 1.0)), np.log(np.where(seen, times.upper, 1.0)), begun, seen)

    def __call__(self, z: FloatArray, own: FloatArray) -> Local:
        """The loss and its derivatives; see `homing.learners.newton.Local`."""
        shape = float(np.exp(np.clip(own[0], -MAX_LOG_SHAPE, MAX_LOG_SHAPE)))
        inside = np.abs(z) < MAX_LOG_SCALE
        scale = np.clip(z, -MAX_LOG_SCALE, MAX_LOG_SCALE)
        rows, after = np.flatnonzero(self.begun), np.flatnonzero(self.seen)
        loss, n = np.zeros((6, len(z))), len(z)
        # Rows of `loss`: the value and its derivatives by z, k, zz, zk, kk.
        loss[:, rows] = _hazard(self.log_lower[rows], scale[rows], shape)
        gap = _hazard(self.log_upper[after], scale[after], shape) - loss[:, after]
        g = np.maximum(gap[0], 1e-12)
        # φ(g) = −log(1 − e^−g), φ' = −1 / (e^g − 1), φ'' = e^g / (e^g − 1)²
        small = np.exp(-g)
        rest = -np.expm1(-g)
        first, second = -small / rest, small / rest**2
        loss[0, after] -= np.log(rest)
        for i, one in ((1, gap[1]), (2, gap[2])):
            loss[i, after] += first * one
        for i, one, other in ((3, gap[1], gap[1]), (4, gap[1], gap[2]), (5, gap[2], gap[2])):
            loss[i, after] += second * one * other + first * gap[i]
        loss[1:, ~inside] *= np.array([0.0, 1.0, 0.0, 0.0, 1.0])[:, None]
        free = float(abs(own[0]) < MAX_LOG_SHAPE)
        value, _, by_shape, _, _, bend = loss.sum(axis=1)
        return Local(
            float(value), loss[1], loss[3], np.array([free * by_shape]), free * loss[4].reshape(n, 1),
            np.array([[free * bend]]),
        )  # fmt: skip


def _hazard(log_hours: FloatArray, scale: FloatArray, shape: float) -> FloatArray:
    """h = (t / λ)^κ and its derivatives by z, k, zz, zk, kk: (6, n)."""
    power = shape * (log_hours - scale)
    h = np.exp(np.clip(power, LEAST_LOG_HAZARD, MOST_LOG_HAZARD))
    moved = h * power
    return np.stack([h, -shape * h, moved, shape**2 * h, -shape * (h + moved), moved * (1.0 + power)])
