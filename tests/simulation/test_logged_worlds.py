"""What every world's own objectives read off its log, under an ordinary product's policy: its own rewards."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import Objectives, build_dataset, validate
from homing.simulation import decider, log_decisions, make_world, world_names
from homing.simulation.acting import play
from homing.simulation.log import check_logged

N, DAYS, SEED = 80, 6, 1


@pytest.mark.parametrize("name", [name for name in world_names() if name != "messaging"])
def test_the_log_gives_back_the_worlds_rewards(name: str) -> None:
    world = check_logged(make_world(name))
    policy = world.behaviour_policy()
    log = log_decisions(world, policy, days=DAYS, n_users=N, seed=SEED)
    assert validate(log).ok
    data = build_dataset(log, world.log_objectives)
    assert data.objectives == world.objectives
    user = np.array([int(one.split("-")[1]) for one in data.user_ids])[data.user]
    step = np.rint((data.time - world.start.timestamp() * 1e6) / (world.step_hours * 3.6e9)).astype(int)
    steps = round(DAYS * 24 / world.step_hours)
    within = _within_a_step(world.log_objectives, world.step_hours)
    world.reset(N, SEED)
    total = np.zeros((N, len(world.objectives)))
    for one in play(world, decider(world, policy), steps=steps, n_users=N, seed=SEED):
        total += one.outcomes.reward
        if within:
            rows = np.flatnonzero(step == one.index)
            rows = rows[np.argsort(user[rows])]
            assert user[rows].tolist() == one.observation.user.tolist()
            assert np.allclose(data.reward[rows], one.outcomes.reward[one.observation.user])
    if not within:
        assert np.allclose(data.reward.sum(axis=0), total.sum(axis=0))
    assert total.any(axis=0)[[world.weights[one] != 0 for one in world.objectives]].any()


def _within_a_step(objectives: Objectives, step_hours: float) -> bool:
    return all(one.window_hours <= step_hours for _, one in objectives.items())


def test_a_world_that_does_not_say_is_named(small_world) -> None:
    with pytest.raises(InvalidInputError, match="world == 'small', must have log_objectives"):
        check_logged(small_world)
