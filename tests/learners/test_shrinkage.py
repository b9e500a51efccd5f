"""Shrinkage: least squares where free, ridge with the variance that is most likely elsewhere; logistic fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from homing.learners.logistic import newton
from homing.learners.shrinkage import FREE, Shrunk, shrunk


def test_free_coefficients_are_least_squares(rng) -> None:
    z, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    told = shrunk(z.T @ z, z.T @ y, 2.0, np.full(3, FREE))
    np.testing.assert_allclose(told.theta, np.linalg.lstsq(z, y, rcond=None)[0])
    np.testing.assert_allclose(told.covariance, 2.0 * np.linalg.inv(z.T @ z))
    assert told.variance.shape == (0,)


def test_groups_are_ridges_with_the_variance_that_is_most_likely(rng) -> None:
    truth = np.concatenate([[3.0], rng.normal(0.0, 0.8, 12), np.zeros(12)])
    group = np.concatenate([[FREE], np.zeros(12), np.ones(12)]).astype(int)
    z = rng.normal(size=(120, 25))
    y = z @ truth + rng.normal(0.0, 2.0, 120)
    told = shrunk(z.T @ z, z.T @ y, 4.0, group)
    variance = told.variance
    # The variances are those after the last step, a little smaller than the ones that θ was told with.
    penalty = np.where(group == FREE, 0.0, 4.0 / np.append(variance, 1.0)[group])
    np.testing.assert_allclose(told.theta, np.linalg.solve(z.T @ z + np.diag(penalty), z.T @ y), atol=2e-3)
    # The posterior of a ridge: 4 (zᵀz + penalty)⁻¹, of any combination too.
    cover = 4.0 * np.linalg.inv(z.T @ z + np.diag(penalty))
    np.testing.assert_allclose(told.covariance, cover, atol=2e-3)
    np.testing.assert_allclose(told.errors(z[:3]), np.sqrt(np.diag(z[:3] @ cover @ z[:3].T)), atol=2e-3)
    assert 0.3 < variance[0] < 1.6  # 0.64 from twelve draws: a factor of 2.5 is more than three of its errors
    assert variance[1] < 0.1

    def deviance(log_variance: np.ndarray) -> float:
        prior = np.concatenate([[1e6], np.full(12, np.exp(log_variance[0])), np.full(12, np.exp(log_variance[1]))])
        cover = z * prior @ z.T + 4.0 * np.eye(120)
        return float(np.linalg.slogdet(cover)[1] + y @ np.linalg.solve(cover, y))

    found = deviance(np.log(variance))
    best = optimize.minimize(deviance, np.log([0.5, 0.1]), method="Nelder-Mead", options={"maxiter": 60}).fun
    assert found < best + 0.5  # EM comes close from above where a variance goes to 0


def test_what_no_one_tried_is_not_told_and_has_no_error() -> None:
    """The second of three columns is the first again, the third is never moved: the sum of two is told, 2 ± 1/√8."""
    z = np.array([[1.0, 1.0, 0.0]] * 8)
    told = shrunk(z.T @ z, z.T @ np.full(8, 2.0), 1.0, np.full(3, FREE))
    np.testing.assert_allclose(told.theta, [1.0, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(told.errors(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])), [8**-0.5, 0.0], atol=1e-9)


@pytest.mark.parametrize("mean", [-2.5, 0.3, 4.0])
def test_a_known_sign_is_the_posterior_given_it(mean) -> None:
    """By sums over a grid of two dimensions, of a normal with the sign of the first; and the mirror image."""
    told = Shrunk(np.array([mean, 1.0]), np.array([[1.0, 0.6], [0.6, 2.0]]), np.zeros(1))
    a, b = np.meshgrid(np.linspace(5e-3, 12.0, 1200), np.linspace(-9.0, 11.0, 1000), indexing="ij")
    away = np.stack([a - mean, b - 1.0])
    weight = np.exp(-0.5 * np.einsum("iab,ij,jab->ab", away, np.linalg.inv(told.covariance), away))
    centre = np.array([(weight * each).sum() for each in (a, b)]) / weight.sum()
    around = np.stack([a, b]) - centre[:, None, None]
    spread = np.einsum("ab,iab,jab->ij", weight, around, around) / weight.sum()
    found = told.signed(0, 1.0)
    np.testing.assert_allclose(found.theta, centre, atol=0.01)
    np.testing.assert_allclose(found.covariance, spread, atol=0.01)
    mirrored = Shrunk(-told.theta, told.covariance, np.zeros(1)).signed(0, -1.0)
    np.testing.assert_allclose(mirrored.theta, -found.theta)
    np.testing.assert_allclose(mirrored.covariance, found.covariance)
    untold = Shrunk(np.zeros(2), np.diag([0.0, 1.0]), np.zeros(0))
    assert untold.signed(0, 1.0) is untold


def test_logistic_regression_is_where_the_penalised_likelihood_is_highest(rng) -> None:
    z = np.column_stack([np.ones(500), rng.normal(size=(500, 3))]).astype(np.float32)
    y = rng.random(500) < 1.0 / (1.0 + np.exp(2.0 - z[:, 1]))

    def loss(theta: np.ndarray) -> float:
        logit = z @ theta
        return float((np.logaddexp(0.0, logit) - y * logit).sum() + 5.0 * (theta[1:] ** 2).sum())

    told = newton(z, y, 10.0, np.zeros(4))
    np.testing.assert_allclose(told, optimize.minimize(loss, np.zeros(4)).x, atol=2e-3)
    np.testing.assert_allclose(newton(z, y, 10.0, np.array([5.0, -3.0, 2.0, 1.0])), told, atol=2e-3)
    assert np.isfinite(newton(z, np.zeros(500, dtype=bool), 10.0, np.zeros(4))).all()


def test_a_group_of_copies_of_what_is_free_tells_nothing() -> None:
    """A third column that is 0.37 of the first: the free ones have it all, and their errors are those without it."""
    rng = np.random.default_rng(2)
    two = rng.normal(size=(500, 2))
    columns = np.column_stack([two, 0.37 * two[:, 0]])
    outcome = two @ np.array([0.3, 0.8]) + rng.normal(size=500)
    told = shrunk(columns.T @ columns, columns.T @ outcome, 1.0, np.array([FREE, FREE, 0]))
    alone = shrunk(two.T @ two, two.T @ outcome, 1.0, np.array([FREE, FREE]))
    assert told.theta[:2] == pytest.approx(alone.theta, rel=1e-9) and told.theta[2] == 0.0
    assert np.diag(told.covariance)[:2] == pytest.approx(np.diag(alone.covariance), rel=1e-9)


@pytest.mark.parametrize("t", [-29.0, -31.0, -1e3, -1e6])
def test_far_on_the_wrong_side_a_sign_leaves_a_little(t: float) -> None:
    """Of a normal beyond −t errors an exponential is left, with mean and error 1/t, but for terms of 1/t²."""
    told = Shrunk(np.array([t]), np.eye(1), np.zeros(0)).signed(0, 1.0)
    assert told.theta[0] == pytest.approx(-1.0 / t, rel=3.0 / t**2 + 1e-3)
    assert told.covariance[0, 0] == pytest.approx(1.0 / t**2, rel=7.0 / t**2 + 1e-3)
