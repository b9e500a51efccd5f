"""One log of the notification-spacing world, Double DQN policies from it, what OPE says of them, and the truth."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.linkedin_offline_rl.judging import WAYS, Judge
from benchmarks.linkedin_offline_rl.oracle import FloatArray
from benchmarks.linkedin_offline_rl.policies import DAYS, artifact, encoder_of, learners, logged, settled
from homing.learners import train_many
from homing.log import split_by_user
from homing.policies import PolicyArtifact
from homing.simulation import AnyPolicy, Rollout, simulate
from homing.simulation.linkedin import LinkedInWorld

#: Seeds of what judges are these above those of logs: other users, other chance.
FRESH = 10_000


def live(policy: AnyPolicy, users: int, seed: int) -> Rollout:
    """The truth: a week of users whom no log has seen."""
    return simulate(LinkedInWorld(), policy, horizon_days=DAYS, n_users=users, seed=FRESH + seed)


def run_seed(
    behaviour: PolicyArtifact, rules: dict[str, PolicyArtifact], seed: int, *, users: int, policies: int, steps: int,
    judged_users: int,
) -> dict[str, Any]:  # fmt: skip
    """Log, train on half of the users, judge on the other half, and simulate all.

    Returns:
        `visits`, `errors`, `sends`: for each policy, how many more visits a user and week than under the behaviour
        policy, standard errors, and how many more sends; `settled`, `rules`: visits and sends of the settled
        configuration and of rules, likewise; `told`: what each way of weighing estimates of the visits, with standard
        errors and shares of the log in effect, (policies, ways, 3); `train_s`: CPU seconds of training all policies.
    """
    data = logged(behaviour, users, seed, encoder_of(behaviour))
    train, held_out = (data.take(rows) for rows in split_by_user(data, 0.5, salt=str(seed)))
    began = time.process_time()
    drawn = learners(policies, steps, seed)
    found = train_many(train, drawn, weights={"visits": 1.0}, rng=np.random.default_rng(seed))
    train_s = time.process_time() - began
    ensemble = train_many(train, [settled()], weights={"visits": 1.0}, rng=np.random.default_rng(seed))[0]
    judge = Judge.of(held_out)
    base = live(behaviour, judged_users, seed)
    runs = [live(artifact(policy, data), judged_users, seed) for policy in found]
    visits = [run.minus(base, "visits") for run in runs]
    return {
        "visits": [each.value for each in visits],
        "errors": [each.std_error for each in visits],
        "sends": [run.minus(base, "sends").value for run in runs],
        "settled": more(live(artifact(ensemble, data), judged_users, seed), base),
        "rules": {name: more(live(rule, judged_users, seed), base) for name, rule in rules.items()},
        "told": [judge.look(policy).tolist() for policy in found],
        "train_s": train_s,
    }


def more(one: Rollout, other: Rollout) -> dict[str, float]:
    """Visits and sends of one more than of the other."""
    return {name: one.minus(other, name).value for name in ("visits", "sends")}


def best(told: FloatArray, way: str, least: float = 0.0) -> int | None:
    """The policy with the highest lower bound (one-sided 95 %), from what was told (policies, ways, 3).

    Args:
        least: the share of the log that a policy's weights must leave in effect; None where no policy's do.
    """
    value, error, share = told[:, WAYS.index(way)].T
    known = share >= least
    return int(np.argmax(np.where(known, value - 1.645 * error, -np.inf))) if known.any() else None
