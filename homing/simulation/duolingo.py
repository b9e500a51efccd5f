"""Duolingo's daily reminders: templates that sleep and recover, re-created from their paper (Yancey and Settles, 2020).

Each user gets one reminder a day, made from one of twelve hand-written templates. Not every template is eligible for
every user on every day (they sleep), and one that a user has seen lately works less well (they recover).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.log import SILENCE, Objectives
from homing.simulation.base import ArrayWorld
from homing.simulation.checks import check_numbers, parameters_of
from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, uniform
from homing.simulation.rules import UniformMessages
from homing.simulation.world import (
    UNLINKED,
    BoolArray,
    Catalogue,
    Events,
    Feature,
    FloatArray,
    IntArray,
    Observation,
    Outcomes,
)

LANGUAGES = ("en", "es", "pt", "fr", "de")
TEMPLATES = tuple("abcdefghijkl")
#: The paper counts a lesson that is completed within two hours of the reminder.
WINDOW_HOURS = 2.0
LESSON = 0
#: Purposes of draws; those of templates have room for twelve each.
LANGUAGE, BASE, STREAK, REWARDED, OTHER, TIME, TRAIT, AWAKE, LAST = 0, 1, 2, 3, 4, 5, 16, 32, 48
#: Seed of the effects that templates have by language.
EFFECTS = 2020


@dataclass(frozen=True)
class DuolingoParameters:
    """The world's numbers. Novelty, rounds, window and the mean reward are the paper's, as marked; all others are ours.

    Uniform templates have a mean of 0.1295, and the best eligible one by language gains about 1.8 % over them where
    templates were sent uniformly before, as in the paper's table of offline results.

    Attributes:
        base_logit: mean and standard deviation over users of the logit of their probability of a lesson.
        language_shares: (5,), of users by the language of their interface.
        template_effects: (12,), what each template adds to that probability, relative to it.
        language_effects: standard deviation of what it adds or takes away in one language.
        silence_effect: the same for no reminder at all (the paper sends one every day).
        traits: (12,), share of users for whom a template can ever be eligible (who have set a goal, say).
        streaks: (12,), days of a streak from which it is eligible: those who have one come anyway.
        awake: probability that a template which could be eligible is, on a day.
        novelty: γ, what a template loses right after it was sent (paper: 0.017), relative to the probability.
        half_life_days: h, in which half of that comes back (paper: 15).
        past_days: mean number of days since a template was sent, when the world begins.
        other_lessons: probability of lessons at other times of a day, relative to that of one after a reminder.
    """

    base_logit: tuple[float, float] = (-2.216, 1.0)
    language_shares: tuple[float, ...] = (0.4, 0.25, 0.15, 0.1, 0.1)
    template_effects: tuple[float, ...] = (
        0.018, 0.005, 0.011, -0.007, 0.000, -0.013, 0.009, -0.018, 0.004, -0.005, 0.013, -0.009,
    )  # fmt: skip
    language_effects: float = 0.0055
    silence_effect: float = -0.3
    traits: tuple[float, ...] = (0.5, 1.0, 0.6, 1.0, 0.8, 1.0, 0.5, 1.0, 0.7, 0.9, 1.0, 1.0)
    streaks: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 7, 1)
    awake: float = 0.8
    novelty: float = 0.017
    half_life_days: float = 15.0
    past_days: float = 6.0
    other_lessons: float = 3.0

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("half_life_days", "language_effects"):
            check_positive(name, getattr(self, name))
        for name in ("novelty", "other_lessons"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(describe(name, getattr(self, name), "must be >= 0"))
        if not 0 < self.awake <= 1:
            raise InvalidInputError(describe("awake", self.awake, "must be in (0, 1]"))
        if not self.past_days >= 1:
            raise InvalidInputError(describe("past_days", self.past_days, "must be >= 1"))
        if not all(0 <= share <= 1 for share in self.traits):
            raise InvalidInputError(describe("traits", self.traits, "must be in [0, 1]"))
        if min(self.language_shares) < 0 or abs(sum(self.language_shares) - 1) > 1e-9:
            raise InvalidInputError(describe("language_shares", self.language_shares, "must be >= 0 and sum to 1"))

    def effects(self) -> FloatArray:
        """What each candidate adds to the probability of a lesson, relative to it: (5, 13), silence first."""
        noise = [[normal(EFFECTS, row, column, 0) for column in range(12)] for row in range(5)]
        by_language = np.array(self.template_effects) + self.language_effects * np.array(noise)
        return np.column_stack([np.full(5, self.silence_effect), by_language])


class _Numbers(NamedTuple):
    """The parameters as the kernels take them."""

    base_mean: float
    base_deviation: float
    languages: FloatArray  # (5,), cumulative shares
    effects: FloatArray  # (5, 13)
    traits: FloatArray  # (12,)
    streaks: IntArray  # (12,)
    awake: float
    novelty: float
    half_life: float
    past_days: float
    other_lessons: float


def _numbers(p: DuolingoParameters) -> _Numbers:
    return _Numbers(
        float(p.base_logit[0]), float(p.base_logit[1]), np.cumsum(p.language_shares), p.effects(),
        np.array(p.traits, dtype=np.float64), np.array(p.streaks, dtype=np.int64), float(p.awake), float(p.novelty),
        float(p.half_life_days), float(p.past_days), float(p.other_lessons),
    )  # fmt: skip


@dataclass
class DuolingoState:
    """All users now.

    Attributes:
        base: float64 (N,), probability of a lesson after a reminder that adds nothing.
        language: int64 (N,), position in `LANGUAGES`.
        streak: int64 (N,), days in a row with a lesson.
        trait: bool (N, 12), templates that can be eligible for the user.
        sent_day: float64 (N, 12), the day on which each template was last sent.
    """

    base: FloatArray
    language: IntArray
    streak: IntArray
    trait: BoolArray
    sent_day: FloatArray


class DuolingoWorld(ArrayWorld[DuolingoState]):
    """Once a day, choose the template of each user's reminder among those that are eligible.

    A lesson within two hours of the reminder has probability b_u · (1 + e(l, a) − γ · 0.5^(d / h)): the user's own
    rate, the template's effect in the user's language, and the novelty that it has lost by having been sent d days ago.
    Lessons at other times keep streaks alive, and streaks make templates eligible: that users who get a template do
    well then says little about it. That is why its paper compares, for each template, the rounds in which it was sent
    with those in which it could have been.

    Candidate j is template j − 1; those that sleep are not eligible. Silence is possible, unlike in the paper.

    References:
        Yancey and Settles (2020), "A Sleeping, Recovering Bandit Algorithm for Optimizing Recurring Notifications",
        KDD, pages 3008 to 3016.

    Example:
        >>> world = DuolingoWorld()
        >>> seen = world.reset(n_users=5, seed=1)
        >>> seen.features[0, :3, 0].tolist()  # days since silence, template a and template b were sent
        [nan, nan, 8.0]
    """

    name: str = "duolingo"
    start = datetime(2020, 1, 6, 17, tzinfo=UTC)
    step_hours: float = 24.0
    catalogue = Catalogue(
        message_id=(SILENCE, *(f"template_{letter}" for letter in TEMPLATES)),
        campaign=(SILENCE, *("reminder",) * 12), domain=(SILENCE, *("practice",) * 12),
        channel=(SILENCE, *("push",) * 12), slot=(SILENCE, *("daily",) * 12),
    )  # fmt: skip
    context_features: tuple[Feature, ...] = (Feature("ui_language", LANGUAGES), Feature("streak_days"))
    candidate_features: tuple[Feature, ...] = (Feature("days_since_sent"),)
    objectives: tuple[str, ...] = ("lessons",)
    weights: dict[str, float] = {"lessons": 1.0}
    kinds: tuple[str, ...] = ("session",)  # LESSON
    log_objectives = Objectives.from_dict(
        {"objectives": {"lessons": {"kinds": ["session"], "window_hours": WINDOW_HOURS, "aggregate": "any"}}}
    )

    def __init__(self, parameters: DuolingoParameters | None = None) -> None:
        self.parameters = parameters_of(DuolingoParameters, parameters)
        self._numbers = _numbers(self.parameters)

    def lesson_probabilities(self) -> FloatArray:
        """The truth that no log holds: probability (N, 13) of a lesson within two hours, by candidate."""
        state = self.state
        days = np.column_stack([np.full(self.n_users, np.inf), self.t - state.sent_day])
        lost = self.parameters.novelty * 0.5 ** (days / self.parameters.half_life_days)
        out: FloatArray = np.minimum(state.base[:, None] * (1 + self._numbers.effects[state.language] - lost), 1.0)
        return out

    def behaviour_policy(self) -> UniformMessages:
        """What logged the paper's data: uniform over the eligible templates."""
        return UniformMessages()

    def _begin(self) -> DuolingoState:
        n = self.n_users
        state = DuolingoState(
            np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, 12), np.bool_), np.empty((n, 12))
        )
        _begin(self._numbers, self.seed, *vars(state).values())
        return state

    def _observe(self, state: DuolingoState) -> Observation:
        n = self.n_users
        context = np.column_stack([state.language, state.streak]).astype(np.float64)
        eligible = np.ones((n, 13), np.bool_)
        _awake(self._numbers, self.seed, self.t, state.streak, state.trait, eligible)
        days = np.full((n, 13, 1), np.nan)
        days[:, 1:, 0] = np.where(np.isinf(state.sent_day), np.nan, self.t - state.sent_day)
        message = np.broadcast_to(np.arange(13), (n, 13)).copy()
        return Observation(
            np.arange(n), context, message, np.zeros((n, 13)), np.full((n, 13), np.nan), days, eligible
        )  # fmt: skip

    def _advance(self, state: DuolingoState, action: IntArray) -> Outcomes:
        n = self.n_users
        reward, other = np.zeros((n, 1)), np.full(n, np.nan)
        hours = np.empty(n)
        _advance(self._numbers, self.seed, self.t, action, reward, hours, other, *vars(state).values())
        rewarded, elsewhere = np.flatnonzero(reward[:, 0]), np.flatnonzero(~np.isnan(other))
        user = np.concatenate([rewarded, elsewhere])
        step = np.repeat([self.t, UNLINKED], [len(rewarded), len(elsewhere)])
        at = 24.0 * self.t + np.concatenate([hours[rewarded], other[elsewhere]])
        return Outcomes(reward, Events(user, np.full(len(user), LESSON), at, np.ones(len(user)), step))


