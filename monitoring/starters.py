"""Start the retraining pipeline as a process, once per run name, whoever asks and however often.

A run has a folder. Whoever runs it holds a lock on a file there for as long as the pipeline lives, and writes
`done.json` when it ends: a second start finds either and does nothing; after a crash it finds neither and starts.
With `--host` among the arguments the process submits to Kubeflow Pipelines, which looks for the run's name first.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from homing.errors import HomingError, InvalidInputError, describe
from monitoring.report import write_atomically

#: Stands for the run's name in a command.
RUN_NAME = "{run_name}"
#: What retraining runs; the arguments after `--` on the command line follow.
RETRAIN = (sys.executable, "-m", "pipelines.run", "--retrain", "--run-name", RUN_NAME, "--trigger", RUN_NAME)

#: Children of this process that have not been seen to end; asking them reaps those that have.
_background: list[subprocess.Popen[bytes]] = []


class StartError(HomingError, RuntimeError):
    """The retraining pipeline could not be started; the episode stays open and the next drift run tries again."""


class Starter(Protocol):
    """Starts a retraining run. Starting one that runs or has run already does nothing."""

    def start(self, run_name: str) -> str:
        """Start the run and return where to look."""
        ...


@dataclass(frozen=True)
class LocalStarter:
    """Runs a command in the background, one run folder per name.

    Attributes:
        command: what to run; `{run_name}` is replaced in each part.
        runs: folder of run folders; each holds `log.txt`, `lock`, `pid` and, at the end, `done.json`.
        wait: return only when the command has ended, and raise if it failed. For commands that submit elsewhere.

    Example:
        >>> import sys, tempfile
        >>> starter = LocalStarter((sys.executable, "-c", "print('{run_name}')"), Path(tempfile.mkdtemp()), wait=True)
        >>> Path(starter.start("retrain-1"), "log.txt").read_text()
        'retrain-1\\n'
    """

    command: Sequence[str]
    runs: Path
    wait: bool = False

    def start(self, run_name: str) -> str:
        """Start the run unless it runs or has run; return its folder.

        Raises:
            InvalidInputError: if the name is not made of lower-case letters, digits and dashes.
            StartError: with `wait`, if the command failed.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", run_name):
            raise InvalidInputError(describe("run_name", run_name, "must be lower-case letters, digits and dashes"))
        folder = (self.runs / run_name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                # With `wait`, another start's command is waited for too: it may fail, and is then tried again.
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if self.wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return str(folder)  # it is running
            if finished(folder) == 0 or (finished(folder) is not None and not self.wait):
                return str(folder)
            command = [part.replace(RUN_NAME, run_name) for part in self.command]
            runner = [sys.executable, "-m", "monitoring.starters", str(folder), str(lock), "--", *command]
            # The child inherits the lock: it is held until the pipeline ends, even if this process dies now.
            # Its output goes to the run's log: whoever reads ours must not have to wait for the pipeline's end.
            with (folder / "log.txt").open("ab") as log:
                child = subprocess.Popen(
                    runner,
                    pass_fds=(lock,),
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                )
        finally:
            os.close(lock)
        write_atomically(folder / "pid", f"{child.pid}\n")  # leads its own process group, for who wants to stop it
        _background[:] = [*(other for other in _background if other.poll() is None), child]
        if self.wait and child.wait() != 0:
            tail = "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-5:])
            raise StartError(
                describe("retrain command", child.returncode, "must exit with 0", f"See {folder}/log.txt: {tail}")
            )
        return str(folder)


def finished(folder: Path) -> int | None:
    """Exit code of a run that ended; None if it has not, or was killed."""
    path = folder / "done.json"
    return int(json.loads(path.read_text())["exit_code"]) if path.exists() else None


def _environment() -> dict[str, str]:
    """This process's environment, with this project importable from any folder."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command to its end, hold the lock meanwhile, then write `done.json`. Called by `LocalStarter`."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.starters", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=int, help="file descriptor that holds the run's lock")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(argv)
    with (args.folder / "log.txt").open("ab") as log:
        # The command holds the lock too: killing this process alone must not let a second one in.
        code = subprocess.run(
            args.command, stdout=log, stderr=subprocess.STDOUT, pass_fds=(args.lock,), check=False
        ).returncode
    write_atomically(args.folder / "done.json", json.dumps({"exit_code": code}) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
