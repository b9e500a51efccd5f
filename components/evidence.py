"""What the register step tracks beside the policy, gathered from the outputs of the steps before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def collect(
    *,
    prepared: Path,
    trained: Path,
    evaluation: Path,
    decision: Path,
    pages: Mapping[str, Path],
    params: Mapping[str, object],
) -> dict[str, Any]:
    """The keyword arguments of `homing.registry.register_run` that carry evidence: policy, verdict, numbers, files.

    Of several challengers the gate's leader goes on: the promoted one, or the best of those that it could judge.

    Args:
        prepared: output of `prepare`.
        trained: output of `train`.
        evaluation: output of `evaluate`.
        decision: output of `gate`.
        pages: name → HTML page of the earlier steps.
        params: this run's own settings.
    """
    data, training = _read(prepared / "prepare.json"), _read(trained / "train.json")
    judged, gate = _read(evaluation / "metrics.json"), _read(decision / "gate.json")
    leader = gate["leader"]
    source = {"source": data["dataset"], "data_fingerprint": data["fingerprint"]}
    settings = {"learner": leader, "params": training["params"][leader]}
    settings |= {name: training[name] for name in ("weights", "seed")}
    settings |= {"challengers": ", ".join(judged["challengers"]), "estimator": judged["deciding"]["estimator"]}
    history = training["history"]
    return {
        "policy": trained / "policies" / leader,
        "verdict": gate["verdict"],
        "params": {**params, **source, **settings},
        "metrics": {**judged["metrics"][leader], "train.seconds": training["seconds"]},
        "history": {**history["reward model"], **history[leader]},
        "artifacts": {
            "prepare/prepare.json": prepared / "prepare.json",
            "prepare/objectives.yaml": prepared / "objectives.yaml",
            "train/train.json": trained / "train.json",
            "evaluation": evaluation,
            "gate": decision,
            **{f"reports/{name}": path for name, path in pages.items()},
            "reports/evaluation.html": evaluation / "evaluation.html",
            "reports/gate.html": decision / "gate.html",
        },
    }


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
