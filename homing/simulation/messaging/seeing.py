"""What is seen of users as a step begins: who is to be decided on, candidates, masks, features; and what is true."""

from __future__ import annotations

import math
from typing import Any

from homing.simulation.compiled import compiled
from homing.simulation.messaging.dynamics import CHANNEL_COUNT, DOMAIN_COUNT, encode
from homing.simulation.messaging.parameters import STEP_HOURS, STEPS_A_DAY
from homing.simulation.messaging.responses import (
    annoyance,
    click_logit,
    opt_out_probability,
    relevance,
    session_rate,
)
from homing.simulation.messaging.users import sigmoid

#: Nobody remembers a template for longer, in days.
LONGEST_MEMORY_DAYS = 90.0


@compiled
def may_send(p: Any, r: Any, channel: int) -> bool:
    """Consent and frequency caps."""
    return bool(
        r.consent[channel] > 0
        and r.sends[channel, 0] < p.cap_day[channel]
        and r.sends[channel, 1] < p.cap_week[channel]
    )


@compiled
def find_asked(parameters: Any, users: Any, step: int, asked: Any, lo: int, hi: int) -> None:
    """Mark the users to whom something may be sent now."""
    p = parameters[0]
    quarter = step % STEPS_A_DAY
    for u in range(lo, hi):
        r = users[u]
        asked[u] = False
        if not r.alive or not r.awake[quarter]:
            continue
        waits = False
        for d in range(DOMAIN_COUNT):
            waits = waits or r.queued[d] >= 0
        if waits:
            for channel in range(CHANNEL_COUNT):
                asked[u] = asked[u] or may_send(p, r, channel)


@compiled
def show(
    parameters: Any, users: Any, step: int, asked: Any, context: Any, message: Any, value: Any, expires: Any,
    features: Any, eligible: Any, lo: int, hi: int,
) -> None:  # fmt: skip
    """Fill rows lo … hi − 1 of an observation; columns as in `world.CONTEXT` and `world.CANDIDATE`."""
    p = parameters[0]
    quarter = step % STEPS_A_DAY
    for row in range(lo, hi):
        r = users[asked[row]]
        x = context[row]
        x[0] = r.platform
        x[1] = r.premium
        x[2] = r.tenure + step / STEPS_A_DAY
        x[3] = r.consent[0]
        x[4] = r.consent[1]
        x[5] = r.hours[quarter]
        x[6] = ((STEP_HOURS * step + r.zone) // 24.0) % 7.0
        x[7] = r.timing_seen[quarter]
        column = 8
        for channel in range(CHANNEL_COUNT):
            for window in range(3):
                x[column] = r.sends[channel, window]
                column += 1
        x[column] = r.streak
        x[column + 1] = r.sessions[0]
        x[column + 2] = r.sessions[1]
        x[column + 3] = STEP_HOURS * (step - r.visit)
        x[column + 4] = r.minutes
        x[column + 5] = r.followed
        column += 6
        waiting = 0
        for d in range(DOMAIN_COUNT):
            x[column + d] = r.affinity[d]
            waiting += r.queued[d] >= 0
        x[column + DOMAIN_COUNT] = waiting
        message[row, 0] = 0
        value[row, 0] = 0.0
        expires[row, 0] = float("nan")
        for f in range(features.shape[2]):
            features[row, 0, f] = 0.0
        eligible[row, 0] = True
        k = 1
        for d in range(DOMAIN_COUNT):
            campaign = r.queued[d]
            if campaign < 0:
                continue
            since = (step - r.template_step[campaign * DOMAIN_COUNT + d]) / STEPS_A_DAY
            for channel in range(CHANNEL_COUNT):
                message[row, k] = encode(d, campaign, channel)
                value[row, k] = r.value[d]
                expires[row, k] = STEP_HOURS * (r.expires[d] - step)
                features[row, k, 0] = r.affinity[d]
                features[row, k, 1] = min(since, LONGEST_MEMORY_DAYS)
                features[row, k, 2] = STEP_HOURS * (step - r.arrived[d])
                eligible[row, k] = may_send(p, r, channel)
                k += 1
        for rest in range(k, message.shape[1]):
            message[row, rest] = -1
            value[row, rest] = 0.0
            expires[row, rest] = float("nan")
            for f in range(features.shape[2]):
                features[row, rest, f] = 0.0
            eligible[row, rest] = False


@compiled
def foresee(
    parameters: Any, users: Any, step: int, activity: float, asked: Any, worth: Any, click: Any, harm: Any,
    opt_out: Any, session: Any,
) -> None:  # fmt: skip
    """The truth about each candidate (n, k), as if it were delivered now; 0 for silence and padding."""
    p = parameters[0]
    quarter = step % STEPS_A_DAY
    for row in range(len(asked)):
        r = users[asked[row]]
        session[row] = -math.expm1(-session_rate(p, r, quarter, activity))
        k = 1
        for d in range(DOMAIN_COUNT):
            campaign = r.queued[d]
            if campaign < 0:
                continue
            since = step - r.template_step[campaign * DOMAIN_COUNT + d]
            rho = relevance(p, r.interest[d], r.quality[d])
            for channel in range(CHANNEL_COUNT):
                worth[row, k] = rho
                click[row, k] = sigmoid(click_logit(p, r, channel, campaign, rho, quarter, since))
                harm[row, k] = annoyance(p, r, channel, campaign, rho)
                opt_out[row, k] = opt_out_probability(p, r, channel, campaign, rho)
                k += 1
