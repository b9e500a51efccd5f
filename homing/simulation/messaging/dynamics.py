"""One step of one user's life: the message, the session, what is kept of both, and what leaves."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, poisson, uniform
from homing.simulation.messaging.opportunities import refresh
from homing.simulation.messaging.parameters import CHANNELS, DOMAINS, PREMIUM_OFFER, STEP_HOURS, STEPS_A_DAY
from homing.simulation.messaging.responses import (
    EMAIL,
    IN_APP,
    PUSH,
    annoyance,
    click_logit,
    leave_factor,
    opt_out_probability,
    relevance,
    session_rate,
)
from homing.simulation.messaging.users import FloatArray, sigmoid

OBJECTIVES = ("clicked", "sessions", "listening_hours", "converted", "cancelled", "churned", "opted_out")
CLICKED, SESSIONS, HOURS, CONVERTED, CANCELLED, CHURNED, OPTED_OUT = range(len(OBJECTIVES))
#: What is logged, in this order.
KINDS = (
    "delivered", "opened", "clicked", "session", "converted", "custom:cancelled", "churned", "disabled",
    "unsubscribed", "custom:permitted",
)  # fmt: skip
(
    DELIVERED, OPENED, CLICK, SESSION, CONVERSION, CANCELLATION, CHURN, DISABLED, UNSUBSCRIBED, PERMITTED,
) = range(len(KINDS))  # fmt: skip
#: No user can have more events in one step: all kinds, but one way of opting out; both channels allowed again.
MOST_EVENTS = 10
#: Purposes of draws.
(
    ORGANIC, CLICKS, DELAY, WHEN, INFLUENCED, OPTS_OUT, LISTENS, CONVERTS, CANCELS, LEAVES, PERMITS_PUSH, PERMITS_EMAIL,
    ALERTS,
) = range(128, 141)  # fmt: skip
DOMAIN_COUNT, CHANNEL_COUNT = len(DOMAINS), len(CHANNELS)


class Season(NamedTuple):
    """What a step is for everybody.

    Attributes:
        step: number of the step.
        activity: times organic sessions.
        arrivals: by domain, opportunities that come to a user of reach 1 for the next step.
        overclaim: by domain, in the next step.
        recap: whether the new campaign runs in the next step.
        place: of this step, and of that 28 days ago, in `past`.
        week_ago: place of the step seven days ago.
        day_ago: place of the step a day ago.
    """

    step: int
    activity: float
    arrivals: FloatArray
    overclaim: FloatArray
    recap: bool
    place: int
    week_ago: int
    day_ago: int


#: An event as it is written.
EVENT = np.dtype(
    [("user", np.int64), ("kind", np.int64), ("hours", np.float64), ("value", np.float64), ("step", np.int64)]
)


@compiled
def note(log: Any, at: int, u: int, kind: int, hours: float, value: float, step: int) -> int:
    """Write an event; the next free place."""
    event = log[at]
    event.user = u
    event.kind = kind
    event.hours = hours
    event.value = value
    event.step = step
    return at + 1


@compiled
def decode(message: int) -> tuple[int, int, int]:
    """Domain, campaign and channel of a row of the catalogue other than silence."""
    template = (message - 1) // CHANNEL_COUNT
    return template % DOMAIN_COUNT, template // DOMAIN_COUNT, (message - 1) % CHANNEL_COUNT


@compiled
def encode(domain: int, campaign: int, channel: int) -> int:
    """Row of the catalogue."""
    return 1 + (campaign * DOMAIN_COUNT + domain) * CHANNEL_COUNT + channel


@compiled
def live(p: Any, r: Any, season: Any, seed: int, u: int, message: int, reward: Any, log: Any, at: int) -> int:
    """User u lives through a step in which they are sent `message` (0 for silence); the log's next free place."""
    step = season.step
    now = STEP_HOURS * step
    quarter = step % STEPS_A_DAY
    rate = session_rate(p, r, quarter, season.activity)
    organic = uniform(seed, u, step, ORGANIC)
    session = organic < rate and organic < -math.expm1(-rate)
    session_at = now + STEP_HOURS * uniform(seed, u, step, WHEN) if session else 0.0
    minutes = 0.0
    sent = 0
    if message > 0:
        domain, campaign, channel = decode(message)
        template = campaign * DOMAIN_COUNT + domain
        if channel != IN_APP or session:
            # Delivered: an in-app message waits for a session that comes by itself.
            sent = 1 + channel
            delivered_at = session_at if channel == IN_APP else now + 0.01
            at = note(log, at, u, DELIVERED, delivered_at, 1.0, step)
            worth = relevance(p, r.interest[domain], r.quality[domain])
            z = click_logit(p, r, channel, campaign, worth, quarter, step - r.template_step[template])
            chance = uniform(seed, u, step, CLICKS)
            clicked = chance < sigmoid(z)
            late = 0.02 + 5.9 * uniform(seed, u, step, DELAY) ** 2
            answer_at = min(delivered_at + late, now + STEP_HOURS - 0.005)
            if clicked or (channel == EMAIL and chance < sigmoid(z + p.email_opened_logit)):
                at = note(log, at, u, OPENED, answer_at, 1.0, step)
            harm = annoyance(p, r, channel, campaign, worth)
            leaves = uniform(seed, u, step, OPTS_OUT) < opt_out_probability(p, r, channel, campaign, worth)
            if clicked:
                at = note(log, at, u, CLICK, answer_at, 1.0, step)
                reward[CLICKED] = 1.0
                minutes += p.minutes_clicked[domain] * worth
                r.habit += p.habit_clicked * p.habit_campaign[campaign] * worth * (1.0 - r.habit)
                r.disengagement *= 1.0 - p.contentment * worth
                if domain == PREMIUM_OFFER:
                    r.intent += p.intent_clicked * worth * (1.0 - r.intent)
                r.streak = max(r.streak, 0) + 1
            else:
                r.streak = min(r.streak, 0) - 1
            r.disengagement += harm * (1.0 - r.disengagement)
            comes = clicked or uniform(seed, u, step, INFLUENCED) < p.influence * sigmoid(z)
            if comes and not session:
                session, session_at = True, answer_at
            r.fatigue += p.intrusiveness[channel]
            r.habituation[channel] += p.habituation_rise[channel] * (1.0 - r.habituation[channel])
            r.template_step[template] = step
            r.queued[domain] = -1
            if leaves:
                r.consent[channel] = 0
                reward[OPTED_OUT] = 1.0
                kind = DISABLED if channel == PUSH else UNSUBSCRIBED
                at = note(log, at, u, kind, answer_at + 0.001, 1.0, step)
    if r.consent[PUSH]:
        expected = r.followed * p.alerts_per_source_month / (30.0 * STEPS_A_DAY)
        # exp(-x) >= 1 - x: mostly there is nothing to compute.
        if uniform(seed, u, step, ALERTS) >= 1.0 - expected:
            count = poisson(expected, seed, u, step, ALERTS)
            r.alerts += count
            r.habituation[PUSH] += (1.0 - r.habituation[PUSH]) * -math.expm1(-p.habituation_alert * count)
    if session:
        mean = p.minutes_per_session * (p.minutes_premium_factor if r.premium else 1.0)
        spread = p.minutes_spread
        minutes += mean * math.exp(spread * (normal(seed, u, step, LISTENS) - 0.5 * spread))
        linked = step if reward[CLICKED] > 0.0 and sent != 1 + IN_APP else -1
        at = note(log, at, u, SESSION, session_at, minutes / 60.0, linked)
        reward[SESSIONS] = 1.0
        reward[HOURS] = minutes / 60.0
        r.habit += p.habit_organic * (1.0 - r.habit)
        r.visit = step
        if not r.premium:
            appeal = p.conversion_per_session * math.exp(p.conversion_habit * (r.habit - 0.5))
            if uniform(seed, u, step, CONVERTS) < appeal * (1.0 + p.intent_factor * r.intent):
                r.premium = True
                r.intent = 0.0
                r.queued[PREMIUM_OFFER] = -1
                reward[CONVERTED] = 1.0
                at = note(log, at, u, CONVERSION, session_at + 0.002, 1.0, -1)
        for channel in range(IN_APP):
            closed = not r.consent[channel] and sent != 1 + channel
            if closed and uniform(seed, u, step, PERMITS_PUSH + channel) < p.permission_per_session:
                r.consent[channel] = 1
                at = note(log, at, u, PERMITTED, session_at + 0.001, float(channel), -1)
    leaves_below = uniform(seed, u, step, LEAVES)
    cancels_below = uniform(seed, u, step, CANCELS) if r.premium else 1.0
    gone = False
    if min(leaves_below, cancels_below) < p.likeliest_leave:
        leave = leave_factor(p, r) / STEPS_A_DAY
        gone = leaves_below < p.churn_per_day * (p.churn_premium_factor if r.premium else 1.0) * leave
        if r.premium and (gone or cancels_below < p.cancel_per_day * leave):
            r.premium = False
            reward[CANCELLED] = 1.0
            at = note(log, at, u, CANCELLATION, now + STEP_HOURS - 0.002, 1.0, -1)
    if gone:
        r.alive = False
        reward[CHURNED] = 1.0
        at = note(log, at, u, CHURN, now + STEP_HOURS - 0.001, 1.0, -1)
    keep(p, r, season, sent, session, minutes)
    if r.alive:
        refresh(p, r, seed, u, step + 1, season.arrivals, season.overclaim, season.recap)
    return at


