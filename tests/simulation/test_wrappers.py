"""Each wrapper changes what it is about, and nothing else; any order, any moment, any copy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import build_dataset, validate
from homing.policies import UniformPolicy
from homing.simulation import (
    Delayed,
    Drifting,
    Noisy,
    Restricted,
    World,
    check_world,
    decider,
    log_decisions,
    make_world,
    simulate,
)
from homing.simulation.acting import play
from homing.simulation.messaging import LongTermRule
from homing.simulation.messaging.rules import channels_of
from homing.simulation.wrappers import innermost

WRAPPERS = {
    "noisy": lambda w: Noisy(w, context={"streak": 0.5}, features={"novelty": 0.3}, value=0.2),
    "restricted": lambda w: Restricted(w, message_id={"letter"}, domain={"shop"}),
    "delayed": lambda w: Delayed(w, {"clicked": 20.0}),
    "drifting": lambda w: Drifting(w, at_day=1, change=lambda inner: Restricted(inner, channel={"email"})),
    "all": lambda w: Noisy(Delayed(Restricted(w, domain={"shop"}), {"clicked": 5.0}), value=0.1),
}


@pytest.fixture(params=WRAPPERS)
def wrapped(small_world, request):
    return WRAPPERS[request.param](small_world)


def run(world: World, steps: int = 6):
    return list(play(world, decider(world, UniformPolicy()), steps=steps, n_users=world.bare.n_users, seed=1))


def same(one, other) -> bool:
    sides = zip(one, other, strict=True)
    parts = [
        (vars(a.observation).values(), vars(b.observation).values())
        + (vars(a.outcomes.events).values(), vars(b.outcomes.events).values())
        for a, b in sides
    ]
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for group in parts
        for left, right in (group[:2], group[2:])
        for x, y in zip(left, right, strict=True)
    )


def test_is_a_world(wrapped) -> None:
    wrapped.reset(60, 3)
    assert isinstance(check_world(wrapped), World)
    first = run(wrapped)
    wrapped.reset(60, 3)
    assert same(first, run(wrapped))
    wrapped.reset(60, 3)
    run(wrapped, 2)
    twin, other = wrapped.copy(), wrapped.with_chance(77)
    ahead = run(wrapped, 3)
    assert same(ahead, run(twin, 3))
    assert not same(ahead, run(other, 3))
    assert wrapped.t == twin.t == 5
    assert validate(log_decisions(wrapped, UniformPolicy(), days=2, n_users=50)).ok


def test_ineligible_actions_change_nothing(small_world) -> None:
    world = Restricted(small_world, message_id={"letter"})
    seen = world.reset(10, 0)
    assert not seen.eligible[:, 3].any()
    with pytest.raises(InvalidInputError, match=r"action\[0\] == 3, must be eligible: one of \[0, 1, 2\]"):
        world.step(np.full(10, 3))
    assert world.t == 0


def test_noise_is_noise_of_the_declared_size(small_world) -> None:
    world = WRAPPERS["noisy"](small_world)
    shown, true = world.reset(6000, 0), small_world.observation
    there = true.message[:, 1:] > 0
    errors = {
        0.2: np.log(shown.value[:, 1:][there] / true.value[:, 1:][there]),
        0.3: (shown.features[:, :, 0] - true.features[:, :, 0])[:, 1],
    }
    for deviation, error in errors.items():
        # 6,000 numbers and more: a false failure at 0.1 % when the seed was chosen.
        assert stats.kstest(error / deviation, "norm").pvalue > 0.001
    assert np.isnan(shown.context[:, 2]).all()  # a missing streak stays missing
    for name in ("message", "eligible", "expires_hours", "user"):
        assert np.array_equal(getattr(shown, name), getattr(true, name), equal_nan=name == "expires_hours")
    assert np.array_equal(shown.context[:, :2], true.context[:, :2], equal_nan=True)
    assert np.array_equal(shown.features[:, :, 1:], true.features[:, :, 1:], equal_nan=True)
    assert (shown.value[:, 0] == 0).all()
    later = world.copy()
    later.step(np.zeros(6000, dtype=int))
    again = later.observation.value[:, 1] / later.bare.observation.value[:, 1]
    assert not np.array_equal(again, (shown.value / np.maximum(true.value, 1.0))[later.observation.user, 1])


def test_noise_and_delay_leave_what_happens(small_world) -> None:
    plain = simulate(small_world, UniformPolicy(), horizon_days=3, n_users=60)
    for name in ("noisy", "delayed"):
        other = simulate(WRAPPERS[name](small_world), UniformPolicy(), horizon_days=3, n_users=60)
        assert np.array_equal(plain.total, other.total)


def test_delayed_events_come_once_and_later(small_world) -> None:
    """Clicks wait 20 hours on average; all that the end does not cut off arrive, in the step that they fall into."""
    plain = small_world.copy()
    plain.reset(600, 4)
    late = Delayed(small_world, {"clicked": 20.0})
    late.reset(600, 4)
    sides = []
    for world in (plain, late):
        steps = list(play(world, decider(world, UniformPolicy()), steps=40, n_users=600, seed=1))
        events = [step.outcomes.events for step in steps]
        if world is late:
            for step, one in zip(steps, events, strict=True):
                clicked = one.kind == 0
                assert (one.hours[clicked] < 12 * (step.index + 1)).all()
                assert (one.hours[clicked] >= 12 * step.index).all()
        sides.append({(u, s): h for one in events for u, s, h, kind in
                      zip(one.user, one.step, one.hours, one.kind, strict=True) if kind == 0})  # fmt: skip
        others = sum(int((one.kind != 0).sum()) for one in events)
        sides.append(others)
    on_time, others, delayed, others_late = sides
    assert others == others_late
    assert set(delayed) <= set(on_time)
    early = [key for key in on_time if key[1] < 20]  # 20 steps, 240 hours, before the end
    assert all(key in delayed for key in early)
    waits = np.array([delayed[key] - on_time[key] for key in early])
    assert stats.kstest(waits / 20.0, "expon").pvalue > 0.001


def test_drift_comes_at_its_day_and_goes_with_a_reset(small_world) -> None:
    def more_clicks(world):
        world.click = (0.0, 1.0, 1.0, 1.0)
        return world

    world = Drifting(small_world, at_day=1, change=more_clicks)
    for _ in range(2):
        world.reset(300, 0)
        shares = []
        for step in play(world, decider(world, UniformPolicy()), steps=4, n_users=300, seed=0):
            sent = step.observation.user[step.action > 0]
            shares.append(step.outcomes.reward[sent, 0].mean())
        assert max(shares[:2]) < 0.6 and min(shares[2:]) == 1.0
    # A wrapper around the running world, from the first moment on.
    at_once = Drifting(small_world, at_day=0, change=lambda inner: Restricted(inner, channel={"email"}))
    assert not at_once.reset(10, 0).eligible[:, 3].any()
    with pytest.raises(InvalidInputError, match="catalogue after the change"):
        Drifting(small_world, at_day=0, change=_other_catalogue).reset(10, 0)


def test_wrappers_of_one_kind_have_draws_of_their_own() -> None:
    """Deviations of 0.6 and 0.8 make 1.0 together: the same draws twice would make 1.4. With 4,000 users the standard
    error of a deviation is 1.1 %, and that of a correlation 0.016."""
    plain = make_world("linkedin")

    def noisy(deviation: float):
        return lambda world: Noisy(world, context={"activeness": deviation})

    def noise(world: World) -> np.ndarray:
        return (world.observation.context - innermost(world).observation.context)[:, 3]

    def begun(world: World, seed: int = 0) -> np.ndarray:
        world.reset(4_000, seed)
        return noise(world)

    drifting = Drifting(plain, at_day=0, change=noisy(0.6))
    for twice in (
        noisy(0.8)(noisy(0.6)(plain)), noisy(0.8)(drifting), Drifting(drifting, at_day=0, change=noisy(0.8))
    ):  # fmt: skip
        assert begun(twice).std() == pytest.approx(1.0, rel=0.05)
    # What comes with a drift depends on the seed as all else does, and other chance is other chance for it too.
    first, other = begun(drifting), begun(drifting, seed=1)
    np.testing.assert_array_equal(first, begun(drifting))
    for one in (other, begun(noisy(0.6)(plain)), noise(drifting.with_chance(5))):
        assert abs(np.corrcoef(first, one)[0, 1]) < 0.08


def test_delays_inside_of_each_other_are_independent(small_world) -> None:
    """Two independent exponential delays of a day have a variance of 2 days²; one draw taken twice has 4. With some
    600 clicks its relative error is sqrt(5 / 600) = 9 %."""
    world = Delayed(Delayed(small_world, {"clicked": 24.0}), {"clicked": 24.0})
    action = world.reset(3_000, 0).eligible[:, 1].astype(np.int64)
    clicked, when = world.kinds.index("clicked"), []
    for step in range(60):
        events = world.step(action if step == 0 else np.zeros(len(world.observation), np.int64)).events
        when.append(events.hours[(events.kind == clicked) & (events.step == 0)])
    delays = np.concatenate(when) / 24.0  # clicks of one step come at much the same time
    assert len(delays) > 500 and np.var(delays) == pytest.approx(2.0, rel=0.3)


def test_a_wrapped_world_is_logged_as_the_one_inside() -> None:
    """Its objectives, its product's policy, and rules that see the truth."""
    world = make_world("messaging")
    hard = Noisy(Delayed(Restricted(world, channel={"email"}), {"clicked": 3.0}), value=0.5)
    log = log_decisions(hard, hard.behaviour_policy(), days=1, n_users=100)
    data = build_dataset(log, hard.log_objectives)
    assert data.objectives == world.objectives and validate(log).ok
    run = simulate(hard, LongTermRule(), horizon_days=2, n_users=200)
    assert run.sends.sum() > 0
    with pytest.raises(InvalidInputError, match="must be a MessagingWorld"):
        simulate(Noisy(make_world("linkedin")), LongTermRule(), horizon_days=1, n_users=10)
    seen = hard.reset(200, 0)
    channel = channels_of(seen.message)
    assert (LongTermRule().oracle_probs(hard)[channel == 1] == 0).all()


