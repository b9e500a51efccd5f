"""What the evaluate step does: challengers and champion on one log, and the truth beside it of simulated data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRUTH = "truth.json"


def judge(*, prepared: Path, trained: Path, out: Path, champion: Path | None, rules: str, seed: int) -> dict[str, Any]:
    """`homing.ope.evaluate_artifacts` on the outputs of the steps before; what it returns.

    Args:
        prepared: output of `prepare`.
        trained: output of `train`.
        out: folder to write to; of simulated data it also gets `truth.json`.
        champion: policy artifact in production; the baseline stands in where there is none.
        rules: the promotion rules as YAML: what they decide on is shown first.
        seed: recorded with the metrics.
    """
    from homing.ope import evaluate_artifacts
    from homing.plain_yaml import load_yaml
    from homing.promotion import PromotionRules

    challengers = {folder.name: folder for folder in sorted((trained / "policies").iterdir())}
    done = evaluate_artifacts(
        prepared / "evaluation",
        out,
        challengers=challengers,
        champion=champion,
        baseline=trained / "baseline",
        reward_model=trained / "reward_model",
        deciding=PromotionRules.from_dict(load_yaml(rules)).deciding(len(challengers)),
        seed=seed,
    )
    dataset = _read(prepared / "prepare.json")["dataset"]
    if dataset:
        policies = {"champion": champion or trained / "baseline", **challengers}
        _tell_truth(dataset, policies, _read(trained / "train.json")["weights"], out)
    return done


def _tell_truth(dataset: str, policies: Mapping[str, Path], weights: Mapping[str, float], out: Path) -> None:
    """What policies are truly worth to users who live with them, beside the champion; nothing for real data."""
    from homing.datasets import simulated, true_values
    from homing.policies import load_policy

    where = simulated(dataset)
    if where is None:
        return
    loaded = {name: load_policy(folder) for name, folder in policies.items()}
    truth = true_values(where, loaded, reference="champion", weights=weights)
    (out / TRUTH).write_text(json.dumps(truth.to_dict(), indent=1), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
