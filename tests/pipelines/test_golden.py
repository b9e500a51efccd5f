"""The compiled pipelines are what their definitions say, compared whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compile import COMPILED, NAMES, compile_pipeline, main, normalised

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:kfp"),
    pytest.mark.slow,  # the SDK's import
]


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(normalised(path.read_text())))


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, tmp_path: Path) -> None:
    assert documents(compile_pipeline(name, tmp_path / "made.yaml")) == documents(COMPILED / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_image_differs_between_laptop_and_cluster(name: str, tmp_path: Path) -> None:
    """One image for all steps; an environment variable pins it when compiling, and changes nothing else."""
    pinned = "registry.example/homing@sha256:" + "0" * 64
    code = "import sys, pathlib, pipelines.compile as c; c.compile_pipeline(sys.argv[1], pathlib.Path(sys.argv[2]))"
    command = [sys.executable, "-c", code, name, str(tmp_path / "p.yaml")]
    subprocess.run(command, env={"HOMING_IMAGE": pinned, "PATH": ""}, check=True)
    [made], [golden] = documents(tmp_path / "p.yaml"), documents(COMPILED / f"{name}.yaml")
    images = {executor["container"].pop("image") for executor in made["deploymentSpec"]["executors"].values()}
    assert images == {pinned}
    assert len({executor["container"].pop("image") for executor in golden["deploymentSpec"]["executors"].values()}) == 1
    assert made == golden


@pytest.mark.parametrize("name", ("training", "retraining"))
def test_the_registrys_state_is_never_cached(name: str) -> None:
    [golden] = documents(COMPILED / f"{name}.yaml")
    tasks = golden["root"]["dag"]["tasks"]
    cached = {task: spec["cachingOptions"].get("enableCache", False) for task, spec in tasks.items()}
    assert cached == {"prepare": True, "train": True, "evaluate": False, "gate": True, "register": False}
    digested = [task for task, spec in tasks.items() if "inputs_digest" in spec["inputs"].get("parameters", {})]
    assert {"prepare", "train"} <= set(digested)


@pytest.mark.parametrize(("name", "task"), [("planning", "plan"), ("experiment", "experiment")])
def test_what_reads_a_folder_is_made_anew_each_time(name: str, task: str) -> None:
    """Candidates and units lie in a folder, which may hold others tomorrow."""
    [golden] = documents(COMPILED / f"{name}.yaml")
    assert "enableCache" not in golden["root"]["dag"]["tasks"][task]["cachingOptions"]


def test_check_names_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"]) == 0
    for name in NAMES:
        (tmp_path / f"{name}.yaml").write_text((COMPILED / f"{name}.yaml").read_text())
    (tmp_path / "training.yaml").write_text("pipelineInfo: {name: other}\n")
    monkeypatch.setattr("pipelines.compile.COMPILED", tmp_path)
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == (
        "pipelines/compiled/training.yaml differs from its definition. Run: python -m pipelines.compile\n"
    )
