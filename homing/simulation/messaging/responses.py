"""How one user takes one message: relevance, click, annoyance, opting out. Scalars in, scalars out."""

from __future__ import annotations

import math
from typing import Any

from homing.simulation.compiled import compiled
from homing.simulation.messaging.parameters import STEPS_A_DAY
from homing.simulation.messaging.users import sigmoid

PUSH, EMAIL, IN_APP = 0, 1, 2


@compiled
def relevance(p: Any, interest: float, quality: float) -> float:
    """What an opportunity is worth to a user, in (0, 1)."""
    return sigmoid(interest + p.quality_spread * quality)


@compiled
def repetition(p: Any, steps_since: int) -> float:
    """1 right after the template was sent, halved with every half-life (Duolingo's recovering arms)."""
    if steps_since > 60 * STEPS_A_DAY * 4:
        return 0.0
    return math.exp(-math.log(2.0) * steps_since / (STEPS_A_DAY * p.repeat_half_life_days))


@compiled
def click_logit(p: Any, r: Any, channel: int, campaign: int, worth: float, quarter: int, steps_since: int) -> float:
    """Logit of the probability that the user clicks; for in-app given that it is seen."""
    z = p.click_logit[channel] + p.click_campaign[campaign] + r.clickiness
    z += p.click_per_relevance * (worth - 0.5) + p.click_per_activity * r.rate
    z -= p.click_fatigue * r.fatigue + p.click_habituation * r.habituation[channel]
    z -= p.click_repeat * repetition(p, steps_since)
    if channel == PUSH:
        z += p.click_timing * r.timing[quarter]
    return float(z)


@compiled
def annoyance(p: Any, r: Any, channel: int, campaign: int, worth: float) -> float:
    """Share of the rest to full disengagement that a message takes, clicked or not."""
    harm = p.annoyance * p.annoyance_campaign[campaign] * p.intrusiveness[channel] * r.sensitivity
    return min(1.0, float(harm * (1.0 - worth) * (1.0 + p.annoyance_fatigue * r.fatigue)))


@compiled
def opt_out_probability(p: Any, r: Any, channel: int, campaign: int, worth: float) -> float:
    """Probability that a delivered message makes the user close its channel."""
    z = p.opt_out_logit[channel] + p.opt_out_campaign[campaign] + math.log(r.sensitivity)
    z -= p.opt_out_per_relevance * (worth - 0.5)
    z += p.opt_out_fatigue * r.fatigue + p.opt_out_disengagement * r.disengagement
    return sigmoid(z)


@compiled
def session_rate(p: Any, r: Any, quarter: int, activity: float) -> float:
    """Expected number of times that the user would come by themselves in this quarter of a day."""
    day = 1.0 + p.session_timing * r.timing[quarter]
    drive = p.session_habit * (r.habit - 0.5) - p.session_disengagement * r.disengagement
    return float(math.exp(r.rate + drive) * day * activity / STEPS_A_DAY)


@compiled
def leave_factor(p: Any, r: Any) -> float:
    """Times the hazards of cancelling and of leaving."""
    return math.exp(p.leave_disengagement * r.disengagement - p.leave_habit * (r.habit - 0.5))
