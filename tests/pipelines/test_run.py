"""The whole loop on this machine, on a small log in format 1: train, register, retrain once per trigger, refuse."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema, write_log
from homing.ope import OPEReport
from homing.policies import load_policy
from homing.registry import open_registry

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
OBJECTIVES = """
version: 1
objectives:
  click: {kinds: [clicked], window_hours: 24, aggregate: any}
"""
RULES = """
version: 1
estimator: dr
objectives:
  click: {rule: superiority}
min_ess: 50
min_users: 50
"""


def candidate(name: str) -> dict[str, object]:
    return {"message_id": name, "campaign": name, "domain": name, "channel": name if name == "silence" else "push",
            "slot": name, "value": 0.0, "expires_at": None}  # fmt: skip


def make_log(path: Path, *, users: int, seed: int, propensity: float = 1 / 3) -> Path:
    """Silence, "a" and "b", each with 1/3; "a" is clicked by evening people (0.6), "b" by others (0.6), else 0.1."""
    rng = np.random.default_rng(seed)
    menu = [candidate(name) for name in ("silence", "a", "b")]
    decisions, outcomes = [], []
    for i in range(users):
        evening, action = bool(rng.random() < 0.5), int(rng.integers(3))
        at = START + datetime.timedelta(minutes=i)
        decisions.append(
            {"decision_id": f"{seed}-{i}", "user_id": f"u{seed}-{i}", "decided_at": at, "policy": "uniform@1",
             "context": {"evening": evening, "age": float(rng.normal(40, 10))}, "candidates": menu,
             "eligible": [True] * 3, "action": action, "propensity": propensity, "propensities": None,
             "explored": True, "slice": "uniform"}
        )  # fmt: skip
        chance = 0.0 if action == 0 else (0.6 if (action == 1) == evening else 0.1)
        if rng.random() < chance:
            outcomes.append(
                {"outcome_id": f"o{seed}-{i}", "decision_id": f"{seed}-{i}", "user_id": f"u{seed}-{i}",
                 "kind": "clicked", "occurred_at": at + datetime.timedelta(hours=1), "value": 1.0}
            )  # fmt: skip
    schema = decisions_schema({"evening": pa.bool_(), "age": pa.float64()})
    log = DecisionLog.from_tables(
        pa.Table.from_pylist(decisions, schema=schema), pa.Table.from_pylist(outcomes, schema=OUTCOMES_SCHEMA)
    )
    write_log(log, path)
    return path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As a person runs it, from another folder than the checkout."""
    command = [sys.executable, "-m", "pipelines.run", "--objectives", "objectives.yaml", "--rules", "rules.yaml",
               "--registry", "folder:registry", "--learner", "linear", *words]  # fmt: skip
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "objectives.yaml").write_text(OBJECTIVES)
    (folder / "rules.yaml").write_text(RULES)
    make_log(folder / "log", users=1500, seed=1)
    make_log(folder / "newer", users=1500, seed=2)
    return folder


@pytest.fixture(scope="module")
def refused(folder: Path) -> subprocess.CompletedProcess[str]:
    make_log(folder / "bad", users=50, seed=3, propensity=0.0)
    return run(folder, "--log", "bad", "--run-name", "first")


