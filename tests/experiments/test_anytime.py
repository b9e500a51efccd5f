"""Tests that may be looked at at any time: mixtures against numerical integrals, exactness by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import dirichlet_multinomial, multinomial, norm

from homing.errors import InvalidInputError
from homing.estimates import mixture_growth, mixture_quantile
from homing.experiments.sequential import (
    anytime_regression_half_width,
    anytime_regression_p_value,
    confidence_sequence_bounds,
    confidence_sequence_p_value,
    regression_precision,
    sequential_ratio_p_value,
)
from homing.ope.intervals.anytime import Anytime


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("z", [-1.0, 0.5, 3.0])
def test_the_p_value_is_one_over_the_mixture_of_likelihood_ratios(sides, z) -> None:
    t, alpha = 0.7, 0.05
    scale = np.sqrt(t * mixture_growth(1.0 - (3 - sides) * alpha))  # the mixture's spread in z

    def ratio(effect: float) -> float:
        return norm.pdf(z, effect) / norm.pdf(z) * norm.pdf(effect, 0.0, scale)

    mixed = 2 * quad(ratio, 0, 40)[0] if sides == 1 else quad(ratio, -40, 40)[0]
    found = confidence_sequence_p_value([z], [t], alpha, sides=sides)
    assert found[0] == pytest.approx(min(1.0, 1.0 / mixed), rel=1e-7)


@pytest.mark.parametrize("sides", [1, 2])
def test_the_bound_is_where_the_p_value_is_alpha(sides) -> None:
    t = np.array([0.05, 0.5, 1.0, 20.0])
    for alpha in (0.2, 0.05, 1e-4):
        bounds = confidence_sequence_bounds(t, alpha, sides=sides)
        for z, at in zip(bounds, t, strict=True):
            assert confidence_sequence_p_value([z], [at], alpha, sides=sides)[0] == pytest.approx(alpha, rel=1e-9)
        # Tightest about where it is tuned, as a band around the estimate: bound / √t.
        assert confidence_sequence_bounds([1.0], alpha, sides=sides)[0] <= bounds[[0, -1]].min()


def test_the_two_sided_bound_is_that_of_gbstats() -> None:
    # Half width over SE by gbstats' formula, with n = 3000, N* = 5000.
    n, star, alpha = 3000, 5000, 0.05
    rho2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / star
    expected = np.sqrt((n * rho2 + 1) / (n * rho2) * np.log((n * rho2 + 1) / alpha**2))
    assert confidence_sequence_bounds([n / star], alpha, sides=2)[0] == pytest.approx(expected, rel=1e-12)
    # The evaluation of policies has the same sequence.
    assert Anytime(users=10_000).quantile(n, 0.95) == pytest.approx(
        float(mixture_quantile(n * mixture_growth(0.95) / 10_000, 0.95)), rel=1e-12
    )


def test_one_sided_bounds_are_shorter_than_the_closed_form_of_the_paper() -> None:
    growth = np.array([0.5, 5.0, 50.0])
    t = growth / mixture_growth(0.9)
    closed = np.sqrt(2 * (growth + 1) / growth * np.log1p(np.sqrt(growth + 1) / (2 * 0.05)))
    exact = confidence_sequence_bounds(t, 0.05)
    assert (exact < closed).all() and (exact > 0.95 * closed).all()


def test_regression_is_the_bayes_factor_of_a_normal_effect() -> None:
    """Against the ratio of t densities under the invariant law, integrated over the effect's prior numerically."""
    t, nu, phi, z2 = 2.3, 17.0, 4.0, 9.0
    from scipy.stats import nct
    from scipy.stats import t as student

    # δ / σ ~ N(0, 1 / φ): the t statistic is non-central t with noncentrality δ √z2 / σ, where z2 = (σ / SE)² is known.
    scale = np.sqrt(z2 / phi)
    mixed = quad(lambda m: nct.pdf(t, nu, m) * norm.pdf(m, 0.0, scale), -12, 12)[0]
    found = anytime_regression_p_value([t], [1.0], [np.sqrt(z2)], [nu], precision=phi)[0]
    assert found == pytest.approx(min(1.0, student.pdf(t, nu) / mixed), rel=1e-6)