def _other_catalogue(world):
    from dataclasses import replace

    world.catalogue = replace(world.catalogue, slot=("silence", "a", "b", "c"))
    return world


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: Noisy(w, context={"steak": 1.0}), UnknownNameError, "Did you mean 'streak'"),
        (lambda w: Noisy(w, context={"platform": 1.0}), InvalidInputError, "kind of feature 'platform' == 'category'"),
        (lambda w: Noisy(w, value=-1.0), InvalidInputError, "deviation of value == -1.0, must be"),
        (lambda w: Restricted(w, domain={"musik"}), UnknownNameError, "Did you mean 'music'"),
        (lambda w: Delayed(w, {"click": 1.0}), UnknownNameError, "Did you mean 'clicked'"),
        (lambda w: Delayed(w, {"clicked": 0.0}), InvalidInputError, "clicked == 0.0, must be a finite number > 0"),
        (lambda w: Drifting(w, at_day=-1, change=lambda x: x), InvalidInputError, "at_day == -1, must be >= 0"),
        (lambda w: Drifting(w, at_day=0, change=lambda x: None).reset(9, 0), InvalidInputError, "change == None, must"),
        (lambda w: Restricted(w, channel="push"), InvalidInputError, "channel == 'push', must be a set of names"),
        (lambda w: Noisy(w, value="much"), InvalidInputError, "deviation of value == 'much', must be a finite number"),
    ],
)
def test_mistakes_are_named(small_world, make, error, message) -> None:
    with pytest.raises(error, match=message):
        make(small_world)
