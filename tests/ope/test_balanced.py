"""Weights by classification: closed forms, recovery of the true ratio, and the check that they are for."""

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.ope import balanced_weights, evaluate_policy


def one_hot(n, k):
    return np.broadcast_to(np.eye(k), (n, k, k))


def test_with_the_action_alone_they_are_the_ratio_of_shares(make_log, rng):
    """Saturated and hardly penalised, the classifier's odds are Σ π(a) / count(a) over the rows that it was fitted on.

    So the estimate is Σ_a π̄(a) r̄(a), up to which half of the users each weight comes from: here both halves are alike.
    """
    action = np.tile([0, 0, 1, 2, 2, 2], 50)
    probs = np.tile([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], (150, 1))
    # Users 0 and 1 hold the same 150 rows each, so the model of either is that of both.
    log = make_log(
        action=np.tile(action[:150], 2), propensity=1.0, reward=rng.random(300), k=3, user=np.repeat([0, 1], 150)
    )
    probs = np.tile(probs[:150], (2, 1))
    found = balanced_weights(log, probs, one_hot(300, 3), folds=2, rng=rng, penalty=1e-9)
    share, count = probs.sum(axis=0), np.bincount(log.action)
    np.testing.assert_allclose(found, (share / count)[log.action], rtol=1e-7)
    value = evaluate_policy(log, probs, estimators=("balanced-ips",), ratios={"balanced": found}).estimate(
        "clicked", "balanced-ips"
    )
    means = np.array([log.reward[log.action == a].mean() for a in range(3)])
    assert value.value == pytest.approx(probs.mean(axis=0) @ means, rel=1e-7)


def test_equals_a_general_optimiser(make_log, rng):
    """The two halves of the users hold the same rows, so each fold's model is that of one half."""
    from scipy.optimize import minimize

    n, k, p = 120, 3, 4
    features, probs = rng.normal(2.0, 3.0, (n, k, p)), rng.dirichlet(np.ones(k), n)
    action = rng.integers(0, k, n)
    twice = np.tile(np.arange(n), 2)
    log = make_log(action=action[twice], propensity=1 / 3, reward=np.ones(2 * n), k=k, user=np.repeat([0, 1], n))
    found = balanced_weights(log, probs[twice], features[twice], folds=2, rng=rng, penalty=2.0)
    # Logged pairs once with label 0, all candidates with label 1 and weight π; standardised with both weights.
    x = np.concatenate([features[np.arange(n), action], features.reshape(n * k, p)])
    weight = np.concatenate([np.ones(n), probs.ravel()])
    mean = np.average(x, axis=0, weights=weight)
    x = (x - mean) / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    sign = np.repeat([-1.0, 1.0], [n, n * k])

    def loss(beta):
        return weight @ np.log1p(np.exp(-sign * (beta[0] + x @ beta[1:]))) + 2.0 / 2 * (beta[1:] ** 2).sum()

    beta = minimize(loss, np.zeros(p + 1), tol=1e-12).x
    np.testing.assert_allclose(found[:n], np.exp(beta[0] + x[:n] @ beta[1:]), rtol=1e-4)


def test_recovers_the_ratio_where_it_is_in_the_model(make_log, rng):
    """log π / μ is linear in the features: with 20,000 rows the weights and the value come out right.

    The coefficients' errors are about 1/√n times 2: 1.5 %, the value's 4 standard errors.
    """
    n = 20_000
    x = rng.normal(0.0, 1.0, n)
    tilt = np.array([0.0, 0.5, -0.3])[None, :] + np.array([0.0, 0.4, 0.2])[None, :] * x[:, None]
    logging = np.tile([0.5, 0.3, 0.2], (n, 1))
    target = logging * np.exp(tilt)
    target /= target.sum(axis=1, keepdims=True)
    action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)
    reward = x + action + rng.normal(0.0, 1.0, n)
    log = make_log(action=action, propensity=logging[np.arange(n), action], reward=reward, k=3)
    # π / μ has a normaliser that depends on x: the context enters alone too, with its square.
    context = np.stack([x, x**2], axis=1)
    features = np.concatenate(
        [one_hot(n, 3), one_hot(n, 3) * x[:, None, None], np.repeat(context[:, None, :], 3, axis=1)], axis=2
    )
    found = balanced_weights(log, target, features, folds=5, rng=rng)
    exact = target[np.arange(n), action] / log.propensity
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.05
    report = evaluate_policy(log, target, estimators=("snips", "balanced-ips"), ratios={"balanced": found})
    truth = (x + target @ [0.0, 1.0, 2.0]).mean()
    item = report.estimate("clicked", "balanced-ips")
    assert abs(item.value - truth) < 4 * item.std_error


def test_shows_that_logged_propensities_are_wrong(make_log, rng):
    """The log says 1/2 and drew with 0.8 and 0.2: snips is off by many errors, the balanced estimate is not."""
    n = 10_000
    action = (rng.random(n) < 0.2).astype(int)
    x = (rng.random(n) < 0.5).astype(float)
    log = make_log(action=action, propensity=0.5, reward=rng.random(n) < 0.1 + 0.3 * action * x)
    target = np.where(x[:, None] == 1.0, [0.2, 0.8], [0.8, 0.2])
    truth = 0.1 + 0.3 * 0.8 * 0.5
    features = np.concatenate([one_hot(n, 2), one_hot(n, 2) * x[:, None, None]], axis=2)
    found = balanced_weights(log, target, features, folds=5, rng=rng)
    report = evaluate_policy(log, target, estimators=("snips", "balanced-ips"), ratios={"balanced": found})
    plain, balanced = (report.estimate("clicked", name) for name in ("snips", "balanced-ips"))
    assert abs(balanced.value - truth) < 4 * balanced.std_error
    assert abs(plain.value - truth) > 8 * plain.std_error


def test_the_seed_decides_and_constant_columns_do_no_harm(random_case):
    log, _, target, _ = random_case()
    features = np.concatenate([one_hot(log.n, 4), np.ones((log.n, 4, 1))], axis=2)
    one, two = (
        balanced_weights(log, target, item, folds=3, rng=np.random.default_rng(1)) for item in (features, features)
    )
    np.testing.assert_array_equal(one, two)
    without = balanced_weights(log, target, one_hot(log.n, 4), folds=3, rng=np.random.default_rng(1))
    np.testing.assert_allclose(one, without, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"features": np.zeros((400, 4))}, r"features\.shape == \(400, 4\), must be \(400, 4, any\)", id="shape"
        ),
        pytest.param(
            {"features": np.full((400, 4, 1), np.inf)}, r"features\[0, 0, 0\] == inf, must be finite", id="inf"
        ),
        pytest.param({"penalty": 0.0}, r"penalty == 0\.0, must be a finite number > 0", id="penalty"),
        pytest.param({"folds": 1}, r"folds == 1, must be an integer >= 2", id="folds"),
    ],
)
def test_errors(random_case, rng, change, message):
    log, _, target, _ = random_case()
    given = {"features": one_hot(400, 4), "folds": 2, "rng": rng} | change
    with pytest.raises(InvalidInputError, match=message):
        balanced_weights(log, target, **given)


def test_the_estimator_says_what_it_needs(random_case):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=r"ratios == \[\], must hold 'balanced'"):
        evaluate_policy(log, target, estimators=("balanced-ips",))