def test_the_regressions_interval_is_its_p_value_and_becomes_the_confidence_sequence() -> None:
    se, sd, nu = np.array([0.4, 0.1]), 2.0, np.array([30.0, 900.0])
    for alpha in (0.05, 0.001):
        half = anytime_regression_half_width(se, sd, nu, alpha=alpha, precision=6.0)
        for k in range(2):
            p = anytime_regression_p_value(half[k : k + 1], se[k : k + 1], sd, nu[k : k + 1], precision=6.0)
            assert p[0] == pytest.approx(alpha, rel=1e-9)
    n, alpha = 10**7, 0.05
    width = anytime_regression_half_width(
        1.0, np.sqrt(n / 4), n, alpha=alpha, precision=regression_precision(n, 0.25, alpha)
    )
    assert width[0] == pytest.approx(confidence_sequence_bounds([1.0], alpha, sides=2)[0], rel=1e-5)
    # Five rows say nothing at this level.
    assert np.isinf(anytime_regression_half_width(1.0, 1.0, 3, alpha=1e-6, precision=1.0)[0])


def test_regression_holds_from_the_first_rows_on() -> None:
    # 2,000 A/A tests of normal outcomes, looked at after every pair from the third to the 60th.
    rng, count, pairs = np.random.default_rng(2), 2000, 60
    y = rng.normal(5.0, 3.0, (2, count, pairs))
    n = np.arange(1, pairs + 1)
    mean = np.cumsum(y, axis=2) / n
    residual = (np.cumsum(y**2, axis=2) - n * mean**2).sum(axis=0)
    nu = 2.0 * n - 2
    at = slice(2, None)
    sd = np.sqrt(residual[:, at] / nu[at])
    p = anytime_regression_p_value(
        (mean[1] - mean[0])[:, at], sd * np.sqrt(2 / n[at]), sd, np.broadcast_to(nu[at], sd.shape), precision=2.0
    )
    # Three standard errors of a share of .05 among 2,000.
    assert (p[:, -1] <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)


def test_the_ratio_test_is_a_dirichlet_mixture_over_the_planned_shares() -> None:
    counts, shares, kappa = np.array([[30, 55, 20]]), np.array([0.25, 0.5, 0.25]), 40.0
    total = int(counts.sum())
    expected = multinomial.pmf(counts[0], total, shares) / dirichlet_multinomial.pmf(counts[0], kappa * shares, total)
    found = sequential_ratio_p_value(counts, 2 * shares, concentration=kappa)
    assert found[0] == pytest.approx(min(1.0, expected), rel=1e-9)
    one_off = sequential_ratio_p_value([[300, 550, 200], [300, 550, 260]], shares)
    assert one_off[1] <= one_off[0] <= 1.0


@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_a_ratio_watched_daily_raises_few_false_alarms(alpha) -> None:
    rng, count = np.random.default_rng(4), 10_000
    days = rng.binomial(1000, 0.5, (count, 30))
    counts = np.stack([days, 1000 - days], axis=-1).cumsum(axis=1)
    alarms = (sequential_ratio_p_value(counts, [0.5, 0.5])[:, -1] <= alpha).mean()
    assert alarms <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / count) and alarms <= max(0.002, alpha)
    # The chi-square test at .05, looked at daily, does so in more than one of four.
    z = (counts[..., 0] - counts[..., 1]) / np.sqrt(counts.sum(axis=-1))
    assert (np.abs(z) > norm.isf(0.025)).any(axis=1).mean() > 0.25


def test_a_ratio_of_52_to_48_is_seen_within_12000_units() -> None:
    rng, count = np.random.default_rng(8), 4000
    days = rng.binomial(400, 0.52, (count, 30))
    counts = np.stack([days, 400 - days], axis=-1).cumsum(axis=1)
    assert (sequential_ratio_p_value(counts, [0.5, 0.5])[:, -1] <= 0.01).mean() >= 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sequential_ratio_p_value([[5, -1]], [1, 1]), "counts"),
        (lambda: sequential_ratio_p_value([[5, 5], [4, 6]], [1, 1]), "never fall from look to look"),
        (lambda: sequential_ratio_p_value([[5, 5]], [1, 1, 1]), r"must end with \(looks, 3\)"),
        (lambda: sequential_ratio_p_value([[5, 5]], [1, 0]), "shares"),
        (lambda: anytime_regression_p_value([1.0], [0.0], 1.0, 5, precision=1.0), "std_error == 0.0, must be > 0"),
        (lambda: anytime_regression_p_value([np.nan], [1.0], 1.0, 5, precision=1.0), "coefficient"),
        (lambda: anytime_regression_half_width([1.0], 1.0, 5, alpha=0.0, precision=1.0), "alpha == 0.0"),
    ],
)
def test_mistakes_are_named(call, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()
