"""Encoding an observation is encoding the log that it would become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import FeatureEncoder, Objectives, build_dataset
from homing.policies import UniformPolicy
from homing.simulation import Feature, ObservationEncoder, log_decisions, plain_encoder
from homing.simulation.acting import decider, play

GOALS = Objectives.from_dict({"objectives": {"c": {"kinds": ["clicked"], "window_hours": 12, "aggregate": "any"}}})


def without(encoder: FeatureEncoder, *names: str) -> FeatureEncoder:
    """The encoder after training on a log that lacked some levels, and had a feature that the world lacks."""
    fields = tuple(
        replace(field, levels=tuple(level for level in field.levels if level not in names))
        for field in encoder.candidate
    )
    other = replace(encoder.context[2], name="other", missing=True)
    return FeatureEncoder((*encoder.context, other), fields)


@pytest.mark.parametrize("kind", ["fitted", "plain", "of another log"])
def test_same_numbers_as_the_log(small_world, kind: str) -> None:
    n_users, days = 60, 3
    log = log_decisions(small_world, UniformPolicy(), days=days, n_users=n_users, seed=4)
    encoder = FeatureEncoder.fit(log)
    if kind == "plain":
        encoder = plain_encoder(small_world)
    elif kind == "of another log":
        encoder = without(encoder, "letter", "bold")
    data = build_dataset(log, GOALS, encoder=encoder)
    encode = ObservationEncoder(encoder, small_world)
    small_world.reset(n_users, 4)
    number = {user: i for i, user in enumerate(f"u4-{i:07d}" for i in range(n_users))}
    user = np.array([number[name] for name in data.user_ids])[data.user]
    rows = 0
    for step in play(small_world, decider(small_world, UniformPolicy()), steps=2 * days, n_users=n_users, seed=4):
        seen = step.observation
        time = round(small_world.start.timestamp() * 1e6) + step.index * 12 * 3_600_000_000
        at = np.flatnonzero(data.time == time)
        at = at[np.argsort(user[at])]
        assert user[at].tolist() == seen.user.tolist()
        assert np.array_equal(encode.context(seen), data.context[at])
        ours = encode.candidates(seen)
        assert ours.dtype == np.float32
        for i, row in enumerate(at):  # lists have no gaps, the world's rows do
            real = seen.message[i] >= 0
            assert np.array_equal(ours[i][real], data.candidates[int(row)][: real.sum()])
            assert not ours[i][~real].any()
        rows += len(at)
    assert rows == data.n


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
