"""What logs the world, what is learnt from the log, and what both are held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.linkedin_offline_rl.oracle import FloatArray, explored
from homing.learners import DoubleDQN, SurvivalRule
from homing.log import FeatureEncoder, LoggedDataset, build_dataset
from homing.policies import Policy, PolicyArtifact, UniformPolicy
from homing.simulation import AnyPolicy, log_decisions
from homing.simulation.linkedin import LinkedInWorld
from homing.simulation.world import Observation

DAYS = 7  # of a log, and of what policies are judged by, as in the paper
EPSILON = 0.2  # of all policies: nothing is gained by exploring less
#: Of the earlier log, decided about at random, that the behaviour policy was fitted on.
EARLIER_USERS, EARLIER_SEED = 300, 999
#: Of the log that the rule to beat is fitted on, likewise: as many as a Double DQN policy learns from.
RULE_USERS, RULE_SEED = 4000, 998
#: What is tried in the simulator itself for that rule.
HORIZONS, THRESHOLDS = (4.0, 24.0), (-1.0, 0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)


def logged(policy: AnyPolicy, users: int, seed: int, encoder: FeatureEncoder | None = None) -> LoggedDataset:
    """A week of the world with the features of the paper's state: of the message, no more than that it is one."""
    log = log_decisions(LinkedInWorld(), policy, days=DAYS, n_users=users, seed=seed)
    return build_dataset(log, LinkedInWorld.log_objectives, encoder=encoder or _state(FeatureEncoder.fit(log)))


def _state(found: FeatureEncoder) -> FeatureEncoder:
    """Without the message's value, relevance and expiry."""
    plain = (replace(field, scale=0.0, missing=False) if field.kind == "number" else field for field in found.candidate)
    return FeatureEncoder(found.context, tuple(plain))


def encoder_of(policy: PolicyArtifact) -> FeatureEncoder:
    """Of the features that a policy was trained with: all logs here are encoded alike."""
    assert policy.features is not None
    return FeatureEncoder.from_dict(policy.features)


def artifact(policy: Policy, data: LoggedDataset) -> PolicyArtifact:
    """A policy with the features that it was trained on."""
    assert data.encoder is not None
    return PolicyArtifact(policy, "policy", data.encoder.to_dict(), data.objectives, None, "")


def behaviour_policy() -> PolicyArtifact:
    """LinkedIn's survival rule with ε before anyone tunes it online: fitted, its τ too, on a small random log."""
    earlier = logged(UniformPolicy(), EARLIER_USERS, EARLIER_SEED)
    rule = SurvivalRule(objective="visits", epsilon=EPSILON, penalties=[10.0])
    return artifact(rule.fit(earlier, weights={"visits": 1.0}, rng=np.random.default_rng(0)), earlier)


def survival_rules(behaviour: PolicyArtifact) -> dict[str, dict[str, PolicyArtifact]]:
    """The rule by horizon and threshold, with the features of another policy; the fit depends on the horizon alone."""
    data = logged(UniformPolicy(), RULE_USERS, RULE_SEED, encoder_of(behaviour))
    out = {}
    for hours in HORIZONS:
        rule = SurvivalRule("visits", hours, threshold=0.0, epsilon=EPSILON, penalties=[10.0])
        fitted: Any = rule.fit(data, weights={"visits": 1.0}, rng=np.random.default_rng(0))
        out[f"T = {hours:g} h"] = {
            f"{threshold:g}": artifact(replace(fitted, base=replace(fitted.base, threshold=threshold)), data)
            for threshold in THRESHOLDS
        }
    return out


@dataclass(frozen=True)
class Always:
    """Send whatever waits, explore with ε."""

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, 2); see `ObservationPolicy`."""
        return explored(np.ones(len(observation), dtype=bool), observation, EPSILON)


def learners(count: int, steps: int, seed: int) -> list[DoubleDQN]:
    """Double DQN with hyper-parameters drawn over the ranges that people try."""
    out = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        size = int(rng.choice([8, 16]))
        out.append(
            DoubleDQN(
                gamma=float(rng.choice([0.1, 0.3, 0.5, 0.7, 0.9])),
                learning_rate=float(10 ** rng.uniform(-3.0, -2.0)),
                weight_decay=float(rng.choice([0.0, 1e-3, 1e-1])),
                target_steps=int(rng.choice([10, 25, 50, 100])),
                sizes=(size, size),
                member_seed=i,
                epsilon=EPSILON,
                candidate_units=0,
                steps=steps,
                patience=steps,
            )
        )
    return out


def settled() -> DoubleDQN:
    """One configuration, fixed on logs of other seeds: an ensemble, as what a message adds is small beside noise."""
    return DoubleDQN(
        gamma=0.5,
        learning_rate=1e-3,
        weight_decay=1e-3,
        target_steps=50,
        sizes=(16, 16),
        members=6,
        member_seed=100,
        epsilon=EPSILON,
        candidate_units=0,
        steps=3000,
        patience=3000,
    )
