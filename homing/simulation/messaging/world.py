"""`MessagingWorld`: the reference world."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import numpy as np

from homing.errors import InvalidInputError, describe
from homing.log import SILENCE, Objectives
from homing.simulation.acting import Mixture
from homing.simulation.base import ArrayWorld
from homing.simulation.checks import parameters_of
from homing.simulation.messaging.dynamics import EVENT, KINDS, MOST_EVENTS, OBJECTIVES, Season, advance, decode
from homing.simulation.messaging.opportunities import WARM_UP, refresh_all
from homing.simulation.messaging.parameters import (
    CAMPAIGNS,
    CHANNELS,
    DOMAINS,
    PLATFORMS,
    STEP_HOURS,
    STEPS_A_DAY,
    WINDOW,
    Drift,
    MessagingParameters,
    numbers,
)
from homing.simulation.messaging.rules import behaviour_policy
from homing.simulation.messaging.seeing import find_asked, foresee, show
from homing.simulation.messaging.users import FloatArray, IntArray, Users, make_users, populate, shift_interests
from homing.simulation.world import Catalogue, Events, Feature, Observation, Outcomes

T = TypeVar("T")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SLOTS = {"push": "lock_screen", "email": "inbox", "in_app": "home"}
CONTEXT = (
    Feature("platform", PLATFORMS), Feature("premium", flag=True), Feature("tenure_days"),
    Feature("push_allowed", flag=True), Feature("email_allowed", flag=True), Feature("local_hour"),
    Feature("weekday", WEEKDAYS), Feature("timing_score"),
    *(Feature(f"{channel}_sends_{days}d") for channel in CHANNELS for days in (1, 7, 28)),
    Feature("streak"), Feature("sessions_7d"), Feature("sessions_28d"), Feature("hours_since_session"),
    Feature("recent_minutes"), Feature("sources_followed"),
    *(Feature(f"affinity_{domain}") for domain in DOMAINS), Feature("waiting"),
)  # fmt: skip
CANDIDATE = (Feature("affinity"), Feature("days_since_template"), Feature("hours_waiting"))
#: Every outcome counts once: for the decision that it names, or else for the user's latest. So the rewards of a user's
#: rows add up to what happened to them since the first.
LOGGED = {
    name: {"kinds": kinds, "window_hours": 24.0 * 28, "aggregate": how, "attribute_unlinked": True, "direction": best}
    for name, kinds, how, best in (
        ("clicked", ["clicked"], "count", "maximize"),
        ("sessions", ["session"], "count", "maximize"),
        ("listening_hours", ["session"], "sum", "maximize"),
        ("converted", ["converted"], "count", "maximize"),
        ("cancelled", ["custom:cancelled"], "count", "minimize"),
        ("churned", ["churned"], "count", "minimize"),
        ("opted_out", ["disabled", "unsubscribed"], "count", "minimize"),
    )
}


@dataclass(frozen=True, eq=False)
class Truth:
    """What no log holds, for the rows and candidates of an observation; 0 for silence and padding.

    Attributes:
        relevance: (n, k), in (0, 1).
        click: (n, k), probability of a click if delivered now.
        harm: (n, k), share of the rest to full disengagement that the message takes.
        opt_out: (n, k), probability that it closes its channel.
        session: (n,), probability that the user comes by themselves in this step.
    """

    relevance: FloatArray
    click: FloatArray
    harm: FloatArray
    opt_out: FloatArray
    session: FloatArray


class MessagingWorld(ArrayWorld[Users]):
    """A music subscription that talks to its free and premium users by push, e-mail and in-app message.

    Every six hours each user who is awake (local time) and for whom something waits is decided on: one of the waiting
    opportunities on one of three channels, or silence. Five domain teams' generators propose opportunities, each with
    a value signal in a unit of its own; the one for live events claims too much. An opportunity waits until it is
    sent, replaced by a newer one of its domain, or expired.

    **What a message does.** A push or e-mail is delivered at once; an in-app message only if the user comes by
    themselves in that step (else it goes on waiting). A click depends on relevance, on the user's general clickiness,
    on the hour, on how the message is written, and falls with fatigue, habituation to the channel, and repetition of
    the template. A click causes a session, and *sticks*: it builds habit in proportion to relevance, and habit drives
    all later sessions. Every delivered message also annoys in proportion to irrelevance: disengagement lowers later
    sessions for weeks, raises the hazards of cancelling and leaving, and each message may close its channel until
    the user allows it again. A click on a premium offer only raises the intent to pay; conversion follows in some
    later session.

    So short-term clicks and long-term value part where the clickiness of a user, or a teaser, brings clicks without
    relevance, where a user would have come anyway, and where much was sent; they agree where a relevant message
    reaches somebody who would not have come.

    **Objectives** are counts, or hours, of what happened in a step: `clicked`, `sessions` (at most one a step),
    `listening_hours`, `converted`, `cancelled`, `churned`, `opted_out`; the last three are harms. `weights` are the
    owner's, in units of one session: clicks have no value of their own. A conversion or cancellation is worth 40
    sessions (some months of subscription), a user who leaves 30, a closed channel 4: what is lost or won beyond any
    horizon that is looked at, so that a policy cannot gain by using up its users before the horizon ends.

    It is a cohort: nobody joins. Nothing of it is data of any product.

    Args:
        parameters: its numbers.
        drift: what changes while it runs.
        threads: that advance users; results do not depend on it.

    Example:
        >>> world = MessagingWorld()
        >>> seen = world.reset(n_users=1000, seed=7)
        >>> world.step(np.zeros(len(seen), dtype=np.int64)).reward.shape
        (1000, 7)
    """

    name = "messaging"
    start = datetime(2025, 3, 3, tzinfo=UTC)  # a Monday
    step_hours = STEP_HOURS
    context_features = CONTEXT
    candidate_features = CANDIDATE
    objectives = OBJECTIVES
    weights = {
        "clicked": 0.0, "sessions": 1.0, "listening_hours": 0.2, "converted": 40.0, "cancelled": -40.0,
        "churned": -30.0, "opted_out": -4.0,
    }  # fmt: skip
    kinds = KINDS
    log_objectives = Objectives.from_dict({"objectives": LOGGED})

    def __init__(
        self, parameters: MessagingParameters | None = None, drift: Drift | None = None, threads: int = 1
    ) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise InvalidInputError(describe("threads", threads, "must be a whole number >= 1"))
        self.parameters = parameters_of(MessagingParameters, parameters)
        self.drift = parameters_of(Drift, drift, "drift")
        self.threads = threads
        self.catalogue = _catalogue(recap=self.drift.new_campaign_day is not None)
        self._numbers = numbers(self.parameters)

    def behaviour_policy(self) -> Mixture:
        """What an ordinary product does here: priorities at face value, some chance, a uniform slice."""
        return behaviour_policy()

    def truth(self) -> Truth:
        """What no log holds about the candidates of the current observation; see `state` for the users themselves."""
        seen = self.observation
        relevance, click, harm, opt_out = (np.zeros(seen.message.shape) for _ in range(4))
        session = np.zeros(len(seen))
        foresee(
            self._numbers, self.state, self.t, self._activity(self.t), seen.user, relevance, click, harm, opt_out,
            session,
        )  # fmt: skip
        return Truth(relevance, click, harm, opt_out, session)

    def _begin(self) -> Users:
        users = make_users(self.n_users)
        past = [self._season(step) for step in range(-1 - WARM_UP, 0)]
        self._share(lambda lo, hi: populate(self._numbers, users, self.seed, lo, hi))
        for season in past:
            self._share(partial(refresh_all, self._numbers, users, season, self.seed))
        return users

    def _observe(self, state: Users) -> Observation:
        asked = np.empty(self.n_users, dtype=np.bool_)
        self._share(lambda lo, hi: find_asked(self._numbers, state, self.t, asked, lo, hi))
        user = np.flatnonzero(asked)
        n, k = len(user), 1 + len(DOMAINS) * len(CHANNELS)
        context = np.empty((n, len(CONTEXT)))
        message = np.empty((n, k), dtype=np.int64)
        value, expires = np.empty((n, k)), np.empty((n, k))
        features = np.empty((n, k, len(CANDIDATE)))
        eligible = np.empty((n, k), dtype=np.bool_)
        self._share(
            lambda lo, hi: show(
                self._numbers, state, self.t, user, context, message, value, expires, features, eligible, lo, hi
            ),
            n,
        )
        return Observation(user, context, message, value, expires, features, eligible)

    def _advance(self, state: Users, action: IntArray) -> Outcomes:
        seen = self.observation
        message = np.zeros(self.n_users, dtype=np.int64)
        message[seen.user] = seen.message[np.arange(len(seen)), action]
        if self._begins(self.drift.interests_day):
            share = self.drift.interests_share
            self._share(lambda lo, hi: shift_interests(self._numbers, state, self.seed, share, lo, hi))
        season = self._season(self.t)
        reward = np.zeros((self.n_users, len(OBJECTIVES)))
        log = np.empty(self.n_users * MOST_EVENTS, dtype=EVENT).view(np.recarray)
        counts = self._share(
            lambda lo, hi: advance(self._numbers, state, season, self.seed, message, reward, log, lo, hi)
        )
        filled = [log[lo * MOST_EVENTS : lo * MOST_EVENTS + count] for lo, count in counts]
        columns = (np.concatenate([part[name] for part in filled]) for name in EVENT.names or ())
        return Outcomes(reward, Events(*columns))

    def _begins(self, day: float | None) -> bool:
        return day is not None and self.t == math.ceil(day * STEPS_A_DAY)

    def _season(self, step: int) -> Season:
        """What a step is for everybody; what waits as it ends is drawn for the next."""
        p, drift, day = self.parameters, self.drift, (step + 1) / STEPS_A_DAY
        friday = math.floor(day) % 7 == WEEKDAYS.index("friday")
        factor = np.array(p.friday_factor)
        arrivals = np.array(p.arrivals_per_day) / STEPS_A_DAY * 7.0 / (6.0 + factor) * (factor if friday else 1.0)
        overclaim = np.array(p.overclaim, dtype=np.float64)
        if drift.overclaim_day is not None and day >= drift.overclaim_day:
            overclaim[DOMAINS.index(drift.overclaim_domain)] = drift.overclaim
        recap = drift.new_campaign_day is not None and day >= drift.new_campaign_day
        places = (step % WINDOW, (step - 7 * STEPS_A_DAY) % WINDOW, (step - STEPS_A_DAY) % WINDOW)
        return Season(step, self._activity(step), arrivals, overclaim, recap, *places)

    def _activity(self, step: int) -> float:
        """Organic sessions of a step, relative to the mean of a year."""
        p, day = self.parameters, step // STEPS_A_DAY
        weekly = (p.weekend_factor if day % 7 >= 5 else 1.0) * 7.0 / (5.0 + 2.0 * p.weekend_factor)
        since_peak = day + (self.start - datetime(self.start.year - 1, 12, 15, tzinfo=UTC)).days
        return weekly * (1.0 + p.yearly_swing * math.cos(2.0 * math.pi * since_peak / 365.25))

    def _share(self, work: Callable[[int, int], T], size: int | None = None) -> list[tuple[int, T]]:
        """Do work on ranges of users or rows, one a thread; each range's beginning and result, in order."""
        n = self.n_users if size is None else size
        edges = [n * i // self.threads for i in range(self.threads + 1)]
        if self.threads == 1:
            return [(0, work(0, n))]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(zip(edges[:-1], pool.map(work, edges[:-1], edges[1:]), strict=True))


def _catalogue(*, recap: bool) -> Catalogue:
    campaigns = CAMPAIGNS if recap else CAMPAIGNS[:-1]
    rows = range(1, 1 + len(campaigns) * len(DOMAINS) * len(CHANNELS))
    names = [(DOMAINS[d], CAMPAIGNS[w], CHANNELS[c]) for d, w, c in map(decode, rows)]
    return Catalogue(
        message_id=(SILENCE, *("-".join(name) for name in names)),
        campaign=(SILENCE, *(campaign for _, campaign, _ in names)),
        domain=(SILENCE, *(domain for domain, _, _ in names)),
        channel=(SILENCE, *(channel for _, _, channel in names)),
        slot=(SILENCE, *(SLOTS[channel] for _, _, channel in names)),
    )