@compiled
def _daily_lesson(c: _Numbers, base: float) -> float:
    """Probability of a lesson on a day, whenever: what streaks live on."""
    return min(1.0 - (1.0 - base) * (1.0 - min(c.other_lessons * base, 0.95)), 1.0 - 1e-12)


@compiled
def _begin(
    c: _Numbers, seed: int, base: FloatArray, language: IntArray, streak: IntArray, trait: BoolArray,
    sent_day: FloatArray,
) -> None:  # fmt: skip
    for i in range(len(base)):
        base[i] = 1.0 / (1.0 + np.exp(-(c.base_mean + c.base_deviation * normal(seed, i, 0, BASE))))
        place = int(np.searchsorted(c.languages, uniform(seed, i, 0, LANGUAGE), "right"))
        language[i] = min(place, len(c.languages) - 1)
        # Days in a row with a lesson are geometric; so are days since a template was sent under uniform choice.
        streak[i] = int(np.log(1.0 - uniform(seed, i, 0, STREAK)) / np.log(_daily_lesson(c, base[i])))
        for a in range(12):
            trait[i, a] = uniform(seed, i, 0, TRAIT + a) < c.traits[a]
            days = 1 + int(np.log(1.0 - uniform(seed, i, 0, LAST + a)) / np.log(1.0 - 1.0 / c.past_days))
            sent_day[i, a] = -days if trait[i, a] and c.streaks[a] <= streak[i] else -np.inf


