"""Generators of opportunities: what arrives for a user, what it claims to be worth, when it expires."""

from __future__ import annotations

import math
from typing import Any

from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, uniform
from homing.simulation.messaging.parameters import CAMPAIGNS, PREMIUM_OFFER, STEP_HOURS
from homing.simulation.messaging.responses import relevance
from homing.simulation.messaging.users import FloatArray

#: Purposes of draws.
ARRIVES, WHICH, QUALITY, SIGNAL, CAMPAIGN = range(64, 69)
#: Steps for which opportunities came before the world's start: the longest that one waits.
WARM_UP = 16
RECAP = CAMPAIGNS.index("recap")


@compiled
def claim(worth: float, overclaim: float) -> float:
    """What a generator says of an opportunity of this relevance: the truth when overclaim is 1.

    Half of what is claimed too much does not depend on relevance: such a signal is not only too large, it tells less.
    """
    return worth + (overclaim - 1.0) * (0.5 + 0.5 * worth)


@compiled
def refresh(
    p: Any, r: Any, seed: int, u: int, step: int, arrivals: FloatArray, overclaim: FloatArray, recap: bool
) -> None:
    """What waits for user u as a step begins: the expired is gone, the new has come.

    Arrivals are Poisson, independent over domains; of several in one step the first is taken. A domain has one place
    in the queue: the newest stands.
    """
    at = WARM_UP + step
    rate = 0.0
    for d in range(len(arrivals)):
        if r.expires[d] <= step:
            r.queued[d] = -1
        rate += arrivals[d] * r.reach[d]
    chance = uniform(seed, u, at, ARRIVES)
    # 1 - exp(-rate) < rate: mostly there is nothing to compute.
    if chance >= rate or chance >= -math.expm1(-rate):
        return
    # Of merged Poisson processes each is the first with a probability proportional to its rate.
    share = rate * uniform(seed, u, at, WHICH)
    d = 0
    while d + 1 < len(arrivals) and share >= arrivals[d] * r.reach[d]:
        share -= arrivals[d] * r.reach[d]
        d += 1
    if d == PREMIUM_OFFER and r.premium:
        return
    r.quality[d] = normal(seed, u, at, QUALITY)
    worth = relevance(p, r.interest[d], r.quality[d])
    noise = math.exp(p.value_noise[d] * normal(seed, u, at, SIGNAL))
    r.value[d] = p.value_scale[d] * claim(worth, overclaim[d]) * noise
    way = uniform(seed, u, at, CAMPAIGN)
    if recap and way < 0.5:
        r.queued[d] = RECAP
    else:
        r.queued[d] = int((2.0 * way - 1.0 if recap else way) * RECAP)
    r.arrived[d] = step
    r.expires[d] = step + max(1, round(p.life_hours[d] / STEP_HOURS))


@compiled
def refresh_all(parameters: Any, users: Any, season: Any, seed: int, lo: int, hi: int) -> None:
    """What waits for users lo … hi − 1 as the step after `season.step` begins."""
    p = parameters[0]
    for u in range(lo, hi):
        refresh(p, users[u], seed, u, season.step + 1, season.arrivals, season.overclaim, season.recap)
