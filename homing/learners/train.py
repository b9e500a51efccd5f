"""`train`: a training set becomes a policy, the baseline that it must beat, and a reward model to evaluate with."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homing.learners.learner import make, objective_weights
from homing.log import LoggedDataset, Objectives
from homing.policies import GreedyPolicy, save_policy

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """How training went.

    Attributes:
        learner: its name.
        params: as given.
        weights: importance of each objective that was used.
        seed: of all random draws.
        rows: decisions trained on.
        users: distinct users.
        seconds: wall time.
        fingerprint: of the training set.
        digests: of the artifacts `policy`, `baseline` and `reward_model`.
        calibration: of each objective's reward model, on users held out inside the training set.
        history: lists of numbers by name.
        settings: what the learner chose.
    """

    learner: str
    params: dict[str, Any]
    weights: dict[str, float]
    seed: int
    rows: int
    users: int
    seconds: float
    fingerprint: str
    digests: dict[str, str]
    calibration: dict[str, Any]
    history: dict[str, list[float]]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def train(
    train_dir: str | Path,
    out_dir: str | Path,
    *,
    learner: str = "doubly-robust",
    params: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = logger.info,
) -> TrainReport:
    """Fit a learner on a saved dataset and write what the next steps need.

    Writes `out_dir/policy`, `out_dir/baseline` (what the log did, context aside), `out_dir/reward_model` (for doubly
    robust evaluation: it has seen none of the evaluation users) and `out_dir/train.json`.

    Args:
        train_dir: a saved `LoggedDataset`. An `objectives.yaml` beside it tells which objectives are better when small.
        out_dir: folder to write to.
        learner: its name.
        params: the learner's settings.
        weights: importance of each objective by name; without it each counts alike, per standard deviation.
        seed: of all random draws.
        progress: told what goes on.
    """
    from homing.learners.reward_models import fit_linear

    begun = time.monotonic()
    train_dir, out_dir = Path(train_dir), Path(out_dir)
    dataset = LoggedDataset.load(train_dir)
    w = objective_weights(dataset, weights, _directions(train_dir.parent / "objectives.yaml"))
    named = dict(zip(dataset.objectives, (float(item) for item in w), strict=True))
    rng = np.random.default_rng(seed)
    progress(f"training {learner} on {dataset.n:,} decisions of {dataset.n_users:,} users")
    chosen = make(learner, **dict(params or {}))
    policy = chosen.fit(dataset, weights=named, rng=rng)
    progress("fitting the baseline")
    baseline = make("message-shares").fit(dataset, weights=named, rng=rng)
    progress("fitting the reward model for evaluation")
    model = fit_linear(dataset, w, rng=rng)
    fingerprint = dataset.fingerprint
    features = None if dataset.encoder is None else dataset.encoder.to_dict()
    provenance = {"learner": learner, "params": dict(params or {}), "seed": seed, "fingerprint": fingerprint}
    common: dict[str, Any] = {"features": features, "objectives": dataset.objectives}
    # A policy optimised for fixed weights carries them itself; a model weighs at run time.
    digests = {
        "policy": save_policy(policy, out_dir / "policy", name=learner, trained=provenance, **common),
        "baseline": save_policy(
            baseline,
            out_dir / "baseline",
            name="baseline",
            trained={**provenance, "learner": "message-shares"},
            **common,
        ),
        "reward_model": save_policy(
            GreedyPolicy(model.model),
            out_dir / "reward_model",
            name="reward-model",
            weights=w,
            trained={**provenance, "learner": "linear"},
            **common,
        ),
    }
    report = TrainReport(
        learner,
        dict(params or {}),
        named,
        seed,
        dataset.n,
        dataset.n_users,
        round(time.monotonic() - begun, 3),
        fingerprint,
        digests,
        model.report()["calibration"],
        {**model.history, **chosen.report.get("history", {})},
        {"reward model": model.settings, **chosen.report.get("settings", {})},
    )
    (out_dir / "train.json").write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False))
    return report


def _directions(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {name: item.direction for name, item in Objectives.from_yaml(path).objectives.items()}
