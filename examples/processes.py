"""Real processes of a story: started in groups of their own, waited for, and always ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from homing.errors import HomingError

ROOT = Path(__file__).resolve().parent.parent
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUNBUFFERED": "1",
}


# Runs the main function of a module once for each line of arguments, and answers with its exit code and its output.
_WORKER = """
import contextlib, importlib, io, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what else writes to stdout must not look like an answer
module, *_ = [importlib.import_module(name) for name in sys.argv[1:]]
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = module.main(json.loads(line))
    print(json.dumps([code, said.getvalue()]), file=answers, flush=True)
"""


class StepError(HomingError, RuntimeError):
    """A process of the story failed; the message holds the end of what it printed."""


def run(arguments: Sequence[str], log: Path, *, timeout: float = 600) -> str:
    """Run `python ARGUMENTS` to its end and return what it printed on stdout; stderr goes to `log`.

    Raises:
        StepError: if it fails or takes longer than `timeout` seconds; its whole group is killed then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=file, cwd=ROOT, env=environment({}),
            start_new_session=True,
        )  # fmt: skip
        try:
            out, _ = process.communicate(timeout=timeout)
        except BaseException:
            end(process)
            raise
        file.write(out)
    text = out.decode(errors="replace")
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise StepError(f"python {' '.join(arguments[:2])} exited with {process.returncode}; see {log}:\n{tail}")
    return text


class Worker:
    """A Python process that runs a command several times and pays for its imports once, while others work.

    Args:
        modules: the module whose `main` is the command, and others that are worth importing early.
        log: gets what the process writes to stderr.
    """

    def __init__(self, modules: Sequence[str], log: Path) -> None:
        self.name, self.log = modules[0], log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WORKER, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                cwd=ROOT, env=environment({}), start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        end(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def run(self, arguments: Sequence[str], *, timeout: float = 600) -> str:
        """Run the command to its end and return what it printed on stdout.

        Raises:
            StepError: if it fails or takes longer than `timeout` seconds; the process is killed then.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        late = threading.Timer(timeout, end_group, [process.pid])
        late.start()
        try:
            with suppress(BrokenPipeError):  # it died: there is no answer either
                process.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
                process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            late.cancel()
        code, text = json.loads(answer) if answer else ("nothing", "")
        if code != 0:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise StepError(f"python -m {self.name} answered {code}; see {self.log}:\n{tail}")
        return str(text)


@contextmanager
def service(arguments: Sequence[str], variables: Mapping[str, str], log: Path, ready: str) -> Iterator[None]:
    """Run `python ARGUMENTS` beside the story until the block ends; enter once `ready` (a URL) answers 200.

    Raises:
        StepError: if it ends or does not answer within five minutes, which only a very busy machine takes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=file, stderr=file, cwd=ROOT, env=environment(variables),
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise StepError(f"{' '.join(arguments)} does not answer at {ready}; see {log}:\n{tail}")
            time.sleep(0.3)
        yield
    finally:
        end(process, grace=60)  # Ray takes its time, and the service exports what is left


def end(process: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """Ask the process to stop, wait, then kill everything in its group."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    end_group(process.pid)
    process.wait()


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM into an exception while the block runs, so that its processes are ended too."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_group(pid: int) -> None:
    """Kill a process group by its leader, if it is still there."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, without HOMING_… settings of another service; telemetry off, project importable."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HOMING_") or name == "HOMING_DATA"
    }
    return {**kept, **QUIET, "PYTHONPATH": str(ROOT), **variables}


def free_port() -> int:
    """A port on the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False
