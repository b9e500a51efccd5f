"""The experiment step as a function, and its compiled pipeline on this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from homing.errors import InvalidInputError
from homing.experiments import MDE, ExperimentPlan, Metric

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:kfp"),
    pytest.mark.slow,  # kfp's import
]


@dataclass
class Artifact:
    """What kfp hands to a step: a path, and a place for numbers."""

    path: str
    metadata: dict[str, float] = field(default_factory=dict)

    def log_metric(self, name: str, value: float) -> None:
        self.metadata[name] = value


def test_a_readout_leaves_the_verdict_for_the_pipeline_and_a_page_for_people(tmp_path: Path) -> None:
    from components.experiment import experiment
    from pipelines.compile import COMPILED
    from pipelines.local import run_local

    rng = np.random.default_rng(0)
    warm = rng.random(4000) < 0.5
    rows = {"user_id": np.arange(4000), "variant": np.where(warm, "warm", "control"),
            "orders": rng.poisson(np.where(warm, 1.2, 1.0))}  # fmt: skip
    pl.DataFrame(rows).write_parquet(tmp_path / "units.parquet")
    plan = ExperimentPlan(
        "greeting", [(Metric("orders", "mean", "orders"), MDE(rel=0.1))], variants={"control": 0.5, "warm": 0.5}
    )
    text, data = yaml.safe_dump(plan.to_dict()), str(tmp_path / "units.parquet")
    outputs = [Artifact(str(tmp_path / name)) for name in ("readout", "report", "metrics")]
    assert experiment.python_func(*outputs, text, data, "", False, "") == "ship"
    written = json.loads((tmp_path / "readout" / "experiment.json").read_text())
    assert (tmp_path / "readout" / "plan.yaml").read_text() == text
    assert written["decision"]["treatment"] == "warm" and written["plan"]["name"] == "greeting"
    assert "orders is superior" in (tmp_path / "report").read_text()
    found = outputs[2].metadata
    assert found["units.warm"] == warm.sum()
    assert (
        found["orders.warm.lower"]
        < rows["orders"][warm].mean() - rows["orders"][~warm].mean()
        < found["orders.warm.upper"]
    )
    done = run_local(COMPILED / "experiment.yaml", {"plan": text, "data": data}, tmp_path / "run", log=tmp_path / "log")
    assert json.loads((done.output("experiment", "readout") / "experiment.json").read_text()) == written


def test_the_step_reads_plans_and_days_as_the_command_line_does(tmp_path: Path) -> None:
    from components.experiment import experiment

    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(4), 500)
    rows = {"user_id": np.arange(2000), "variant": rng.choice(["control", "treatment"], 2000), "exposed_at": days,
            "orders": rng.poisson(1.0, 2000)}  # fmt: skip
    pl.DataFrame(rows).write_parquet(tmp_path / "units.parquet")
    outputs = [Artifact(str(tmp_path / name)) for name in ("readout", "report", "metrics")]
    text = yaml.safe_dump(ExperimentPlan("numbered", [Metric("orders", "mean", "orders")]).to_dict())
    data = str(tmp_path / "units.parquet")
    experiment.python_func(*outputs, text, data, "", False, "1")
    assert sum(outputs[2].metadata[f"units.{name}"] for name in ("control", "treatment")) == 1000
    with pytest.raises(InvalidInputError, match="the key 'alpha' is there twice"):
        experiment.python_func(*outputs, f"{text}\nalpha: 0.2\nalpha: 0.1\n", data, "", False, "1")
