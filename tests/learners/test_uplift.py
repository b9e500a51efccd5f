"""Uplift learners find who gains from which message, in worlds whose effects are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.learners import make
from homing.learners.effects import pairs_of
from homing.learners.thresholds import tune_threshold
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel, SendIfPolicy, dataset_probs

META = ("s-learner", "t-learner", "x-learner", "dr-learner")


def value(world, policy) -> float:
    return float(world.value(policy)[0])


@pytest.mark.parametrize("name", META)
def test_sends_to_those_who_gain(name, world, rng) -> None:
    """Candidate 0 is silence, with an outcome of its own that depends on the user: what counts is the difference."""
    policy = make(name, epsilon=0.0, threshold=0.0, penalties=[30.0]).fit(world.log(6000, rng), rng=rng)
    assert (value(world, policy) - world.uniform()[0]) / (world.best()[0] - world.uniform()[0]) > 0.85


@pytest.mark.parametrize("name", META)
def test_a_high_response_is_not_an_effect(name, world, rng) -> None:
    """Where messages only do harm, a tuned threshold stays silent, however high rewards after a message are."""
    harm = replace(world, taste=world.taste * 0.0, own=np.array([[2.5, 0.9, 0.7, 0.5, 0.3]]))
    policy = make(name, epsilon=0.0, penalties=[100.0]).fit(harm.log(6000, rng), rng=rng)
    data = harm.log(2000, rng)
    assert dataset_probs(policy, data)[:, 0].mean() > 0.95


def test_doubly_robust_effects_survive_a_wrong_model_and_a_tilted_log(world, rng) -> None:
    """The log sends the more, the more a user would come anyway; the model of rewards is a constant."""

    def probs(x):
        z = np.exp(1.5 * x @ world.taste[0].T)
        return 0.7 * z / z.sum(axis=1, keepdims=True) + 0.3 / 5

    data = world.log(12_000, rng, probs)
    policy = make("dr-learner", epsilon=0.0, threshold=0.0, penalties=[30.0]).fit(data, rng=rng)
    assert (value(world, policy) - world.uniform()[0]) / (world.best()[0] - world.uniform()[0]) > 0.8


def test_pairs_stand_for_all_eligible_messages(world, rng) -> None:
    """Weighted means over pairs are means over all eligible messages, whatever was sent."""
    data = world.log(30_000, rng)
    pairs = pairs_of(data, rng)
    assert (pairs.column > 0).all()
    assert data.eligible[pairs.row, pairs.column].all()
    total = np.bincount(pairs.row, weights=pairs.weight, minlength=data.n)
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    share = np.bincount(pairs.column, weights=pairs.weight, minlength=5)[1:] / data.n
    # Each column's share is 1/4; a standard error is below sqrt(1/4 · 3/4 / 30 000) = 0.0025.
    np.testing.assert_allclose(share, 0.25, atol=0.01)


def test_threshold_is_where_gains_end(rng) -> None:
    """Lifts are uniform on [−1, 1] and are the true gains in expectation: the best threshold is 0."""
    n = 40_000
    x = rng.uniform(-1, 1, n)
    action = rng.integers(0, 2, n)
    reward = rng.normal(size=n) * 0.1 + action * x
    data = LoggedDataset(
        context=x[:, None], candidates=np.broadcast_to(np.eye(2, dtype=np.float32), (n, 2, 2)),
        eligible=np.ones((n, 2), bool), action=action, propensity=np.full(n, 0.5), reward=reward[:, None],
        objectives=("r",), user=np.arange(n), time=np.zeros(n),
    )  # fmt: skip
    one = np.ones(1)
    lift = LinearRewardModel(
        np.array([[[0.0], [1.0]]]), np.zeros((1, 2)), np.zeros((1, 1)), np.zeros(1), ("identity",), one, 0 * one, one
    )
    found = tune_threshold(SendIfPolicy(lift, 0.0), data, lift, one)
    # Thresholds are tried at 5 % steps of the decisions: 0.1 apart.
    # Fewer messages are taken where they are worse by one standard error at most, which is about 0.001 here: the next
    # step up from 0 loses ∫ x dx / 2 = 0.0025 from 0 to 0.1.
    assert -0.1 <= found.value <= 0.15
    assert max(found.history["gain over silence on held-out users"]) == pytest.approx(0.25, abs=0.01)  # ∫₀¹ x dx / 2


@pytest.mark.parametrize(
    ("action", "message"),
    [(0, "decisions with messages == 0, must be >= 20"), (1, "decisions with silence == 0, must be >= 20")],
    ids=["silence alone", "no silence"],
)
def test_effects_need_both_sides(action, message, world, rng) -> None:
    data = world.log(300, rng)
    keep = np.flatnonzero((data.action == 0) == (action == 0))
    with pytest.raises(InvalidInputError, match=message):
        make("dr-learner").fit(data.take(keep), rng=rng)
