"""The simulated data set: it says what it is, its log has chance in it, its truth is the world's."""

from __future__ import annotations

import numpy as np
import pytest

from homing import datasets
from homing.datasets import Simulated, true_values
from homing.datasets.truth import THE_LOG
from homing.errors import InvalidInputError
from homing.log import build_dataset
from homing.policies import SilencePolicy, UniformPolicy
from homing.simulation import make_world, true_difference

NAME = "simulated-messaging"


def test_it_says_that_it_is_simulated():
    about = datasets.card(NAME)
    assert "simulated" in about.name and "simulated" in about.title and about.caveats[0].startswith("Simulated")
    with pytest.raises(
        InvalidInputError, match="path of simulated-messaging == 'x', must not be given: the log is sim"
    ):
        datasets.load(NAME, "x")


def test_silence_and_messages_are_left_to_chance(logs):
    data = build_dataset(logs[NAME], datasets.objectives(NAME))
    choice = data.eligible.sum(axis=1) > 1
    assert data.probs is not None
    silent = np.asarray(data.probs)[choice, 0]
    # 10 % silence and 5 % of decisions uniform, 5 % of users always: no choice is sure either way.
    assert silent.min() > 0.05 and silent.max() < 1.0
    held = ~choice & (data.candidates.counts > 1)
    assert (data.propensity[held & (data.eligible.sum(axis=1) == 1)] == 1.0).all()
    weights = datasets.default_weights(NAME)
    directions = {name: item.direction for name, item in datasets.objectives(NAME).items()}
    assert all((weights[name] < 0) == (directions[name] == "minimize") for name in weights)


def test_the_truth_is_the_worlds():
    where = datasets.simulated(NAME)
    assert where is not None and set(where.objectives) == set(datasets.objectives(NAME).names)
    known = set(make_world(where.world).objectives)
    assert all(part in known for parts in where.objectives.values() for part in parts)
    small = Simulated("linkedin", {"visits": ("visits",), "both": ("visits", "sends")})
    policies = {"champion": SilencePolicy(), "other": UniformPolicy()}
    truth = true_values(
        small, policies, reference="champion", weights={"both": 2.0}, horizon_days=2, n_users=200, seed=5
    )  # fmt: skip
    assert set(truth.values) == {THE_LOG, "champion", "other"} and set(truth.differences) == {THE_LOG, "other"}
    other = true_difference(
        make_world("linkedin"), UniformPolicy(), SilencePolicy(), horizon_days=2, n_users=200, seed=5,
        weights={"visits": 2.0, "sends": 2.0},
    )  # fmt: skip
    found = truth.differences["other"]
    assert (found["value"].value, found["value"].lower) == pytest.approx((other.value, other.lower))
    assert found["value"].value == pytest.approx(2 * found["both"].value)
    assert truth.sends["champion"] == 0.0 < truth.sends["other"]
    assert truth.to_dict()["values"]["other"]["visits"]["value"] == truth.values["other"]["visits"].value
