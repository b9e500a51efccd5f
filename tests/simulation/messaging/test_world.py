"""Lives in the messaging world: what guards forbid never happens, chance is shared, threads and order do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import build_dataset, validate
from homing.simulation import Mixture, Observation, log_decisions, simulate
from homing.simulation.acting import decider, play
from homing.simulation.messaging import (
    Drift,
    LongTermRule,
    MessagingParameters,
    MessagingWorld,
    PriorityRule,
    behaviour_policy,
)
from homing.simulation.messaging.dynamics import KINDS, OBJECTIVES
from homing.simulation.messaging.parameters import CHANNELS, DOMAINS

N, STEPS = 400, 60
KIND = {name: code for code, name in enumerate(KINDS)}


def eager(seen: Observation) -> np.ndarray:
    """The last eligible candidate, and so a message to everybody."""
    return seen.eligible.shape[1] - 1 - seen.eligible[:, ::-1].argmax(axis=1)


def pushy(seen: Observation) -> np.ndarray:
    """The first eligible message, by push where that is open."""
    return seen.eligible[:, 1:].argmax(axis=1) + 1


def channel_of(world: MessagingWorld, rows: np.ndarray) -> np.ndarray:
    return np.array(world.catalogue.channel)[rows]


def begun(seed: int = 3, n: int = N, **arguments) -> MessagingWorld:
    world = MessagingWorld(**arguments)
    world.reset(n, seed)
    return world


def open_to_all(**changes) -> MessagingParameters:
    """Everybody can be reached by push, and many opportunities come."""
    return MessagingParameters(push_opt_in=(1.0, 1.0), arrivals_per_day=(2.0, 2.0, 1.0, 1.0, 1.0), **changes)


def test_threads_do_not_matter() -> None:
    one, three = begun(), begun(threads=3)
    for _ in range(12):
        a, b = one.step(eager(one.observation)), three.step(eager(three.observation))
        assert (a.reward == b.reward).all()
        for name in ("user", "kind", "hours", "value", "step"):
            assert (getattr(a.events, name) == getattr(b.events, name)).all()
    assert (one.state == three.state).all()


def test_a_user_is_the_same_whoever_else_is_there() -> None:
    few, many = begun(n=20), begun(n=N)
    for _ in range(12):
        small, large = few.step(eager(few.observation)), many.step(eager(many.observation))
        assert (small.reward == large.reward[:20]).all()
    assert (few.state == many.state[:20]).all()


def test_twins_differ_in_the_one_user_who_gets_another_action() -> None:
    world = begun()
    for _ in range(6):
        world.step(eager(world.observation))
    twin, seen = world.copy(), world.observation
    action = pushy(seen)
    other = action.copy()
    row = int(np.argmax(channel_of(world, seen.message[np.arange(len(seen)), action]) == "push"))
    other[row] = 0
    apart = np.zeros(N, dtype=bool)
    apart[seen.user[row]] = True
    a, b = world.step(action).reward, twin.step(other).reward
    for _ in range(20):
        assert (a[~apart] == b[~apart]).all()
        a, b = world.step(eager(world.observation)).reward, twin.step(eager(twin.observation)).reward
    assert (world.state[~apart] == twin.state[~apart]).all()
    assert world.state[apart] != twin.state[apart]


def test_opted_out_users_get_nothing_on_that_channel_until_they_allow_it_again() -> None:
    parameters = open_to_all(opt_out_logit=(-2.0, -2.0, -1e9), permission_per_session=0.05)
    world = begun(parameters=parameters)
    closed = {channel: ~(world.state.consent[:, i] > 0) for i, channel in enumerate(CHANNELS)}
    outs = again = 0
    for _ in range(STEPS):
        seen = world.observation
        action = pushy(seen)
        rows = seen.message[np.arange(len(seen)), action]
        for channel in CHANNELS:
            asked = closed[channel][seen.user][:, None]
            assert not (seen.eligible & asked & (channel_of(world, seen.message) == channel)).any()
            assert not closed[channel][seen.user[channel_of(world, rows) == channel]].any()
        events = world.step(action).events
        for channel, kind in (("push", "disabled"), ("email", "unsubscribed")):
            left = events.user[events.kind == KIND[kind]]
            assert not closed[channel][left].any()
            closed[channel][left] = True
            outs += len(left)
            back = (events.kind == KIND["custom:permitted"]) & (events.value == CHANNELS.index(channel))
            assert closed[channel][events.user[back]].all()
            closed[channel][events.user[back]] = False
            again += int(back.sum())
    assert outs > 100
    assert again > 20
    assert not closed["in_app"].any()


def test_caps_quiet_hours_and_expiry_hold() -> None:
    p = open_to_all()
    world = begun(parameters=p)
    sent = np.zeros((STEPS, N, len(CHANNELS)), dtype=int)
    most_day, most_week = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
    for t in range(STEPS):
        seen = world.observation
        local = (6.0 * t + world.state.zone[seen.user]) % 24.0
        assert ((local >= p.quiet_until_hour) & (local < p.quiet_from_hour)).all()
        waiting = seen.message > 0
        assert (seen.expires_hours[waiting] >= 6.0).all()
        longest = np.array(p.life_hours)[(seen.message[waiting] - 1) // 3 % len(DOMAINS)]
        assert (seen.expires_hours[waiting] <= longest).all()
        action = eager(seen) if t % 2 else pushy(seen)
        events = world.step(action).events
        got = np.isin(seen.user, events.user[events.kind == KIND["delivered"]])
        channel = (seen.message[np.arange(len(seen)), action] - 1) % 3
        sent[t, seen.user[got], channel[got]] = 1
        day, week = sent[max(t - 3, 0) : t + 1].sum(axis=0), sent[max(t - 27, 0) : t + 1].sum(axis=0)
        most_day, most_week = np.maximum(most_day, day.max(axis=0)), np.maximum(most_week, week.max(axis=0))
        here = world.state.alive
        assert (world.state.sends[here, :, 0] == day[here]).all()
        assert (world.state.sends[here, :, 1] == week[here]).all()
    assert most_day.tolist() == list(p.cap_day)
    assert most_week[0] == p.cap_week[0]
    assert (most_week <= p.cap_week).all()


def test_what_is_sent_or_expired_waits_no_longer_and_a_message_seen_by_nobody_does() -> None:
    world = begun(parameters=open_to_all(sessions_per_day=0.05))
    seen = world.observation
    in_app = channel_of(world, seen.message) == "in_app"
    action = (seen.eligible & in_app).argmax(axis=1)
    rows = seen.message[np.arange(len(seen)), action]
    domain = (rows - 1) // 3 % len(DOMAINS)
    before = world.state.arrived[seen.user, domain].copy()
    events = world.step(action).events
    shown = np.isin(seen.user, events.user[events.kind == KIND["delivered"]])
    assert 0 < shown.sum() < 0.2 * len(seen)
    still = (world.state.queued[seen.user, domain] >= 0) & (world.state.arrived[seen.user, domain] == before)
    assert not still[shown].any()
    # Not shown and not replaced or expired: most of them.
    assert still[~shown].mean() > 0.5
    assert (world.state.sends[seen.user, 2, 0] == shown).all()


def test_windows_and_counts_in_the_context_are_those_of_the_events() -> None:
    world = begun(n=80)
    names = [feature.name for feature in world.context_features]
    sessions = np.zeros((130, 80), dtype=int)
    last = world.state.visit.copy()
    for t in range(130):
        events = world.step(eager(world.observation)).events
        here = events.user[events.kind == KIND["session"]]
        assert len(np.unique(here)) == len(here)
        sessions[t, here] = 1
        last[here] = t
    seen = world.observation
    context = dict(zip(names, seen.context.T, strict=True))
    assert (context["sessions_7d"] == sessions[-28:].sum(axis=0)[seen.user]).all()
    assert (context["sessions_28d"] == sessions[-112:].sum(axis=0)[seen.user]).all()
    assert (context["hours_since_session"] == 6.0 * (130 - last[seen.user])).all()


def test_rewards_are_what_the_events_say() -> None:
    world = begun(parameters=open_to_all(churn_per_day=0.02, cancel_per_day=0.02, conversion_per_session=0.02))
    happened = np.zeros(len(OBJECTIVES))
    for _ in range(STEPS):
        premium, alive = world.state.premium.copy(), world.state.alive.copy()
        out = world.step(eager(world.observation))
        events = out.events
        for objective, kinds in (
            ("clicked", ("clicked",)), ("sessions", ("session",)), ("converted", ("converted",)),
            ("cancelled", ("custom:cancelled",)), ("churned", ("churned",)),
            ("opted_out", ("disabled", "unsubscribed")),
        ):  # fmt: skip
            mine = np.isin(events.kind, [KIND[kind] for kind in kinds])
            counted = np.bincount(events.user[mine], minlength=N)
            assert (out.reward[:, OBJECTIVES.index(objective)] == counted).all()
        heard = events.kind == KIND["session"]
        hours = np.bincount(events.user[heard], events.value[heard], minlength=N)
        assert out.reward[:, OBJECTIVES.index("listening_hours")] == pytest.approx(hours)
        happened += out.reward.sum(axis=0)
        # Who is gone stays gone; premium changes by conversion and cancelling alone.
        assert (out.reward[~alive] == 0).all()
        change = out.reward[:, OBJECTIVES.index("converted")] - out.reward[:, OBJECTIVES.index("cancelled")]
        assert (world.state.premium.astype(int) == premium + change).all()
        hour = 6.0 * (world.t - 1)
        assert ((events.hours >= hour) & (events.hours < hour + 6.0)).all()
        assert np.isin(events.step, (-1, world.t - 1)).all()
    assert (happened > 0).all()


def test_python_lives_the_same_lives(as_plain_python) -> None:
    compiled, plain = begun(n=5, seed=11), begun(n=5, seed=11)
    for _ in range(40):
        a = compiled.step(eager(compiled.observation))
        with as_plain_python():
            b = plain.step(eager(plain.observation))
        assert (a.reward == b.reward).all()
        assert (a.events.kind == b.events.kind).all()
        for name in compiled.state.dtype.names:
            assert compiled.state[name] == pytest.approx(plain.state[name], rel=1e-12), name


def test_the_behaviour_policy_explores_everything() -> None:
    world = begun()
    decide = decider(world, behaviour_policy())
    for step in play(world, decide, steps=8, n_users=N, seed=0):
        seen = step.observation
        assert step.probs.sum(axis=1) == pytest.approx(1.0)
        assert (step.probs[~seen.eligible] == 0).all()
        # 95 % of decisions: 10 % silence, 10 % uniform; 5 % are uniform. At most 16 candidates.
        least = (0.95 * 0.1 + 0.05) / seen.eligible.sum(axis=1)
        assert (step.probs >= np.where(seen.eligible, least[:, None], 0.0) - 1e-12).all()
        assert (step.probs[:, 0] >= 0.095 + least - 1e-12).all()
    assert isinstance(behaviour_policy(), Mixture)


@pytest.mark.parametrize(
    ("drift", "field"),
    [(Drift(interests_day=5, interests_share=0.5), "interest"), (Drift(overclaim_day=5), "value")],
    ids=["interests", "overclaim"],
)
def test_drift_begins_on_its_day(drift: Drift, field: str) -> None:
    steady, drifting = begun(), begun(drift=drift)
    for t in range(40):
        if t < 20:
            assert (steady.state[field] == drifting.state[field]).all()
        silence = np.zeros(len(steady.observation), dtype=np.int64)
        steady.step(silence)
        drifting.step(np.zeros(len(drifting.observation), dtype=np.int64))
    changed = (steady.state[field] != drifting.state[field]).any(axis=1)
    if field == "interest":
        # Half of 400 users: 5 standard deviations are 0.125.
        assert changed.mean() == pytest.approx(0.5, abs=0.125)
        assert (steady.state.affinity == drifting.state.affinity).all()
    else:
        podcast = DOMAINS.index("podcast")
        assert changed.any()
        assert (np.delete(steady.state.value, podcast, 1) == np.delete(drifting.state.value, podcast, 1)).all()
        assert (steady.state.value[:, podcast] <= drifting.state.value[:, podcast]).all()


def test_a_new_campaign_comes_on_its_day() -> None:
    world = begun(drift=Drift(new_campaign_day=3))
    assert len(world.catalogue) == 1 + 4 * 5 * 3
    assert len(MessagingWorld().catalogue) == 1 + 3 * 5 * 3
    seen_before, seen_after = set(), set()
    for t in range(60):
        rows = world.observation.message
        (seen_before if t < 12 else seen_after).update(np.array(world.catalogue.campaign)[rows[rows > 0]])
        world.step(np.zeros(len(rows), dtype=np.int64))
    assert seen_before == {"announcement", "for_you", "teaser"}
    assert seen_after == {"announcement", "for_you", "teaser", "recap"}


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"click_logit == \(-3.0,\), must be 3 numbers: \('push', 'email'"):
        MessagingParameters(click_logit=(-3.0,))
    with pytest.raises(InvalidInputError, match=r"click_fatigue == nan, must be a finite number\."):
        MessagingParameters(click_fatigue=float("nan"))
    with pytest.raises(InvalidInputError, match=r"parameters == .*, must be MessagingParameters\. Name"):
        MessagingWorld(parameters={"ios_share": 0.5})
    with pytest.raises(InvalidInputError, match=r"overclaim == nan, must be a finite number\."):
        Drift(overclaim=float("nan"))
    with pytest.raises(InvalidInputError, match=r"good_value == .*, must be > 0\."):
        PriorityRule(good_value=(0.0,) * 5)
    with pytest.raises(InvalidInputError, match=r"channel_value == \(1,\), must be 3 numbers\."):
        LongTermRule(channel_value=(1,))
    with pytest.raises(InvalidInputError, match=r"horizon_days == 0, must be a finite number > 0\."):
        LongTermRule(horizon_days=0)
    with pytest.raises(InvalidInputError, match=r"zone_shares == .*, must sum to 1\."):
        MessagingParameters(zone_shares=(0.5,) * 6)
    with pytest.raises(InvalidInputError, match=r"email_opt_in == 1.2, must be in \[0, 1\]\."):
        MessagingParameters(email_opt_in=1.2)
    with pytest.raises(InvalidInputError, match=r"habit_half_life_days == 0.0, must be > 0\."):
        MessagingParameters(habit_half_life_days=0.0)
    with pytest.raises(InvalidInputError, match=r"threads == 0, must be a whole number >= 1\."):
        MessagingWorld(threads=0)
    with pytest.raises(InvalidInputError, match=r"interests_day == -1, must be >= 0, or None\."):
        Drift(interests_day=-1)
    with pytest.raises(UnknownNameError, match="Did you mean 'podcast'"):
        Drift(overclaim_domain="podcasts")


def test_a_rollout_under_the_behaviour_policy_does_not_depend_on_threads() -> None:
    runs = [
        simulate(MessagingWorld(threads=threads), behaviour_policy(), horizon_days=5, n_users=300, seed=2)
        for threads in (1, 2)
    ]
    assert (runs[0].total == runs[1].total).all()


def test_its_log_gives_back_what_happened_since_each_users_first_decision() -> None:
    world = MessagingWorld()
    log = log_decisions(world, world.behaviour_policy(), days=6, n_users=150, seed=1)
    assert validate(log).ok
    data = build_dataset(log, world.log_objectives)
    assert data.objectives == world.objectives
    world.reset(150, 1)
    total, met = np.zeros(len(OBJECTIVES)), np.zeros(150, dtype=bool)
    for step in play(world, decider(world, world.behaviour_policy()), steps=24, n_users=150, seed=1):
        met[step.observation.user] = True
        total += step.outcomes.reward[met].sum(axis=0)
    assert total[:3].all()
    assert data.reward.sum(axis=0) == pytest.approx(total)
