"""Sixty days of activity after a recommendation, re-created from Impatient Bandits (McDonald et al., 2023).

Each user is recommended one show when they arrive. How often they come back to it within sixty days, its stickiness, is
what counts, and takes sixty days to be seen whole; the days that have passed already tell part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.log import SILENCE, Objectives
from homing.simulation.base import ArrayWorld
from homing.simulation.checks import check_numbers, parameters_of
from homing.simulation.compiled import compiled
from homing.simulation.draws import uniform
from homing.simulation.rules import UniformMessages
from homing.simulation.world import Catalogue, Events, Feature, FloatArray, IntArray, Observation, Outcomes

#: Days of activity after the day of the recommendation, on which a user is active for sure: sixty in all.
TRACE_DAYS = 59
CHURN, ACTIVE, HOUR = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Shows:
    """What shows do: a user stays for a beta-geometric time, and while they do is active with a chance by day.

    Attributes:
        active: float64 (A, 59), probability to be active on each day after the recommendation, while the user stays.
        stays: float64 (A, 59), probability to stay until at least that day.

    Example:
        >>> shows = Shows.draw(2, np.random.default_rng(0))
        >>> shows.traces(np.array([0, 0, 1]), np.random.default_rng(1)).shape
        (3, 59)
    """

    active: FloatArray
    stays: FloatArray

    @classmethod
    def draw(cls, n: int, rng: np.random.Generator) -> Shows:
        """Draw n shows from the published generator's distribution.

        With the logistic function σ and day t = 0 … 58: θ_user ~ Beta(kα, k(1 − α)), α = σ(0.1 z − 0.4),
        k ~ U(0.7, 1.5), days that a user stays ~ Geometric(θ) − 1; activity σ(f_t − a |sin(πt/7)|), a ~ U(0.1, 1),
        f = −0.5 + a Gaussian process with deviation 0.1·√1.2 and covariance falling by e in 8 days.
        """
        t = np.arange(TRACE_DAYS)
        alpha = _logistic(0.1 * rng.standard_normal(n) - 0.4)
        k = rng.uniform(0.7, 1.5, n)
        kernel = np.linalg.cholesky(1.2 * np.exp(-np.abs(t[:, None] - t) / 8.0))
        rates = -0.5 + 0.1 * rng.standard_normal((n, TRACE_DAYS)) @ kernel.T
        active = _logistic(rates - rng.uniform(0.1, 1.0, n)[:, None] * np.abs(np.sin(np.pi * t / 7)))
        # P(stays beyond t) = E[(1 − θ)^(t + 1)] = Π_j (k(1 − α) + j) / (k + j), j = 0 … t.
        stays = np.cumprod(((k * (1 - alpha))[:, None] + t) / (k[:, None] + t), axis=1)
        return cls(active, stays.astype(np.float64))

    def __len__(self) -> int:
        return len(self.active)

    @property
    def mean(self) -> FloatArray:
        """Expected trace of each show, (A, 59)."""
        return self.active * self.stays

    @property
    def stickiness(self) -> FloatArray:
        """Expected active days of sixty, (A,): the day of the recommendation, and those after it."""
        out: FloatArray = 1.0 + self.mean.sum(axis=1)
        return out

    def covariance(self, show: int) -> FloatArray:
        """Covariance (59, 59) of a show's traces over users: who is there late was there early."""
        t, mean = np.arange(TRACE_DAYS), self.mean[show]
        later = np.maximum(t[:, None], t)
        both = np.outer(self.active[show], self.active[show]) * self.stays[show][later]
        both[t, t] = mean
        out: FloatArray = both - np.outer(mean, mean)
        return out

    def traces(self, show: IntArray, rng: np.random.Generator) -> FloatArray:
        """A trace (n, 59) of zeros and ones for a user of each of n shows."""
        there = rng.random((len(show), 1)) < self.stays[show]
        out: FloatArray = (there & (rng.random((len(show), TRACE_DAYS)) < self.active[show])).astype(np.float64)
        return out


@dataclass(frozen=True)
class ImpatientParameters:
    """The world's numbers; the defaults are those of the paper's synthetic evaluation.

    Attributes:
        shows: number of shows to recommend (200).
        users_per_day: how many users arrive in a day, each asked about once (50).
        shows_seed: of the shows, which are the world's whatever the seed of its users.
    """

    shows: int = 200
    users_per_day: int = 50
    shows_seed: int = 42

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("shows", "users_per_day"):
            check_positive(name, getattr(self, name))
        if self.shows_seed < 0:
            raise InvalidInputError(describe("shows_seed", self.shows_seed, "must be >= 0"))


@dataclass
class ImpatientState:
    """All users.

    Attributes:
        show: int64 (N,), the show that a user was recommended, from 1; 0 before, and for those who got none.
    """

    show: IntArray


