"""The real randomised e-mail trial: what is learnt does not fall behind the best e-mail for everyone."""

import numpy as np
import pytest

from homing import datasets
from homing.learners import fit_reward_model, make
from homing.learners.calibration import calibration_error
from homing.log import build_dataset, split_by_user
from homing.ope import compare, evaluate_policy
from homing.policies import FixedCandidatePolicy, dataset_probs, dataset_values


@pytest.fixture(scope="module")
def parts(shared_data):
    log = build_dataset(datasets.load("hillstrom", shared_data / "hillstrom"), datasets.objectives("hillstrom"))
    return tuple(log.take(rows) for rows in split_by_user(log, 0.6, salt="homing"))


@pytest.mark.slow
def test_learnt_policy_keeps_up_with_the_best_fixed_e_mail(parts):
    train, held_out = parts
    learner = make("doubly-robust", model_penalties=[100.0])
    policy = learner.fit(train, weights={"visit": 1.0}, rng=np.random.default_rng(0))
    column = train.encoder.column("message_id=mens-email")
    found, bare, fixed = (
        evaluate_policy(held_out, dataset_probs(item, held_out))
        for item in (policy, policy.base, FixedCandidatePolicy(column=column))
    )
    # Without exploration it loses what a softmax that never reaches 1 must lose: 0.0002 over six splits.
    assert compare(bare, fixed, "visit", "snips").lower > -0.001
    # With it, a tenth of the distance between this e-mail and a uniform choice, 0.18 - 0.145.
    assert compare(found, bare, "visit", "snips").value == pytest.approx(-0.0036, abs=0.001)


@pytest.mark.slow
def test_the_reward_model_is_calibrated_on_customers_that_it_never_saw(parts):
    train, held_out = parts
    model = fit_reward_model(train, "linear", np.ones(3), rng=np.random.default_rng(0), penalties=[100.0]).model
    predicted = dataset_values(model, held_out)[np.arange(held_out.n), held_out.action, 0]
    reward = held_out.reward[:, 0]
    # Ten bins of 1,279 rows: chance alone gives sqrt(2 / pi) * sqrt(0.145 * 0.855 / 1279) = 0.0078 on average.
    assert calibration_error(predicted, reward) < 0.016
    assert abs(predicted.mean() - reward.mean()) < 3.5 * reward.std() / np.sqrt(held_out.n)
