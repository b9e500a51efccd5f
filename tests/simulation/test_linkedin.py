"""The notification-spacing simulator against its description: closed forms, and the same rules written with lists."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError
from homing.simulation import UNLINKED
from homing.simulation.compiled import as_python
from homing.simulation.draws import normal, poisson, uniform
from homing.simulation.linkedin import LiftRule, LinkedInParameters, LinkedInWorld
from homing.simulation.linkedin import kernel as k

NEVER = 1e-12


def silence(world: LinkedInWorld) -> np.ndarray:
    return np.zeros(world.n_users, np.int64)


def always(world: LinkedInWorld) -> np.ndarray:
    return world.observation.eligible[:, 1].astype(np.int64)


class Listed:
    """One user, with lists: the module's description once more."""

    def __init__(self, p: LinkedInParameters, seed: int, user: int) -> None:
        self.p, self.seed, self.user, self.badge = p, seed, user, 0
        mean, deviation = p.activeness_logit
        self.activeness = 1 / (1 + np.exp(-(mean + deviation * normal(seed, user, 0, k.ACTIVENESS))))
        self.queue: list[tuple[float, float, bool]] = []
        self.arrive(0)

    def arrive(self, step: int) -> None:
        mean = self.p.candidates_per_day * self.p.week_profile()[step % 42] / 6
        for j in range(min(poisson(mean, self.seed, self.user, step, k.ARRIVALS), k.CAPACITY)):
            relevance, life, coin = (uniform(self.seed, self.user, step, s + j) for s in (k.RELEVANCE, k.LIFE, k.COIN))
            low, high = self.p.life_hours
            self.queue.append((relevance, 4 * step + low + (high - low) * life, coin < self.p.sent_at_expiry))
        self.queue = sorted(self.queue, key=lambda item: -item[0])[: k.CAPACITY]

    def step(self, t: int, send: bool) -> tuple[int, int]:
        if send:
            self.badge += 1
            del self.queue[0]
        real_time = self.p.real_time_per_day * self.p.week_profile()[t % 42] / 6
        self.badge += poisson(real_time, self.seed, self.user, t, k.REAL_TIME)
        lift = self.p.per_badge * (1 - np.exp(-self.badge / self.p.badge_scale))
        logit = self.p.visit_logit + self.p.per_activeness * self.activeness + lift
        visit = uniform(self.seed, self.user, t, k.VISIT) < 1 / (1 + np.exp(-logit))
        if visit:
            self.badge = 0
        expired = [item for item in self.queue if item[1] < 4 * (t + 1)]
        self.queue = [item for item in self.queue if item[1] >= 4 * (t + 1)]
        late = sum(item[2] for item in expired)
        self.badge += late
        self.arrive(t + 1)
        return int(visit), int(send) + late


@pytest.mark.parametrize("candidates_per_day", [1.5, 30.0], ids=["usual", "queues overflow"])
def test_it_does_what_the_lists_do(candidates_per_day: float, rng: np.random.Generator) -> None:
    p = LinkedInParameters(candidates_per_day=candidates_per_day)
    world = LinkedInWorld(p)
    world.reset(12, seed=3)
    users = [Listed(p, 3, user) for user in range(12)]
    np.testing.assert_allclose(world.state.activeness, [user.activeness for user in users], rtol=1e-14)
    for t in range(60):
        seen = world.observation
        assert seen.context[:, :2].tolist() == [[user.badge, len(user.queue)] for user in users]
        assert seen.context[:, 2].tolist() == [4 * (t % 42)] * 12
        for row, user in enumerate(users):
            if user.queue:
                assert seen.value[row, 1] == user.queue[0][0]
                assert seen.expires_hours[row, 1] == pytest.approx(user.queue[0][1] - 4 * t, abs=1e-9)
            assert seen.eligible[row, 1] == bool(user.queue)
        action = (rng.random(12) < 0.5) & seen.eligible[:, 1]
        reward = world.step(action.astype(np.int64)).reward
        assert reward.tolist() == [list(user.step(t, send)) for user, send in zip(users, action, strict=True)]


