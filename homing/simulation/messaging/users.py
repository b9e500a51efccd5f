"""Who is there: everything that a user is and does, as arrays over users, and how they are drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, uniform
from homing.simulation.messaging.parameters import CAMPAIGNS, CHANNELS, DOMAINS, STEP_HOURS, STEPS_A_DAY, WINDOW

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Purposes of draws; those for each domain take the numbers after theirs.
ZONE, PLATFORM, PREMIUM, PUSH, EMAIL, HOUR, HOUR_SEEN, RATE, CLICKY, SENSITIVE, FOLLOWED, TENURE, OFTEN = range(13)
INTEREST, AFFINITY, PAST, SHIFT = 16, 32, 1000, 48
#: Sources that one user can follow.
MOST_FOLLOWED = 500.0
#: When a template was last sent, where it never was.
NEVER = -(10**6)


_REAL, _COUNT, _STEP, _FLAG = np.float64, np.int16, np.int32, np.bool_
_D, _C = len(DOMAINS), len(CHANNELS)
#: Everything that a user is. Steps count from the world's start; there are four of them in a day.
USER = np.dtype(
    [
        # What every step asks for.
        ("alive", _FLAG),
        ("premium", _FLAG),
        ("consent", np.uint8, _C),  # 1 where the channel is open
        ("awake", np.uint8, STEPS_A_DAY),  # 1 where the system may send: by day, local time
        ("queued", np.int8, _D),  # campaign of the waiting opportunity, -1 for none
        ("sends", _COUNT, (_C, 3)),  # by channel in 1, 7 and 28 days
        ("sessions", _COUNT, 2),  # in 7 and 28 days
        ("expires", _STEP, _D),  # step from which it cannot be sent
        ("rate", _REAL),  # logarithm of organic sessions a day at habit 0.5
        ("timing", _REAL, STEPS_A_DAY),  # closeness of the middle of a step to the preferred hour
        ("reach", _REAL, _D),  # factor of opportunities: generators aim at those who seem to like what they have
        ("followed", _REAL),  # sources whose alerts the user gets
        ("habit", _REAL),  # in [0, 1]
        ("disengagement", _REAL),  # in [0, 1]
        ("fatigue", _REAL),  # >= 0
        ("habituation", _REAL, _C),  # in [0, 1]
        ("intent", _REAL),  # to turn premium, in [0, 1]
        ("minutes", _REAL),  # decaying sum, see KEEP_MINUTES
        ("past", np.uint8, WINDOW),  # a ring of steps: 1 + channel of what was sent, plus 8 if there was a session
        # What some steps ask for.
        ("visit", _STEP),  # step of the last session
        ("alerts", _STEP),  # pushes by followed sources so far
        ("streak", _COUNT),  # messages clicked in a row, or minus those ignored
        ("platform", _COUNT),
        ("tenure", _REAL),  # days at the start
        ("clickiness", _REAL),
        ("sensitivity", _REAL),  # factor, median 1
        ("hours", _REAL, STEPS_A_DAY),  # of the day, local, as a step begins
        ("timing_seen", _REAL, STEPS_A_DAY),  # `timing` as the product takes it to be
        ("zone", _REAL),  # hours ahead of UTC
        ("interest", _REAL, _D),  # logit
        ("affinity", _REAL, _D),  # the recommender's estimate of sigmoid(interest)
        ("arrived", _STEP, _D),  # step
        ("quality", _REAL, _D),
        ("value", _REAL, _D),  # signal
        ("template_step", _STEP, _D * len(CAMPAIGNS)),  # step at which each template was last sent
    ],
    align=True,
)
#: N users, a record each: `users.habit` is the array of all habits. Records keep one user's numbers side by side.
Users = np.recarray[tuple[int], np.dtype[Any]]


def make_users(n: int) -> Users:
    """Room for n users, whom `populate` draws."""
    users = np.zeros(n, dtype=USER).view(np.recarray)
    users.alive = True
    users.consent = 1
    users.template_step = NEVER
    users.queued = -1
    return users


@compiled
def sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)) for the sizes that occur here."""
    if z < -700.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-z))


@compiled
def closeness(hour: float, preferred: float) -> float:
    """How near an hour of the day is to the preferred one: 1 at it, −1 twelve hours away."""
    return math.cos((hour - preferred) * (math.pi / 12.0))


