"""The progressive posterior against the joint normal distribution of everything, written down whole."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.learners.impatient import Beliefs, TracePrior
from homing.simulation.impatient import Shows

W = 5


@pytest.fixture
def prior(rng: np.random.Generator) -> TracePrior:
    a, b = rng.normal(size=(W, W)), rng.normal(size=(W, W))
    return TracePrior(rng.normal(size=W), a @ a.T / 3, b @ b.T / 3 + 0.1 * np.eye(W))


def conditioned(prior: TracePrior, observed, traces, weights) -> tuple[float, float]:
    """Mean and variance of weights·z given all seen days, by conditioning their joint distribution."""
    at = [(i, j) for i, seen in enumerate(observed) for j in range(seen)]
    user, day = (np.array(part, dtype=int) for part in zip(*at, strict=True))
    joint = prior.covariance[np.ix_(day, day)] + (user[:, None] == user) * prior.noise[np.ix_(day, day)]
    cross = weights @ prior.covariance[:, day]
    gain = np.linalg.solve(joint, cross)
    seen = np.array([traces[i, j] for i, j in at])
    return weights @ prior.mean + gain @ (seen - prior.mean[day]), weights @ prior.covariance @ weights - gain @ cross


def test_by_hand() -> None:
    """One day, one user: the usual mean of prior and datum, weighted by precision."""
    prior = TracePrior(np.array([2.0]), np.array([[4.0]]), np.array([[1.0]]))
    beliefs = prior.beliefs([0, 0, 1], [1, 1, 0], [[3.0], [5.0], [9.0]], arms=2)
    np.testing.assert_allclose(beliefs.variance, [1 / (1 / 4 + 2), 4.0])
    np.testing.assert_allclose(beliefs.mean, [(2 / 4 + 8) / (1 / 4 + 2), 2.0])


def test_it_is_the_conditional_distribution(prior: TracePrior, rng: np.random.Generator) -> None:
    n, arms = 40, 4
    arm, observed = rng.integers(0, 3, n), rng.integers(0, W + 1, n)  # nobody got message 3
    observed[arm == 2] = 2
    traces = rng.normal(size=(n, W))
    hidden = np.where(np.arange(W) < observed[:, None], traces, np.nan)
    for weights in (np.ones(W), rng.normal(size=W)):
        beliefs = prior.beliefs(arm, observed, hidden, arms=arms, weights=weights)
        for a in range(3):
            want = conditioned(prior, observed[arm == a], traces[arm == a], weights)
            np.testing.assert_allclose((beliefs.mean[a], beliefs.variance[a]), want, rtol=1e-9)
        assert beliefs.mean[3] == pytest.approx(weights @ prior.mean)
        assert beliefs.variance[3] == pytest.approx(weights @ prior.covariance @ weights)


def test_order_and_splitting_do_not_matter(prior: TracePrior, rng: np.random.Generator) -> None:
    arm, observed, traces = rng.integers(0, 3, 30), rng.integers(0, W + 1, 30), rng.normal(size=(30, W))
    order = rng.permutation(30)
    one = prior.beliefs(arm, observed, traces, arms=3)
    other = prior.beliefs(arm[order], observed[order], traces[order], arms=3)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-12)


def test_seeing_more_never_widens(prior: TracePrior, rng: np.random.Generator) -> None:
    arm, traces = np.zeros(20, int), rng.normal(size=(20, W))
    widths = [prior.beliefs(arm, np.full(20, t), traces, arms=1).variance[0] for t in range(W + 1)]
    assert (np.diff(widths) <= 1e-12).all()
    assert widths[0] > widths[-1]


def test_directions_in_which_messages_do_not_differ_are_no_trouble(rng: np.random.Generator) -> None:
    """A covariance of rank one: all messages differ by one number."""
    shape = np.array([1.0, 0.5, 0.25])
    prior = TracePrior(np.zeros(3), 4.0 * np.outer(shape, shape), np.eye(3))
    traces = rng.normal(size=(6, 3))
    beliefs = prior.beliefs(np.zeros(6, int), np.full(6, 3), traces, arms=1)
    precision = 1 / 4 + 6 * (shape @ shape)
    assert beliefs.mean[0] == pytest.approx(shape.sum() * (traces.sum(axis=0) @ shape) / precision)
    assert beliefs.variance[0] == pytest.approx(shape.sum() ** 2 / precision)


def test_moments_are_recovered(rng: np.random.Generator) -> None:
    truth = TracePrior(
        np.array([0.2, -0.1, 0.4]),
        np.array([[0.5, 0.3, 0.1], [0.3, 0.4, 0.2], [0.1, 0.2, 0.3]]),
        np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.5], [0.2, 0.5, 1.0]]),
    )
    messages, users = 400, 200
    z = rng.multivariate_normal(truth.mean, truth.covariance, messages)
    noise = rng.multivariate_normal(np.zeros(3), truth.noise, (messages, users))
    found = TracePrior.fit(z[:, None, :] + noise)
    # Means and covariances of 400 messages: 4 standard errors, of variances at most 0.5.
    np.testing.assert_allclose(found.mean, truth.mean, atol=4 * np.sqrt(0.5 / messages))
    np.testing.assert_allclose(found.covariance, truth.covariance, atol=4 * 0.5 * np.sqrt(2 / messages) + 1 / users)
    np.testing.assert_allclose(found.noise, truth.noise, atol=4 * np.sqrt(2 / (messages * users)))


def test_totals_are_those_of_sums(prior: TracePrior, rng: np.random.Generator) -> None:
    """Who reads sums alone believes what conditioning on the sums gives: a normal mean with known variance."""
    ones = np.ones(W)
    traces = rng.normal(size=(12, W))
    beliefs = prior.total(ones).beliefs(np.zeros(12, int), np.ones(12, int), traces @ ones[:, None], arms=1)
    v, s = ones @ prior.covariance @ ones, ones @ prior.noise @ ones
    want = (prior.mean.sum() / v + traces.sum() / s) / (1 / v + 12 / s)
    assert beliefs.mean[0] == pytest.approx(want)
    assert beliefs.variance[0] == pytest.approx(1 / (1 / v + 12 / s))


def test_thompson_chooses_as_often_as_a_message_is_best(rng: np.random.Generator) -> None:
    n = 40_000
    chosen = Beliefs(np.array([0.0, 1.0]), np.array([1.0, 3.0])).thompson(n, rng)
    p = 0.6914624612740131  # Φ(1 / √(1 + 3))
    assert abs(chosen.mean() - p) < 4 * np.sqrt(p * (1 - p) / n)


def test_after_a_month_it_knows_what_waiting_and_a_proxy_do_not(rng: np.random.Generator) -> None:
    """Sixty-day traces: error of what shows are believed to be worth, thirty days after 100 users each."""
    historic, shows = Shows.draw(100, rng), Shows.draw(200, rng)
    prior = TracePrior.fit(historic.traces(np.full(500, show), rng) for show in range(100))
    arm = np.repeat(np.arange(200), 100)
    traces, month = shows.traces(arm, rng), np.full(len(arm), 30)
    worth = shows.mean.sum(axis=1)

    def error(beliefs: Beliefs) -> float:
        return float(np.sqrt(((beliefs.mean - worth) ** 2).mean()))

    progressive = prior.beliefs(arm, month, traces, arms=200)
    waiting = error(prior.beliefs(arm, np.zeros_like(month), traces, arms=200))
    whole = error(prior.beliefs(arm, np.full(len(arm), 59), traces, arms=200))
    proxy = error(prior.beliefs(arm, np.ones_like(month), traces, arms=200))
    assert whole < error(progressive) < 0.75 * min(waiting, proxy)
    # It knows how well it knows: standardised errors have a spread of about 1 (200 of them: 0.05 a standard error; the
    # normal model of zeros and ones is an approximation).
    assert ((progressive.mean - worth) / np.sqrt(progressive.variance)).std() == pytest.approx(1.0, abs=0.25)


def test_what_makes_no_sense_is_refused(prior: TracePrior) -> None:
    traces = np.zeros((2, W))
    with pytest.raises(InvalidInputError, match=r"must be \(n,\), \(n,\) and \(n, 5\)"):
        prior.beliefs([0], [0], traces, arms=1)
    with pytest.raises(InvalidInputError, match=r"arm\[1\] == 3, must be in \[0, 2\]"):
        prior.beliefs([0, 3], [0, 0], traces, arms=3)
    with pytest.raises(InvalidInputError, match=r"observed\[0\] == 6, must be in \[0, 5\]"):
        prior.beliefs([0, 0], [6, 0], traces, arms=3)
    with pytest.raises(InvalidInputError, match=r"traces\[1\] == .* must be finite where observed"):
        prior.beliefs([0, 0], [1, 1], np.array([[0.0] * W, [np.nan] * W]), arms=3)
    with pytest.raises(InvalidInputError, match=r"weights.shape == \(2,\), must be \(5,\)"):
        prior.beliefs([0, 0], [1, 1], traces, arms=3, weights=[1, 1])
    with pytest.raises(InvalidInputError, match="noise == 'singular', must be positive definite"):
        TracePrior(np.zeros(2), np.eye(2), np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match=r"covariance == \(2, 2\), must be finite, of shape \(1, 1\)"):
        TracePrior(np.zeros(1), np.eye(2), np.eye(1))
    with pytest.raises(InvalidInputError, match="messages == 1, must be at least 2"):
        TracePrior.fit([np.eye(3)])
    with pytest.raises(InvalidInputError, match=r"must be \(at least 2 users, days\)"):
        TracePrior.fit([np.zeros((1, 3))])
    with pytest.raises(InvalidInputError, match=r"traces.shape == \(3, 2\), must be \(at least 2 users, 3\)"):
        TracePrior.fit([np.eye(3).tolist(), np.eye(3)[:, :2]])
    with pytest.raises(InvalidInputError, match=r"traces\[0, 1\] == nan, must be finite"):
        TracePrior.fit([np.eye(3), np.array([[0.0, np.nan, 0.0]] * 2)])
    with pytest.raises(InvalidInputError, match=r"shrinkage == 2, must be in \[0, 1\)"):
        TracePrior.fit([np.eye(3), np.eye(3)], shrinkage=2)
    with pytest.raises(InvalidInputError, match=r"arm.dtype == 'float64', must be integers"):
        prior.beliefs([0.5, 1.7], [0, 0], traces, arms=3)
    with pytest.raises(InvalidInputError, match=r"weights\[4\] == nan, must be finite"):
        prior.beliefs([0, 0], [1, 1], traces, arms=3, weights=[1, 1, 1, 1, np.nan])
    with pytest.raises(InvalidInputError, match=r"noise == \[\[1.0, 0.5\], \[0.0, 1.0\]\], must be symmetric"):
        TracePrior(np.zeros(2), np.eye(2), np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(InvalidInputError, match=r"smallest eigenvalue of covariance == -1.0, must be >= 0"):
        TracePrior(np.zeros(2), -np.eye(2), np.eye(2))


def test_messages_that_differ_by_chance_alone_are_believed_alike(rng: np.random.Generator) -> None:
    """Traces of one and the same distribution: next to nothing is left of the covariance."""
    prior = TracePrior.fit([rng.normal(size=(30, W)) for _ in range(400)])
    # Of W mean days each has variance 1/30 by chance; over 400 messages that is known to ± √(2/399) / 30 a day.
    assert np.trace(prior.covariance) < 4 * W * np.sqrt(2 / 399) / 30
    alike = TracePrior(np.ones(W), np.zeros((W, W)), np.eye(W))
    beliefs = alike.beliefs([0], [W], rng.normal(size=(1, W)), arms=2)
    assert beliefs.mean.tolist() == [W, W] and beliefs.variance.tolist() == [0.0, 0.0]


def test_variance_over_messages_is_that_of_their_true_means(rng: np.random.Generator) -> None:
    """Mean traces with covariance S, of ten users each: the total variance found is tr S, not tr S + tr noise / 10."""
    root = 0.3 * rng.normal(size=(W, W))
    means = rng.normal(size=(3000, W)) @ root.T
    prior = TracePrior.fit(list(means[:, None] + rng.normal(size=(3000, 10, W))))
    truth, chance = np.trace(root @ root.T), W / 10
    deviation = np.sqrt(2 * np.trace((root @ root.T + np.eye(W) / 10) @ (root @ root.T + np.eye(W) / 10)) / 3000)
    assert abs(np.trace(prior.covariance) - truth) < 4 * deviation < chance / 2
