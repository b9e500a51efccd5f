"""Estimators against scipy, statsmodels, closed forms and the definition itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS

from homing.experiments.estimators import (
    Means,
    adjusted,
    difference,
    fieller,
    means_of,
    per_cluster,
    post_stratified,
    ratio,
    relative,
    t_bound,
    t_to_z,
    unadjusted,
)

Array = NDArray[np.float64]


def moments(arms: list[Array]) -> Means:
    """(V, 1, q) means of each variant's rows (n, q)."""
    n = np.array([[len(rows)] for rows in arms])
    mean = np.array([[rows.mean(axis=0)] for rows in arms])
    products = np.array([[(rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))] for rows in arms])
    return means_of(n, mean, products)


def two_arms(rng: np.random.Generator, n: tuple[int, int] = (40, 70), q: int = 3) -> list[Array]:
    arms, mixed = [], rng.normal(size=(q - 1, q - 1))
    for at, size in enumerate(n):
        covariates = rng.normal(size=(size, q - 1)) @ mixed
        outcome = 2.0 + 0.5 * at + covariates @ np.arange(1.0, q) * (1 + at) + rng.normal(size=size) * (1 + at)
        arms.append(np.column_stack([outcome, covariates]))
    return arms


def test_welch_is_scipys() -> None:
    control, treatment = (rows[:, 0] for rows in two_arms(np.random.default_rng(0), (12, 30)))
    effect = difference(unadjusted(moments([control[:, None], treatment[:, None]])), 0)
    expected = stats.ttest_ind(treatment, control, equal_var=False)
    assert effect.t.item() == pytest.approx(expected.statistic, rel=1e-12)
    assert effect.df.item() == pytest.approx(expected.df, rel=1e-12)
    p = stats.norm.sf(abs(t_to_z(effect.t, effect.df).item())) * 2
    assert p == pytest.approx(expected.pvalue, rel=1e-9)
    low, high = expected.confidence_interval(0.9)
    half = t_bound(stats.norm.ppf(0.95), effect.df) * effect.std_error
    np.testing.assert_allclose([effect.value - half, effect.value + half], [[[low]], [[high]]], rtol=1e-9)


def test_the_pooled_slope_is_the_regressions() -> None:
    arms = two_arms(np.random.default_rng(1))
    rows, treated = np.vstack(arms), np.repeat([0.0, 1.0], [len(part) for part in arms])
    fit = OLS(rows[:, 0], np.column_stack([np.ones(len(rows)), treated, rows[:, 1:]])).fit()
    effect = difference(adjusted(moments(arms), pooled=True), 0)
    assert effect.value.item() == pytest.approx(fit.params[1], rel=1e-9)
    # Both estimate one variance; they weight residuals differently at order p / n = 2 / 40.
    assert effect.std_error.item() == pytest.approx(fit.get_robustcov_results("HC2").bse[1], rel=0.05)


def test_slopes_of_their_own_are_the_regression_with_interactions() -> None:
    arms = two_arms(np.random.default_rng(2), (400, 700))
    rows, treated = np.vstack(arms), np.repeat([0.0, 1.0], [len(part) for part in arms])
    centred = rows[:, 1:] - rows[:, 1:].mean(axis=0)
    design = np.column_stack([np.ones(len(rows)), treated, centred, centred * treated[:, None]])
    fit = OLS(rows[:, 0], design).fit()
    values = adjusted(moments(arms))
    effect = difference(values, 0)
    assert effect.value.item() == pytest.approx(fit.params[1], rel=1e-9)
    assert values.value[0, 0] == pytest.approx(fit.params[0], rel=1e-9)
    # The regression takes the covariates' mean as known: what it varies is added (Negi and Wooldridge 2021).
    slopes = fit.params[4:]
    of_mean = slopes @ np.cov(rows[:, 1:], rowvar=False) @ slopes / len(rows)
    expected = fit.get_robustcov_results("HC2").bse[1] ** 2 + of_mean
    assert effect.std_error.item() ** 2 == pytest.approx(expected, rel=0.02)