class ImpatientWorld(ArrayWorld[ImpatientState]):
    """Recommend each user who arrives one of many shows; the reward, active days, comes in over sixty days.

    User u arrives on day u // users_per_day and is asked about on that day alone. What is known of users is nothing:
    shows have to be told apart by what comes back. The distribution of the days that a user stays is the mixture of
    geometric ones in closed form, so that one uniform number for each user decides whether they would still be there
    for any show: twins who get different shows are equally loyal.

    References:
        McDonald, Maystre, Lalmas, Russo and Ciosek (2023), "Impatient Bandits: Optimizing Recommendations for the
        Long-Term Without Delay", KDD; sections 3 and 5.2, and the generator published with it.

    Example:
        >>> world = ImpatientWorld()
        >>> seen = world.reset(n_users=120, seed=0)
        >>> len(seen), seen.message.shape
        (50, (50, 201))
        >>> world.step(np.full(50, 7)).reward.sum()  # all are active on the day of the recommendation
        np.float64(50.0)
    """

    name: str = "impatient"
    start = datetime(2023, 1, 2, tzinfo=UTC)
    step_hours: float = 24.0
    context_features: tuple[Feature, ...] = (Feature("day"),)
    candidate_features: tuple[Feature, ...] = ()
    objectives: tuple[str, ...] = ("active_days",)
    weights: dict[str, float] = {"active_days": 1.0}
    kinds: tuple[str, ...] = ("session",)
    log_objectives = Objectives.from_dict(
        {
            "objectives": {
                "active_days": {"kinds": ["session"], "window_hours": 24 * (TRACE_DAYS + 1), "aggregate": "count"}
            }
        }
    )

    def __init__(self, parameters: ImpatientParameters | None = None) -> None:
        self.parameters = parameters_of(ImpatientParameters, parameters)
        n = self.parameters.shows
        self.shows = Shows.draw(n, np.random.default_rng(self.parameters.shows_seed))
        self.catalogue = Catalogue(
            message_id=(SILENCE, *(f"show_{i:03d}" for i in range(n))), campaign=(SILENCE, *("shelf",) * n),
            domain=(SILENCE, *("podcast",) * n), channel=(SILENCE, *("in_app",) * n), slot=(SILENCE, *("home",) * n),
        )  # fmt: skip

    def traces(self, user: IntArray, show: IntArray) -> FloatArray:
        """The truth that time has yet to tell: the trace (n, 59) that each user has if recommended a show (from 0)."""
        out = np.zeros((len(user), TRACE_DAYS))
        arrival = user // self.parameters.users_per_day
        _trace(self.shows.active, self.shows.stays, self.seed, user, arrival, show, out)
        return out

    def behaviour_policy(self) -> UniformMessages:
        """Every show with the same probability."""
        return UniformMessages()

    def _begin(self) -> ImpatientState:
        return ImpatientState(np.zeros(self.n_users, np.int64))

    def _observe(self, state: ImpatientState) -> Observation:
        first = min(self.parameters.users_per_day * self.t, self.n_users)
        user = np.arange(first, min(first + self.parameters.users_per_day, self.n_users))
        n, k = len(user), len(self.catalogue)
        message = np.broadcast_to(np.arange(k), (n, k)).copy()
        return Observation(
            user, np.full((n, 1), float(self.t)), message, np.zeros((n, k)), np.full((n, k), np.nan),
            np.zeros((n, k, 0)), np.ones((n, k), np.bool_),
        )  # fmt: skip

    def _advance(self, state: ImpatientState, action: IntArray) -> Outcomes:
        user = self.observation.user
        state.show[user] = action
        reward = np.zeros((self.n_users, 1))
        per_day = self.parameters.users_per_day
        first = min(max(self.t - TRACE_DAYS, 0) * per_day, self.n_users)
        hours = np.empty(self.n_users)
        _live(self.shows.active, self.shows.stays, self.seed, self.t, first, per_day, state.show, reward, hours)
        who = np.flatnonzero(reward[:, 0])
        events = Events(who, np.zeros(len(who), np.int64), hours[who], np.ones(len(who)), who // per_day)
        return Outcomes(reward, events)


@compiled
def _is_active(active: FloatArray, stays: FloatArray, seed: int, i: int, arrival: int, show: int, day: int) -> bool:
    """Whether user i is active on entry `day` of the trace of a show (from 0)."""
    if uniform(seed, i, 0, CHURN) >= stays[show, day]:
        return False
    return bool(uniform(seed, i, arrival + 1 + day, ACTIVE) < active[show, day])


@compiled
def _trace(
    active: FloatArray, stays: FloatArray, seed: int, user: IntArray, arrival: IntArray, show: IntArray,
    trace: FloatArray,
) -> None:  # fmt: skip
    for row in range(len(user)):
        for day in range(trace.shape[1]):
            trace[row, day] = float(int(_is_active(active, stays, seed, user[row], arrival[row], show[row], day)))


@compiled
def _live(
    active: FloatArray, stays: FloatArray, seed: int, t: int, first: int, per_day: int, show: IntArray,
    reward: FloatArray, hours: FloatArray,
) -> None:  # fmt: skip
    for i in range(first, min((t + 1) * per_day, len(show))):
        arrival = i // per_day
        entry = t - arrival - 1  # -1 on the day of the recommendation, on which all are active
        if show[i] == 0 or (entry >= 0 and not _is_active(active, stays, seed, i, arrival, show[i] - 1, entry)):
            continue
        reward[i, 0] = 1.0
        hours[i] = 24.0 * (t + uniform(seed, i, t, HOUR))


def _logistic(z: FloatArray) -> FloatArray:
    out: FloatArray = 1.0 / (1.0 + np.exp(-z))
    return out
