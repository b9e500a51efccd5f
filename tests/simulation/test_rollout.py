"""True values against what can be worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError, UnknownNameError
from homing.policies import FixedCandidatePolicy, SilencePolicy, UniformPolicy, save_policy
from homing.policies.artifact import load_policy
from homing.simulation import (
    Mixture,
    plain_encoder,
    score_policies,
    simulate,
    true_difference,
    true_value,
    true_values,
)


class Sends:
    """A rule on raw observations: one message where it may be sent."""

    def __init__(self, message: int) -> None:
        self.message = message

    def observation_probs(self, observation):
        wanted = (observation.message == self.message) & observation.eligible
        wanted[:, 0] = ~wanted.any(axis=1)
        return wanted.astype(float)


class KnowsHabits:
    """An oracle: greets those without a habit."""

    def oracle_probs(self, world):
        seen = world.observation
        greets = world.habit[seen.user] == 0
        out = np.zeros(seen.eligible.shape)
        out[np.arange(len(out)), greets.astype(int)] = 1.0
        return out


def test_value_of_always_greeting(small_world) -> None:
    """Users who are asked in all H steps click p·H times; each click at step t brings H − 1 − t minutes."""
    n, days = 30_000, 2
    p, steps = 0.3, 4
    asked = np.array([[True, True, True, True], [True, False, True, False]])  # two users of three, one of three
    clicks = p * (asked.sum(axis=1) @ [2 / 3, 1 / 3])
    minutes = p * ((asked * (steps - 1 - np.arange(steps))).sum(axis=1) @ [2 / 3, 1 / 3])
    values = true_values(small_world, Sends(1), horizon_days=days, n_users=n, level=0.9999)
    assert values["clicked"].lower < clicks < values["clicked"].upper
    assert values["minutes"].lower < minutes < values["minutes"].upper
    assert values["cost"].value == 0.0
    whole = true_value(small_world, Sends(1), horizon_days=days, n_users=n)
    assert np.isclose(whole.value, values["clicked"].value + 0.1 * values["minutes"].value)
    own = true_value(small_world, Sends(1), horizon_days=days, n_users=n, weights={"minutes": 2.0})
    assert np.isclose(own.value, 2.0 * values["minutes"].value)


def test_interval_is_that_of_a_mean(small_world) -> None:
    out = simulate(small_world, UniformPolicy(), horizon_days=2, n_users=500)
    worth = out.total @ [1.0, 0.1, -1.0]
    low, high = stats.t.interval(0.9, 499, worth.mean(), worth.std(ddof=1) / np.sqrt(500))
    estimate = out.value(level=0.9)
    assert np.allclose([estimate.value, estimate.lower, estimate.upper], [worth.mean(), low, high])


def test_books_balance(small_world) -> None:
    days = []
    out = simulate(small_world, Sends(2), horizon_days=3, n_users=90, progress=lambda *done: days.append(done))
    assert days == [(1, 3), (2, 3), (3, 3)]
    assert np.allclose(out.by_day.sum(axis=0), out.total.mean(axis=0))
    one_day = simulate(small_world, Sends(2), horizon_days=1, n_users=90)
    assert np.allclose(one_day.by_day_std_error[0], out.by_day_std_error[0])
    assert np.allclose(one_day.by_day_std_error[0], stats.sem(one_day.total, axis=0))
    told = json.loads(json.dumps(out.to_dict(), allow_nan=False))
    assert told["values"]["cost"] == out.value("cost").to_dict()
    assert told["by_day"]["cost"] == out.by_day[:, 2].tolist()
    # An offer costs half a point, comes to even users alone, and never twice in a row.
    assert np.array_equal(out.sends, np.rint(out.total[:, 2] / 0.5))
    user = np.arange(90)
    assert np.array_equal(out.decisions, np.where(user % 3 > 0, 6, 3))
    assert np.array_equal(out.sends, np.where(user % 2 == 1, 0, np.where(user % 3 > 0, 3, 2)))
    assert small_world.habit is None  # a copy was used


def test_discount(small_world) -> None:
    plain = simulate(small_world, Sends(2), horizon_days=3, n_users=10)
    later = simulate(small_world, Sends(2), horizon_days=3, n_users=10, discount_per_day=0.5)
    assert np.allclose(plain.by_day[:, 2] @ [1.0, 0.5, 0.25], later.total[:, 2].mean())
    assert np.array_equal(plain.by_day, later.by_day)


def test_pairs_share_chance(small_world) -> None:
    """Greeting rather than silence changes an individual's clicks alone where the greeting is sent."""
    options = {"horizon_days": 2, "n_users": 2000, "seed": 3}
    half = Mixture((Sends(1), SilencePolicy()), (0.5, 0.5))
    one, other = simulate(small_world, half, **options), simulate(small_world, Sends(1), **options)
    assert (one.total[:, 0] <= other.total[:, 0]).all()
    paired = one.minus(other, "clicked")
    assert paired.std_error < 0.8 * np.hypot(one.value("clicked").std_error, other.value("clicked").std_error)
    same = true_difference(small_world, half, Sends(1), objective="clicked", **options)
    assert same == paired
    # The chance of who is asked beside them changes nothing for a user: the draws of one are those of another run.
    few = simulate(small_world, half, horizon_days=2, n_users=1000, seed=3)
    assert np.array_equal(few.total, one.total[:1000])


