"""Encoding an observation is encoding the log that it would become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import FeatureEncoder, Objectives, build_dataset
from homing.policies import UniformPolicy
from homing.simulation import (
    AnyPolicy,
    Feature,
    ObservationEncoder,
    World,
    decider,
    log_decisions,
    make_world,
    plain_encoder,
    world_names,
)
from homing.simulation.acting import play
from homing.simulation.log import check_logged

GOALS = Objectives.from_dict({"objectives": {"c": {"kinds": ["clicked"], "window_hours": 12, "aggregate": "any"}}})


def without(encoder: FeatureEncoder, *names: str) -> FeatureEncoder:
    """The encoder after training on a log that lacked some levels, and had a feature that the world lacks."""
    fields = tuple(
        replace(field, levels=tuple(level for level in field.levels if level not in names))
        for field in encoder.candidate
    )
    other = replace(encoder.context[2], name="other", missing=True)
    return FeatureEncoder((*encoder.context, other), fields)


def check(world: World, policy: AnyPolicy, encoder: FeatureEncoder, goals: Objectives, days: int) -> None:
    """Every observation of a run, encoded, is what `build_dataset` makes of the log of the run."""
    n_users, seed = 60, 4
    log = log_decisions(world, policy, days=days, n_users=n_users, seed=seed)
    data = build_dataset(log, goals, encoder=encoder)
    encode = ObservationEncoder(encoder, world)
    user = np.array([int(one.split("-")[1]) for one in data.user_ids])[data.user]
    step = np.rint((data.time - world.start.timestamp() * 1e6) / (world.step_hours * 3.6e9)).astype(int)
    steps = round(days * 24 / world.step_hours)
    world.reset(n_users, seed)
    rows = 0
    for one in play(world, decider(world, policy), steps=steps, n_users=n_users, seed=seed):
        seen = one.observation
        at = np.flatnonzero(step == one.index)
        at = at[np.argsort(user[at])]
        assert user[at].tolist() == seen.user.tolist()
        assert np.array_equal(encode.context(seen), data.context[at])
        ours, logged = encode.candidates(seen), data.candidates[at]
        assert ours.dtype == np.float32
        # Lists have no gaps, the world's rows do: candidate for candidate, in their order.
        real = seen.message >= 0
        counted = np.arange(logged.shape[1]) < real.sum(axis=1)[:, None]
        assert np.array_equal(ours[real], logged[counted])
        assert not ours[~real].any()
        rows += len(at)
    assert rows == data.n


@pytest.mark.parametrize("kind", ["fitted", "plain", "of another log"])
def test_same_numbers_as_the_log(small_world, kind: str) -> None:
    encoder = FeatureEncoder.fit(log_decisions(small_world, UniformPolicy(), days=3, n_users=60, seed=4))
    if kind == "plain":
        encoder = plain_encoder(small_world)
    elif kind == "of another log":
        encoder = without(encoder, "letter", "bold")
    check(small_world, UniformPolicy(), encoder, GOALS, days=3)


@pytest.mark.parametrize("name", world_names())
def test_every_world_is_encoded_as_its_log(name: str) -> None:
    world = check_logged(make_world(name))
    policy = world.behaviour_policy()
    encoder = FeatureEncoder.fit(log_decisions(world, policy, days=2, n_users=60, seed=5))
    check(world, policy, encoder, world.log_objectives, days=2)


def test_what_the_encoder_does_not_know_is_an_error(small_world) -> None:
    encoder = plain_encoder(small_world)
    small_world.context_features = (*small_world.context_features, Feature("steak"))
    with pytest.raises(InvalidInputError, match=r"context feature == 'steak', .* Did you mean 'streak'\?"):
        ObservationEncoder(encoder, small_world)


def test_another_kind_is_an_error(small_world) -> None:
    encoder = plain_encoder(small_world)
    small_world.candidate_features = (Feature("novelty", ("new", "old")), *small_world.candidate_features[1:])
    with pytest.raises(InvalidInputError, match="kind of feature 'novelty' == 'category', must be number"):
        ObservationEncoder(encoder, small_world)
