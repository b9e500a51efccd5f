"""StepCountJITAI against its equations, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError
from homing.policies import UniformPolicy
from homing.simulation import Delayed, Noisy, log_decisions, twins
from homing.simulation.step_count import StepCountParameters, StepCountWorld


def send(world: StepCountWorld, message: int | np.ndarray) -> np.ndarray:
    return world.step(np.broadcast_to(message, len(world.observation)).astype(np.int64)).reward


def test_a_week_by_hand() -> None:
    world = StepCountWorld()
    world.reset(1, seed=0)
    days = []
    for kind in ("none", "generic", "right", "none", "wrong", "right", "wrong"):
        right = 2 + int(world.contexts()[0])
        message = {"none": 0, "generic": 1, "right": right, "wrong": 5 - right}[kind]
        days.append((send(world, message)[0, 0], world.state.habituation[0], world.state.disengagement[0]))
    np.testing.assert_allclose(days, [
        (0.1, 0.09, 0.1),
        (0.1 + 0.86 * 50, 0.14, 0.09),
        (0.1 + 0.81 * 200, 0.19, 0.081),
        (0.1, 0.171, 0.081),
        (0.1, 0.221, 0.481),
        (0.1 + 0.729 * 200, 0.271, 0.4329),
        (0.1, 0.321, 0.8329),
    ], rtol=0, atol=1e-9)  # fmt: skip


def test_three_wrong_messages_and_a_user_is_gone() -> None:
    world = StepCountWorld()
    world.reset(40, seed=1)
    for day in range(2):
        assert (send(world, 3 - world.contexts()) == [0.1, 0.0]).all(), day
    outcomes = world.step(np.where(np.arange(40) < 10, 0, 3 - world.contexts()))
    assert outcomes.reward.tolist() == [[0.1, 0.0]] * 10 + [[0.0, 1.0]] * 30
    gone = outcomes.events.kind == 1
    assert outcomes.events.user[gone].tolist() == list(range(10, 40))
    assert world.observation.user.tolist() == list(range(10))
    assert (send(world, 1)[10:] == 0.0).all()


def test_who_knows_the_context_has_the_steps_of_the_recursion() -> None:
    """h rises by 0.05 a day from 0.1 until it is 1: from day 18 on, messages bring nothing."""
    world = StepCountWorld()
    world.reset(8, seed=2)
    total = sum(send(world, 2 + world.contexts()) for _ in range(50))
    h = np.minimum(1.0, 0.1 + 0.05 * np.arange(1, 51))
    np.testing.assert_allclose(total[:, 0], 50 * 0.1 + 200 * (1 - h).sum(), atol=1e-8)
    np.testing.assert_allclose(world.state.disengagement, 0.1 * 0.9**50)


@pytest.mark.parametrize("uncertainty", [0.4, 1.0, 2.0])
def test_what_is_seen_of_the_context_is_its_probability(uncertainty: float) -> None:
    world = StepCountWorld(StepCountParameters(uncertainty=uncertainty))
    n = 20_000
    seen = world.reset(n, seed=3).context[:, 0]
    truth = world.contexts()
    # The likelier context is wrong with probability Φ(−1 / (2σ)).
    wrong = stats.norm.cdf(-1 / (2 * uncertainty))
    assert abs(((seen > 0.5) != truth).mean() - wrong) < 4 * np.sqrt(wrong * (1 - wrong) / n)
    edges = np.quantile(seen, np.linspace(0, 1, 11))[1:-1]
    for group in range(10):
        mine = np.searchsorted(edges, seen) == group
        p = seen[mine]
        assert abs(truth[mine].mean() - p.mean()) < 4.5 * np.sqrt((p * (1 - p)).sum()) / mine.sum() + 1e-12


def test_without_uncertainty_the_context_is_seen() -> None:
    world = StepCountWorld(StepCountParameters(uncertainty=0.0))
    assert np.array_equal(world.reset(500, seed=4).context[:, 0], world.contexts())
    assert 0.4 < world.contexts().mean() < 0.6


def test_spread_multiplies_by_a_uniform_number() -> None:
    world = StepCountWorld(StepCountParameters(spread=0.2))
    n = 10_000
    world.reset(n, seed=5)
    send(world, 0)
    for values, mean in ((world.state.habituation, 0.09), (world.state.disengagement, 0.1)):
        assert stats.kstest(values / mean, stats.uniform(0.9, 0.2).cdf).pvalue > 0.001
    assert abs(np.corrcoef(world.state.habituation, world.state.disengagement)[0, 1]) < 4 / np.sqrt(n)


def test_what_was_sent_and_walked_is_seen() -> None:
    world = StepCountWorld()
    world.reset(3, seed=6)
    assert np.isnan(world.observation.context[:, 1:]).all()
    send(world, 1)
    send(world, 0)
    assert world.observation.context[:, 1:].tolist() == [[0.1, 2.0]] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uncertainty": -1.0}, "uncertainty == -1.0, must be 0 or >= 1e-06"),
        ({"uncertainty": 1e-200}, "uncertainty == 1e-200, must be 0 or >= 1e-06"),
        ({"begin": (2.0, 0.1)}, r"begin == \(2.0, 0.1\), must be in \[0, 1\]"),
        ({"generic_steps": float("nan")}, "generic_steps == nan, must be a finite number"),
        ({"steps": (1.0,)}, r"steps == \(1.0,\), must be 2 numbers"),
        ({"habituation_rise": 1.2}, r"habituation_rise == 1.2, must be in \[0, 1\]"),
        ({"threshold": 0.0}, "threshold == 0.0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        StepCountParameters(**change)


def test_a_world_that_everybody_has_left_lives_on() -> None:
    """Nobody to decide about is no mistake: not for policies, wrappers or logs; a twin is a user who is there."""
    world = StepCountWorld(StepCountParameters(disengagement_rise=1.0))
    hard = Noisy(Delayed(world, {"custom:steps": 30.0}), context={"steps_day_before": 3.0})
    log = log_decisions(hard, UniformPolicy(), days=40, n_users=4)
    assert 4 <= log.n_decisions < 100
    hard.reset(4, 0)
    while len(hard.observation):
        hard.step(np.full(len(hard.observation), 2))
    assert hard.step(np.zeros(0, np.int64)).reward.sum() == 0.0
    with pytest.raises(InvalidInputError, match=r"user\[0\] == 0, must be a user of the current observation"):
        twins(hard, [0], [1], policy=UniformPolicy(), horizon_days=1)
