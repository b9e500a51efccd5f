"""The abstract reward process on a chain of badges by day and by night, whose values a matrix tells."""

from datetime import timedelta

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError
from homing.ope import evaluate_sequential
from homing.ope.sequential import ARP, SMIS, Journeys, Trajectories


class Badges:
    """A badge of 0, 1 or 2 that a message raises and a visit resets; visits are rare at night (odd steps).

    A coin that is tossed anew at every decision is there for the policy to react to, and for nothing else: that it is
    not in the state does no harm.
    """

    STATES = 3
    LOG = np.array([0.3, 0.5, 0.6])  # probability to send, by badge
    TARGET = np.array([[0.9, 0.7], [0.4, 0.6], [0.1, 0.1]])  # by badge and coin
    VISIT = np.array([[0.2, 0.35, 0.45, 0.5], [0.05, 0.1, 0.12, 0.13]])  # by phase and badge after the decision

    @classmethod
    def value(cls, send, steps):
        """Visits expected in so many steps from badge 0, for probabilities to send by badge: d_{t+1} = d_t P_p."""
        here, total = np.eye(cls.STATES)[0], 0.0
        for step in range(steps):
            after = np.zeros(cls.STATES + 1)
            after[:-1] += here * (1 - send)
            after[1:] += here * send
            visit = cls.VISIT[step % 2]
            total += after @ visit
            kept = after * (1 - visit)
            here = np.array([kept[0] + after @ visit, kept[1], kept[2] + kept[3]])
        return total

    @classmethod
    def journeys(cls, rng, users, steps):
        """A log of the logging policy, weighed for the target."""
        badge = np.zeros(users, dtype=np.int64)
        rows = []
        for step in range(steps):
            coin = rng.integers(0, 2, users)
            sent = rng.random(users) < cls.LOG[badge]
            probability = np.where(sent, cls.LOG[badge], 1 - cls.LOG[badge])
            wanted = np.where(sent, cls.TARGET[badge, coin], 1 - cls.TARGET[badge, coin])
            visit = rng.random(users) < cls.VISIT[step % 2, badge + sent]
            rows.append((badge, wanted / probability, visit))
            badge = np.where(visit, 0, np.minimum(badge + sent, cls.STATES - 1))
        state, weight, visit = (np.stack(column, axis=1).ravel() for column in zip(*rows, strict=True))
        paths = Trajectories(np.repeat(np.arange(users), steps), weight, gamma=1.0)
        return Journeys(paths, visit.astype(np.float64), state=state)


def standard_error(found):
    return np.sqrt(np.square(found.influence).sum()) / len(found.influence)


def test_recovers_the_value_of_a_chain(rng):
    """28 steps; the badge by phase suffices."""
    journeys = Badges.journeys(rng, 2_000, 28)
    truth = Badges.value(Badges.TARGET.mean(axis=1), 28)
    found = ARP(period=2)(journeys)
    assert abs(found.value - truth) < 4 * standard_error(found) < 0.3
    assert abs(journeys.reward.sum() / 2_000 - truth) > 0.3  # the log alone is far off
    assert found.influence.mean() == pytest.approx(0.0, abs=1e-9)
    assert found.details["states"] == 6
    assert found.details["lost_share"] == 0.0


def test_thin_states_do_not_shorten_its_interval(rng):
    """400 users in 40 groups that do not matter: ten of a group at a step, spread over badges; 140 at a phase.

    Over 60 logs the standard error that is told is that of the estimates: their ratio has a standard error of
    1 / √(2 · 60) = 9 %, 0.3 is more than three. `smis` estimates its cells' chances from a few decisions and tells a
    smaller error than it has (0.115 of 0.158).
    """
    truth = Badges.value(Badges.TARGET.mean(axis=1), 28)
    groups = np.repeat(np.arange(400), 28) % 40
    found = [[], []]
    for _ in range(60):
        journeys = Badges.journeys(rng, 400, 28)
        journeys = Journeys(journeys.paths, journeys.reward, state=journeys.states() * 40 + groups)
        for kept, estimator in zip(found, (ARP(period=2), SMIS()), strict=True):
            result = estimator(journeys)
            kept.append((result.value - truth, standard_error(result)))
    missed, told = np.moveaxis(np.array(found), 2, 0)
    pooled, apart = told.mean(axis=1) / np.sqrt(np.square(missed).mean(axis=1))
    assert abs(pooled - 1) < 0.3
    assert apart < 0.85 * pooled


def test_the_gap_shows_where_steps_are_not_alike(rng):
    """Day and night taken for the same: by four standard errors or more; told apart: within four."""
    journeys = Badges.journeys(rng, 20_000, 28)
    gaps = {}
    for period in (1, 2):
        details = ARP(period=period)(journeys).details
        gaps[period] = details["log_gap"] / details["log_gap_std_error"]
    assert abs(gaps[2]) < 4 < abs(gaps[1])


@pytest.mark.parametrize("period", [28, 100])
def test_with_a_period_as_long_as_journeys_it_is_smis(rng, period):
    journeys = Badges.journeys(rng, 300, 28)
    pooled, apart = ARP(period=period)(journeys), SMIS()(journeys)
    assert pooled.value == pytest.approx(apart.value, rel=1e-12)
    assert pooled.influence == pytest.approx(apart.influence, rel=1e-9, abs=1e-12)
    assert pooled.details["log_gap"] == pytest.approx(0.0, abs=1e-12)
    assert pooled.details["ess"] == pytest.approx(apart.details["ess"], rel=1e-12)


