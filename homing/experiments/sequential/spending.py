"""How the error rate is spent as information arrives: α*(t), from 0 at t = 0 to α at t = 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_one_of
from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]


def spend(
    information: ArrayLike, alpha: ArrayLike, *, spending: str = "obrien-fleming", parameter: float | None = None
) -> FloatArray:
    """Error rate that may have been used up at each information fraction, of one side of a test.

    | name | α*(t) | parameter |
    |---|---|---|
    | `obrien-fleming` | 2 - 2 Φ(z_{1-α/2} / √t) | none |
    | `pocock` | α ln(1 + (e - 1) t) | none |
    | `power` | α t^φ | φ > 0, 2 when not given |
    | `hsd` | α (1 - e^{-γ t}) / (1 - e^{-γ}) | γ ≠ 0, -4 when not given |

    The first hardly spends anything early and ends near the fixed test's bound; the second keeps the bound almost flat,
    stops earlier under large effects and costs more power at the end; the last two lie between and beyond.
    From t = 1 on α is spent.

    Args:
        information: (…), fractions of the planned information, >= 0.
        alpha: (…), that broadcasts: the error rate of one side.
        spending: a name of the table.
        parameter: of the families.

    Raises:
        UnknownNameError: for another name.
        InvalidInputError: if a fraction is negative, alpha is outside of (0, 1), or the parameter does not fit.

    References:
        Lan and DeMets (1983), "Discrete sequential boundaries for clinical trials", section 2, for the first two;
        Kim and DeMets (1987), "Design and analysis of group sequential tests based on the type I error spending rate
        function"; Hwang, Shih and DeCani (1990), "Group sequential designs using a family of type I error probability
        spending functions".

    Example:
        >>> spend([0.25, 0.5, 1.0], 0.025).round(5).tolist()
        [1e-05, 0.00153, 0.025]
        >>> spend([0.25, 0.5, 1.0], 0.025, spending="power").round(5).tolist()
        [0.00156, 0.00625, 0.025]
    """
    check_spending(spending, parameter)
    t = np.asarray(check_finite("information", information), dtype=np.float64)
    if (t < 0).any():
        step = "It is users so far over users planned."
        raise InvalidInputError(describe("information", float(t.min()), "must be >= 0", step))
    a = np.asarray(check_finite("alpha", alpha), dtype=np.float64)
    if ((a <= 0) | (a >= 1)).any():
        raise InvalidInputError(describe("alpha", float(a[(a <= 0) | (a >= 1)].flat[0]), "must be in (0, 1)"))
    function, default = SPENDING[spending]
    value = default if parameter is None else parameter
    return function(np.minimum(t, 1.0), a, value)


def check_spending(spending: str, parameter: float | None) -> None:
    """Refuse a name or a parameter that `spend` does not know."""
    check_one_of("spending", spending, SPENDING)
    if parameter is None:
        return
    default = SPENDING[spending][1]
    if default == 0.0:
        step = "Leave it out, or choose 'power' or 'hsd'."
        raise InvalidInputError(describe("parameter", parameter, f"is not one of {spending!r}", step))
    if not np.isfinite(parameter) or parameter == 0 or (spending == "power" and parameter < 0):
        bound = "must be > 0" if spending == "power" else "must be a finite number other than 0"
        raise InvalidInputError(describe("parameter", parameter, bound, f"For example {default:g}."))


def _obrien_fleming(t: FloatArray, alpha: FloatArray, parameter: float) -> FloatArray:
    from scipy.special import ndtr, ndtri

    with np.errstate(divide="ignore"):
        return np.asarray(2.0 * ndtr(ndtri(alpha / 2.0) / np.sqrt(t)))


def _pocock(t: FloatArray, alpha: FloatArray, parameter: float) -> FloatArray:
    return np.asarray(alpha * np.log1p((np.e - 1.0) * t))


def _power(t: FloatArray, alpha: FloatArray, parameter: float) -> FloatArray:
    return np.asarray(alpha * t**parameter)


def _hsd(t: FloatArray, alpha: FloatArray, parameter: float) -> FloatArray:
    return np.asarray(alpha * np.expm1(-parameter * t) / np.expm1(-parameter))


#: name → (α*(t, α, parameter), the parameter's default; 0 where there is none).
SPENDING: dict[str, tuple[Callable[[FloatArray, FloatArray, float], FloatArray], float]] = {
    "obrien-fleming": (_obrien_fleming, 0.0),
    "pocock": (_pocock, 0.0),
    "power": (_power, 2.0),
    "hsd": (_hsd, -4.0),
}
