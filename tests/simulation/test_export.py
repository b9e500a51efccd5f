"""The exported data set: the same bytes every time, a log that can be learned from, a truth that is true."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from homing.cli import main
from homing.errors import InvalidInputError, UnknownNameError
from homing.log import Objectives, build_dataset, read_log, validate
from homing.policies import SilencePolicy, UniformPolicy, save_policy
from homing.simulation import (
    Delayed,
    HighestValueRule,
    Noisy,
    export_world,
    make_world,
    score_policies,
    simulate,
)
from homing.simulation.baselines import baselines

COMMAND = ["world", "export", "linkedin", "--days", "2", "--users", "120", "--horizon-days", "2", "--truth-users", "90"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "one"
    assert main([*COMMAND, "--out", str(folder)]) == 0
    return folder


def test_same_command_same_bytes(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "two"
    assert main([*COMMAND, "--out", str(again)]) == 0
    shown = capsys.readouterr().out
    manifest = (exported / "manifest.sha256").read_bytes()
    assert (again / "manifest.sha256").read_bytes() == manifest
    assert hashlib.sha256(manifest).hexdigest() in shown
    done = subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=again, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    named = {line.split("  ")[1] for line in manifest.decode().splitlines()}
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert files == named | {"manifest.sha256"}
    other = tmp_path / "three"
    assert main([*COMMAND, "--seed", "1", "--out", str(other)]) == 0
    assert (other / "manifest.sha256").read_bytes() != manifest


def test_log_can_be_learned_from(exported: Path) -> None:
    log = read_log(exported / "log")
    assert validate(log).ok
    data = build_dataset(log, Objectives.from_yaml(exported / "objectives.yaml"))
    assert data.objectives == ("visits", "sends")
    assert data.n == 120 * 2 * 6
    assert set(log.decisions()["slice"].to_pylist()) == {"policy", "uniform", "holdout"}
    assert set(log.decisions()["policy"].to_pylist()) == {"behaviour@1"}


def test_truth_is_what_simulating_gives(exported: Path) -> None:
    truth = json.loads((exported / "truth.json").read_text())
    world = make_world("linkedin")
    assert truth["parameters"]["candidates_per_day"] == world.parameters.candidates_per_day
    rows = {row["policy"]: row for row in truth["scores"]["policies"]}
    assert list(rows) == ["silence", "uniform", "highest-value", "behaviour"]
    options = {"horizon_days": 2, "n_users": 90, "seed": 1}
    runs = {name: simulate(world, policy, **options) for name, policy in baselines(world).items()}
    for name, run in runs.items():
        assert rows[name]["value"] == run.value().to_dict()
        assert rows[name]["values"]["sends"] == run.value("sends").to_dict()
        if name == "behaviour":
            assert rows[name]["difference"] is None
        else:
            assert rows[name]["difference"] == run.minus(runs["behaviour"]).to_dict()


def test_data_sheet_says_all(exported: Path) -> None:
    page = (exported / "README.md").read_text()
    world = make_world("linkedin")
    for feature in (*world.context_features, *world.candidate_features):
        assert f"`{feature.name}`" in page
    log = read_log(exported / "log")
    for word in ("CC0 1.0", f"{log.n_decisions:,} decisions", f"{log.n_outcomes:,} outcomes", "homing world export"):
        assert word in page
    assert (exported / "scores.md").read_text().strip() in page
    assert "$" not in page


def test_needs_a_fresh_folder(exported: Path) -> None:
    with pytest.raises(InvalidInputError, match="must be missing or empty"):
        export_world(make_world("linkedin"), exported)


def test_mistakes_come_before_the_work(small_world, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="world == 'small', must have log_objectives"):
        export_world(small_world, tmp_path)
    with pytest.raises(InvalidInputError, match="horizon_days == 0"):
        export_world(make_world("linkedin"), tmp_path, horizon_days=0)
    assert not list(tmp_path.iterdir())


def test_scores_are_paired_and_in_order(small_world) -> None:
    policies = {"silence": SilencePolicy(), "uniform": UniformPolicy(), "value": HighestValueRule()}
    scores = score_policies(small_world, policies, horizon_days=2, n_users=200, reference="uniform")
    assert [row.policy for row in scores.rows] == list(policies)
    assert scores["uniform"].difference is None
    assert np.isclose(scores["silence"].difference.value, -scores["uniform"].value.value)
    assert scores["silence"].sends_per_user == 0.0
    # The letter has the highest value signal, whatever it brings.
    assert scores["value"].values["cost"].value == 0.0
    text = scores.to_text().splitlines()
    assert text[0] == "small: per user over 2 days, 200 users, 95% intervals"
    assert len({len(line) for line in text[2:]}) == 1
    first = score_policies(small_world, policies, horizon_days=2, n_users=200)
    assert first.reference == "silence"
    with pytest.raises(UnknownNameError, match="Did you mean 'silence'"):
        scores["silense"]
    with pytest.raises(InvalidInputError, match=r"policies == .*must name at least one"):
        score_policies(small_world, {}, horizon_days=1)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "list"]) == 0
    assert "linkedin" in capsys.readouterr().out
    save_policy(UniformPolicy(), tmp_path, name="mine")
    options = ["--horizon-days", "2", "--users", "50"]
    call = ["world", "value", "linkedin", "--policy", str(tmp_path), "--policy", "uniform", *options]
    assert main([*call, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["policies"]
    assert rows[0]["value"] == rows[1]["value"]
    assert rows[1]["difference"]["value"] == 0.0
    assert main(["world", "value", "linkedin", *options]) == 0
    assert "minus behaviour" in capsys.readouterr().out
    assert main(["world", "value", "linkedin", "--policy", "unifrom"]) == 2
    assert "Did you mean 'uniform'? Or name the folder" in capsys.readouterr().err
    assert main(["world", "value", "linkdin"]) == 2
    assert "Did you mean 'linkedin'?" in capsys.readouterr().err


def test_a_wrapped_world_is_exported_as_what_it_is(tmp_path: Path) -> None:
    """With the parameters of the world inside, and what is wrapped around it."""
    world = make_world("linkedin")
    small = {"days": 1, "n_users": 20, "horizon_days": 1, "truth_users": 20}
    export = export_world(Noisy(Delayed(world, {"session": 6.0}), value=0.3), tmp_path / "hard", **small)
    truth = json.loads((export.folder / "truth.json").read_text())
    assert truth["parameters"]["visit_logit"] == world.parameters.visit_logit
    assert truth["wrappers"] == ["Noisy", "Delayed"]
    page = (export.folder / "README.md").read_text()
    assert page.index("Every four hours, send each user") < page.index("**Seen through `Noisy`.** Features and value")
    assert "**Seen through `Delayed`.**" in page
