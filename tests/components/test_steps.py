"""The five steps as functions: what each leaves for the next, for people, and for a second attempt under one name."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from homing.log import OUTCOMES_SCHEMA, SILENCE, DecisionLog, decisions_schema, write_log
from homing.registry import open_registry

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:kfp"),
    pytest.mark.slow,  # kfp's and torch's imports
]
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
OBJECTIVES = "version: 1\nobjectives:\n  click: {kinds: [clicked], window_hours: 24, aggregate: any}\n"
RULES = "version: 1\nobjectives:\n  click: {rule: superiority}\nmin_ess: 10\nmin_users: 10\n"


@dataclass
class Artifact:
    """What kfp hands to a step: a path, and a place for numbers."""

    path: str
    metadata: dict[str, float] = field(default_factory=dict)

    def log_metric(self, name: str, value: float) -> None:
        self.metadata[name] = value


def write(folder: Path, users: int = 400) -> Path:
    """One message against silence, each with 1/2; half of those who get it click."""
    rng = np.random.default_rng(5)
    names = ("message_id", "campaign", "domain", "channel", "slot")
    menu = [{**dict.fromkeys(names, name), "value": 0.0, "expires_at": None} for name in (SILENCE, "push")]
    decisions: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for i in range(users):
        at, action = START + datetime.timedelta(minutes=i), int(rng.integers(2))
        decisions.append(
            {"decision_id": f"d{i}", "user_id": f"u{i}", "decided_at": at, "policy": "coin@1",
             "context": {"age": float(i % 50)}, "candidates": menu, "eligible": [True, True], "action": action,
             "propensity": 0.5, "propensities": None, "explored": True, "slice": "uniform"}
        )  # fmt: skip
        if action == 1 and rng.random() < 0.5:
            outcomes.append(
                {"outcome_id": f"o{i}", "decision_id": f"d{i}", "user_id": f"u{i}", "kind": "clicked",
                 "occurred_at": at + datetime.timedelta(hours=1), "value": 1.0}
            )  # fmt: skip
    schema = decisions_schema({"age": pa.float64()})
    tables = pa.Table.from_pylist(decisions, schema=schema), pa.Table.from_pylist(outcomes, schema=OUTCOMES_SCHEMA)
    write_log(DecisionLog.from_tables(*tables), folder)
    return folder


def attempt(folder: Path, registry: str, log: Path) -> tuple[dict[str, Artifact], str, str]:
    """All steps in order in this process; the artifacts by name, the verdict and the registered version."""
    from components.evaluate import evaluate
    from components.gate import gate
    from components.prepare import prepare
    from components.register import register
    from components.train import train

    folder.mkdir()
    names = ("prepared", "data", "rows", "trained", "training", "losses", "evaluation", "values", "estimates",
             "decision", "verdict", "registration")  # fmt: skip
    a = {name: Artifact(str(folder / name)) for name in names}
    prepare.python_func(
        a["prepared"], a["data"], a["rows"], dataset="", data="", options={}, logs=[str(log)], objectives=OBJECTIVES,
        evaluation_share=0.4, hold_back_share=0.0, seed=0, inputs_digest="x",
    )  # fmt: skip
    train.python_func(
        a["prepared"], a["trained"], a["training"], a["losses"], learners=["linear"],
        params={"linear": {"validation_share": 0.25}}, weights={}, seed=0, inputs_digest="x",
    )  # fmt: skip
    version = evaluate.python_func(
        a["prepared"], a["trained"], a["evaluation"], a["values"], a["estimates"], registry=registry, name="homing",
        rules=RULES, seed=0,
    )  # fmt: skip
    verdict = gate.python_func(a["evaluation"], a["decision"], a["verdict"], rules=RULES)
    made = register.python_func(
        a["prepared"], a["trained"], a["evaluation"], a["decision"], a["data"], a["training"], a["registration"],
        registry=registry, name="homing", run_name="one", compared_with=version, trigger="manual", inputs_digest="x",
    )  # fmt: skip
    return a, verdict, made


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("steps") / "log")


def test_a_second_attempt_makes_the_same_policy_and_registers_nothing(log: Path, tmp_path: Path) -> None:
    registry = f"folder:{tmp_path / 'registry'}"
    first, verdict, version = attempt(tmp_path / "first", registry, log)
    second, _, again = attempt(tmp_path / "second", registry, log)
    assert (verdict, version, again) == ("promote", "2", "2")  # the baseline is version 1
    baseline, policy = open_registry(registry).versions()
    assert (baseline.aliases, policy.aliases[0]) == ((), "champion")
    digests = [json.loads((Path(a["trained"].path) / "train.json").read_text())["digests"] for a in (first, second)]
    assert digests[0] == digests[1]
    for name in ("data", "training", "values", "verdict"):
        assert Path(first[name].path).read_text().lower().startswith("<!doctype html>"), name
    # 400 decisions, and what was read is what became of it.
    rows = first["rows"].metadata
    assert rows["read.decisions"] == 400 == rows["rows.train"] + rows["rows.evaluation"]
    assert first["losses"].metadata["rows"] == rows["rows.train"]
    # Sending always earns 1/2, the log 1/4; 0.15 is above four standard errors with some 160 evaluation users.
    estimates = first["estimates"].metadata
    assert estimates["linear.challenger.click.dr.value"] == pytest.approx(0.5, abs=0.2)
    assert estimates["linear.logged.click.value"] == pytest.approx(0.25, abs=0.15)
