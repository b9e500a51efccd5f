"""Effects of one action, against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError
from homing.policies import SilencePolicy, UniformPolicy
from homing.simulation import acting, counterfactuals, twins
from homing.simulation.acting import draw
from homing.simulation.draws import uniform

N, DAYS, STEPS = 400, 3, 6


def test_effect_of_a_greeting_by_hand(small_world) -> None:
    """Who clicks gains a click and a minute in each later step; the draw that decides it is known."""
    seen = small_world.reset(N, 2)
    effects = twins(
        small_world, seen.user, np.ones(N, dtype=int), policy=SilencePolicy(), horizon_days=DAYS
    )  # fmt: skip
    clicks = np.array([uniform(2, user, 0, 0) < 0.3 for user in range(N)])
    assert np.array_equal(effects.effect[0], np.stack([clicks, clicks * (STEPS - 1.0), np.zeros(N)], axis=1))
    assert effects.message.tolist() == [1] * N
    average = effects.average("minutes", level=0.9999)
    assert np.isclose(average.value, clicks.mean() * (STEPS - 1))
    assert average.lower < 0.3 * (STEPS - 1) < average.upper
    assert small_world.t == 0  # the world stays where it is


def test_individual_effects_have_the_expectation_of_the_user(small_world) -> None:
    """Even users' offers click with 0.6 and cost half a point: +0.6 + 0.1·0.6·(H − 1) − 0.5."""
    small_world.reset(20, 0)
    user, action = np.array([2, 4, 4, 8]), np.array([2, 2, 1, 0])
    effects = twins(
        small_world, user, action, policy=SilencePolicy(), horizon_days=DAYS, replicates=60, seed=9
    )  # fmt: skip
    expected = np.array([0.6 + 0.06 * 5 - 0.5] * 2 + [0.3 + 0.03 * 5, 0.0])
    found = effects.individual(level=0.9999)
    assert (found.lower <= expected).all() and (expected <= found.upper).all()
    assert (found.std_error[:3] > 0).all() and found.value[3] == found.std_error[3] == 0.0
    # A binomial click times 1.5: the standard error of 60 of them.
    assert np.allclose(found.std_error[0], 1.5 * np.sqrt(0.24 / 60), rtol=0.15)
    assert found.to_dict()["lower"] == found.lower.tolist()
    # Other objectives' weights are a choice of the caller.
    assert np.allclose(effects.individual(weights={"cost": 2.0}).value[:3], [1.0, 1.0, 0.0])


def test_all_else_is_shared(small_world) -> None:
    """Under a policy that draws, what was drawn for a user is the same in both futures unless the action changed it."""
    seen = small_world.reset(N, 1)
    letter = twins(small_world, seen.user, np.full(N, 3), policy=UniformPolicy(), horizon_days=2)
    lost = letter.effect[0]
    clicks = np.array([uniform(1, user, 0, 0) < 0.2 for user in range(N)])
    assert np.array_equal(lost[:, 0], clicks)  # later clicks are the same ones
    assert np.array_equal(lost[:, 2], np.zeros(N))


def test_average_of_some(small_world) -> None:
    seen = small_world.reset(N, 1)
    user = np.concatenate([seen.user, seen.user])
    action = np.repeat([1, 3], N)
    effects = twins(small_world, user, action, policy=SilencePolicy(), horizon_days=1)
    greeting = twins(small_world, seen.user, np.ones(N, dtype=int), policy=SilencePolicy(), horizon_days=1)
    assert effects.average("clicked", where=effects.message == 1) == greeting.average("clicked")
    both = effects.average("clicked")
    per_user = effects.effect[0, :, 0].reshape(2, N).mean(axis=0)  # a user's two pairs are one cluster
    assert np.isclose(both.value, per_user.mean())
    assert np.isclose(both.std_error, per_user.std(ddof=1) / np.sqrt(N))
    assert both.df == N - 1
    assert effects.to_dict()["averages"]["clicked"]["value"] == both.value


@pytest.mark.parametrize(
    ("user", "action", "options", "message"),
    [
        ([0], [1], {}, r"user\[0\] == 0, must be a user of the current observation"),
        ([1, 5], [1, 2], {}, r"action\[1\] == 2, must be eligible for user 5: one of \[0, 1, 3\]"),
        ([1], [9], {}, r"action\[0\] == 9, must be eligible"),
        ([1], [1], {"instead": 2}, r"instead\[0\] == 2, must be eligible for user 1"),
        ([1, 2], [1], {}, "must be integers"),
        ([1], [1.0], {}, "must be integers"),
        ([1], [1], {"replicates": 0}, "replicates == 0, must be a whole number >= 1"),
        ([1], [1], {"instead": 1.5}, "instead == 1.5, must be a whole number >= 0"),
        ([1], [1], {"seed": -1}, "seed == -1, must be a whole number >= 0"),
    ],
)
def test_mistakes_are_named(small_world, user, action, options, message) -> None:
    small_world.reset(10, 0)
    small_world.step(np.zeros(10, dtype=int))  # in odd steps users 0, 3, … are not asked
    with pytest.raises(InvalidInputError, match=message):
        twins(small_world, user, action, policy=SilencePolicy(), **{"horizon_days": 1, **options})


def test_intervals_need_more_than_one(small_world) -> None:
    small_world.reset(10, 0)
    effects = twins(small_world, [1], [1], policy=SilencePolicy(), horizon_days=1)
    with pytest.raises(InvalidInputError, match="replicates == 1, must be >= 2"):
        effects.individual()
    with pytest.raises(SupportError, match="number of clusters == 1"):
        effects.average()
    with pytest.raises(InvalidInputError, match=r"where == 'int64 \(1,\)', must be bool \(1,\), one for each pair"):
        effects.average(where=[0])  # positions are no mask


def test_after_some_steps_no_draw_is_had_again(small_world, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws are numbered by the world's steps: who plays a while and then asks for twins has no draw twice."""
    numbers: list[int] = []

    def noted(probs, seen, n_users, seed, step):
        numbers.append(step)
        return draw(probs, seen, n_users, seed, step)

    monkeypatch.setattr(acting, "draw", noted)
    monkeypatch.setattr(counterfactuals, "draw", noted)
    small_world.reset(N, 1)
    decide = acting.decider(small_world, UniformPolicy())
    for _ in acting.play(small_world, decide, steps=3, n_users=N, seed=0):
        pass
    assert numbers == [0, 1, 2] and small_world.t == 3
    numbers.clear()
    user = small_world.observation.user
    twins(small_world, user, np.zeros(len(user), dtype=int), policy=UniformPolicy(), horizon_days=2)
    assert numbers == [3, 4, 5, 6] * 2  # two days of two steps, in both futures
