"""The dial's truth: what one decision changes, until the user's next."""

from __future__ import annotations

import numpy as np

from benchmarks.dial.truth import per_decision
from homing.policies import SilencePolicy, UniformPolicy
from homing.simulation import decider, make_world


def test_the_logging_policy_differs_from_itself_by_nothing() -> None:
    world = make_world("linkedin")
    behaviour = decider(world, world.behaviour_policy())
    mean, error = per_decision(world, behaviour, [behaviour], steps=6, n_users=40, seed=1)
    assert not mean.any() and not error.any()


def test_one_step_by_hand() -> None:
    world = make_world("linkedin")
    uniform, silence = decider(world, UniformPolicy()), decider(world, SilencePolicy())
    mean, error = per_decision(world, silence, [uniform], steps=1, n_users=300, seed=2)
    seen = world.reset(300, 2)
    sent = seen.eligible[:, 1] & (np.random.default_rng(2).random(len(seen)) >= 0.5)
    other = world.copy()
    change = other.step(sent.astype(np.int64)).reward - world.step(np.zeros(len(seen), dtype=np.int64)).reward
    np.testing.assert_allclose(mean[0], change[seen.user].mean(axis=0))
    np.testing.assert_allclose(error[0], change[seen.user].std(axis=0) / np.sqrt(len(seen)))
    assert mean[0, world.objectives.index("sends")] > 0
