"""`compiled`: a function over scalars and arrays as machine code, by Numba; the same function runs as Python too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from homing.errors import MissingDependencyError

try:
    import numba
except ImportError as error:  # pragma: no cover
    raise MissingDependencyError(
        "numba == not installed, must be there to run worlds. Install it: pip install 'homing[simulation]'."
    ) from error

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function when it is first called; kept on disk for the next process.

    Floating-point operations are not reordered, so that results are the same on every machine; the global interpreter
    lock is let go, so that threads run beside each other.

    Example:
        >>> @compiled
        ... def total(values):
        ...     out = 0.0
        ...     for value in values:
        ...         out += value
        ...     return out
        >>> import numpy as np
        >>> total(np.array([1.0, 2.0])), as_python(total)([1.0, 2.0])
        (3.0, 3.0)
    """
    return cast(F, numba.njit(nogil=True, cache=_on_disk(function))(function))


def as_python(function: F) -> F:
    """The Python function behind a compiled one; what it calls stays compiled."""
    return cast(F, getattr(function, "py_func", function))


def _on_disk(function: Callable[..., Any]) -> bool:
    """Whether the function has a file beside which its machine code can lie: those typed in by a person have none."""
    return not function.__code__.co_filename.startswith("<")
