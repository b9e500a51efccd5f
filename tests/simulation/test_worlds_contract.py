"""What holds for every world: shapes, names, determinism, twins, copies, and that what is not eligible is refused."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.simulation import PADDING, UNLINKED, Observation, World, check_world, make_world, world_names

N = 60
STEPS = 8


@pytest.fixture(params=world_names())
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param)


def choose(seen: Observation, seed: int) -> np.ndarray:
    """An eligible candidate for each user; the same one whoever else is asked."""
    chance = np.random.default_rng(seed).random((1000, seen.eligible.shape[1]))[seen.user]
    return np.where(seen.eligible, chance, -1.0).argmax(axis=1)


def same(a: Observation, b: Observation) -> bool:
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(_arrays(a), _arrays(b), strict=True))


def _arrays(seen: Observation) -> list[np.ndarray]:
    return list(vars(seen).values())


def play(world: World, steps: int = STEPS, seed: int = 5) -> list:
    """Rewards and observations along a random run."""
    out = []
    for t in range(steps):
        reward = world.step(choose(world.observation, seed + t)).reward
        out.append((reward, world.observation))
    return out


def test_what_it_shows_is_as_declared(world: World) -> None:
    world.reset(N, seed=1)
    assert isinstance(check_world(world), World)
    assert world.start.tzinfo is not None
    assert world.step_hours > 0
    for t in range(STEPS):
        seen = world.observation
        n, k = seen.eligible.shape
        assert seen.context.shape == (n, len(world.context_features))
        assert seen.features.shape == (n, k, len(world.candidate_features))
        assert seen.message.shape == seen.value.shape == seen.expires_hours.shape == (n, k)
        assert [a.dtype for a in _arrays(seen)] == [np.int64, float, np.int64, float, float, float, bool]
        assert (np.diff(seen.user) > 0).all()
        assert set(seen.user) <= set(range(N))
        assert (seen.message[:, 0] == 0).all()
        assert seen.eligible[:, 0].all()
        assert not seen.eligible[seen.message == PADDING].any()
        assert ((seen.message[:, 1:] == PADDING) | (seen.message[:, 1:] > 0)).all()
        assert (seen.message < len(world.catalogue)).all()
        assert not np.isinf(seen.context).any()  # NaN where something is not known
        assert not np.isinf(seen.features).any()
        assert np.isfinite(seen.value).all()
        assert (seen.expires_hours[seen.eligible & ~np.isnan(seen.expires_hours)] >= 0).all()
        for features, values in ((world.context_features, seen.context), (world.candidate_features, seen.features)):
            for j, feature in enumerate(features):
                if feature.kind != "number":
                    allowed = range(2 if feature.flag else len(feature.levels))
                    known = values[..., j][~np.isnan(values[..., j])]
                    assert np.isin(known, allowed).all(), feature.name
        reward = world.step(choose(seen, t)).reward
        assert reward.shape == (N, len(world.objectives))
        assert reward.dtype == float
        assert np.isfinite(reward).all()


def test_events_tell_when_and_from_which_decision(world: World) -> None:
    world.reset(N, seed=2)
    asked: list[set[int]] = []
    happened = 0
    for t in range(STEPS):
        seen = world.observation
        asked.append(set(seen.user.tolist()))
        events = world.step(choose(seen, t)).events
        happened += len(events)
        assert len({len(column) for column in vars(events).values()}) == 1
        assert np.isin(events.kind, range(len(world.kinds))).all()
        assert np.isfinite(events.value).all()
        assert (events.hours < (t + 1) * world.step_hours).all()
        assert (events.hours >= t * world.step_hours).all()
        linked = events.step != UNLINKED
        assert (events.step[linked] <= t).all()
        assert (events.hours[linked] >= events.step[linked] * world.step_hours).all()
        assert all(user in asked[step] for user, step in zip(events.user[linked], events.step[linked], strict=True))
    assert happened


def test_the_seed_is_all_that_it_depends_on(world: World) -> None:
    first = same(world.reset(N, seed=3), world.copy().observation), play(world)
    again = make_world(world.name)
    again.reset(N, seed=3)
    for (reward, seen), (reward_2, seen_2) in zip(first[1], play(again), strict=True):
        assert np.array_equal(reward, reward_2)
        assert same(seen, seen_2)
    world.reset(N, seed=4)
    other = zip(first[1], play(world), strict=True)
    assert not all(np.array_equal(r, r_2) and same(seen, seen_2) for (r, seen), (r_2, seen_2) in other)


def test_a_user_does_not_depend_on_how_many_there_are(world: World) -> None:
    world.reset(N, seed=6)
    fewer = make_world(world.name)
    fewer.reset(N // 3, seed=6)
    for (reward, seen), (reward_2, seen_2) in zip(play(world), play(fewer), strict=True):
        assert np.array_equal(reward[: N // 3], reward_2)
        assert same(seen.rows(seen.user < N // 3), seen_2)


def test_another_action_changes_nothing_for_others(world: World) -> None:
    world.reset(N, seed=7)
    for turn in range(STEPS):
        seen = world.observation
        many = np.flatnonzero(seen.eligible.sum(axis=1) > 1)
        if len(many):
            break
        play(world, 1, seed=40 + turn)
    row = int(many[0])
    user = seen.user[row]
    action = choose(seen, 0)
    other = action.copy()
    other[row] = np.flatnonzero(seen.eligible[row] & (np.arange(seen.eligible.shape[1]) != action[row]))[0]
    twin = world.copy()
    rest = np.arange(N) != user
    assert np.array_equal(world.step(action).reward[rest], twin.step(other).reward[rest])
    for (reward, seen), (reward_2, seen_2) in zip(play(world), play(twin), strict=True):
        assert np.array_equal(reward[rest], reward_2[rest])
        assert same(seen.rows(seen.user != user), seen_2.rows(seen_2.user != user))


def test_copies_go_their_own_way(world: World) -> None:
    world.reset(N, seed=8)
    play(world, 2)
    before, twin = world.observation, world.copy()
    held = [array.copy() for array in _arrays(before)]
    ahead = play(twin)
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(held, _arrays(before), strict=True))
    assert same(world.observation, before)
    for (reward, seen), (reward_2, seen_2) in zip(ahead, play(world), strict=True):
        assert np.array_equal(reward, reward_2)
        assert same(seen, seen_2)


def test_what_is_not_eligible_is_refused_and_nothing_happens(world: World) -> None:
    seen = world.reset(N, seed=9)
    twin = world.copy()
    action = choose(seen, 0)
    for bad in (seen.eligible.shape[1], -1):
        wrong = action.copy()
        wrong[3] = bad
        with pytest.raises(InvalidInputError, match=rf"action\[3\] == {bad}, must be eligible"):
            world.step(wrong)
    with pytest.raises(InvalidInputError, match=rf"must be integers of shape \({len(seen)},\)"):
        world.step(action[1:])
    assert np.array_equal(world.step(action).reward, twin.step(action).reward)


def test_what_cannot_be_made_is_refused(world: World) -> None:
    with pytest.raises(InvalidInputError, match="Call reset"):
        _ = make_world(world.name).observation
    with pytest.raises(InvalidInputError, match="n_users == 0, must be a whole number >= 1"):
        world.reset(0, seed=0)
    with pytest.raises(InvalidInputError, match="seed == -1, must be a whole number >= 0"):
        world.reset(1, seed=-1)
    with pytest.raises(UnknownNameError, match=f"parameter of {world.name} == 'parametres'"):
        make_world(world.name, parametres=None)


def test_unknown_worlds_get_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'linkedin'"):
        make_world("linkedn")
