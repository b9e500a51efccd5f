"""What every world's own objectives read off its log, under an ordinary product's policy: its own rewards."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import Objectives, build_dataset, validate
from homing.simulation import decider, log_decisions, make_world, score_policies, world_names
from homing.simulation.acting import play
from homing.simulation.baselines import baselines
from homing.simulation.log import check_logged

N, DAYS, SEED = 80, 6, 1


#: Worlds whose rewards come in over months; each is linked to the one decision that it follows from.
SLOW = {"impatient"}


@pytest.mark.parametrize("name", world_names())
def test_the_log_gives_back_the_worlds_rewards(name: str) -> None:
    """With windows cut to one step: a decision's rewards are those of its user and step. Slow ones: their sums."""
    world = check_logged(make_world(name))
    policy = world.behaviour_policy()
    log = log_decisions(world, policy, days=DAYS, n_users=N, seed=SEED)
    assert validate(log).ok
    goals = world.log_objectives if name in SLOW else cut(world.log_objectives, world.step_hours)
    data = build_dataset(log, goals)
    assert data.objectives == world.objectives
    user = np.array([int(one.split("-")[1]) for one in data.user_ids])[data.user]
    step = np.rint((data.time - world.start.timestamp() * 1e6) / (world.step_hours * 3.6e9)).astype(int)
    steps = round(DAYS * 24 / world.step_hours)
    world.reset(N, SEED)
    total = np.zeros((N, len(world.objectives)))
    for one in play(world, decider(world, policy), steps=steps, n_users=N, seed=SEED):
        total += one.outcomes.reward
        if name not in SLOW:
            rows = np.flatnonzero(step == one.index)
            rows = rows[np.argsort(user[rows])]
            assert user[rows].tolist() == one.observation.user.tolist()
            assert np.allclose(data.reward[rows], one.outcomes.reward[one.observation.user])
    if name in SLOW:
        assert np.allclose(data.reward.sum(axis=0), total.sum(axis=0))
    assert total.any()


def cut(objectives: Objectives, window_hours: float) -> Objectives:
    """The same objectives, none with a longer window."""
    data = objectives.to_dict()
    for one in data["objectives"].values():
        one["window_hours"] = min(one["window_hours"], window_hours)
    return Objectives.from_dict(data)


def test_a_world_that_does_not_say_is_named(small_world) -> None:
    with pytest.raises(InvalidInputError, match="world == 'small', must have log_objectives"):
        check_logged(small_world)


@pytest.mark.parametrize("name", world_names())
def test_every_world_can_be_scored(name: str) -> None:
    world = make_world(name)
    policies = baselines(world)
    assert list(policies)[:4] == ["silence", "uniform", "highest-value", "behaviour"]
    scores = score_policies(world, policies, horizon_days=2, n_users=30, reference="behaviour")
    assert scores["silence"].sends_per_user == 0.0
