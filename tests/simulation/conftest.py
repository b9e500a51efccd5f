"""A world small enough to work out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from homing.simulation import PADDING, UNLINKED, Catalogue, Events, Feature, Observation, Outcomes, check_actions
from homing.simulation.draws import uniform

CLICK, HABIT, AWAY = 0, 1, 2


@dataclass
class SmallWorld:
    """Two steps a day. A click comes with probability `click[message]`, and adds one minute to every later step.

    Every third user is asked in even steps only. Odd users are never offered the offer (there is no such candidate:
    the letter stands behind a gap), and an offer cannot follow an offer. An offer costs half a point. Users 5, 15, …
    open the product by themselves in each step, which no decision explains. Minutes of a step happen at its end.

    The expected minutes of a greeting at step 0 over H steps, all silent afterwards: click[1] · (H − 1).
    """

    click: tuple[float, ...] = (0.0, 0.3, 0.6, 0.2)
    n_users: int = 0
    seed: int = 0
    t: int = 0
    habit: np.ndarray | None = None
    last: np.ndarray | None = None

    name = "small"
    start = datetime(2024, 2, 28, 12, tzinfo=UTC)
    step_hours = 12.0
    catalogue = Catalogue(
        message_id=("silence", "greeting", "offer", "letter"),
        campaign=("silence", "spring", "spring", "autumn"),
        domain=("silence", "music", "shop", "music"),
        channel=("silence", "push", "push", "email"),
        slot=("silence", "now", "now", "now"),
    )
    context_features = (
        Feature("platform", ("ios", "android", "web")), Feature("premium", flag=True), Feature("streak"),
    )  # fmt: skip
    candidate_features = (
        Feature("novelty"), Feature("style", ("plain", "bold")), Feature("urgent", flag=True),
    )  # fmt: skip
    objectives = ("clicked", "minutes", "cost")
    weights = {"clicked": 1.0, "minutes": 0.1, "cost": -1.0}
    kinds = ("clicked", "custom:minutes", "custom:cost", "session")

    def reset(self, n_users: int, seed: int) -> Observation:
        self.n_users, self.seed, self.t = n_users, seed, 0
        self.habit = np.zeros(n_users)
        self.last = np.zeros(n_users, dtype=np.int64)
        return self.observation

    @property
    def observation(self) -> Observation:
        everyone = np.arange(self.n_users)
        user = everyone[(everyone % 3 > 0) | (self.t % 2 == 0)]
        n = len(user)
        context = np.empty((n, 3))
        context[:, 0] = np.where(user % 7 == 6, np.nan, user % 3)
        context[:, 1] = user % 2
        context[:, 2] = np.where(self.habit[user] > 0, self.habit[user], np.nan)
        message = np.tile([0, 1, 2, 3], (n, 1))
        message[user % 2 == 1, 2] = PADDING
        there = message > 0
        value = np.where(there, message * 1.5 + 0.1 * self.t, 0.0)
        expires = np.full((n, 4), np.nan)
        expires[:, 1], expires[:, 2] = 3.7 + user / 7.0, 900.0
        features = np.zeros((n, 4, 3))
        features[:, :, 0] = np.where(message == 3, np.nan, np.cos(user)[:, None] * message)
        features[:, :, 1] = np.where(message == 3, np.nan, message % 2)
        features[:, :, 2] = (user[:, None] + message) % 2
        eligible = message != PADDING
        eligible[:, 2] &= self.last[user] != 2
        return Observation(user, context, message, value, expires, features, eligible)

    def step(self, action: np.ndarray) -> Outcomes:
        seen = self.observation
        action = check_actions(action, seen.eligible)
        chosen = seen.message[np.arange(len(seen)), action]
        luck = np.array([uniform(self.seed, int(user), self.t, CLICK) for user in seen.user])
        clicked = luck < np.array(self.click)[chosen]
        offer = chosen == 2
        minutes = self.habit.copy()
        reward = np.zeros((self.n_users, 3))
        reward[seen.user, 0] = clicked
        reward[:, 1] = minutes
        reward[seen.user, 2] = 0.5 * offer
        now = self.step_hours * self.t
        some, own = np.flatnonzero(minutes > 0), np.arange(5, self.n_users, 10)
        decided = np.isin(some, seen.user)
        events = Events.concat(
            _events(seen.user[clicked], 0, now + 1.0 + luck[clicked], 1.0, self.t),
            _events(some[decided], 1, now + self.step_hours, minutes[some[decided]], self.t),
            _events(some[~decided], 1, now + self.step_hours, minutes[some[~decided]], UNLINKED),
            _events(seen.user[offer], 2, now, 0.5, self.t),
            _events(own, 3, now + 5.0, 1.0, UNLINKED),
        )
        self.habit[seen.user] += clicked
        self.last[seen.user] = chosen
        self.t += 1
        return Outcomes(reward, events)

    def copy(self) -> SmallWorld:
        if self.habit is None:
            return replace(self)
        return replace(self, habit=self.habit.copy(), last=self.last.copy())

    def with_chance(self, seed: int) -> SmallWorld:
        return replace(self.copy(), seed=seed)


def _events(user, kind, hours, value, step) -> Events:
    n = len(user)
    return Events(
        np.asarray(user, dtype=np.int64), np.full(n, kind), np.broadcast_to(hours, n).astype(float),
        np.broadcast_to(value, n).astype(float), np.full(n, step),
    )  # fmt: skip


@pytest.fixture
def small_world() -> SmallWorld:
    return SmallWorld()
