"""The retraining trigger: exactly one start per drift episode, whatever dies and whoever else runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from homing.errors import InvalidInputError
from monitoring.starters import LocalStarter, StartError, finished
from monitoring.trigger import Episodes, trigger

ROOT = Path(__file__).resolve().parents[2]


class Counting:
    """A starter that counts; it may fail first."""

    def __init__(self, fail: int = 0) -> None:
        self.names: list[str] = []
        self.fail = fail

    def start(self, run_name: str) -> str:
        if self.fail:
            self.fail -= 1
            raise StartError("no room")
        self.names.append(run_name)
        return "here"


@pytest.fixture
def episodes(tmp_path: Path) -> Episodes:
    return Episodes(tmp_path / "state" / "episodes.db")


def test_an_episode_opens_once_stays_open_and_closes(episodes: Episodes, drift_report: Callable) -> None:
    starter = Counting()

    def run(*, alert: bool, first_at: str = "2026-01-01") -> str:
        return trigger(drift_report(alert=alert, first_at=first_at), episodes, starter, champion="7").action

    said = [
        run(alert=False),
        run(alert=True),
        run(alert=True, first_at="2026-01-02"),
        run(alert=False),
        run(alert=False),
    ]
    assert said == ["none", "started", "already started", "closed", "none"]
    assert run(alert=True, first_at="2026-02-01") == "started"  # a new episode, a new run
    assert len(starter.names) == len(set(starter.names)) == 2
    states = [(row["state"], row["attempts"]) for row in episodes.rows()]
    assert states == [("closed", 1), ("started", 1)]


def test_too_little_data_neither_opens_nor_closes(episodes: Episodes, drift_report: Callable) -> None:
    starter = Counting()
    trigger(drift_report(alert=True), episodes, starter, champion="7")
    assert trigger(drift_report(alert=False, judged=False), episodes, starter, champion="7").action == "not judged"
    assert episodes.rows()[0]["state"] == "started"


@pytest.mark.parametrize("other", [{"champion": "8"}, {"reference": "other"}], ids=["champion", "reference"])
def test_another_champion_or_reference_is_another_episode(
    episodes: Episodes, drift_report: Callable, other: dict
) -> None:
    starter = Counting()
    trigger(drift_report(alert=True), episodes, starter, champion="7")
    report = drift_report(alert=True, reference=other.get("reference", "ref"))
    assert trigger(report, episodes, starter, champion=other.get("champion", "7")).action == "started"
    assert [row["state"] for row in episodes.rows()].count("closed") == 1
    assert len(set(starter.names)) == 2


def test_a_failed_start_is_tried_again_under_the_same_name(episodes: Episodes, drift_report: Callable) -> None:
    starter = Counting(fail=2)
    for _ in range(2):
        with pytest.raises(StartError, match="no room"):
            trigger(drift_report(alert=True), episodes, starter, champion="7")
    name = episodes.rows()[0]["run_name"]
    assert trigger(drift_report(alert=True), episodes, starter, champion="7").run_name == name
    row = episodes.rows()[0]
    assert (row["state"], row["attempts"], row["last_error"]) == ("started", 3, "StartError: no room")
    assert starter.names == [name]


def test_a_late_claim_is_taken_over_and_fenced_off(tmp_path: Path) -> None:
    now = [1000.0]
    episodes = Episodes(tmp_path / "e.db", lease_seconds=60, clock=lambda: now[0])
    first = episodes.claim("scope", "w", ())
    now[0] += 59
    assert not episodes.claim("scope", "w", ()).mine
    now[0] += 2
    second = episodes.claim("scope", "w", ())
    assert second.mine and second.run_name == first.run_name
    episodes.started(first, "the slow one")  # has no effect: it lost the claim
    assert episodes.rows()[0]["state"] == "claimed"
    episodes.started(second, "the quick one")
    assert episodes.rows()[0]["where_to_look"] == "the quick one"


def test_a_claim_closed_meanwhile_stays_closed(episodes: Episodes) -> None:
    claim = episodes.claim("scope", "w", ())
    episodes.close("scope", "clean")
    episodes.started(claim, "late")
    assert episodes.rows()[0]["state"] == "closed"


def test_a_record_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "episodes.db").write_text("no database, but long enough to be taken for one " * 20)
    with pytest.raises(StartError, match=r"episodes == '.*episodes.db', cannot be used \(file is not a database\)"):
        Episodes(tmp_path / "episodes.db")


# Real processes ------------------------------------------------------------------------------------------------------

#: A controller: alerts `attempts` times. `dies` kills it between claim and start ("before") or right after ("after").
CONTROLLER = """
    import os, signal, sys, time
    from pathlib import Path
    sys.path[:0] = [{root!r}, {tests!r}]
    from conftest import build_report
    from monitoring.starters import LocalStarter
    from monitoring.trigger import Episodes, trigger

    folder, attempts, dies = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    body = "import sys, time; time.sleep(0.2); open(sys.argv[1], 'a').write(sys.argv[2] + chr(10))"
    command = (sys.executable, "-c", body, str(folder / "runs.txt"), "{{run_name}}")
    inner = LocalStarter(command, folder / "runs")

    class Starter:
        def start(self, run_name):
            if dies == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            where = inner.start(run_name)
            if dies == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return where

    episodes = Episodes(folder / "episodes.db")
    for _ in range(attempts):
        print(trigger(build_report(alert=True), episodes, Starter(), champion="7").action, flush=True)