def test_by_hand_with_two_phases():
    """One state; users of four decisions, two days of two: phases earn 3 and 2 where weighed, 2 and 2 where not.

    Weights at steps 0 to 3 are 2, 1, 0, 1 and 0, 1, 2, 1; rewards 3, 1, 1, 2 and 1, 3, 3, 2. By day (2·3 + 0·1 + 0·1 +
    2·3) / 4 = 3, unweighed 8 / 4; by night all weights are 1, and the mean is 2. Journeys go on for sure, so that the
    run is 2·(3 + 2) = 10, that of the log 2·(2 + 2), and 8 was logged on average.
    """
    paths = Trajectories(np.repeat([0, 1], 4), [2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0], gamma=1.0)
    reward = np.array([3.0, 1.0, 1.0, 2.0, 1.0, 3.0, 3.0, 2.0])
    journeys = Journeys(paths, reward, state=np.zeros(8, np.int64))
    found = ARP(period=2)(journeys)
    assert found.value == pytest.approx(10.0)
    # Users' rewards less the phase's, weighed by 2 visits · G ρ / Σρ: by day 2·2·2/4·(3 - 3) for both; by night
    # 2·2·1/4·(1 + 2 - 4) and the opposite; unweighed 2·2/4 · (3 + 1 - 4), · (1 + 2 - 4) … less what each was logged.
    assert found.influence == pytest.approx([-1 - (-1 - (7 - 8)), 1 - (1 - (9 - 8))])


def test_with_a_discount_by_time_ends_and_states_it_is_the_run_of_a_matrix(rng):
    """Against dense matrices, written anew: random journeys of 1 to 6 decisions, moves that carry γ^Δt."""
    users, states, horizon = 40, 3, 6
    lengths = np.concatenate([[horizon], rng.integers(1, horizon + 1, users - 1)])
    user = np.repeat(np.arange(users), lengths)
    n = len(user)
    elapsed = rng.integers(1, 4, n).cumsum()
    state, reward, weight = rng.integers(0, states, n), rng.normal(size=n), rng.choice([0.5, 1.5, 3.0], n)
    day = 86_400_000_000
    paths = Trajectories(user, weight, gamma=0.8, time=elapsed * day, time_unit=timedelta(days=1))
    found = ARP(period=2)(Journeys(paths, reward, state=state))
    runs = []
    for ratio in (weight, np.ones(n)):
        earned, count = np.zeros((2, states)), np.zeros((2, states))
        moved, left = np.zeros((2, states, states)), np.zeros((2, states))
        for i in range(n):
            step = i - np.flatnonzero(user == user[i])[0]
            cell = step % 2, state[i]
            earned[cell] += ratio[i] * reward[i]
            count[cell] += ratio[i]
            if step < horizon - 1:
                left[cell] += ratio[i]
                if i + 1 < n and user[i + 1] == user[i]:
                    moved[(*cell, state[i + 1])] += ratio[i] * 0.8 ** (elapsed[i + 1] - elapsed[i])
        here = np.bincount(state[np.flatnonzero(np.diff(user, prepend=-1))], minlength=states) / users
        total = 0.0
        for step in range(horizon):
            total += here @ (earned / count)[step % 2]
            here = here @ (moved / left[..., None])[step % 2]
        runs.append(total)
    logged = paths.sums(paths.discount * reward).mean()
    assert found.value == pytest.approx(logged + runs[0] - runs[1], rel=1e-12)
    assert found.details["log_gap"] == pytest.approx(runs[1] - logged, rel=1e-9)


@pytest.mark.parametrize("period", [0, -1, True, 2.0])
def test_what_is_no_period_is_refused(period):
    with pytest.raises(InvalidInputError, match=f"period == {period}, must be an integer >= 1. 1 pools all steps."):
        ARP(period=period)


def test_a_state_where_the_policy_does_what_the_log_never_does_is_refused(rng, make_log):
    """Where all weights are 0 nothing is known of what follows; the report says that the estimator is left out."""
    log = make_log(action=[0, 1, 0, 1], propensity=0.5, reward=[0.0, 1.0, 0.0, 1.0], user=[0, 0, 1, 1])
    probs = np.tile([0.0, 1.0], (4, 1))
    report = evaluate_sequential(log, probs, gamma=1.0, state=[0, 1, 0, 1], estimators=(ARP(period=2),))
    assert not report.estimates
    assert "arp of clicked is left out: share of the policy's visits to states where it never takes" in report.notes[0]
    # A state that only last decisions were seen in, reached earlier: what follows there is not known either.
    paths = Trajectories([0, 0, 0, 1, 1, 1], np.ones(6), gamma=1.0)
    state = np.array([0, 0, 1, 0, 0, 1])
    with pytest.raises(SupportError, match=r"share of the policy's visits .* must be <= 0.05"):
        ARP()(Journeys(paths, np.ones(6), state=state))


@pytest.mark.slow
def test_intervals_cover(rng):
    """400 logs of 300 users and 14 steps: 95 % within 4 standard errors of 1.1 %.

    The mean of 400 errors has a standard error of a twentieth of one: a bias of a quarter of it would be five.
    """
    truth = Badges.value(Badges.TARGET.mean(axis=1), 14)
    scores = []
    for _ in range(400):
        found = ARP(period=2)(Badges.journeys(rng, 300, 14))
        scores.append((found.value - truth) / standard_error(found))
    assert 0.906 <= np.mean(np.abs(scores) < 1.96) <= 0.985
    assert abs(np.mean(scores)) < 0.25