@compiled
def keep(p: Any, r: Any, season: Any, sent: int, session: bool, minutes: float) -> None:
    """What is left of a step as the next one begins: states recover, windows move on."""
    r.habit *= p.keep_habit
    r.disengagement *= p.keep_disengagement
    r.fatigue *= p.keep_fatigue
    r.intent *= p.keep_intent
    for channel in range(CHANNEL_COUNT):
        r.habituation[channel] *= p.keep_habituation
    r.minutes = r.minutes * KEEP_MINUTES + minutes
    new = sent + (8 if session else 0)
    move_on(r, int(r.past[season.day_ago]), new, 0)
    move_on(r, int(r.past[season.week_ago]), new, 1)
    move_on(r, int(r.past[season.place]), new, 2)
    r.past[season.place] = new


@compiled
def move_on(r: Any, old: int, new: int, window: int) -> None:
    """A step leaves a window as another enters it."""
    if old & 7:
        r.sends[(old & 7) - 1, window] -= 1
    if new & 7:
        r.sends[(new & 7) - 1, window] += 1
    if window > 0:
        r.sessions[window - 1] += (new >> 3) - (old >> 3)


#: What `Users.minutes` keeps in a step: a mean life of ten days.
KEEP_MINUTES = math.exp(-1.0 / (10.0 * STEPS_A_DAY))


@compiled
def advance(
    parameters: Any, users: Any, season: Any, seed: int, message: Any, reward: Any, log: Any, lo: int, hi: int
) -> int:
    """Users lo … hi − 1 live through a step; how many events they had, from place lo · MOST_EVENTS of the log on."""
    p = parameters[0]
    at = lo * MOST_EVENTS
    for u in range(lo, hi):
        if users[u].alive:
            at = live(p, users[u], season, seed, u, message[u], reward[u], log, at)
    return at - lo * MOST_EVENTS
