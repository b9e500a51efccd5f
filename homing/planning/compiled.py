"""`compiled`: a function over arrays as machine code, by Numba, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from homing.errors import missing_dependency

try:
    import numba
except ImportError as error:  # pragma: no cover
    raise missing_dependency("numba", "planning") from error


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called with arrays of some types.

    Floating-point operations are not reordered, so that results are the same on every machine; the interpreter lock is
    let go, so that threads run beside each other. What was kept is compiled anew when a module of this folder has
    changed: what a function calls is part of its machine code.
    """
    dispatcher = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    cache = dispatcher._cache._cache_file
    cache._source_stamp = (cache._source_stamp, _sources())
    return cast("Callable[..., Any]", dispatcher)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A short function that is written into the compiled ones that call it: a call would count references to arrays."""
    return cast("Callable[..., Any]", numba.njit(inline="always", error_model="numpy")(function))


@lru_cache
def _sources() -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the modules here that hold compiled functions."""
    files = [Path(__file__).with_name(f"{name}.py") for name in _COMPILED]
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


_COMPILED = (
    "cells",
    "deviation",
    "layout",
    "nearest",
    "option_passes",
    "options",
    "repair",
    "rounding",
    "runs",
    "sampling",
    "scanning",
    "screening",
    "screening_sets",
    "sets",
    "smoothing",
    "swaps",
    "vertex",
)
