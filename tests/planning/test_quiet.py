"""What C code prints: HiGHS's lines are dropped, all else comes through."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from homing.planning.quiet import quiet

LINE = b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();"


def test_only_the_solvers_lines_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    libc.puts(b"before")
    with quiet():
        libc.puts(LINE)
        libc.puts(b"a line of another library")
        libc.puts(LINE)
        libc.fflush(None)
        os.write(1, b"HighsMip is not how it begins")
    libc.puts(b", after")
    libc.fflush(None)
    assert capfd.readouterr().out == "before\na line of another library\nHighsMip is not how it begins, after\n"


def test_output_is_restored_after_an_error_and_between_threads(capfd: pytest.CaptureFixture[str]) -> None:
    def one(i: int) -> None:
        with quiet():
            os.write(1, LINE + f"\n{i}\n".encode())
            if i % 2:
                raise ValueError(i)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(one, i) for i in range(40)]
        raised = [future.exception() is not None for future in futures]
    os.write(1, b"end")
    assert raised == [i % 2 == 1 for i in range(40)]
    *lines, end = capfd.readouterr().out.split("\n")
    assert sorted(map(int, lines)) == list(range(40)) and end == "end"


def test_a_process_without_standard_output_works() -> None:
    code = "import os; from homing.planning.quiet import quiet; os.close(1)\nwith quiet(): os.write(2, b'worked')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stderr == b"worked"
