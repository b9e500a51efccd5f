"""Previews of a dialled policy from small logs, and the truth that they should hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from benchmarks.dial.expected import DIALLED, FloatArray
from benchmarks.dial.lives import tell
from benchmarks.dial.truth import per_decision
from benchmarks.long_term.run import logged
from homing.estimates import t_quantile
from homing.learners import fit_reward_model, make
from homing.log import FeatureEncoder, LoggedDataset, build_dataset
from homing.ope import evaluate_policy, pareto
from homing.policies import Policy, RewardModel, dataset_probs, dataset_values
from homing.simulation import decider, log_decisions, make_world

Ends = tuple[float, float]
#: Settings: the owner's weights, and each objective four times as important.
PREVIEWED: dict[str, dict[str, float]] = {
    "the owner's weights": {},
    **{f"{name} × 4": {name: 4.0} for name in DIALLED},
}
PREVIEW_DAYS = 14
MODEL_ROWS = 15_000


@dataclass(frozen=True)
class Trained:
    """A policy with what it sees, and a reward model for evaluation."""

    policy: Policy
    encoder: FeatureEncoder
    model: RewardModel


def weights(factors: Mapping[str, float]) -> FloatArray:
    """The owner's weights, some of them times a factor, (m,)."""
    world = make_world("messaging")
    return np.array([world.weights[name] * factors.get(name, 1.0) for name in world.objectives])


def trained(learner: str, users: int, logs: Path | None, seed: int) -> Trained:
    """From one log, of users who have lived with the behaviour policy before."""
    world, rng = make_world("messaging"), np.random.default_rng(seed)
    data = logged(users, seed, None if logs is None else logs / str(seed) / "log")
    assert data.encoder is not None
    policy = make(learner).fit(data, weights=world.weights, rng=rng)
    some = data.take(np.flatnonzero(data.user < np.sort(data.user)[min(MODEL_ROWS, data.n - 1)]))
    model = fit_reward_model(some, "linear", weights({}), rng=rng).model
    tell(f"trained on log {seed}")
    return Trained(policy, data.encoder, model)


def preview(found: Trained, users: int, seed: int) -> dict[tuple[str, str, str], Ends]:
    """From one small log: (setting, objective or value, shown or t alone) → interval of the difference to the log."""
    world = make_world("messaging")
    log = log_decisions(world, world.behaviour_policy(), days=PREVIEW_DAYS, n_users=users, seed=10_000 + seed)
    data: LoggedDataset = build_dataset(log, world.log_objectives, encoder=found.encoder)
    q_hat = dataset_values(found.model, data)
    reports = [
        evaluate_policy(
            data,
            dataset_probs(found.policy, data, weights=weights(factors)),
            q_hat=q_hat,
            estimators=("dr",),
            policy=name,
        )
        for name, factors in PREVIEWED.items()
    ]
    told = pareto(reports, None, "dr")
    out: dict[tuple[str, str, str], Ends] = {}
    for what in ("value", *DIALLED):
        importance = world.weights if what == "value" else {what: 1.0}
        seen = told.weighted({name: w for name, w in importance.items() if name in told.objectives})
        for setting, item in seen.items():
            out[setting, what, "shown"] = (item.lower, item.upper)
            half = t_quantile(item.level, item.df) * item.std_error
            out[setting, what, "t alone"] = (item.value - half, item.value + half)
    return out


def true_previews(found: Trained, users: int) -> dict[tuple[str, str], tuple[float, float]]:
    """(setting, objective or value) → the true difference a decision, and its standard error."""
    world = make_world("messaging")
    policies = [
        decider(world, found.policy, encoder=found.encoder, weights=weights(factors)) for factors in PREVIEWED.values()
    ]
    steps = round(PREVIEW_DAYS * 24 / world.step_hours)
    mean, error = per_decision(
        world, decider(world, world.behaviour_policy()), policies, steps=steps, n_users=users, seed=77
    )  # fmt: skip
    names, w = world.objectives, weights({})
    out = {}
    for p, setting in enumerate(PREVIEWED):
        out[setting, "value"] = (float(mean[p] @ w), float(np.sqrt((error[p] ** 2) @ w**2)))
        for what in DIALLED:
            out[setting, what] = (float(mean[p, names.index(what)]), float(error[p, names.index(what)]))
    return out


def previewed(
    learner: str, users: int, logs: Path | None, keep: Path, seed: int, count: int, log_users: int, truth_users: int
) -> tuple[list[dict[tuple[str, str, str], Ends]], dict[tuple[str, str], Ends]]:
    """Previews of one log's policy from small logs, and their truth; read from the folder if it is done."""
    file = keep / "previews.json"
    if not file.exists():
        found = trained(learner, users, logs, seed)
        told = [preview(found, log_users, number) for number in range(count)]
        tell(f"{count} previews")
        truth = true_previews(found, truth_users)
        kept = {
            "told": [[(*key, *ends) for key, ends in each.items()] for each in told],
            "truth": [(*key, *item) for key, item in truth.items()],
        }
        file.write_text(json.dumps(kept), encoding="utf-8")
    kept = json.loads(file.read_text(encoding="utf-8"))
    return (
        [
            {(setting, what, kind): (lower, upper) for setting, what, kind, lower, upper in each}
            for each in kept["told"]
        ],
        {(setting, what): (value, error) for setting, what, value, error in kept["truth"]},
    )


def share(count: int, total: int) -> str:
    """A share with its exact binomial interval (Clopper and Pearson, 1934)."""
    lower, upper = binomtest(count, total).proportion_ci(0.95)
    return f"{count / total:.1%} [{lower:.1%}, {upper:.1%}]"


def covered_rows(
    told: Sequence[Mapping[tuple[str, str, str], Ends]], truth: Mapping[tuple[str, str], Ends]
) -> list[tuple[str, ...]]:
    """A row an objective and kind of interval: how many of the logs' intervals hold the truth."""
    rows = []
    for what, kind in ((what, kind) for what in ("value", *DIALLED) for kind in ("shown", "t alone")):
        ends = {setting: [each[setting, what, kind] for each in told] for setting in PREVIEWED}
        hits = {
            setting: sum(lower <= truth[setting, what][0] <= upper for lower, upper in found)
            for setting, found in ends.items()
        }
        worst = min(hits, key=lambda setting: hits[setting])
        half = np.median([(upper - lower) / 2 for found in ends.values() for lower, upper in found])
        rows.append(
            (
                what,
                kind,
                f"{sum(hits.values()) / (len(hits) * len(told)):.1%}",
                f"{share(hits[worst], len(told))}: {worst}",
                f"{half:.2g}",
                f"{max(truth[setting, what][1] for setting in PREVIEWED):.2g}",
            )
        )
    return rows
