"""A story's processes: answers, failures with the end of the log, and nothing left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from examples.processes import StepError, Worker

# It says what it gets, prints where only the log should see it, and fails or sleeps when asked to.
COMMAND = """
import os, sys, time
os.write(1, b"noise\\n")
def main(argv):
    if argv == ["sleep"]:
        time.sleep(60)
    if argv == ["raise"]:
        raise RuntimeError("a bug")
    print(os.getpid(), *argv)
    return int(argv == ["fail"])
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    (tmp_path / "command.py").write_text(COMMAND)
    monkeypatch.setattr("examples.processes.environment", lambda _: {**os.environ, "PYTHONPATH": str(tmp_path)})
    return Worker(["command", "json"], tmp_path / "logs" / "worker.log")


def test_a_worker_runs_its_command_again_in_the_same_process(worker: Worker) -> None:
    with worker:
        first, second = worker.run(["a", "b c"]), worker.run([])
    assert first.split(" ", 1)[1] == "a b c\n"
    assert first.split()[0] == second.split()[0]
    with pytest.raises(ProcessLookupError):
        os.kill(int(second), 0)


@pytest.mark.parametrize(
    ("word", "message"), [("fail", "command answered 1; see "), ("raise", "RuntimeError: a bug")], ids=["code", "bug"]
)
def test_a_worker_that_fails_shows_the_end_of_its_log(worker: Worker, word: str, message: str) -> None:
    with worker, pytest.raises(StepError, match=message):
        worker.run([word])


def test_a_worker_that_takes_too_long_is_killed(worker: Worker) -> None:
    started = time.monotonic()
    with worker, pytest.raises(StepError, match="command answered nothing"):
        worker.run(["sleep"], timeout=1.0)
    assert time.monotonic() - started < 30
