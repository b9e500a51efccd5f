"""`train`: a training set becomes policies, the baseline that they must beat, and a reward model to evaluate with."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from homing.errors import InvalidInputError, describe, unknown_name
from homing.learners.learner import Learner, make, objective_weights
from homing.log import LoggedDataset, Objectives, PartedDataset
from homing.policies import GreedyPolicy, Policy, save_policy

logger = logging.getLogger(__name__)

#: Decisions × parameters that the reward model for evaluation is fitted on, at most: DR is right with any model, and
#: its variance hardly falls with more decisions, while the time of the fit grows with both.
REWARD_MODEL_SIZE = 120_000_000


@dataclass(frozen=True)
class TrainReport:
    """How training went.

    Attributes:
        learners: their names, in the order of training.
        params: as given, by learner.
        weights: importance of each objective that was used.
        seed: of all random draws.
        rows: decisions trained on.
        users: distinct users.
        seconds: wall time.
        fingerprint: of the training set.
        digests: of the artifacts `policies/LEARNER`, `baseline` and `reward_model`.
        calibration: of each objective's reward model, on users held out inside the training set.
        history: lists of numbers by name, of the reward model and of each learner.
        settings: what they chose.
        warnings: of each learner that has any, what is odd about the log: {learner: {name: sentence}}.
    """

    learners: tuple[str, ...]
    params: dict[str, dict[str, Any]]
    weights: dict[str, float]
    seed: int
    rows: int
    users: int
    seconds: float
    fingerprint: str
    digests: dict[str, str]
    calibration: dict[str, Any]
    history: dict[str, dict[str, list[float]]]
    settings: dict[str, Any]
    warnings: dict[str, dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "learners": list(self.learners)}


def train(
    train_dir: str | Path,
    out_dir: str | Path,
    *,
    learner: str | Sequence[str] = "doubly-robust",
    params: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = logger.info,
) -> TrainReport:
    """Fit one learner or several on a saved dataset and write what the next steps need.

    Writes `out_dir/policies/LEARNER`, `out_dir/baseline` (what the log did, context aside), `out_dir/reward_model` (for
    doubly robust evaluation: it has seen none of the evaluation users) and `out_dir/train.json`.

    Args:
        train_dir: a saved `LoggedDataset`, or a log larger than memory in parts (`write_parts`), on which learners over
            transitions train; baseline and reward model are then fitted on some of its users. An `objectives.yaml`
            beside it tells which objectives are better when small.
        out_dir: folder to write to.
        learner: its name, or several names: each learns from the same seed, so that none depends on the others.
        params: the learner's settings; of several, by learner.
        weights: importance of each objective by name; without it each counts alike, per standard deviation.
        seed: of all random draws.
        progress: told what goes on.

    Raises:
        UnknownNameError: for an unknown learner, setting or objective, before anything is written.
        InvalidInputError: if no learner is named, or one twice.
    """
    from homing.learners.reward_models import fit_linear

    begun = time.monotonic()
    train_dir, out_dir = Path(train_dir), Path(out_dir)
    names = (learner,) if isinstance(learner, str) else tuple(learner)
    settings = settings_by_learner(names, params or {}, nested=not isinstance(learner, str))
    chosen = {name: make(name, **settings[name]) for name in names}
    dataset = _load(train_dir, chosen)
    w = objective_weights(dataset, weights, _directions(train_dir.parent / "objectives.yaml"))
    named = dict(zip(dataset.objectives, (float(item) for item in w), strict=True))
    policies = {}
    for name, one in chosen.items():
        progress(f"training {name} on {dataset.n:,} decisions of {dataset.n_users:,} users")
        # Learners that do not take parts have been refused.
        policies[name] = one.fit(cast(LoggedDataset, dataset), weights=named, rng=np.random.default_rng(seed))
    progress("fitting the baseline")
    # Draws of their own, whatever was trained: evaluation does not depend on who is evaluated.
    rng = np.random.default_rng([seed, 1])
    d, c = dataset.shape if isinstance(dataset, PartedDataset) else _shape(dataset)
    enough = REWARD_MODEL_SIZE // (len(w) * max(c, 1) * max(d, 1))
    some = dataset.sample(enough) if isinstance(dataset, PartedDataset) else dataset
    baseline = make("message-shares").fit(some, weights=named, rng=rng)
    progress("fitting the reward model for evaluation")
    model = fit_linear(_some_users(some, enough, rng), w, rng=rng)
    fingerprint = dataset.fingerprint
    features = None if dataset.encoder is None else dataset.encoder.to_dict()
    common: dict[str, Any] = {"features": features, "objectives": dataset.objectives}

    def save(policy: Policy, folder: str, name: str, made_by: str, **more: Any) -> str:
        trained = {"learner": made_by, "params": settings.get(made_by, {}), "seed": seed, "fingerprint": fingerprint}
        return save_policy(policy, out_dir / folder, name=name, trained=trained, **common, **more)

    # A policy optimised for fixed weights carries them itself; a model weighs at run time.
    digests = {f"policies/{name}": save(policy, f"policies/{name}", name, name) for name, policy in policies.items()}
    digests |= {
        "baseline": save(baseline, "baseline", "baseline", "message-shares"),
        "reward_model": save(GreedyPolicy(model.model), "reward_model", "reward-model", "linear", weights=w),
    }
    report = TrainReport(
        names,
        settings,
        named,
        seed,
        dataset.n,
        dataset.n_users,
        round(time.monotonic() - begun, 3),
        fingerprint,
        digests,
        model.report()["calibration"],
        {"reward model": model.history, **{name: one.report.get("history", {}) for name, one in chosen.items()}},
        {"reward model": model.settings, **{name: one.report.get("settings", {}) for name, one in chosen.items()}},
        {name: found for name, one in chosen.items() if (found := one.report.get("warnings"))},
    )
    (out_dir / "train.json").write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False))
    return report


def settings_by_learner(names: Sequence[str], params: Mapping[str, Any], *, nested: bool) -> dict[str, dict[str, Any]]:
    """Each learner's settings, checked.

    Args:
        names: of the learners.
        params: settings of the only one, or by learner.
        nested: whether `params` is by learner.

    Raises:
        UnknownNameError: for settings of no learner that is named.
        InvalidInputError: if there is no name, one stands twice, or settings are none.

    Example:
        >>> settings_by_learner(["linear"], {"epsilon": 0.1}, nested=False)
        {'linear': {'epsilon': 0.1}}
        >>> settings_by_learner(["linear", "direct-method"], {"linear": {"epsilon": 0.1}}, nested=True)
        {'linear': {'epsilon': 0.1}, 'direct-method': {}}
    """
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(describe("learner", list(names), "must be distinct names, at least one"))
    if not nested:
        return {names[0]: dict(params)}
    for name, value in params.items():
        if name not in names:
            raise unknown_name("learner of params", name, names, "Settings of several learners are by learner.")
        if not isinstance(value, Mapping):
            raise InvalidInputError(describe(f"params of {name}", value, "must be a mapping of settings"))
    return {name: dict(params.get(name, {})) for name in names}


def _load(path: Path, chosen: Mapping[str, Learner]) -> LoggedDataset | PartedDataset:
    if not PartedDataset.is_at(path):
        return LoggedDataset.load(path)
    from homing.learners.settings import Optimised

    for name, one in chosen.items():
        if not isinstance(one, Optimised):
            step = "Take a learner over transitions, or write the log as one data set."
            raise InvalidInputError(describe("learner", name, "must learn from parts", step))
    return PartedDataset.load(path)


def _shape(dataset: LoggedDataset) -> tuple[int, int]:
    return dataset.context.shape[1], dataset.candidates.shape[2]


def _some_users(dataset: LoggedDataset, rows: int, rng: np.random.Generator) -> LoggedDataset:
    """Whole users, drawn at random until their decisions are `rows`; the dataset itself if it has no more."""
    if dataset.n <= rows:
        return dataset
    users, code, counts = np.unique(dataset.user, return_inverse=True, return_counts=True)
    order = rng.permutation(len(users))
    taken = np.zeros(len(users), dtype=bool)
    taken[order[: max(int((counts[order].cumsum() <= rows).sum()), 2)]] = True
    return dataset.take(np.flatnonzero(taken[code]))


def _directions(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {name: item.direction for name, item in Objectives.from_yaml(path).objectives.items()}