def test_mixture_is_the_mixture(small_world) -> None:
    small_world.reset(50, 0)
    from homing.simulation import decider

    mixed = decider(small_world, Mixture((Sends(1), UniformPolicy()), (0.75, 0.25)))(small_world)
    seen = small_world.observation
    expected = 0.25 / seen.eligible.sum(axis=1)[:, None] * seen.eligible
    expected[:, 1] += 0.75
    assert np.allclose(mixed, expected)


def test_artifacts_bring_their_features(small_world, tmp_path) -> None:
    encoder = plain_encoder(small_world)
    policy = FixedCandidatePolicy(column=encoder.column("message_id=letter"))
    save_policy(policy, tmp_path, features=encoder.to_dict())
    options = {"horizon_days": 2, "n_users": 40}
    rule = simulate(small_world, Sends(3), **options)
    for run in (
        simulate(small_world, load_policy(tmp_path), **options),
        simulate(small_world, policy, encoder=encoder, **options),
    ):
        assert np.array_equal(run.total, rule.total)
    with pytest.raises(InvalidInputError, match="column == "):
        simulate(small_world, policy, **options)


def test_whole_numbers_may_come_as_floats(small_world) -> None:
    options = {"horizon_days": 2, "n_users": 5, "seed": 3}
    wanted = simulate(small_world, Sends(3), **options)
    found = simulate(small_world, Sends(3), **{name: float(value) for name, value in options.items()})
    assert found.to_dict() == wanted.to_dict() and np.array_equal(found.total, wanted.total)


def test_oracles_see_the_world(small_world) -> None:
    out = simulate(small_world, KnowsHabits(), horizon_days=5, n_users=300)
    assert out.total[:, 0].max() == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon_days": 0}, "horizon_days == 0, must be a whole number >= 1"),
        ({"n_users": 1}, "n_users == 1, must be a whole number >= 2"),
        ({"discount_per_day": 1.5}, r"discount_per_day == 1.5, must be in \(0, 1\]"),
        ({"discount_per_day": "1"}, r"discount_per_day == '1', must be in \(0, 1\]"),
        ({"seed": -1}, "seed == -1, must be a whole number >= 0"),
        ({"seed": 2**63}, r"seed == 9223372036854775808, must be < 2\*\*63"),
    ],
)
def test_bounds(small_world, options, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        simulate(small_world, UniformPolicy(), **{"horizon_days": 1, "n_users": 5, **options})


def test_days_must_be_whole_steps(small_world) -> None:
    small_world.step_hours = 7.0
    with pytest.raises(InvalidInputError, match="days == 1, must be whole steps of 7 hours"):
        simulate(small_world, UniformPolicy(), horizon_days=1, n_users=5)


def test_mistakes_are_named(small_world) -> None:
    out = simulate(small_world, UniformPolicy(), horizon_days=1, n_users=5)
    with pytest.raises(UnknownNameError, match="Did you mean 'clicked'"):
        out.value("cliked")
    with pytest.raises(UnknownNameError, match="Did you mean 'minutes'"):
        out.value(weights={"minute": 1.0})
    with pytest.raises(InvalidInputError, match="weight of minutes == nan, must be a finite number"):
        out.value(weights={"minutes": float("nan")})
    with pytest.raises(UnknownNameError, match="Did you mean 'minutes'"):
        score_policies(small_world, {"u": UniformPolicy()}, horizon_days=1, n_users=5, weights={"minute": 1.0})
    other = simulate(small_world, UniformPolicy(), horizon_days=1, n_users=5, seed=1)
    with pytest.raises(InvalidInputError, match="seed of the other rollout == 1, must be 0"):
        out.minus(other)
    with pytest.raises(InvalidInputError, match="must have action_probs, observation_probs or oracle_probs"):
        simulate(small_world, object(), horizon_days=1, n_users=5)
    with pytest.raises(InvalidInputError, match=r"policy == .UniformPolicy., must be an object, not a class\. Write"):
        simulate(small_world, UniformPolicy, horizon_days=1, n_users=5)
    with pytest.raises(InvalidInputError, match="shares == "):
        Mixture((UniformPolicy(),), (0.5,))

    class SendsWhatIsNotThere:
        def observation_probs(self, observation):
            return (np.arange(4) == 2) * np.ones((len(observation), 1))

    with pytest.raises(InvalidInputError, match=r"action\[1\] == 2, must be eligible: one of \[0, 1, 3\]"):
        simulate(small_world, SendsWhatIsNotThere(), horizon_days=1, n_users=5)
