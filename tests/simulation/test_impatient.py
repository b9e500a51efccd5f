"""Traces of sixty days against the published generator's distribution, and the world that plays them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from homing.errors import InvalidInputError
from homing.simulation.impatient import TRACE_DAYS, ImpatientParameters, ImpatientWorld, Shows


def test_users_stay_for_beta_geometric_times(rng: np.random.Generator) -> None:
    """By the beta function, from the same first numbers of the generator."""
    shows = Shows.draw(50, np.random.default_rng(1))
    again = np.random.default_rng(1)
    alpha = special.expit(0.1 * again.standard_normal(50) - 0.4)[:, None]
    k = again.uniform(0.7, 1.5, 50)[:, None]
    t = np.arange(TRACE_DAYS)
    want = np.exp(special.betaln(k * alpha, k * (1 - alpha) + t + 1) - special.betaln(k * alpha, k * (1 - alpha)))
    np.testing.assert_allclose(shows.stays, want, rtol=1e-10)
    # And by drawing: each user's own θ, then a geometric number of days.
    n = 40_000
    stays = rng.geometric(rng.beta(k[0] * alpha[0], k[0] * (1 - alpha[0]), n)) - 1
    share = (stays[:, None] > t).mean(axis=0)
    # 59 days at 4.5 standard errors: a false failure has a probability below 0.1 %.
    assert (np.abs(share - shows.stays[0]) < 4.5 * np.sqrt(share * (1 - share) / n)).all()


def test_activity_has_weeks_and_the_published_spread(rng: np.random.Generator) -> None:
    shows = Shows.draw(20_000, rng)
    logit = special.logit(shows.active)
    # f_t − a |sin(πt/7)|: at t = 0, 7, … the Gaussian process alone, with mean −0.5 and variance 0.012.
    for day in (0, 7, 56):
        assert logit[:, day].mean() == pytest.approx(-0.5, abs=4 * np.sqrt(0.012 / 20_000))
        assert logit[:, day].var() == pytest.approx(0.012, rel=0.05)
    assert np.cov(logit[:, 7], logit[:, 14])[0, 1] == pytest.approx(0.012 * np.exp(-7 / 8), rel=0.1)
    # In between a ~ U(0.1, 1), with mean 0.55 and variance 0.9²/12.
    drop = np.sin(np.pi * 3 / 7)
    assert logit[:, 3].mean() == pytest.approx(-0.5 - 0.55 * drop, abs=0.01)
    assert logit[:, 3].var() == pytest.approx(0.012 + 0.0675 * drop**2, rel=0.05)


def test_shows_are_as_sticky_as_the_published_ones(rng: np.random.Generator) -> None:
    """Their 200 had a mean of 4.463 (with a standard error of 0.05) and a maximum of 6.681."""
    sticky = Shows.draw(200 * 50, rng).stickiness.reshape(50, 200)
    assert sticky.mean() == pytest.approx(4.463, abs=4 * sticky.std() / np.sqrt(200))
    best = sticky.max(axis=1)
    assert abs(6.681 - best.mean()) < 4 * best.std()


def test_traces_have_the_moments_in_closed_form(rng: np.random.Generator) -> None:
    shows = Shows.draw(3, rng)
    n = 40_000
    traces = shows.traces(np.full(n, 1), rng)
    mean, covariance = shows.mean[1], shows.covariance(1)
    assert (np.abs(traces.mean(axis=0) - mean) < 4.5 * np.sqrt(np.diag(covariance) / n)).all()
    found = np.cov(traces.T)
    # Products of centred zeros and ones have a standard deviation of at most 1/2; 59·30 of them at 5 deviations.
    assert np.abs(found - covariance).max() < 5 * 0.5 / np.sqrt(n)


def test_a_show_brings_the_active_days_that_it_is_said_to() -> None:
    n = 4_000
    world = ImpatientWorld(ImpatientParameters(shows=3, users_per_day=n))
    world.reset(n, seed=4)
    action = np.arange(n) % 4
    days = np.zeros((60, n))
    for day in range(60):
        outcomes = world.step(action if day == 0 else np.zeros(0, np.int64))
        days[day] = outcomes.reward[:, 0]
        assert np.array_equal(np.flatnonzero(days[day]), outcomes.events.user)
    total = days.sum(axis=0)
    sent = np.flatnonzero(action)
    assert np.array_equal(world.traces(sent, action[sent] - 1), days[1:, sent].T)
    assert (days[0] == (action > 0)).all()
    assert total[action == 0].sum() == 0
    for show in range(3):
        mine = total[action == show + 1]
        error = np.sqrt(world.shows.covariance(show).sum() / len(mine))
        assert abs(mine.mean() - world.shows.stickiness[show]) < 4 * error
    assert world.step(np.zeros(0, np.int64)).reward.sum() == 0


def test_users_arrive_day_by_day_and_twins_are_equally_loyal() -> None:
    world = ImpatientWorld(ImpatientParameters(shows=2, users_per_day=30))
    seen = world.reset(70, seed=2)
    asked = []
    for _ in range(4):
        asked.append(world.observation.user.tolist())
        world.step(np.ones(len(world.observation), np.int64))
    assert asked == [list(range(30)), list(range(30, 60)), list(range(60, 70)), []]
    assert seen.eligible.all()
    # One show better than the other on every day: nobody is less active with it.
    world.shows = Shows(np.array([[0.3] * 59, [0.6] * 59]), np.array([[0.5] * 59, [0.8] * 59]))
    world.reset(30, seed=3)
    twin = world.copy()
    less = [world.step(np.full(30 * (day == 0), 1)).reward for day in range(60)]
    more = [twin.step(np.full(30 * (day == 0), 2)).reward for day in range(60)]
    assert (np.array(less) <= np.array(more)).all()
    assert np.array(less).sum() < np.array(more).sum()


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="users_per_day == 0"):
        ImpatientParameters(users_per_day=0)
    with pytest.raises(InvalidInputError, match=r"shows == 2\.5, must be a whole number"):
        ImpatientParameters(shows=2.5)
    with pytest.raises(InvalidInputError, match="shows_seed == -1, must be >= 0"):
        ImpatientParameters(shows_seed=-1)


def test_uniform_choice_is_as_bad_as_published() -> None:
    """Their uniform policy lost 2.218 a recommendation: the best of 200 less the mean."""
    loss = [ImpatientWorld(ImpatientParameters(shows_seed=seed)).shows.stickiness for seed in range(30)]
    regret = np.array([show.max() - show.mean() for show in loss])
    assert stats.norm.sf(abs(2.218 - regret.mean()) / regret.std()) > 0.001