@compiled
def steady_habit(p: Any, rate: float) -> float:
    """Habit at which an average day's sessions keep up with what is lost, for a user without messages."""
    lost = -math.log(p.keep_habit) * STEPS_A_DAY
    habit = 0.5
    for _ in range(25):
        expected = -math.expm1(-math.exp(rate + p.session_habit * (habit - 0.5)) / STEPS_A_DAY)
        gained = expected * STEPS_A_DAY * p.habit_organic
        habit = gained / (gained + lost)
    return habit


@compiled
def populate(parameters: Any, users: Any, seed: int, lo: int, hi: int) -> None:
    """Draw users lo … hi − 1, with 28 days behind them in which no message was sent."""
    p = parameters[0]
    for u in range(lo, hi):
        r = users[u]
        share = uniform(seed, u, 0, ZONE)
        for place in range(len(p.zone_hours)):
            r.zone = p.zone_hours[place]
            share -= p.zone_shares[place]
            if share < 0.0:
                break
        r.platform = 0 if uniform(seed, u, 0, PLATFORM) < p.ios_share else 1
        r.premium = uniform(seed, u, 0, PREMIUM) < p.premium_share
        r.consent[0] = uniform(seed, u, 0, PUSH) < p.push_opt_in[r.platform]
        r.consent[1] = uniform(seed, u, 0, EMAIL) < p.email_opt_in
        # Two habits of the day: on the way to work, and in the evening.
        centre = 8.0 if uniform(seed, u, 1, HOUR) < 0.35 else 19.0
        preferred = centre + 2.0 * normal(seed, u, 0, HOUR)
        seen = preferred + p.timing_noise_hours * normal(seed, u, 0, HOUR_SEEN)
        for quarter in range(STEPS_A_DAY):
            hour = (STEP_HOURS * quarter + r.zone) % 24.0
            r.hours[quarter] = hour
            r.awake[quarter] = 1 if p.quiet_until_hour <= hour < p.quiet_from_hour else 0
            r.timing[quarter] = closeness(hour + 0.5 * STEP_HOURS, preferred)
            r.timing_seen[quarter] = closeness(hour + 0.5 * STEP_HOURS, seen)
        r.rate = math.log(p.sessions_per_day) + p.sessions_spread * normal(seed, u, 0, RATE)
        r.clickiness = p.clickiness_spread * normal(seed, u, 0, CLICKY)
        r.sensitivity = math.exp(p.sensitivity_spread * normal(seed, u, 0, SENSITIVE))
        often = math.exp(p.arrivals_spread * (normal(seed, u, 0, OFTEN) - 0.5 * p.arrivals_spread))
        followed = p.followed_sources * math.exp(p.followed_spread * normal(seed, u, 0, FOLLOWED))
        r.followed = min(math.floor(followed), MOST_FOLLOWED)
        r.tenure = -400.0 * math.log(1.0 - uniform(seed, u, 0, TENURE))
        for d in range(len(p.interest_mean)):
            r.interest[d] = p.interest_mean[d] + p.interest_spread * normal(seed, u, 0, INTEREST + d)
            r.affinity[d] = sigmoid(r.interest[d] + p.affinity_noise * normal(seed, u, 0, AFFINITY + d))
            r.reach[d] = often * (0.4 + 1.2 * r.affinity[d])
        r.habit = steady_habit(p, r.rate)
        per_step = -math.expm1(-math.exp(r.rate + p.session_habit * (r.habit - 0.5)) / STEPS_A_DAY)
        r.visit = -WINDOW
        for back in range(1, WINDOW + 1):
            if uniform(seed, u, back, PAST) < per_step:
                r.past[WINDOW - back] = 8
                r.sessions[1] += 1
                if back <= 7 * STEPS_A_DAY:
                    r.sessions[0] += 1
                r.visit = max(r.visit, -back)
        r.minutes = r.sessions[1] * p.minutes_per_session / 3.0


@compiled
def shift_interests(parameters: Any, users: Any, seed: int, share: float, lo: int, hi: int) -> None:
    """Draw the interests of a share of users anew; what the recommender believes stays."""
    p = parameters[0]
    for u in range(lo, hi):
        r = users[u]
        if uniform(seed, u, 0, SHIFT) < share:
            for d in range(len(p.interest_mean)):
                r.interest[d] = p.interest_mean[d] + p.interest_spread * normal(seed, u, 1, INTEREST + d)