"""


@pytest.fixture
def controller(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    script = tmp_path / "controller.py"
    script.write_text(textwrap.dedent(CONTROLLER).format(root=str(ROOT), tests=str(Path(__file__).parent)))

    def start(attempts: int = 1, dies: str = "no") -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(tmp_path), str(attempts), dies]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def runs_of(folder: Path, *, wait: bool = True) -> list[str]:
    """Names that the retraining command wrote: one line each time it ran."""
    deadline = time.monotonic() + 30
    while (
        wait
        and time.monotonic() < deadline
        and not all(d.joinpath("done.json").exists() for d in folder.glob("runs/*"))
    ):
        time.sleep(0.05)
    path = folder / "runs.txt"
    return path.read_text().split() if path.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("repeat", range(3))
def test_two_controllers_at_once_start_one_run(tmp_path: Path, controller: Callable, repeat: int) -> None:
    both = [controller(attempts=6) for _ in range(2)]
    said = []
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        said += out.splitlines()
    assert said.count("started") == 1
    assert set(said) <= {"started", "already started", "claimed elsewhere"} and len(said) == 12
    assert len(runs_of(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_controller_killed_around_the_start_costs_no_run_and_no_second_one(
    tmp_path: Path, controller: Callable, dies: str
) -> None:
    first = controller(dies=dies)
    first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    assert Episodes(tmp_path / "episodes.db").rows()[0]["state"] == "claimed"
    second = controller(attempts=2)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert out.split("\n")[:2] == ["started", "already started"]  # it takes the dead one's claim over
    assert runs_of(tmp_path) == [Episodes(tmp_path / "episodes.db").rows()[0]["run_name"]]


def test_a_local_start_is_idempotent_while_running_and_after(tmp_path: Path) -> None:
    command = (
        sys.executable,
        "-c",
        f"import time; time.sleep(0.5); open({str(tmp_path / 'runs.txt')!r}, 'a').write('x ')",
    )
    starter = LocalStarter(command, tmp_path / "runs")
    folder = Path(starter.start("retrain-1"))
    assert starter.start("retrain-1") == str(folder) and finished(folder) is None
    assert runs_of(tmp_path) == ["x"]
    assert starter.start("retrain-1") == str(folder)
    time.sleep(0.2)
    assert runs_of(tmp_path) == ["x"] and json.loads((folder / "done.json").read_text()) == {"exit_code": 0}


def test_a_run_in_the_background_holds_nobody_up(tmp_path: Path) -> None:
    # A caller that reads the trigger's output to its end must not wait for the pipeline.
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
        "from monitoring.starters import LocalStarter\n"
        "command = (sys.executable, '-c', 'import time; time.sleep(8)')\n"
        f"LocalStarter(command, Path({str(tmp_path)!r})).start('retrain-1')"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    still_running = not (tmp_path / "retrain-1" / "done.json").exists()
    assert still_running and time.monotonic() - started < 8
    os.killpg(int((tmp_path / "retrain-1" / "pid").read_text()), signal.SIGKILL)


def test_a_killed_run_may_be_started_again(tmp_path: Path) -> None:
    command = (sys.executable, "-c", f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
               "time.sleep(60)")  # fmt: skip
    starter = LocalStarter(command, tmp_path / "runs")
    starter.start("retrain-1")
    pids = []
    for _ in range(2):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (tmp_path / "pid").exists():
            time.sleep(0.05)
        time.sleep(0.1)
        pid = int((tmp_path / "pid").read_text())
        (tmp_path / "pid").unlink()
        pids.append(pid)
        os.killpg(os.getpgid(pid), signal.SIGKILL)  # the run's own session: runner and command
        time.sleep(0.3)
        if len(pids) == 1:
            starter.start("retrain-1")
    assert pids[0] != pids[1]


def test_a_submission_that_fails_says_why(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; print('host == http://x, must answer.'); sys.exit(1)")
    with pytest.raises(StartError, match=r"retrain command == 1, must exit with 0. See .*log.txt: host == http://x"):
        LocalStarter(command, tmp_path, wait=True).start("retrain-1")
    with pytest.raises(StartError):  # it is tried again, not taken for done
        LocalStarter(command, tmp_path, wait=True).start("retrain-1")


def test_a_submission_that_another_start_began_is_waited_for_and_tried_again(tmp_path: Path) -> None:
    # The first start's submission fails after this one has begun to wait: it must not pass for done.
    attempts = tmp_path / "attempts"
    body = f"import sys, time; p = open({str(attempts)!r}, 'a'); p.write('x'); p.close(); time.sleep(0.3); sys.exit(1)"
    command = (sys.executable, "-c", body)
    LocalStarter(command, tmp_path, wait=False).start("retrain-1")
    with pytest.raises(StartError, match="must exit with 0"):
        LocalStarter(command, tmp_path, wait=True).start("retrain-1")
    assert attempts.read_text() == "xx"


@pytest.mark.parametrize("name", ["../up", "", "UPPER", "a" * 64, "a b"])
def test_run_names_are_safe(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="must be lower-case letters, digits and dashes"):
        LocalStarter(("true",), tmp_path).start(name)
