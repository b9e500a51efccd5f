"""Drift runs over real logs: quiet when nothing changed, loud when something did, never broken by odd data."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from homing.log import DecisionLog, FeatureEncoder, Objectives, write_log
from homing.policies import GreedyPolicy, LinearRewardModel, UniformPolicy, load_policy, save_policy
from monitoring import drift
from monitoring.compare import Comparison, compare
from monitoring.drift import main, run_drift
from monitoring.report import DriftReport
from monitoring.rules import DriftRules
from monitoring.scoring import score
from monitoring.windows import read_window
from pipelines.run import parser as pipeline_arguments

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVES = {"version": 1, "objectives": {"click": {"kinds": ["clicked"], "window_hours": 24, "aggregate": "any"}}}
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def objectives() -> Objectives:
    return Objectives.from_dict(OBJECTIVES)


def compared(
    reference: DecisionLog, current: DecisionLog, rules: DriftRules | None = None, **options: Any
) -> Comparison:
    rules, rng = rules or DriftRules(), np.random.default_rng(0)
    goals = options.pop("objectives", Objectives.from_dict(OBJECTIVES))
    windows = [read_window(log, maximum_rows=rules.maximum_rows, rng=rng) for log in (reference, current)]
    scores = [score(window, goals, **options) for window in windows]
    return compare(windows[0], windows[1], (scores[0], scores[1]), rules)


def status(comparison: Comparison) -> dict[str, str]:
    return {column.name: column.status for column in comparison.columns}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "users"), [(300, None), (600, 60)], ids=["a-row-a-user", "ten-rows-a-user"])
def test_windows_of_one_population_rarely_alert(make_log: Callable, n: int, users: int | None) -> None:
    rng = np.random.default_rng(7)
    runs, rules, alerts = 60, DriftRules(significance=0.05), 0
    for _ in range(runs):
        reference, current = make_log(rng, 2 * n, users=users and 2 * users), make_log(rng, n, users=users, day=5)
        alerts += compared(reference, current, rules).alert
    # At the rules' 1 % a test would need thousands of runs. At 5 % at most 3 alerts are expected; with 9 or more the
    # rate is above 5 % at a significance of 0.3 % (binomial tail of 60 runs).
    assert alerts <= 8


SHIFTS = {
    "context": ({"age": 47.0}, {"context.age"}),
    "new message": ({"new_share": 0.5}, {"candidate.message_id"}),
    "value signal": ({"value": 1.6}, {"candidate.value"}),
    "consents": ({"consent": 0.6}, {"eligible.share", "propensity"}),
    "rewards": ({"rate": 0.6}, {"reward.click"}),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_a_true_shift_is_found(make_log: Callable, name: str) -> None:
    change, expected = SHIFTS[name]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        comparison = compared(make_log(rng, 1500), make_log(rng, 800, day=5, **change))
        drifted = {column.name for column in comparison.columns if column.alerts}
        assert comparison.alert and expected <= drifted and "context.plan" not in drifted, seed


def test_what_another_policy_changes_by_itself_is_no_alert(make_log: Callable, rng: np.random.Generator) -> None:
    comparison = compared(make_log(rng, 1000), make_log(rng, 800, day=5, rate=0.8, policy="homing@2"))
    by_name = {column.name: column for column in comparison.columns}
    assert by_name["reward.click"].status == "drift" and not by_name["reward.click"].alerts
    assert by_name["reward.click"].detail.endswith("(another policy)")
    assert not comparison.alert


def without(log: DecisionLog, feature: str) -> DecisionLog:
    table = log.decisions()
    context = table["context"].combine_chunks()
    kept = [field.name for field in context.type if field.name != feature]
    struct = pa.StructArray.from_arrays([context.field(name) for name in kept], kept)
    return DecisionLog.from_tables(
        table.set_column(table.schema.get_field_index("context"), "context", struct), log.outcomes()
    )


def blanked(log: DecisionLog, feature: str) -> DecisionLog:
    rows = log.decisions().to_pylist()
    for row in rows:
        row["context"][feature] = None
    return DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=log.schema), log.outcomes())


def test_missing_and_empty_columns_are_alerts_not_crashes(make_log: Callable, rng: np.random.Generator) -> None:
    reference, current = make_log(rng, 600), make_log(rng, 400, day=5)
    gone = compared(reference, without(current, "age"))
    assert status(gone)["context.age"] == "missing" and gone.alert
    assert gone.reasons[0] == "context.age: not in the current window, but in the reference one."
    empty = compared(reference, blanked(current, "plan"))
    assert status(empty)["context.plan"] == "empty" and empty.alert
    both = compared(blanked(reference, "plan"), blanked(current, "plan"))
    assert status(both)["context.plan"] == "unjudged" and not both.alert


def test_few_rows_or_users_are_not_judged(make_log: Callable, rng: np.random.Generator) -> None:
    few = compared(make_log(rng, 600), make_log(rng, 50, day=5, age=90))
    assert set(status(few).values()) == {"unjudged"} and not few.alert
    assert few.reasons[0] == (
        "Not judged: the current window holds 50 decisions of 50 users; the rules ask for 200 of 20."
    )
    one = compared(make_log(rng, 600), make_log(rng, 400, users=5, day=5, age=90))
    assert not one.alert and "of 5 users" in one.reasons[0]


def test_rules_ignore_and_count_columns(make_log: Callable, rng: np.random.Generator) -> None:
    reference, current = make_log(rng, 1000), make_log(rng, 600, day=5, age=55)
    assert "context.age" not in status(compared(reference, current, DriftRules(ignore=("context.age",))))
    patient = compared(reference, current, DriftRules(minimum_drifted_columns=5))
    assert not patient.alert and "the rules alert from 5 columns" in patient.reasons[-1]
    deaf = compared(reference, current, DriftRules(column_psi={"context.age": 50.0}))
    assert status(deaf)["context.age"] == "ok"
    told = compared(reference, current, DriftRules(groups={"context": "report"}))
    assert status(told)["context.age"] == "drift" and not told.alert


def artifacts(folder: Path, log: DecisionLog, rate: float) -> tuple[Any, Any]:
    """A uniform policy, and a reward model that knows the truth: rate * (0.5 + age / 80), 0 for silence."""
    encoder = FeatureEncoder.fit(log)
    d, c = len(encoder.context_names), len(encoder.candidate_names)
    age, silent = encoder.context_names.index("age"), encoder.column("is_silence")
    # How the encoder scales age, from two points: probability = level + slope * x.
    x = encoder.encode_context([{"age": 40.0, "plan": "pro"}, {"age": 41.0, "plan": "pro"}])[:, age].astype(float)
    slope = rate / 80 / (x[1] - x[0])
    level = rate * (0.5 + 40 / 80) - slope * x[0]
    cross, candidate, context = np.zeros((1, c, d), "f4"), np.zeros((1, c), "f4"), np.zeros((1, d), "f4")
    context[0, age], cross[0, silent, age], candidate[0, silent] = slope, -slope, -level
    one, zero = np.ones(1), np.zeros(1)
    model = LinearRewardModel(cross, candidate, context, np.array([level], "f4"), ("identity",), one, zero, one)
    features = encoder.to_dict()
    save_policy(UniformPolicy(), folder / "policy", name="uniform", features=features, objectives=("click",))
    save_policy(GreedyPolicy(model), folder / "reward_model", name="model", features=features, objectives=("click",))
    return load_policy(folder / "policy"), load_policy(folder / "reward_model")


def test_calibration_and_weights(make_log: Callable, rng: np.random.Generator, tmp_path: Path) -> None:
    reference = make_log(rng, 3000)
    policy, model = artifacts(tmp_path, reference, rate=0.3)
    quiet = compared(reference, make_log(rng, 1500, day=5), policy=policy, reward_model=model)
    assert not quiet.alert and {"calibration.click", "weights.mean"} <= set(status(quiet))
    by_name = {column.name: column for column in quiet.columns}
    assert by_name["weights.mean"].detail == "champion's mean importance weight 1.000 ± 0.000, must be 1"
    # Rewards fall for everybody: the model is off although no feature moved.
    worse = compared(reference, make_log(rng, 1500, day=5, rate=0.1), policy=policy, reward_model=model)
    assert status(worse)["calibration.click"] == "drift" and worse.alert
    # Propensities logged at half of what they were: weights average 2.
    wrong = compared(reference, make_log(rng, 600, day=5, wrong_propensity=0.5), policy=policy, reward_model=model)
    assert {column.name for column in wrong.columns if column.alerts} >= {"weights.mean"}
    assert {column.name: column.score for column in wrong.columns}["weights.mean"] == pytest.approx(1.0)


def test_a_model_whose_feature_is_gone_is_a_note(make_log: Callable, rng: np.random.Generator, tmp_path: Path) -> None:
    reference = make_log(rng, 600)
    policy, model = artifacts(tmp_path, reference, rate=0.3)
    comparison = compared(reference, without(make_log(rng, 400, day=5), "age"), policy=policy, reward_model=model)
    assert status(comparison)["context.age"] == "missing" and comparison.alert


def test_an_open_outcome_window_is_no_reward(make_log: Callable, rng: np.random.Generator, tmp_path: Path) -> None:
    # One decision a minute from midnight on; the window is 24 hours, so that at 05:00 of the next day 300 are closed.
    log = make_log(rng, 800)
    policy, model = artifacts(tmp_path, log, rate=0.3)
    window = read_window(log, maximum_rows=1000, rng=rng)
    options = {"policy": policy, "reward_model": model}
    whole = score(window, Objectives.from_dict(OBJECTIVES), **options)
    until = datetime(2026, 1, 2, 5, tzinfo=UTC)
    recent = score(window, Objectives.from_dict(OBJECTIVES), until=until, **options)
    # The decision of 05:00 itself is closed at 05:00: intervals are half-open.
    assert np.array_equal(recent.reward["click"][:301], whole.reward["click"][:301])
    assert np.isnan(recent.reward["click"][301:]).all() and not np.isnan(whole.reward["click"]).any()
    # A weight needs no outcome: it is there for the newest decision too.
    assert np.array_equal(recent.weight, whole.weight) and not np.isnan(recent.weight).any()
    none = score(window, Objectives.from_dict(OBJECTIVES), until=datetime(2026, 1, 1, tzinfo=UTC), **options)
    assert np.isnan(none.reward["click"]).all() and none.notes == ()


PREPARED = {"dataset": "open-bandit"}


@pytest.mark.parametrize(
    ("told", "prepared", "dataset", "objectives"),
    [
        ([], PREPARED, "open-bandit", None),
        (["--dataset=hillstrom"], PREPARED, "hillstrom", None),
        (["--objectives", "o.yaml", "--rules=r.yaml"], {"dataset": None}, "", "o.yaml"),
        (["--objectives=o.yaml"], PREPARED, "open-bandit", "o.yaml"),  # that data set's promotion rules
    ],
    ids=["from-the-reference", "told", "own-objectives-and-rules", "own-objectives"],
)
def test_retraining_gets_what_it_needs(
    tmp_path: Path, told: list[str], prepared: dict, dataset: str, objectives: str | None
) -> None:
    (tmp_path / "prepare.json").write_text(json.dumps(prepared))
    words = drift._retrain(drift_arguments(tmp_path, ["--name", "push", "--", "--registry=folder:mine", *told]))
    settled = pipeline_arguments().parse_args(["--retrain", *words])
    assert settled.dataset == dataset and settled.objectives == (objectives and Path(objectives))
    assert (settled.log, settled.registry, settled.name) == (["recent"], "folder:mine", "push")  # ours does not win


def test_retraining_without_objectives_is_refused_before_the_run(tmp_path: Path, capsys: Any) -> None:
    argv = ["--reference", str(tmp_path), "--current", "recent", "--out", str(tmp_path), "--trigger", "local"]
    assert main(argv) == 1
    assert capsys.readouterr().err == (
        "error: retraining's arguments == [], must say by which objectives and promotion rules to retrain. "
        "Pass -- --objectives YAML --rules YAML, or -- --dataset NAME to take that data set's.\n"
    )
    assert main([*argv[:-1], "kfp", "--", "--dataset", "hillstrom"]) == 1
    assert "host == '', is needed to trigger on Kubeflow. Pass --host URL." in capsys.readouterr().err


def test_a_few_broken_rows_do_not_hide_the_rewards(make_log: Callable, rng: np.random.Generator) -> None:
    reference, current = make_log(rng, 600), make_log(rng, 400, day=5)
    rows = current.decisions().to_pylist()
    for row in rows[:8]:
        row["eligible"] = [True]
    broken = DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=current.schema), current.outcomes())
    comparison = compared(reference, broken)
    assert status(comparison)["reward.click"] == "ok" and not comparison.alert
    assert comparison.reasons[-1].startswith("In the current window, 8 of 400 sampled decisions")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--since", "yesterday"], "time == 'yesterday', must be an ISO time. Say 2026-01-31T08:00."),
        (["--last-days", "-1"], "days == '-1', must be a number in (0, 36600)."),
        (["--last-days", "x"], "days == 'x', must be a number in (0, 36600)."),
    ],
)
def test_wrong_times_are_named(tmp_path: Path, option: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        drift_arguments(tmp_path, option)
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    argv = ["--reference", str(tmp_path), "--current", str(tmp_path), "--out", str(tmp_path / "file" / "out")]
    assert main(argv) == 1
    assert f"folder == '{tmp_path}/file/out', cannot be made (Not a directory)." in capsys.readouterr().err


def drift_arguments(reference: Path, more: list[str]) -> argparse.Namespace:
    common = ["--reference", str(reference), "--current", "recent", "--out", "out", "--registry", "folder:ours"]
    return drift._parser().parse_args([*common, *more])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_log: Callable) -> tuple[Path, list[DriftReport]]:
    """Two runs into one workspace: a quiet one and a loud one."""
    folder, rng = tmp_path_factory.mktemp("drift"), np.random.default_rng(3)
    reference = make_log(rng, 1500)
    policy, model = artifacts(folder, reference, rate=0.3)
    current = [make_log(rng, 800, day=5), make_log(rng, 800, day=9, age=55, value=2.0)]
    reports = [
        run_drift(reference, log, out=folder / name, rules=DriftRules(), rng=rng, policy=policy, reward_model=model,
                  objectives=Objectives.from_dict(OBJECTIVES), workspace=folder / "evidently")
        for name, log in zip(("quiet", "loud"), current, strict=True)
    ]  # fmt: skip
    return folder, reports


@pytest.mark.slow
def test_a_run_writes_its_report_everywhere(runs: tuple[Path, list[DriftReport]]) -> None:
    folder, (quiet, loud) = runs
    assert (quiet.alert, loud.alert) == (False, True)
    assert {"context.age", "candidate.value"} <= set(loud.drifted)
    assert DriftReport.from_dict(json.loads((folder / "loud" / "drift.json").read_text())) == loud
    assert "homing_drift_alert 1.0" in (folder / "loud" / "drift.prom").read_text()
    page = (folder / "loud" / "drift.html").read_text()
    assert "ALERT" in page and "context.age: drifted" in page
    assert 'src="http' not in page and "u5-" not in page  # nothing fetched, no user id
    text = loud.to_text()
    assert "context.age" in text and "retrain on the recent log" in text


@pytest.mark.slow
def test_no_user_id_reaches_the_workspace(runs: tuple[Path, list[DriftReport]]) -> None:
    files = [path for path in (runs[0] / "evidently").rglob("*") if path.is_file()]
    # A UUID may hold "…d1-123456": what a hex digit stands before is no decision's id.
    ids = re.compile(rb"u[159]-\d+|(?<![0-9a-f])d[159]-\d{6}")
    assert files and not any(ids.search(path.read_bytes()) for path in files)


@pytest.mark.slow
def test_evidently_ui_shows_the_runs(runs: tuple[Path, list[DriftReport]], free_port: int) -> None:
    command = [str(Path(sys.executable).with_name("evidently")), "ui", "--workspace", str(runs[0] / "evidently"),
               "--host", "127.0.0.1", "--port", str(free_port)]  # fmt: skip
    url = f"http://127.0.0.1:{free_port}/api"
    environment = {**os.environ, "DO_NOT_TRACK": "true"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            deadline = time.monotonic() + 90
            while True:
                try:
                    [project] = fetch(f"{url}/projects")
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.5)
            assert project["name"] == "homing"
            found = fetch(f"{url}/projects/{project['id']}/snapshots")
            assert sorted(item["tags"] for item in found) == [["alert"], ["no alert"]]
            shown = fetch(f"{url}/projects/{project['id']}/{found[0]['id']}/data")  # what the page draws
            assert shown["widgets"]
        finally:
            process.terminate()
            process.wait(20)


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_command_line(make_log: Callable, rng: np.random.Generator, tmp_path: Path, capsys: Any) -> None:
    write_log(make_log(rng, 600), tmp_path / "prepared" / "log")
    write_log(make_log(rng, 40, day=5), tmp_path / "recent")
    (tmp_path / "prepared" / "objectives.yaml").write_text(json.dumps(OBJECTIVES))
    common = ["--current", str(tmp_path / "recent"), "--out", str(tmp_path / "out")]
    assert main(["--reference", str(tmp_path / "prepared"), *common]) == 0
    out = capsys.readouterr().out
    assert "Not judged: the current window holds 40 decisions" in out and "drift.html" in out
    assert main(["--reference", str(tmp_path / "nowhere"), *common]) == 1
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "r.yaml").write_text("psy: 1")
    assert main(["--reference", str(tmp_path / "prepared"), *common, "--rules", str(tmp_path / "r.yaml")]) == 1
    assert "Did you mean 'psi'?" in capsys.readouterr().err


def test_importing_monitoring_is_light() -> None:
    heavy = {"evidently", "pandas", "scipy", "kfp", "polars", "mlflow"}
    code = f"import sys, monitoring.drift, monitoring.trigger; print(*{heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
