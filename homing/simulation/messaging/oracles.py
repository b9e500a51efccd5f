"""Rules that see the truth of the messaging world: the myopic best, and what its structure says of the long run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.simulation.checks import check_numbers
from homing.simulation.messaging.parameters import PREMIUM_OFFER, STEPS_A_DAY
from homing.simulation.messaging.responses import IN_APP
from homing.simulation.messaging.rules import campaigns_of, channels_of, domains_of
from homing.simulation.messaging.world import MessagingWorld
from homing.simulation.world import FloatArray, IntArray, Observation, World
from homing.simulation.wrappers import innermost

#: What an early session makes of itself: habit brings sessions, which bring habit.
AMPLIFICATION = 1.3


@dataclass(frozen=True)
class BestClickRule:
    """Always what is most likely to be clicked, by the true probability: the myopic optimum of a click-through rate.

    For an in-app message this is the probability that the user comes by themselves, and clicks.
    """

    def oracle_probs(self, world: World) -> FloatArray:
        """Probabilities (n, k), 1 for one candidate."""
        seen, truth = world.observation, _messaging(world).truth()
        click = np.where(
            channels_of(seen.message) == IN_APP, truth.click * truth.session[:, None], truth.click
        )  # fmt: skip
        click[:, 0] = 0.0
        return _all_on(np.where(seen.eligible, click, -np.inf).argmax(axis=1), seen)


@dataclass(frozen=True)
class LongTermRule:
    """What the structure of the world says is best in the long run, with its true parameters and latent states.

    The advantage of a message over silence, in the owner's units, to first order: sessions caused now; what sticks of
    the click, as sessions of the following weeks; intent to pay; minus disengagement's cost in sessions and in users
    who cancel and leave; minus the value of the channel times the probability that it is closed; minus fatigue's price
    for the messages to come. It sends the best if that is positive. No policy that sees observations alone can do
    this; one that looks further ahead, with the same knowledge, can do somewhat better.

    Attributes:
        channel_value: by channel, what a user's open channel is worth for the days to come.
        fatigue_price: of one unit.
        horizon_days: over which effects that last are counted at most.
    """

    channel_value: tuple[float, ...] = (6.0, 3.0, 0.0)
    fatigue_price: float = 0.02
    horizon_days: float = 90.0

    def __post_init__(self) -> None:
        check_numbers(self)
        check_positive("horizon_days", self.horizon_days)

    def advantages(self, world: World) -> FloatArray:
        """Advantages over silence (n, k); 0 for silence, -inf where not eligible."""
        at = _messaging(world)
        p, w, seen, truth, users = at.parameters, at.weights, world.observation, at.truth(), _asked(at)
        domain, channel = domains_of(seen.message), channels_of(seen.message)
        campaign = np.maximum(campaigns_of(seen.message), 0)
        click, worth, per_session = truth.click, truth.relevance, self.session_value(at)
        left = max(self.horizon_days - at.t / STEPS_A_DAY, 1.0)
        in_app, session = channel == IN_APP, truth.session[:, None]
        caused = np.where(in_app, 0.0, (click + (1.0 - click) * p.influence * click) * (1.0 - session))
        now = caused * per_session[:, None]
        now += click * worth * np.array(p.minutes_clicked)[domain] / 60.0 * w["listening_hours"]
        now += click * w["clicked"]
        # What lasts: a unit of habit or disengagement now, over its mean life, in sessions and in users who leave.
        per_day = _sessions_per_day(at)[:, None]
        leaving = _leaving_per_day(at, left)[:, None]
        habit_days = mean_life(p.habit_half_life_days, left) * AMPLIFICATION
        habit = p.session_habit * per_day * per_session[:, None] + p.leave_habit * leaving
        organic_gain = caused * p.habit_organic * (1.0 - users.habit)[:, None]
        gain = click * p.habit_clicked * np.array(p.habit_campaign)[campaign] * worth * (1.0 - users.habit)[:, None]
        sticks = (gain + organic_gain) * habit_days * habit
        cost = p.session_disengagement * per_day * per_session[:, None] + p.leave_disengagement * leaving
        weary = users.disengagement[:, None]
        harm = truth.harm * (1.0 - weary) - click * p.contentment * worth * weary
        annoys = harm * mean_life(p.disengagement_half_life_days, left) * AMPLIFICATION * cost
        offer = (domain == PREMIUM_OFFER) & ~users.premium[:, None]
        appeal = p.conversion_per_session * np.exp(p.conversion_habit * (users.habit - 0.5))[:, None]
        intent = click * p.intent_clicked * worth * (1.0 - users.intent[:, None])
        pays = intent * p.intent_factor * appeal * per_day * mean_life(p.intent_half_life_days, left)
        value = now + sticks - annoys + np.where(offer, np.minimum(pays, 1.0) * w["converted"], 0.0)
        closes = truth.opt_out * (np.array(self.channel_value)[channel] * left / self.horizon_days - w["opted_out"])
        value -= closes + self.fatigue_price * np.array(p.intrusiveness)[channel]
        value = np.where(in_app, value * session, value)
        value[:, 0] = 0.0
        return np.where(seen.eligible, value, -np.inf)

    def session_value(self, world: MessagingWorld) -> FloatArray:
        """What a session is worth to the owner, by row of the observation, (n,)."""
        p, w, users = world.parameters, world.weights, _asked(world)
        minutes = p.minutes_per_session * np.where(users.premium, p.minutes_premium_factor, 1.0)
        appeal = p.conversion_per_session * np.exp(p.conversion_habit * (users.habit - 0.5)) * ~users.premium
        return np.asarray(w["sessions"] + w["listening_hours"] * minutes / 60.0 + w["converted"] * appeal)

    def oracle_probs(self, world: World) -> FloatArray:
        """Probabilities (n, k), 1 for one candidate."""
        return _all_on(self.advantages(world).argmax(axis=1), world.observation)


def _sessions_per_day(world: MessagingWorld) -> FloatArray:
    """Organic sessions on an average day as things stand, by row of the observation."""
    p, users = world.parameters, _asked(world)
    drive = p.session_habit * (users.habit - 0.5) - p.session_disengagement * users.disengagement
    rate = np.exp(users.rate + drive) / STEPS_A_DAY
    return np.asarray(-np.expm1(-rate) * STEPS_A_DAY)


def _leaving_per_day(world: MessagingWorld, left_days: float) -> FloatArray:
    """What cancelling and leaving cost a day, in the owner's units, by row of the observation."""
    p, w, users = world.parameters, world.weights, _asked(world)
    factor = np.exp(p.leave_disengagement * users.disengagement - p.leave_habit * (users.habit - 0.5))
    # Who leaves takes the sessions of the days that are left with them: on average half of what remains matters.
    lost = -w["churned"] + 0.5 * left_days * _sessions_per_day(world) + np.where(users.premium, -w["cancelled"], 0.0)
    churn = p.churn_per_day * np.where(users.premium, p.churn_premium_factor, 1.0) * lost
    cancel = np.where(users.premium, p.cancel_per_day * -w["cancelled"], 0.0)
    return np.asarray(factor * (churn + cancel))


def mean_life(half_life_days: float, left_days: float) -> float:
    """Days over which something that decays acts, of those that are left."""
    life = half_life_days / np.log(2.0)
    return float(life * -np.expm1(-left_days / life))


def _all_on(best: IntArray, seen: Observation) -> FloatArray:
    out = np.zeros(seen.eligible.shape)
    out[np.arange(len(seen)), best] = 1.0
    return out


def _asked(world: MessagingWorld) -> Any:
    """The users of the observation's rows, latent states and all."""
    return world.state[world.observation.user]


def _messaging(world: World) -> MessagingWorld:
    """The world with the truth, whatever is wrapped around it; its observation has the rows that are seen outside."""
    inner: object = innermost(world)
    if not isinstance(inner, MessagingWorld):
        raise InvalidInputError(
            describe("world", type(inner).__name__, "must be a MessagingWorld", "Its truth is read.")
        )
    return inner