def test_a_covariate_that_says_nothing_changes_nothing() -> None:
    arms = two_arms(np.random.default_rng(3))
    same = [np.column_stack([rows[:, :2], np.full(len(rows), 3.0), rows[:, 1] * 2.0]) for rows in arms]
    one, two = (difference(adjusted(moments(part)), 0) for part in ([rows[:, :2] for rows in arms], same))
    assert two.value.item() == pytest.approx(one.value.item(), rel=1e-9)


def test_without_covariates_adjusting_is_not_adjusting() -> None:
    arms = [rows[:, :1] for rows in two_arms(np.random.default_rng(4))]
    one, two = unadjusted(moments(arms)), adjusted(moments(arms))
    np.testing.assert_allclose(two.value, one.value, rtol=1e-12)
    np.testing.assert_allclose(two.variance, one.variance, rtol=1e-12)
    np.testing.assert_allclose(two.df, one.df)


def test_the_delta_method_is_that_of_linearised_rows() -> None:
    rng = np.random.default_rng(5)
    rows = np.column_stack([rng.poisson(3.0, 200), rng.integers(1, 5, 200), rng.normal(size=200)]).astype(float)
    found = ratio(moments([rows]))
    r, x = rows[:, 0].sum() / rows[:, 1].sum(), rows[:, 1].mean()
    linear = np.column_stack([(rows[:, 0] - r * rows[:, 1]) / x, rows[:, 2]])
    np.testing.assert_allclose(found.mean[0, 0], [r, rows[:, 2].mean()], rtol=1e-12)
    np.testing.assert_allclose(found.cov[0, 0], np.cov(linear, rowvar=False) / 200, rtol=1e-9)


def test_clusters_are_the_cluster_robust_regression() -> None:
    rng = np.random.default_rng(6)
    team = np.repeat(np.arange(30), rng.integers(3, 9, 30))
    treated = (team % 2).astype(float)
    y = rng.normal(size=30)[team] + rng.normal(size=len(team)) + 0.3 * treated
    sums = np.column_stack([np.bincount(team, y), np.bincount(team)])
    arms = [sums[np.arange(30) % 2 == side] for side in (0, 1)]
    effect = difference(unadjusted(per_cluster(moments(arms), 1)), 0)
    fit = OLS(y, np.column_stack([np.ones(len(y)), treated])).fit(
        cov_type="cluster", cov_kwds={"groups": team, "use_correction": False}
    )
    assert effect.value.item() == pytest.approx(fit.params[1], rel=1e-9)
    # Uncorrected, each variant of 15 clusters has a variance of 14 / 15 of the unbiased one.
    assert effect.std_error.item() == pytest.approx(fit.bse[1] * np.sqrt(15 / 14), rel=1e-9)


def test_covariates_of_clusters_are_per_unit() -> None:
    rng = np.random.default_rng(7)
    units = rng.integers(2, 9, 50).astype(float)
    spend, orders, before = units * rng.gamma(2.0, 1.0, 50), units * 2.0 + 1.0, units * rng.gamma(3.0, 1.0, 50)
    found = per_cluster(moments([np.column_stack([spend, orders, before, units])]), 3)
    np.testing.assert_allclose(found.mean[0, 0], [spend.sum() / orders.sum(), before.sum() / units.sum()], rtol=1e-12)
    r, c = found.mean[0, 0]
    linear = np.column_stack([(spend - r * orders) / orders.mean(), (before - c * units) / units.mean()])
    np.testing.assert_allclose(found.cov[0, 0], np.cov(linear, rowvar=False) / 50, rtol=1e-9)


def test_post_stratification_by_hand() -> None:
    # Two strata; the treatment has more of the high one by chance, and no effect within either.
    n = np.array([[[30, 10]], [[20, 20]]])
    mean = np.array([[[[1.0], [5.0]]], [[[1.0], [5.0]]]])
    products = np.array([[[[[58.0]], [[36.0]]]], [[[[38.0]], [[76.0]]]]])
    found = post_stratified(means_of(n, mean, products))
    effect = difference(unadjusted(found), 0)
    assert effect.value.item() == pytest.approx(0.0, abs=1e-12)
    w = np.array([50, 30]) / 80
    v = [w**2 @ (products[arm, 0, :, 0, 0] / (n[arm, 0] * (n[arm, 0] - 1))) for arm in (0, 1)]
    assert effect.std_error.item() == pytest.approx(np.sqrt(sum(v)), rel=1e-12)