@pytest.fixture(scope="module")
def first(refused: subprocess.CompletedProcess[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs under the name of an attempt that failed, and clears what that left."""
    assert (folder / "runs" / "first" / "steps").is_dir()
    done = run(folder, "--log", "log", "--run-name", "first")
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def test_a_run_says_what_it_does_and_what_came_out(first: subprocess.CompletedProcess[str], folder: Path) -> None:
    out = first.stdout
    for step in ("prepare", "train", "evaluate", "gate", "register"):
        assert re.search(rf"(?m)^● {step} +… +\d+\.\d s$", out), step
    assert "1,500 decisions and " in out
    assert "PROMOTE" in out
    assert len(out.splitlines()) < 45, "the steps' own output belongs into the log"
    assert "make serve" in out
    log = (folder / "runs" / "first" / "run.log").read_text()
    assert "Executing task" in log


def test_the_values_are_right(first: subprocess.CompletedProcess[str], folder: Path) -> None:
    summary = json.loads((folder / "runs" / "first" / "summary.json").read_text())
    [click] = summary["values"]
    # What the log earns: silence 0, "a" and "b" each (0.6 + 0.1) / 2. Intervals of 95 % on 600 users: about ± 0.035.
    assert click["logged"]["lower"] - 0.03 < 2 / 3 * 0.35 < click["logged"]["upper"] + 0.03
    # The best policy earns 0.6; a linear one can tell the two groups apart.
    assert 0.4 < click["challenger"]["value"] < 0.7
    assert click["difference"]["lower"] > 0
    difference = click["challenger"]["value"] - click["champion"]["value"]
    assert click["difference"]["value"] == pytest.approx(difference, abs=1e-9)
    report = OPEReport.load(folder / "runs" / "first" / "evaluate" / "evaluation" / "challengers" / "linear")
    assert report.estimate("click", "dr").value == click["challenger"]["value"]
    data = summary["data"]
    assert data["read"]["decisions"] == 1500 == data["rows"]["train"] + data["rows"]["evaluation"]


def test_the_page_stands_alone(first: subprocess.CompletedProcess[str], folder: Path) -> None:
    text = (folder / "runs" / "first" / "report.html").read_text()
    assert text.count("<iframe") == 4 == text.count('sandbox="allow-same-origin"')
    assert not re.search(r"(?:src|href)=.https?://", text)


def test_the_champion_can_be_served(first: subprocess.CompletedProcess[str], folder: Path) -> None:
    registry = open_registry(f"folder:{folder}/registry")
    assert [item.aliases for item in registry.versions()] == [(), ("champion",)]
    policy = load_policy(registry.resolve("champion"))
    assert policy.features is not None
    assert policy.objectives == ("click",)


def test_retraining_with_two_learners_runs_once_per_trigger_and_meets_the_champion(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    words = ("--retrain", "--log", "log", "--log", "newer", "--trigger", "episode 7")
    words += ("--learner", "message-shares,linear")
    done = run(folder, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    [made] = (folder / "runs").glob("retraining-episode-7-*")
    summary = json.loads((made / "summary.json").read_text())
    assert summary["data"]["read"]["decisions"] == 3000
    assert summary["registration"]["version"] == "3"
    # Both are judged on one log, each at half of the error; what the log did is worse than the champion.
    assert set(summary["verdicts"]) == {"linear", "message-shares"}
    assert [item["level"] for item in summary["values"]] == pytest.approx([0.975])
    assert summary["leader"] == "linear" and summary["verdicts"]["message-shares"] == "hold"
    [click] = summary["values"]
    assert click["challengers"]["linear"]["difference"] == click["difference"]
    assert click["challengers"]["message-shares"]["difference"]["upper"] < 0
    assert "message-shares − champion" in done.stdout and "2 challengers share the error rate of one" in done.stdout
    policy = load_policy(open_registry(f"folder:{folder}/registry").resolve("3"))
    assert policy.name == "linear"
    assert "baseline" not in done.stdout.split("Values")[1].split("Verdict")[0], (
        "the registry's champion, not the baseline"
    )
    again = run(folder, *words)
    assert (again.returncode, again.stdout.split(":")[0]) == (0, f"Run {made.name} is done already")
    assert len(open_registry(f"folder:{folder}/registry").versions()) == 3


def test_a_log_that_breaks_the_format_ends_in_a_sentence(refused: subprocess.CompletedProcess[str]) -> None:
    assert refused.returncode == 1
    assert "homing: step prepare failed." in refused.stderr
    assert "propensity" in refused.stderr
    assert re.search(r"(?m)^Everything that was printed: .*first/run\.log$", refused.stderr)
    assert "Traceback" not in refused.stderr + refused.stdout
    assert "Look" not in refused.stdout


def test_an_empty_folder_ends_in_a_sentence(folder: Path) -> None:
    (folder / "empty").mkdir()
    done = run(folder, "--log", "empty", "--run-name", "empty")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "empty" in done.stderr
