"""Run one side of a benchmark in a process of its own; tell its CPU time and memory.

A side is a script that imports this file, makes its inputs ready, and ends with `report(work)`. It may run in another
environment than Homing's: nothing but the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Where `make bench` installs the peers: their versions would hold back ours.
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
#: One thread on both sides: CPU time is then comparable, whatever each library's defaults.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Side:
    """What one side cost.

    Attributes:
        cpu_s: CPU seconds of each run, user and system.
        added_mib: the most memory that the runs held beyond what stood when they began (Linux; elsewhere 0).
        answer: what the work returned.
    """

    cpu_s: tuple[float, ...]
    added_mib: float
    answer: Any

    @property
    def best_cpu_s(self) -> float:
        """The fastest run: others differ from it by what else the machine did."""
        return min(self.cpu_s)


def run(module: str, *words: object, python: Path | str = sys.executable) -> Side:
    """Run a side (`benchmarks.ROOM.SIDE`) and read what it reported, which is the last line that it prints.

    Raises:
        SystemExit: if it fails; what it said is shown.
    """
    variables = os.environ | dict.fromkeys(THREADS, "1")
    command = [str(python), "-m", module, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=HERE.parent)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr.strip()}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Side(tuple(found["cpu_s"]), found["added_mib"], found["answer"])


def report(work: Callable[[], Any], *, repeats: int = 3) -> None:
    """Run the work several times and print what it cost, for `run`."""
    gc.collect()
    before = _reset_peak()
    times = []
    answer = None
    for _ in range(repeats):
        began = time.process_time()
        answer = work()
        times.append(time.process_time() - began)
    print(json.dumps({"cpu_s": times, "added_mib": max(_peak() - before, 0.0), "answer": answer}))


def _reset_peak() -> float:
    """Resident memory now, MiB, from which the kernel measures the peak anew."""
    # What a run before freed is given back first, or the runs that count would find it there. Without glibc it is not.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> float:
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _status(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def publish(name: str, text: str) -> None:
    """Print a result, and keep it as `benchmarks/NAME/result.md`."""
    (HERE / name / "result.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text, flush=True)
