"""Group-sequential tests: bounds for any schedule of looks, p-values that may be read at any of them, their price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability
from homing.errors import InvalidInputError, describe
from homing.experiments.sequential.boundaries import check_sides, exit_probabilities, spending_bounds
from homing.experiments.sequential.spending import check_spending, spend

FloatArray = NDArray[np.float64]
#: A planned look counts as reached within this share of it: so much for sums of shares.
_REACHED = 1.0 - 1e-9
#: One-sided levels at which p-values are tabulated, as normal quantiles: from 1/2 to 1e-12.
_QUANTILES = np.linspace(0.0, 7.034, 41)


def look_information(information: ArrayLike, looks: str | int | Sequence[float] = "daily") -> FloatArray:
    """Information as of the last look, at each day: where it does not grow one did not look.

    The first day with information of 1 or more is the last look; the experiment may go on, the test does not. So an
    experiment that runs over keeps its error rate: what was planned, not what came, is the whole information.

    Args:
        information: (…, days), >= 0 and never falling: units so far over units planned.
        looks: "daily" (each day that brings information), a number of looks at equal steps of information, or
            increasing fractions that end with 1; a planned look is taken on the first day that reaches it.

    Returns:
        (…, days).

    Raises:
        InvalidInputError: if information falls, or the schedule does not increase to 1.

    Example:
        >>> look_information([0.3, 0.6, 0.9, 1.2, 1.5], 2).tolist()
        [0.0, 0.6, 0.6, 1.2, 1.2]
    """
    t = np.atleast_1d(np.asarray(check_finite("information", information), dtype=np.float64))
    if (t < 0).any() or (np.diff(t, axis=-1) < 0).any():
        step = "It is units so far over units planned."
        raise InvalidInputError(describe("information", t.tolist(), "must be >= 0 and never fall", step))
    passed = np.searchsorted(_schedule(looks), np.minimum(t, 1.0) / _REACHED, side="right") if looks != "daily" else t
    before = np.concatenate([np.zeros((*t.shape[:-1], 1)), np.where(t >= _REACHED, np.inf, passed)[..., :-1]], axis=-1)
    return np.maximum.accumulate(np.where(passed > before, t, 0.0), axis=-1)


def check_looks(looks: str | int | Sequence[float]) -> None:
    """Refuse a schedule that `look_information` does not know."""
    if looks != "daily":
        _schedule(looks)


def group_sequential_bounds(
    information: ArrayLike,
    alpha: ArrayLike,
    *,
    spending: str = "obrien-fleming",
    parameter: float | None = None,
    looks: str | int | Sequence[float] = "daily",
    sides: int = 1,
) -> FloatArray:
    """What z must reach at each day, so that over all looks H0 is rejected with probability of at most alpha.

    Error is spent by information, so that neither the number nor the times of looks need to be known before; they must
    not depend on what was seen. Infinite where one does not look: between planned looks, and after the first look with
    all of the information (`look_information`).

    Args:
        information: (…, days), units so far over units planned; frozen at the start.
        alpha: scalar or (…), over both sides of a two-sided test, each of which spends half.
        spending: as in `spend`, which has the parameter, too.
        parameter: of a family.
        looks: as in `look_information`.
        sides: 1, reject for z >= bound; 2, for |z| >= bound.

    Returns:
        (…, days).

    Raises:
        InvalidInputError: if information falls, or alpha is outside of (0, 1).

    References:
        Jennison and Turnbull (2000), "Group Sequential Methods with Applications to Clinical Trials", chapter 7;
        for two sides the convention of R's rpact and gsDesign.

    Example:
        >>> group_sequential_bounds([0.25, 0.5, 0.75, 1.1, 1.3], 0.05).round(3).tolist()
        [3.75, 2.54, 2.016, 1.742, inf]
    """
    check_spending(spending, parameter)
    check_sides(sides)
    looked = look_information(information, looks)
    per_side = np.asarray(alpha, dtype=np.float64)[..., None] / sides
    unique, back = _unique_rows(looked, per_side)
    bounds = spending_bounds(unique[:, :-1], _spent(unique[:, :-1], unique[:, -1:], spending, parameter), sides=sides)
    return np.asarray(bounds[back])


def group_sequential_p_value(
    z: ArrayLike,
    information: ArrayLike,
    *,
    spending: str = "obrien-fleming",
    parameter: float | None = None,
    looks: str | int | Sequence[float] = "daily",
    sides: int = 1,
) -> FloatArray:
    """The smallest alpha whose bound has been reached by each day: it may be read at any look and never rises.

    At most alpha exactly where z has reached the bounds for alpha at that look or before. 1 before the first look and
    where it would exceed 1/2 on a side, not below 1e-12, and within 1e-4 of itself in between.

    Args:
        z: (…, days), large against H0 (one-sided); NaN where there is none yet, which reaches nothing.
        information: (…, days), that broadcasts; as in `group_sequential_bounds`, with the other arguments.
        spending: see there.
        parameter: see there.
        looks: see there.
        sides: see there.

    Returns:
        (…, days).

    References:
        Liu and Anderson (2008), "On adaptive extensions of group sequential trials for clinical investigations", for
        the sequential p-value.

    Example:
        >>> group_sequential_p_value([1.0, 2.8, 2.9], [0.3, 0.6, 1.0]).round(4).tolist()
        [0.4401, 0.0195, 0.0019]
    """
    check_spending(spending, parameter)
    check_sides(sides)
    looked = look_information(information, looks)

    def table(row: tuple[float, ...]) -> FloatArray:
        return _group_sequential_table(row, spending, parameter, sides)

    return tabulated_p_value(z, looked, table, sides=sides)


def tabulated_p_value(
    z: ArrayLike, information: ArrayLike, table: Callable[[tuple[float, ...]], FloatArray], *, sides: int
) -> FloatArray:
    """Sequential p-values from the bounds at many levels: the level is read off where the bound equals z.

    Args:
        z: (…, days).
        information: (…, days), that broadcasts, as of the last look.
        table: makes of one row of information the bounds (levels, days) at `p_value_levels()` per side.
        sides: 1 or 2.
    """
    from scipy.special import ndtr

    t, seen = np.broadcast_arrays(np.asarray(information, dtype=np.float64), np.asarray(z, dtype=np.float64))
    seen = np.where(np.isnan(seen), -np.inf, np.abs(seen) if sides == 2 else seen)
    out = np.ones(t.shape)
    rows, back = np.unique(t.reshape(-1, t.shape[-1]), axis=0, return_inverse=True)
    flat, found = seen.reshape(-1, t.shape[-1]), out.reshape(-1, t.shape[-1])
    for number, row in enumerate(rows):
        bounds, members = table(tuple(row.tolist())), np.flatnonzero(back.reshape(-1) == number)
        for day in np.flatnonzero(np.diff(row, prepend=0.0) > 0):
            # Rising with the quantile: where a family's bounds cross each other, the larger level is told.
            column = np.maximum.accumulate(bounds[:, day])
            # A level that cannot be reached yet has an infinite bound; it is never told.
            before = np.concatenate([[-np.inf], column[:-1]])
            kept = np.isfinite(column) & (column > before)
            low, high = column[kept][0], column[kept][-1]
            at = flat[members, day]
            quantile = _monotone(column[kept], _QUANTILES[kept], np.clip(at, low, high))
            found[members, day] = np.where(at < low, 1.0, sides * ndtr(-quantile))
    return np.minimum.accumulate(found.reshape(t.shape), axis=-1)


def _monotone(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """Cubic interpolation of rising values that rises too (Fritsch and Butland 1984, slopes by harmonic means)."""
    if len(x) == 1:
        return np.full(at.shape, y[0])
    step = np.diff(x)
    rise = np.diff(y) / step
    left, right = step[:-1], step[1:]
    middle = 3.0 * (left + right) / ((left + 2.0 * right) / rise[:-1] + (2.0 * left + right) / rise[1:])
    slope = np.concatenate([rise[:1], middle, rise[-1:]])
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    h, u = step[k], (at - x[k]) / step[k]
    ends = y[k] * (1.0 + 2.0 * u) * (1.0 - u) ** 2 + y[k + 1] * u**2 * (3.0 - 2.0 * u)
    return np.asarray(ends + h * u * (1.0 - u) * (slope[k] * (1.0 - u) - slope[k + 1] * u))


def p_value_levels() -> FloatArray:
    """The levels per side of a table for `tabulated_p_value`, falling."""
    from scipy.special import ndtr

    levels = np.asarray(ndtr(-_QUANTILES))
    levels[0] = 0.4999  # two sides of one half would be everything
    return levels


def inflation_factor(bounds: ArrayLike, information: ArrayLike, alpha: float, power: float, *, sides: int = 1) -> float:
    """How many times the fixed test's units a test with these bounds needs to reach the same power by its last look.

    The drift θ at which the test stops with probability `power` is found; the fixed test needs z_{1-α} + z_{power}
    (α / 2 with two sides); units go with the square.

    Args:
        bounds: (looks,).
        information: (looks,), the drift being z's mean at 1, wherever they end.
        alpha: of the fixed test.
        power: in (alpha, 1).
        sides: 1 or 2.

    Raises:
        InvalidInputError: if the power is not above alpha.

    Example:
        >>> t = np.arange(1, 15) / 14
        >>> round(inflation_factor(group_sequential_bounds(t, 0.05), t, 0.05, 0.8), 3)
        1.055
    """
    from scipy.special import ndtri

    check_probability("alpha", alpha)
    check_probability("power", power)
    if power <= alpha:
        raise InvalidInputError(describe("power", power, f"must be > alpha == {alpha}", "0.8 is common."))
    fixed = float(ndtri(1.0 - alpha / sides) + ndtri(power))
    low, high = 0.0, 2.0 * fixed
    while _power(bounds, information, np.array([high]), sides)[0] < power:
        low, high = high, 2.0 * high
    # Each round divides the bracket by 32.
    while high - low > 1e-9 * high:
        drift = np.linspace(low, high, 33)
        above = int(np.searchsorted(_power(bounds, information, drift, sides), power))
        low, high = float(drift[max(above - 1, 0)]), float(drift[min(above, 32)])
    return float((high / fixed) ** 2 * np.asarray(information, dtype=np.float64)[-1])


def _power(bounds: ArrayLike, information: ArrayLike, drift: FloatArray, sides: int) -> FloatArray:
    return np.asarray(exit_probabilities(bounds, information, drift, sides=sides).sum(axis=-1))


@lru_cache(maxsize=256)
def _group_sequential_table(row: tuple[float, ...], spending: str, parameter: float | None, sides: int) -> FloatArray:
    t = np.asarray(row)
    return spending_bounds(t, _spent(t, p_value_levels()[:, None], spending, parameter), sides=sides)


def _spent(t: FloatArray, per_side: FloatArray, spending: str, parameter: float | None) -> FloatArray:
    """Cumulative spending as of the last look; what is planned for 1 is spent within rounding of 1."""
    return spend(np.where(t >= _REACHED, 1.0, t), per_side, spending=spending, parameter=parameter)


def _unique_rows(looked: FloatArray, alpha: FloatArray) -> tuple[FloatArray, Any]:
    """Distinct rows of information with their alpha in the last column, and the way back to the full shape."""
    shape = np.broadcast_shapes(looked.shape[:-1], alpha.shape[:-1])
    table = np.concatenate(
        [np.broadcast_to(looked, (*shape, looked.shape[-1])), np.broadcast_to(alpha, (*shape, 1))], axis=-1
    )
    rows, back = np.unique(table.reshape(-1, table.shape[-1]), axis=0, return_inverse=True)
    return rows, back.reshape(shape)


def _schedule(looks: str | int | Sequence[float]) -> FloatArray:
    step = "Write 'daily', a number of looks, or fractions such as [0.5, 1]."
    if isinstance(looks, bool | str):
        raise InvalidInputError(describe("looks", looks, "must be 'daily', a whole number or fractions", step))
    if isinstance(looks, int):
        if looks < 1:
            raise InvalidInputError(describe("looks", looks, "must be >= 1", step))
        return np.arange(1, looks + 1) / looks
    fractions = [float(item) for item in looks]
    if not fractions or fractions[0] <= 0 or fractions[-1] != 1 or any(b <= a for a, b in pairwise(fractions)):
        raise InvalidInputError(describe("looks", looks, "must increase from above 0 to 1", step))
    return np.asarray(fractions)
