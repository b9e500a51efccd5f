"""Checks of what worlds are made with."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import numpy as np

from homing.checks import check_count
from homing.errors import InvalidInputError, describe

P = TypeVar("P")


def parameters_of(kind: type[P], given: object, name: str = "parameters") -> P:
    """The parameters that were given, or the default ones for None.

    Raises:
        InvalidInputError: if they are of another kind.
    """
    if given is None:
        return kind()
    if not isinstance(given, kind):
        step = f"Name what differs from the defaults: {kind.__name__}(NAME=VALUE)."
        raise InvalidInputError(describe(name, given, f"must be {kind.__name__}", step))
    return given


def check_seed(seed: int) -> int:
    """Return a seed of 0 … 2⁶³ − 1.

    Raises:
        InvalidInputError: if it is none.
    """
    seed = check_count("seed", seed, least=0)
    if seed >= 2**63:
        raise InvalidInputError(describe("seed", seed, "must be < 2**63"))
    return seed


def check_number(name: str, value: Any) -> float:
    """Return a finite number.

    Raises:
        InvalidInputError: if it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise InvalidInputError(describe(name, value, "must be a finite number"))
    return float(value)


def check_numbers(parameters: Any, *, any_length: Collection[str] = ()) -> None:
    """Check that parameters are finite numbers, whole ones where the defaults are, and as many as the defaults.

    Args:
        parameters: an instance of a dataclass with defaults.
        any_length: tuples that may be longer or shorter.

    Raises:
        InvalidInputError: naming the first that is not.
    """
    for field in fields(parameters):
        value, default = getattr(parameters, field.name), field.default
        assert default is not MISSING
        several = isinstance(default, tuple)
        if several and not (
            isinstance(value, tuple | list | np.ndarray) and (len(value) == len(default) or field.name in any_length)
        ):
            raise InvalidInputError(describe(field.name, value, f"must be {len(default)} numbers"))
        whole = isinstance(default[0] if several else default, int)
        kinds: Any = int | np.integer if whole else int | float | np.number
        for number in value if several else (value,):
            if isinstance(number, bool) or not isinstance(number, kinds) or not math.isfinite(number):
                kind = "whole" if whole else "finite"
                bound = f"must be {kind} numbers" if several else f"must be a {kind} number"
                raise InvalidInputError(describe(field.name, value, bound))