def test_the_compiled_kernel_is_the_python_one() -> None:
    worlds = [LinkedInWorld(), LinkedInWorld()]
    for world in worlds:
        world.reset(5, seed=11)
    for t in range(30):
        n, room = 5, 5 * (2 + k.CAPACITY)
        action = always(worlds[0])
        outcomes = worlds[0].step(action)
        filled = [np.zeros((n, 2)), *(np.zeros(room, np.int64) for _ in range(2)), np.zeros(room), np.zeros(room, int)]
        state = worlds[1].state
        e = as_python(k.advance_users)(worlds[1]._numbers, 11, n, t, action, *filled, *vars(state).values())
        assert np.array_equal(filled[0], outcomes.reward)
        events = outcomes.events
        for got, want in zip(filled[1:], (events.user, events.kind, events.hours, events.step), strict=True):
            assert np.array_equal(got[:e], want)
    for got, want in zip(vars(worlds[1].state).values(), vars(worlds[0].state).values(), strict=True):
        assert np.array_equal(got, want)


def test_visits_have_the_probability_that_the_truth_tells() -> None:
    world = LinkedInWorld()
    n = 20_000
    world.reset(n, seed=5)
    for _ in range(20):
        world.step(always(world))
    for sent in (0, 1):
        twin = world.copy()
        waits = twin.observation.eligible[:, 1]
        p = twin.visit_probabilities()[waits, sent]
        visits = twin.step(sent * waits.astype(np.int64)).reward[waits, 0]
        # A sum of independent coins with these probabilities: 4 standard errors.
        assert abs(visits.mean() - p.mean()) < 4 * np.sqrt((p * (1 - p)).sum()) / len(p)
    rises = world.visit_probabilities()
    assert (rises[:, 1] > rises[:, 0]).all()


def test_without_candidates_the_badge_is_a_markov_chain() -> None:
    """Users alike, near-real-time notifications alone: the distribution of the badge by its transition matrix."""
    p = LinkedInParameters(candidates_per_day=NEVER, real_time_per_day=3.0, activeness_logit=(0.0, 0.0))
    world = LinkedInWorld(p)
    n, top = 10_000, 40
    world.reset(n, seed=2)
    badge = np.zeros(top)
    badge[0] = 1.0
    expected = np.zeros(42)
    rewards = np.zeros((42, n))
    for t in range(42):
        mean = 3.0 * p.week_profile()[t] / 6
        come = stats.poisson.pmf(np.arange(top), mean)
        badge = np.convolve(badge, come)[:top]
        visit = 1 / (
            1
            + np.exp(
                -(p.visit_logit + 0.5 * p.per_activeness + p.per_badge * -np.expm1(-np.arange(top) / p.badge_scale))
            )
        )
        expected[t] = badge @ visit
        badge = badge * (1 - visit)
        badge[0] += expected[t]
        rewards[t] = world.step(silence(world)).reward[:, 0]
    # 42 steps at 4 standard errors: a false failure had a probability of 0.3 % when the seed was chosen.
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(rewards.mean(axis=1) - expected) < 4 * error).all()


def test_candidates_come_by_hour_and_day_of_week() -> None:
    p = LinkedInParameters(candidates_per_day=0.3, life_hours=(400.0, 400.0))
    world = LinkedInWorld(p)
    n = 10_000
    world.reset(n, seed=1)
    for t in range(43):
        due = 0.3 / 6 * np.tile(p.week_profile(), 2)[: t + 1].sum()
        # Queues of Poisson length with mean `due`; places run out with a probability below 1e-6.
        assert abs(world.state.queued.mean() - due) < 4 * np.sqrt(due / n)
        world.step(silence(world))
    assert p.week_profile().mean() == pytest.approx(1.0)
    assert p.week_profile()[2] / p.week_profile()[32] == pytest.approx((1.5 * 1.1) / (1.5 * 0.75))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_expires_is_sent_with_its_probability(share: float) -> None:
    p = LinkedInParameters(life_hours=(8.0, 10.0), sent_at_expiry=share, real_time_per_day=NEVER)
    world = LinkedInWorld(p)
    world.reset(2_000, seed=4)
    came = world.state.queued.sum()
    sent = 0
    for _ in range(20):
        before = world.state.queued.copy()
        gone = (world.state.expires < 4 * (world.t + 1)) & (np.arange(k.CAPACITY) < before[:, None])
        outcomes = world.step(silence(world))
        came += world.state.queued.sum() - before.sum() + gone.sum()
        sent += outcomes.reward[:, 1].sum()
        late = outcomes.events.kind == k.DELIVERED
        assert (outcomes.events.step[late] == UNLINKED).all()
        assert late.sum() == outcomes.reward[:, 1].sum()
    expired = came - world.state.queued.sum()
    assert abs(sent - share * expired) <= 4 * np.sqrt(share * (1 - share) * expired)
    assert expired > 1000


