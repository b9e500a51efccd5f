"""`compiled`: a function over arrays as machine code, by Numba, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from homing.errors import missing_dependency

try:
    import numba
except ImportError as error:  # pragma: no cover
    raise missing_dependency("numba", "planning") from error


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called with arrays of some types.

    Floating-point operations are not reordered, so that results are the same on every machine; the interpreter lock is
    let go, so that threads run beside each other. What a function calls lies in its own module: Numba compiles anew
    when that file has changed.
    """
    return cast("Callable[..., Any]", numba.njit(nogil=True, cache=True, error_model="numpy")(function))
