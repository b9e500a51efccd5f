"""`compiled`: a function over scalars and arrays as machine code, by Numba; the same function runs as Python too."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
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

    What was kept is compiled anew when its module has changed, another one of its folder (if that is not this one), or
    `draws`.

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
    on_disk = _on_disk(function)
    dispatcher = numba.njit(nogil=True, cache=on_disk)(function)
    if on_disk:
        # Numba takes what it kept for good as long as the function's own file has not changed; what the function calls
        # is part of the machine code too.
        cache = dispatcher._cache._cache_file
        cache._source_stamp = (cache._source_stamp, _sources(Path(function.__code__.co_filename).parent))
    return cast(F, dispatcher)


def compiled_as(signature: str) -> Callable[[F], F]:
    """Compile a function for one signature, as it is defined.

    Without one, Numba compiles a function that others call with constants anew for every constant.

    Args:
        signature: Numba's, "float64(int64, int64)", say.

    Example:
        >>> @compiled_as("float64(int64)")
        ... def half(count):
        ...     return count / 2
        >>> half(3)
        1.5
    """

    def compile_now(function: F) -> F:
        return cast(F, numba.njit(signature, nogil=True, cache=_on_disk(function))(function))

    return compile_now


def as_python(function: F) -> F:
    """The Python function behind a compiled one; what it calls stays compiled."""
    return cast(F, getattr(function, "py_func", function))


@lru_cache
def _sources(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the modules from which functions of this folder call compiled functions."""
    room = Path(__file__).parent
    files = [room / "draws.py", *(sorted(folder.glob("*.py")) if folder != room else ())]
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def _on_disk(function: Callable[..., Any]) -> bool:
    """Whether the function has a file beside which its machine code can lie: those typed in by a person have none."""
    return not function.__code__.co_filename.startswith("<")
