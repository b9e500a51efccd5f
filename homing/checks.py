"""Checks at the boundary: what they let through is trusted afterwards.

Each raises `InvalidInputError` with the first offending value, its bound and what to do about it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.errors import InvalidInputError, describe, unknown_name


def check_probability(name: str, value: float, *, next_step: str = "") -> float:
    """Return `value` if it is a probability in (0, 1).

    >>> check_probability("level", 0.95)
    0.95
    """
    if not (isinstance(value, int | float | np.number) and 0.0 < value < 1.0):
        raise InvalidInputError(describe(name, value, "must be in (0, 1)", next_step))
    return float(value)


def check_positive(name: str, value: float, *, next_step: str = "") -> float:
    """Return `value` if it is finite and greater than 0."""
    if not (isinstance(value, int | float | np.number) and 0 < value < np.inf):
        raise InvalidInputError(describe(name, value, "must be a finite number > 0", next_step))
    return float(value)


def check_count(name: str, value: Any, *, least: int = 1, next_step: str = "") -> int:
    """Return a whole number >= `least` as an int; pipelines hand whole numbers over as floats.

    >>> check_count("threads", 2), check_count("folds", 3.0)
    (2, 3)
    """
    whole = isinstance(value, int | np.integer) or (isinstance(value, float | np.floating) and value.is_integer())
    if isinstance(value, bool) or not whole or value < least:
        raise InvalidInputError(describe(name, value, f"must be a whole number >= {least}", next_step))
    return int(value)


def check_one_of(name: str, value: str, known: Collection[str], *, next_step: str = "") -> str:
    """Return `value` if it is one of `known`; otherwise hint at the nearest name."""
    if value not in known:
        raise unknown_name(name, value, known, next_step)
    return value


def check_shape(
    name: str, array: ArrayLike, shape: tuple[int | None, ...], *, next_step: str = ""
) -> NDArray[np.generic]:
    """Return `array` as an ndarray if its shape matches; `None` stands for any length.

    >>> check_shape("action", [1, 0], (2,)).shape
    (2,)
    """
    out = np.asarray(array)
    if out.ndim != len(shape) or any(
        want is not None and got != want for got, want in zip(out.shape, shape, strict=True)
    ):
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise InvalidInputError(describe(f"{name}.shape", out.shape, f"must be {wanted}", next_step))
    return out


def check_finite(name: str, array: ArrayLike, *, next_step: str = "", first: int = 0) -> NDArray[np.generic]:
    """Return `array` if it holds neither NaN nor infinity; rows are told as counted from `first`."""
    out = np.asarray(array)
    if out.dtype.kind not in "biuf":
        raise _no_numbers(name, out, next_step)
    bad = ~np.isfinite(out)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f"{name}[{_subscript(index, first)}]"
        raise InvalidInputError(describe(place, float(out[index]), "must be finite", next_step))
    return out


def check_propensity(name: str, array: ArrayLike, *, first: int = 0) -> NDArray[np.float64]:
    """Return `array` as float64 if every value is in (0, 1]; rows are told as counted from `first`.

    >>> check_propensity("propensity", [0.5, 1.0]).dtype
    dtype('float64')
    """
    try:
        out = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _no_numbers(name, np.asarray(array)) from error
    bad = ~((out > 0.0) & (out <= 1.0))
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InvalidInputError(
            describe(
                f"{name}[{_subscript(index, first)}]",
                float(out[index]),
                "must be in (0, 1]",
                "Log the probability with which the action was chosen.",
            )
        )
    return out


def _no_numbers(name: str, array: NDArray[np.generic], next_step: str = "") -> InvalidInputError:
    return InvalidInputError(describe(f"{name}.dtype", str(array.dtype), "must be numbers", next_step))


def _subscript(index: tuple[int, ...], first: int) -> str:
    return ", ".join(str(i) for i in (index[0] + first, *index[1:])) if index else ""