@compiled
def _awake(c: _Numbers, seed: int, t: int, streak: IntArray, trait: BoolArray, eligible: BoolArray) -> None:
    for i in range(len(streak)):
        for a in range(12):
            awake = trait[i, a] and streak[i] >= c.streaks[a]
            eligible[i, a + 1] = awake and uniform(seed, i, t, AWAKE + a) < c.awake


@compiled
def _advance(
    c: _Numbers, seed: int, t: int, action: IntArray, reward: FloatArray, hours: FloatArray, other: FloatArray,
    base: FloatArray, language: IntArray, streak: IntArray, trait: BoolArray, sent_day: FloatArray,
) -> None:  # fmt: skip
    for i in range(len(base)):
        effect = c.effects[language[i], action[i]]
        if action[i] > 0:
            effect -= c.novelty * 0.5 ** ((t - sent_day[i, action[i] - 1]) / c.half_life)
            sent_day[i, action[i] - 1] = t
        lessons = 0
        if uniform(seed, i, t, REWARDED) < base[i] * (1.0 + effect):
            reward[i, 0] = 1.0
            hours[i] = WINDOW_HOURS * uniform(seed, i, t, TIME)
            lessons = 1
        if uniform(seed, i, t, OTHER) < min(c.other_lessons * base[i], 0.95):
            other[i] = WINDOW_HOURS + (24.0 - WINDOW_HOURS) * uniform(seed, i, t, TIME + 1)
            lessons = 1
        streak[i] = (streak[i] + 1) * lessons
