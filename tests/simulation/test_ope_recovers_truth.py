"""What off-policy evaluation says of a world's logs, against what the policy is truly worth there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homing.log import FeatureEncoder, build_dataset
from homing.ope import evaluate_policy, evaluate_sequential
from homing.policies import EpsilonGreedyPolicy, FixedCandidatePolicy, UniformPolicy, dataset_probs
from homing.simulation import log_decisions, make_world, true_value

#: Logs of each case, and the fewest 95% intervals among them that may hold the truth: fewer have a probability of 0.3 %
#: if intervals keep their level.
LOGS = 40
FEWEST = int(stats.binom(LOGS, 0.95).ppf(0.003))

#: World, objective, candidate that the policy favours, estimators, and how many decisions a user has in the log.
CASES = {
    "one decision a user": ("duolingo", "lessons", 3, ("ips", "snips"), 1),
    "six decisions a user": ("linkedin", "visits", 1, ("pdis", "snpdis"), 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth(case: str) -> None:
    name, objective, favourite, estimators, decisions = CASES[case]
    world = make_world(name)
    policy = EpsilonGreedyPolicy(FixedCandidatePolicy(index=favourite), 0.4)
    truth = true_value(world, policy, horizon_days=1, n_users=200_000, seed=10**6, objective=objective)
    encoder = FeatureEncoder.fit(log_decisions(world, UniformPolicy(), days=1, n_users=100))
    held = dict.fromkeys(estimators, 0)
    errors = []
    for seed in range(LOGS):
        log = log_decisions(world, UniformPolicy(), days=1, n_users=2000, seed=seed)
        data = build_dataset(log, world.log_objectives, encoder=encoder)
        assert data.n == 2000 * decisions
        probs = dataset_probs(policy, data)
        if decisions == 1:
            report = evaluate_policy(data, probs, estimators=estimators)
        else:
            report = evaluate_sequential(data, probs, gamma=1.0, estimators=estimators)
        for estimator in estimators:
            found = report.estimates[estimator, objective]
            held[estimator] += found.lower <= truth.value <= found.upper
        errors.append(report.estimates[estimators[0], objective].value - truth.value)
    assert min(held.values()) >= FEWEST, held
    # Unbiased: the mean error of all logs is within 3.5 standard errors of 0, the simulated truth's own among them.
    spread = np.hypot(np.std(errors, ddof=1) / np.sqrt(LOGS), truth.std_error)
    assert abs(np.mean(errors)) < 3.5 * spread
