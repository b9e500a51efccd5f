"""The command line's words become one run: names, paths, texts, and mistakes in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from homing import datasets
from pipelines.digests import code_digest, data_digest
from pipelines.run import main, parser
from pipelines.settings import Settings, settle

LOCAL = ["--registry", "folder:registry"]


def settled(*words: str) -> Settings:
    return settle(parser().parse_args([*LOCAL, *words]))


def test_a_data_set_brings_its_own_objectives_rules_and_weights() -> None:
    arguments = settled("--dataset", "hillstrom", "--data", "here").arguments
    assert yaml.safe_load(arguments["objectives"])["objectives"].keys() == {"visit", "conversion", "spend"}
    assert "superiority" in arguments["rules"]
    assert arguments["weights"] == datasets.default_weights("hillstrom")
    assert arguments["data"] == str(Path.cwd() / "here")
    assert arguments["registry"] == f"folder:{Path.cwd() / 'registry'}"


def test_each_data_set_has_a_champion_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("version: 1\nobjectives:\n  visit: {kinds: [session], window_hours: 24, aggregate: any}\n")
    (tmp_path / "rules.yaml").write_text("objectives: {visit: {rule: superiority}}\n")
    log = ("--log", "d", "--objectives", str(own), "--rules", str(tmp_path / "rules.yaml"))
    words = [(), ("--dataset", "hillstrom"), ("--retrain", "--dataset", "hillstrom", "--log", "d"), log]
    assert [settled(*item).arguments["name"] for item in words] == [
        "simulated-messaging", "hillstrom", "hillstrom", "homing"
    ]  # fmt: skip
    assert settled("--dataset", "hillstrom", "--name", "visits").arguments["name"] == "visits"


def test_a_trigger_names_its_run() -> None:
    words = ("--retrain", "--dataset", "hillstrom", "--log", "logs", "--trigger")
    first, again, other = (settled(*words, trigger) for trigger in ("Drift: 2026-11/23", "Drift: 2026-11/23", "other"))
    assert first.run_name == again.run_name != other.run_name
    assert first.run_name.startswith("retraining-drift-2026-11-23-")
    assert first.arguments["trigger"] == "Drift: 2026-11/23"
    assert "dataset" not in first.arguments


def test_a_run_on_a_server_is_named_by_its_parameters() -> None:
    words = ("--host", "http://h", "--registry", "mlflow+http://mlflow:5000", "--data", "relative/in/the/pod")
    one, same, other = settled(*words), settled(*words), settled(*words, "--seed", "1")
    assert one.run_name == same.run_name != other.run_name
    assert one.arguments["data"] == "relative/in/the/pod"
    # Data that cannot be read here must not be taken from the cache of another run.
    assert one.arguments["inputs_digest"] != other.arguments["inputs_digest"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--retrain"], "--log == [], must name at least one folder in format 1. Pass --log DIR."),
        (["--trigger", "x"], "--trigger == 'x', is for --pipeline retraining."),
        (["--log", "d"], "--objectives == None, is needed for a log of your own. Or pass --dataset NAME"),
        (["--dataset", "hilstrom"], "Did you mean 'hillstrom'?"),
        (["--run-name", "../up"], "--run-name == '../up', must be lower-case letters"),
        (["--objectives", "none.yaml"], "--objectives == 'none.yaml', must be a readable text file"),
        (["--host", "http://h", "--registry", "mlflow+sqlite:///x.db"], "must be reachable from the cluster"),
        (["--learner", "linear,doubly-robst"], "--learner == 'doubly-robst', must be one of '"),
        (["--learner", "linear,linear"], "learner == ['linear', 'linear'], must be distinct names"),
        (["--learner", "linear,neural", "--params", '{"epsilon": 0}'], "learner of params == 'epsilon', must be"),
        (["--registry", "folders:x"], "registry == 'folders:x', must be 'folder:PATH'"),
        (["--weights", '{"clicks": 1}'], "objective of --weights == 'clicks', must be one of 'click', 'conversion', "),
        (["--seed", "-1"], "--seed == -1, must be at least 0."),
        (
            ["--host", "http://h", "--registry", "mlflow+http://m", "--token-file", "none"],
            "--token-file == 'none', must be a readable file with a token.",
        ),
    ],
    ids=["retrain without log", "trigger", "no objectives", "data set", "run name", "file", "sqlite on a cluster",
         "learner", "learner twice", "settings of several", "registry", "weights", "seed", "token"],
)  # fmt: skip
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LOCAL, *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("homing: ") and message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--rules", "version: 1\nobjective: {}\n", "Did you mean 'objectives'?"),
        (
            "--rules",
            "objectives: {clik: {rule: superiority}}",
            "objective of --rules == 'clik', must be one of 'click'",
        ),
        ("--rules", "objectives: [", "must be YAML (while parsing a flow node expected the node content"),
        ("--objectives", "version: 1\nobjectives:\n  click: {kind: [clicked]}\n", "Did you mean 'kinds'?"),
        ("--objectives", "objectives: {", "must be YAML (while parsing a flow node"),
    ],
    ids=["unknown key of rules", "unknown objective", "no YAML", "unknown key of objectives", "objectives no YAML"],
)
def test_mistakes_in_files_show_before_anything_runs(
    option: str, text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.yaml").write_text(text)
    assert main([*LOCAL, "--out", str(tmp_path / "runs"), option, str(tmp_path / "file.yaml")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_mapping_must_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--weights", "{click"])
    assert "--weights: value == '{click', must be a JSON object." in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_ends_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main([*LOCAL, "--out", str(tmp_path / "file"), "--run-name", "r"]) == 1
    assert f"homing: file == '{tmp_path / 'file' / 'r'}', must be usable (Not a directory)." in capsys.readouterr().err


def test_the_digests_see_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = data_digest([tmp_path])
    assert data_digest([tmp_path]) == first
    (tmp_path / "a").rename(tmp_path / "b")
    moved = data_digest([tmp_path])
    (tmp_path / "b").write_text("2")
    assert len({first, moved, data_digest([tmp_path])}) == 3
    assert code_digest() == code_digest()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious: Any = tmp_path / "mine" / "train" / "file"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    assert main([*LOCAL, "--out", str(tmp_path), "--run-name", "mine"]) == 1
    assert "must not hold what no run left there" in capsys.readouterr().err
    assert precious.read_text() == "precious"
