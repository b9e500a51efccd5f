"""Policies whose weights are dialled at run time, and users who live with them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dial.truth import FloatArray
from benchmarks.long_term.run import logged
from homing.estimates import Estimate
from homing.learners import fit_reward_model, make
from homing.log import FeatureEncoder
from homing.policies import Policy, RewardModel
from homing.simulation import Rollout, make_world, simulate

DIALLED = ("sessions", "converted", "churned", "opted_out")
FACTORS = (0.0, 0.25, 1.0, 4.0, 16.0)
LIVED_DAYS = 90
MODEL_ROWS = 15_000


@dataclass(frozen=True)
class Trained:
    """A policy with what it sees, a reward model for evaluation, and what the learner says it cannot tell."""

    policy: Policy
    encoder: FeatureEncoder
    model: RewardModel
    untold: str


def weights(factors: Mapping[str, float]) -> FloatArray:
    """The owner's weights, some of them times a factor, (m,)."""
    world = make_world("messaging")
    return np.array([world.weights[name] * factors.get(name, 1.0) for name in world.objectives])


def trained(learner: str, users: int, logs: Path | None, seed: int) -> Trained:
    """From one log, of users who have lived with the behaviour policy before."""
    world, rng = make_world("messaging"), np.random.default_rng(seed)
    data = logged(users, seed, None if logs is None else logs / str(seed) / "log")
    assert data.encoder is not None
    maker = make(learner)
    policy = maker.fit(data, weights=world.weights, rng=rng)
    some = data.take(np.flatnonzero(data.user < np.sort(data.user)[min(MODEL_ROWS, data.n - 1)]))
    model = fit_reward_model(some, "linear", weights({}), rng=rng).model
    tell(f"trained on log {seed}")
    return Trained(policy, data.encoder, model, maker.report["warnings"].get("effects-not-told", ""))


@dataclass(frozen=True)
class Lived:
    """What users live through under each factor of one objective's weight.

    Attributes:
        means: of the objective, a user.
        sends: messages a user.
        steps: differences of the objective from one factor to the next, paired.
        whole: from the first to the last.
    """

    means: tuple[float, ...]
    sends: tuple[float, ...]
    steps: tuple[Estimate, ...]
    whole: Estimate

    def to_dict(self) -> dict[str, Any]:
        steps = [step.to_dict() for step in self.steps]
        return {"means": self.means, "sends": self.sends, "steps": steps, "whole": self.whole.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Lived:
        steps = tuple(Estimate.from_dict(step) for step in data["steps"])
        return cls(tuple(data["means"]), tuple(data["sends"]), steps, Estimate.from_dict(data["whole"]))


@dataclass(frozen=True)
class Dialled:
    """A policy that is dialled: what its learner says it cannot tell, and lives by objective."""

    untold: str
    lived: dict[str, Lived]


def dialled(learner: str, users: int, judged: int, logs: Path | None, keep: Path, seed: int) -> Dialled:
    """From one log; read from the folder if it is done."""
    file = keep / f"{seed}.json"
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        return Dialled(kept["untold"], {name: Lived.from_dict(each) for name, each in kept["lived"].items()})
    found = trained(learner, users, logs, seed)
    out = Dialled(found.untold, moved(found, judged, seed))
    lived = {name: each.to_dict() for name, each in out.lived.items()}
    file.write_text(json.dumps({"untold": out.untold, "lived": lived}), encoding="utf-8")
    return out


def moved(found: Trained, judged: int, seed: int) -> dict[str, Lived]:
    """How each objective moves with its weight."""
    world = make_world("messaging")

    def live(factors: Mapping[str, float]) -> Rollout:
        return simulate(
            world, found.policy, horizon_days=LIVED_DAYS, n_users=judged, seed=1_000_000 + seed,
            encoder=found.encoder, policy_weights=weights(factors),
        )  # fmt: skip

    base = live({})
    out = {}
    for name in DIALLED:
        runs = [base if factor == 1.0 else live({name: factor}) for factor in FACTORS]
        out[name] = Lived(
            means=tuple(run.value(name).value for run in runs),
            sends=tuple(float(run.sends.mean()) for run in runs),
            steps=tuple(run.minus(before, name) for before, run in pairwise(runs)),
            whole=runs[-1].minus(runs[0], name),
        )
        tell(f"log {seed}, {name}: {[round(mean, 5) for mean in out[name].means]}")
    return out


def tell(what: str) -> None:
    """Where a long run stands."""
    print(f"{time.process_time():.0f} CPU s: {what}", file=sys.stderr, flush=True)
