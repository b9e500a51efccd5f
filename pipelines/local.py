"""Run a compiled pipeline on this machine: each step a process of its own, one line on the screen per step."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homing import errors

ROOT = Path(__file__).resolve().parent.parent
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([^']+)'")
_ENDED = re.compile(r"Task '([^']+)' finished with status (\w+)")


@dataclass(frozen=True)
class LocalRun:
    """A finished local run.

    Attributes:
        folder: holds one folder per step with the step's outputs.
        seconds: wall-clock time by step, in order.
        cpu_seconds: processor time by step; on a busy machine the fairer number.
    """

    folder: Path
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]

    def output(self, step: str, name: str) -> Path:
        """Path of one output artifact."""
        return self.folder / step / name

    def moved(self, folder: Path) -> LocalRun:
        """The same run with its steps' folders moved into `folder`, where a person finds them."""
        for step in list(self.folder.iterdir()):
            step.rename(folder / step.name)
        self.folder.rmdir()
        with contextlib.suppress(OSError):  # what else lies beside it stays
            self.folder.parent.rmdir()
        return LocalRun(folder, self.seconds, self.cpu_seconds)


class StepFailedError(errors.HomingError):
    """A step of a local run failed; the text is the child's own message where the mistake is the user's.

    Attributes:
        step: its name.
        log: the file with everything that the steps printed.
    """

    def __init__(self, step: str, text: str, log: Path) -> None:
        super().__init__(f"{text}\nEverything that was printed: {log}")
        self.step, self.log = step, log


def run_local(
    package: Path, arguments: Mapping[str, Any], folder: Path, *, log: Path, say: Callable[[str], None] = lambda _: None
) -> LocalRun:
    """Run a compiled pipeline in this environment.

    What kfp and the steps print (some fifty lines a step) goes to `log`; `say` gets the little that a person wants.

    Args:
        package: compiled pipeline.
        arguments: its parameters.
        folder: where outputs go; made if missing.
        log: file for everything that is printed.
        say: receives pieces of text, line ends included.

    Raises:
        StepFailedError: with the message of a step that failed.
    """
    from kfp import components, local

    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    watch = _Watch(log, say)
    # The SDK replaces the root logger's handlers and `print` while it runs; both write to sys.stdout.
    with _environment(), watch, contextlib.redirect_stdout(watch), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You may be attemping to run a task", category=RuntimeWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder))
        pipeline = components.load_component_from_file(str(package))
        try:
            pipeline(**arguments)
        except RuntimeError as error:
            if watch.failed is None:
                raise
            raise _failure(watch.failed, watch.lines, log) from error
    [made] = [p for p in folder.iterdir() if p.is_dir() and (p / next(iter(watch.seconds))).is_dir()]
    return LocalRun(made, watch.seconds, watch.cpu_seconds)


class _Watch(io.TextIOBase):
    """A stdout that keeps everything in a file and reports the steps' beginnings and ends."""

    def __init__(self, log: Path, say: Callable[[str], None]) -> None:
        self._file = log.open("a", encoding="utf-8")
        self._say = say
        self._rest = ""
        self._start, self._cpu = 0.0, 0.0
        self.lines: list[str] = []  # of the current step
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.failed: str | None = None

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._file.write(text)
        self._file.flush()
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(_COLOUR.sub("", line))
        return len(text)

    def _line(self, line: str) -> None:
        self.lines.append(line)
        if started := _STARTED.search(line):
            self._start, self._cpu, self.lines = time.perf_counter(), _childrens_cpu(), []
            self._say(f"● {started[1]:<9}")
        elif ended := _ENDED.search(line):
            took = time.perf_counter() - self._start
            self.seconds[ended[1]] = took
            self.cpu_seconds[ended[1]] = _childrens_cpu() - self._cpu
            done = ended[2] == "SUCCESS"
            self._say(f"… {took:5.1f} s\n" if done else f"… failed after {took:.1f} s\n")
            if not done:
                self.failed = ended[1]


def _childrens_cpu() -> float:
    """Processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Let the steps' processes import `homing` and `components` from this checkout, and share the processors."""
    path = os.environ.get("PYTHONPATH")
    wanted = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *([path] if path else [])]),
        "PYTHONUNBUFFERED": "1",
        # torch's threads sleep between operations instead of spinning: on a busy machine training takes a third.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _failure(step: str, lines: list[str], log: Path) -> StepFailedError:
    """From a step's output to what a person should read: their own mistake in a sentence, or our traceback's end."""
    body = [line.removeprefix("    ") for line in lines]
    starts = [i for i, line in enumerate(body) if line.startswith("Traceback (most recent call last)")]
    if not starts:
        tail = "\n".join(line for line in body[-15:] if line.strip())
        return StepFailedError(step, tail, log)
    trace = body[starts[-1] :]
    # Frames are indented; the exception's own lines are not.
    at = next((i for i, line in enumerate(trace[1:], 1) if line and not line.startswith(" ")), len(trace) - 1)
    message = list(trace[at:])
    for i, line in enumerate(message):
        if _ENDED.search(line) or not line.strip():
            message = message[:i]
            break
    kind, _, text = "\n".join(message).partition(": ")
    if _is_users(kind):
        return StepFailedError(step, text, log)
    shown = "\n".join(["Traceback (most recent call last):", *trace[max(1, at - 6) : at], *message])
    return StepFailedError(step, shown, log)


def _is_users(kind: str) -> bool:
    """Whether an exception's qualified name is one of ours, whose text is written for the user."""
    module, _, name = kind.strip().rpartition(".")
    if not module.startswith("homing") or " " in kind:
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, errors.HomingError)


def print_now(text: str) -> None:
    """Write to the real screen at once, also while stdout is redirected."""
    assert sys.__stdout__ is not None
    sys.__stdout__.write(text)
    sys.__stdout__.flush()
