"""What happens to users in a step of the notification-spacing simulator, compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, poisson, uniform
from homing.simulation.world import UNLINKED, BoolArray, FloatArray, IntArray

STEP_HOURS = 4.0
STEPS_A_WEEK = 42
#: Notifications that a queue holds; the least relevant of more are lost.
CAPACITY = 12
SESSION, DELIVERED = 0, 1
#: Purposes of draws; each of the last three has one for every place in the queue.
ACTIVENESS, REAL_TIME, VISIT, VISIT_TIME, ARRIVALS, RELEVANCE, LIFE, COIN = 0, 1, 2, 3, 4, 16, 32, 48


class Numbers(NamedTuple):
    """The parameters as the kernel takes them."""

    candidates: FloatArray  # (42,), mean number in each step of a week
    real_time: FloatArray  # (42,)
    shortest: float
    longest: float
    sent_at_expiry: float
    activeness_mean: float
    activeness_deviation: float
    visit_logit: float
    per_activeness: float
    per_badge: float
    badge_scale: float


@compiled
def visit_probability(c: Numbers, activeness: Any, badge: Any) -> Any:
    # Of a number and of arrays alike.
    lift = c.per_badge * (1.0 - np.exp(-badge / c.badge_scale))
    return 1.0 / (1.0 + np.exp(-(c.visit_logit + c.per_activeness * activeness + lift)))


@compiled
def begin_users(
    c: Numbers, seed: int, people: int, activeness: FloatArray, badge: IntArray, queued: IntArray,
    relevance: FloatArray, expires: FloatArray, goes_out: BoolArray,
) -> None:  # fmt: skip
    for i in range(len(badge)):
        person = i % people
        logit = c.activeness_mean + c.activeness_deviation * normal(seed, person, 0, ACTIVENESS)
        activeness[i] = 1.0 / (1.0 + np.exp(-logit))
        queued[i] = arrive(c, seed, person, 0, 0, relevance[i], expires[i], goes_out[i])


@compiled
def arrive(
    c: Numbers, seed: int, person: int, step: int, count: int, relevance: FloatArray, expires: FloatArray,
    goes_out: BoolArray,
) -> int:  # fmt: skip
    """Put what comes in before `step` where it belongs in one user's queue, and return the queue's new length."""
    come = min(poisson(c.candidates[step % STEPS_A_WEEK], seed, person, step, ARRIVALS), CAPACITY)
    for j in range(come):
        worth = uniform(seed, person, step, RELEVANCE + j)
        if count == CAPACITY:
            if relevance[CAPACITY - 1] >= worth:
                continue
            count -= 1
        place = count
        while place > 0 and relevance[place - 1] < worth:
            relevance[place], expires[place] = relevance[place - 1], expires[place - 1]
            goes_out[place] = goes_out[place - 1]
            place -= 1
        life = c.shortest + (c.longest - c.shortest) * uniform(seed, person, step, LIFE + j)
        relevance[place], expires[place] = worth, STEP_HOURS * step + life
        goes_out[place] = uniform(seed, person, step, COIN + j) < c.sent_at_expiry
        count += 1
    return count


@compiled
def advance_users(
    c: Numbers, seed: int, people: int, t: int, action: IntArray, reward: FloatArray, user: IntArray, kind: IntArray,
    hours: FloatArray, step: IntArray, activeness: FloatArray, badge: IntArray, queued: IntArray,
    relevance: FloatArray, expires: FloatArray, goes_out: BoolArray,
) -> int:  # fmt: skip
    """Move all users on by step `t`, fill reward and events, and return how many events there are."""
    begin, end = STEP_HOURS * t, STEP_HOURS * (t + 1)
    e = 0
    for i in range(len(badge)):
        person = i % people
        count, late, kept = badge[i] + action[i], 0, 0
        if action[i]:
            user[e], kind[e], hours[e], step[e] = i, DELIVERED, begin, t
            e += 1
        # What stays in the queue moves up: the best has gone if it was sent, others go if they expire.
        for place in range(action[i], queued[i]):
            if expires[i, place] >= end:
                relevance[i, kept], expires[i, kept] = relevance[i, place], expires[i, place]
                goes_out[i, kept] = goes_out[i, place]
                kept += 1
            elif goes_out[i, place]:
                user[e], kind[e], hours[e], step[e] = i, DELIVERED, expires[i, place], UNLINKED
                e += 1
                late += 1
        count += poisson(c.real_time[t % STEPS_A_WEEK], seed, person, t, REAL_TIME)
        if uniform(seed, person, t, VISIT) < visit_probability(c, activeness[i], float(count)):
            at = begin + STEP_HOURS * uniform(seed, person, t, VISIT_TIME)
            user[e], kind[e], hours[e], step[e] = i, SESSION, at, t
            e += 1
            reward[i, 0] = 1.0
            count = 0
        reward[i, 1] = action[i] + late
        badge[i] = count + late
        queued[i] = arrive(c, seed, person, t + 1, kept, relevance[i], expires[i], goes_out[i])
    return e
