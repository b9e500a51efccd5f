"""What HiGHS prints whatever it is told is kept off standard output."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

#: How lines begin that it prints without being asked: when a solution found by a heuristic is repaired.
_SAID = b"HighsMipSolverData::"
# The descriptor is the whole process's.
_alone = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, standard output is collected; afterwards all but HiGHS's own lines are written out.

    It prints from C, past `sys.stdout`, so that the descriptor itself is turned aside for as long as it works. What
    other threads print meanwhile comes out a little later, and in order. Without a standard output nothing is done.

    References:
        HiGHS issue 2783: the line is printed whether or not output is switched off.

    Example:
        >>> with quiet():
        ...     written = os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\\n")
    """
    with _alone:
        try:
            real = os.dup(1)
        except OSError:
            yield
            return
        flush = ctypes.CDLL(None).fflush
        with TemporaryFile() as aside:
            flush(None)
            os.dup2(aside.fileno(), 1)
            try:
                yield
            finally:
                flush(None)
                os.dup2(real, 1)
                os.close(real)
                aside.seek(0)
                kept = b"".join(line for line in aside if not line.startswith(_SAID))
                while kept:
                    kept = kept[os.write(1, kept) :]