def test_replicas_are_twins() -> None:
    world = LinkedInWorld(replicas=3)
    single = LinkedInWorld()
    world.reset(300, seed=6)
    single.reset(100, seed=6)
    for _ in range(30):
        ready = world.observation.eligible[:, 1]
        rows = np.arange(300)
        reward = world.step((ready & (rows < 200)).astype(np.int64)).reward.reshape(3, 100, 2)
        assert np.array_equal(reward[0], reward[1])
        assert np.array_equal(reward[0], single.step(always(single)).reward)
    assert not np.array_equal(reward[0], reward[2])
    with pytest.raises(InvalidInputError, match="n_users == 10, must be a multiple of replicas == 3"):
        world.reset(10, seed=0)
    with pytest.raises(InvalidInputError, match="replicas == 0, must be a whole number >= 1"):
        LinkedInWorld(replicas=0)


def test_the_lift_rule_sends_where_the_lift_is_large() -> None:
    p = LinkedInParameters()
    world = LinkedInWorld(p)
    world.reset(2_000, seed=8)
    for _ in range(10):
        world.step(always(world))
    seen = world.observation
    probs = LiftRule(p, threshold=0.4, epsilon=0.1).observation_probs(seen)
    assert np.allclose(probs.sum(axis=1), 1.0)
    assert set(np.round(probs[seen.eligible[:, 1], 1], 12)) == {0.05, 0.95}
    assert (probs[~seen.eligible[:, 1], 1] == 0).all()
    # At one activeness the lift falls with the badge: what is sent to has the smaller badge.
    steady = np.flatnonzero(seen.eligible[:, 1] & (np.abs(seen.context[:, 3] - 0.4) < 0.1))
    sends = probs[steady, 1] > 0.5
    assert seen.context[steady[sends], 0].max() <= seen.context[steady[~sends], 0].min()
    assert isinstance(world.behaviour_policy(), LiftRule)


def test_spacing_beats_sending_all_and_sending_nothing() -> None:
    """The conflict that the simulator is for; paired on the same users, 4 standard errors."""
    people = 1_000
    world = LinkedInWorld(replicas=3)
    world.reset(3 * people, seed=9)
    rule = LiftRule(world.parameters, threshold=0.5, epsilon=0.0)
    total = np.zeros((3, people))
    for _ in range(84):
        seen = world.observation
        wants = np.concatenate([
            rule.observation_probs(seen)[:people, 1] == 1.0, np.ones(people, bool), np.zeros(people, bool)
        ])  # fmt: skip
        reward = world.step((wants & seen.eligible[:, 1]).astype(np.int64)).reward
        total += reward[:, 0].reshape(3, people)
    for other in (1, 2):
        gain = total[0] - total[other]
        assert gain.mean() > 4 * gain.std() / np.sqrt(people)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates_per_day": 0.0}, "candidates_per_day == 0.0"),
        ({"hour_of_day": (1.0,)}, "hour_of_day == .* must be 6 numbers"),
        ({"hour_of_day": (float("nan"),) * 6}, "hour_of_day == .* must be finite numbers"),
        (
            {"candidates_per_day": 1e5},
            r"candidates_per_day == .* must bring at most 700 in a step, not 2\.9",
        ),
        ({"visit_logit": float("nan")}, "visit_logit == nan, must be a finite number"),
        ({"activeness_logit": (1.0,)}, r"activeness_logit == \(1.0,\), must be 2 numbers"),
        ({"day_of_week": (0.0,) * 7}, "day_of_week == .* must be 7 numbers >= 0, not all 0"),
        ({"life_hours": (2.0, 9.0)}, "life_hours == .* must be two numbers >= 4"),
        ({"sent_at_expiry": 1.5}, r"sent_at_expiry == 1.5, must be in \[0, 1\]"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LinkedInParameters(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 2.0}, r"epsilon == 2.0, must be in \[0, 1\]"),
        ({"threshold": float("nan")}, "threshold == nan, must"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(change: dict, message: str) -> None:
    """With ε = 2 all that the rule would send it would leave, and the other way round."""
    with pytest.raises(InvalidInputError, match=message):
        LiftRule(LinkedInParameters(), **change)