@pytest.mark.parametrize("mean", [3.0, -3.0], ids=["positive control", "negative control"])
def test_fieller_is_what_is_not_rejected(mean: float) -> None:
    rng = np.random.default_rng(8)
    arms = [np.column_stack([mean + rng.normal(size=60), rng.normal(size=60)]) for _ in range(2)]
    values = adjusted(moments([rows + rows[:, [1]] for rows in arms]))
    low, high = (end.item() for end in fieller(values, 0, 1.96))

    def rejects(share: float) -> float:
        one = difference(values, 0, control_weight=1.0 + share * np.sign(mean))
        return abs(one.t.item()) - 1.96

    middle = relative(values, 0).value.item()
    assert low == pytest.approx(optimize.brentq(rejects, middle - 1.0, middle), rel=1e-6)
    assert high == pytest.approx(optimize.brentq(rejects, middle, middle + 1.0), rel=1e-6)


def test_fieller_is_no_interval_where_the_control_may_be_zero() -> None:
    values = unadjusted(moments([np.array([[-1.0], [1.2]]), np.array([[2.0], [3.0]])]))
    assert np.isnan(fieller(values, 0, 1.96)).all()


def test_the_relative_standard_error_is_the_gradients() -> None:
    control, treatment = np.array([[4.0], [5.0], [9.0]]), np.array([[5.0], [8.0], [9.0], [10.0]])
    found = relative(unadjusted(moments([control, treatment])), 0)
    v = [control.var(ddof=1) / 3, treatment.var(ddof=1) / 4]
    assert found.value.item() == pytest.approx(8.0 / 6.0 - 1.0)
    assert found.std_error.item() == pytest.approx(np.sqrt(v[1] / 36 + v[0] * 64 / 6**4), rel=1e-12)


@pytest.mark.parametrize("df", [2.0, 9.5, 1e3, 6e4, 1e7])
def test_t_and_z_agree_with_scipy(df: float) -> None:
    z = np.array([-8.0, -2.5, 0.0, 1.0, 3.0, 7.0])
    t = stats.t.isf(stats.norm.sf(np.abs(z)), df) * np.sign(z)
    np.testing.assert_allclose(t_bound(z, df), t, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(t_to_z(t, df), z, rtol=1e-8, atol=1e-9)
    assert np.isinf(t_bound(np.inf, df)) and np.isnan(t_to_z(1.0, 0.0))


def test_far_tails_keep_their_order() -> None:
    t = np.array([10.0, 30.0, 37.0, 45.0, 60.0, 1e3])
    for df in (200.0, 4e4, 1e6):
        assert (np.diff(t_to_z(t, df)) > 0).all()


def test_the_relative_interval_covers_at_a_lift_of_half() -> None:
    """Coverage at +50 % of the interval at .95, from 20,000 draws of the arms' means.

    The standard error of a coverage of .95 is .0015; .945 is 3.2 of them below. Dividing the interval of the
    difference by the control's value covers .88 to .90 in the same draws.
    """
    rng = np.random.default_rng(11)
    draws, n, spread = 20_000, 400, 2.0
    control = 1.0 + rng.normal(size=draws) * spread / np.sqrt(n)
    treatment = 1.5 + rng.normal(size=draws) * spread / np.sqrt(n)
    variances = spread**2 / n * rng.chisquare(n - 1, (2, draws)) / (n - 1)
    means = Means(np.full((2, draws), float(n)), np.stack([control, treatment])[..., None], variances[..., None, None])
    values = unadjusted(means)
    effect = difference(values, 0)
    quantile = t_bound(stats.norm.ppf(0.975), effect.df)
    low, high = fieller(values, 0, quantile)
    assert 0.945 <= ((low <= 0.5) & (high >= 0.5)).mean() <= 0.955
    half = quantile * effect.std_error
    naive = ((effect.value - half) / control <= 0.5) & ((effect.value + half) / control >= 0.5)
    assert naive.mean() < 0.91
