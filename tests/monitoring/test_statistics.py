"""The drift statistics against hand-worked numbers, SciPy, and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from monitoring.statistics import calibration, calibration_shift, f_tail, mean_weight, population_shift


@pytest.mark.parametrize("degrees", [1, 1.7, 5, 37.2, 200])
@pytest.mark.parametrize("within", [1, 3, 24, 999.5, 40_000, 1e7])
def test_f_tail_is_scipys(degrees: float, within: float) -> None:
    for statistic in (0.01, 0.3, 0.9, 1.0, 1.1, 1.5, 3.0, 10.0, 100.0):
        expected = stats.f.sf(statistic, degrees, within)
        if expected > 1e-250:
            assert f_tail(statistic, degrees, within) == pytest.approx(expected, rel=1e-7)


def test_f_tail_at_the_ends() -> None:
    assert f_tail(0.0, 3, 10) == 1.0
    assert f_tail(float("inf"), 3, 10) == 0.0


def test_psi_by_hand() -> None:
    # 400 and 600 rows: shares 0.25, 0.75 against 0.5, 0.5, each smoothed by half a row; noise (K-1)(1/n1 + 1/n2).
    reference, current = ["a"] * 100 + ["b"] * 300, ["a"] * 300 + ["b"] * 300
    p, q = np.array([100.5, 300.5]) / 401, np.array([300.5, 300.5]) / 601
    # Singleton users: the clustered covariance is the multinomial one, times G/(G-1) in each window.
    share, pooled = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([0.4, 0.6])
    variance = sum(s * (1 - s) / (n - 1) for s, n in zip(share, (400, 600), strict=True))
    effect = max((variance / pooled).sum() / (1 / 400 + 1 / 600), 1.0)
    expected = ((p - q) * np.log(p / q)).sum() - effect * (1 / 400 + 1 / 600)
    shift = population_shift(reference, current, np.arange(400), np.arange(600))
    assert shift.psi == pytest.approx(expected, rel=1e-12)
    assert shift.design_effect == pytest.approx(effect)


def test_p_value_of_independent_rows_is_the_chi_square_tests() -> None:
    rng = np.random.default_rng(5)
    one, two = rng.choice(list("abcd"), 4000), rng.choice(list("abcd"), 3000, p=[0.27, 0.25, 0.25, 0.23])
    table = [[(x == letter).sum() for letter in "abcd"] for x in (one, two)]
    expected = stats.chi2_contingency(table).pvalue
    shift = population_shift(one, two, np.arange(4000), np.arange(3000))
    assert shift.p_value == pytest.approx(expected, rel=0.05)  # the floor on the design effect and G-1 move it little


def test_row_order_and_labels_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.choice(list("abc"), 500), rng.choice(list("abc"), 300, p=[0.5, 0.3, 0.2])
    users, others = rng.integers(0, 60, 500), rng.integers(0, 40, 300)
    first = population_shift(one, two, users, others)
    order, other_order = rng.permutation(500), rng.permutation(300)
    renamed = {"a": "z", "b": "y", "c": "x"}
    second = population_shift(
        [renamed[v] for v in one[order]], [renamed[v] for v in two[other_order]], users[order] + 7, others[other_order]
    )
    assert second.psi == pytest.approx(first.psi) and second.p_value == pytest.approx(first.p_value)


def test_a_copy_of_every_row_adds_no_evidence() -> None:
    # Doubling all rows of each user doubles n, but the users are the same: the p-value must not move.
    rng = np.random.default_rng(1)
    one, two = rng.choice(list("abc"), 400), rng.choice(list("abc"), 300, p=[0.45, 0.3, 0.25])
    once = population_shift(one, two, np.arange(400), np.arange(300))
    twice = population_shift(np.tile(one, 2), np.tile(two, 2), np.tile(np.arange(400), 2), np.tile(np.arange(300), 2))
    assert once.design_effect == pytest.approx(1.0, abs=0.02)
    assert twice.design_effect == pytest.approx(2.0, abs=0.06)
    # Small p-values are compared on the scale on which they are evidence.
    assert np.log(twice.p_value) == pytest.approx(np.log(once.p_value), rel=0.05)


@pytest.mark.parametrize(
    ("reference", "current", "said"),
    [
        ([0.0] * 99 + [5.0], [0.0] * 100, "constant"),  # one rare value is no bin of its own
        ([1.0] * 100, [1.0] * 100, "constant"),
        ([None] * 50 + ["a"] * 50, ["a"] * 100, "a: 50.0% → 100.0%"),
        ([np.nan] * 50 + [1.0] * 50, [1.0] * 100, "1: 50.0% → 100.0%"),
        (["a"] * 100, ["b"] * 100, "a: 100.0% → 0.0%"),
    ],
    ids=["rare", "constant", "missing-strings", "missing-numbers", "disjoint"],
)
def test_odd_columns(reference: list, current: list, said: str) -> None:
    shift = population_shift(np.array(reference), np.array(current), np.arange(100), np.arange(100))
    assert shift.largest_change() == said
    assert (shift.p_value == 1.0) == (said == "constant")


def clustered(rng: np.random.Generator, users: int, per_user: int, own: float, levels: int) -> tuple:
    user = np.repeat(np.arange(users), per_user)
    favourite = rng.integers(0, levels, users)[user]
    values = np.where(rng.random(len(user)) < own, favourite, rng.integers(0, levels, len(user)))
    return values.astype(str), user


@pytest.mark.parametrize(
    ("users", "per_user", "own", "levels"),
    [(600, 1, 0.0, 2), (600, 1, 0.0, 60), (40, 30, 0.6, 4), (12, 50, 0.9, 3)],
    ids=["two-levels", "sixty-levels", "forty-users", "twelve-users"],
)
def test_windows_of_one_population_are_rarely_called_different(
    users: int, per_user: int, own: float, levels: int
) -> None:
    rng = np.random.default_rng(users + levels)
    runs, level = 150, 0.05
    hits = 0
    for _ in range(runs):
        one, two = clustered(rng, 2 * users, per_user, own, levels), clustered(rng, users, per_user, own, levels)
        hits += population_shift(one[0], two[0], one[1], two[1]).p_value <= level
    # At most the level: 0.05 + 3 standard errors of a share of 150 runs, sqrt(0.05 * 0.95 / 150) = 0.0178.
    assert hits / runs <= level + 3 * 0.0178


def test_a_naive_test_would_be_fooled_by_users_with_many_rows() -> None:
    rng = np.random.default_rng(3)
    fooled = 0
    for _ in range(100):
        one, two = clustered(rng, 80, 30, 0.6, 4), clustered(rng, 40, 30, 0.6, 4)
        table = [[(x == str(level)).sum() for level in range(4)] for x in (one[0], two[0])]
        fooled += stats.chi2_contingency(table).pvalue <= 0.05
    assert fooled > 50  # ten times the level: this is what clustering is for


def test_calibration_by_hand() -> None:
    predicted = np.array([0.1] * 50 + [0.6] * 50)
    observed = np.array([0.0] * 40 + [1.0] * 10 + [1.0] * 20 + [0.0] * 30)
    result = calibration(predicted, observed, bins=2)
    # Bins 0.1 (observed 0.2) and 0.6 (observed 0.4): error (0.1 + 0.2) / 2.
    assert result.error == pytest.approx(0.15)
    assert result.bias == pytest.approx(0.3 - 0.35)
    assert result.share.tolist() == [0.5, 0.5]


def draw_rewards(rng: np.random.Generator, n: int, rate: float, extra: float) -> tuple:
    q = rate * rng.uniform(0.5, 1.5, n)
    return q, (rng.random(n) < q + extra).astype(float), np.arange(n)


@pytest.mark.parametrize(("n", "rate"), [(400, 0.3), (2000, 0.02)], ids=["common", "rare"])
def test_calibration_of_one_population_rarely_shifts(n: int, rate: float) -> None:
    rng = np.random.default_rng(11)
    runs = 150
    hits = sum(
        calibration_shift(draw_rewards(rng, 3 * n, rate, 0), draw_rewards(rng, n, rate, 0))[1] <= 0.05
        for _ in range(runs)
    )
    assert hits / runs <= 0.05 + 3 * 0.0178


def test_calibration_shift_finds_a_worse_model() -> None:
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(20):
        effect, p_value = calibration_shift(draw_rewards(rng, 6000, 0.3, 0), draw_rewards(rng, 2000, 0.3, 0.1))
        found += effect >= 0.1 and p_value <= 0.001
    assert found == 20


def test_no_event_at_all_is_not_certain() -> None:
    rng = np.random.default_rng(13)
    then = draw_rewards(rng, 6000, 0.01, 0)
    q, _, user = draw_rewards(rng, 300, 0.01, 0)
    # 3 events expected, none seen: happens with probability 5 %.
    _, p_value = calibration_shift(then, (q, np.zeros(300), user))
    assert 0.01 < p_value < 0.3


def test_mean_weight_is_the_t_test() -> None:
    rng = np.random.default_rng(2)
    weights = rng.exponential(1.2, 500)
    mean, error, p_value = mean_weight(weights, np.arange(500))
    expected = stats.ttest_1samp(weights, 1.0)
    assert mean == pytest.approx(weights.mean())
    assert error == pytest.approx(stats.sem(weights), rel=1e-9)
    assert p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert mean_weight(np.ones(10), np.arange(10)) == (1.0, 0.0, 1.0)
    assert mean_weight(np.full(10, 0.5), np.arange(10))[2] == 0.0


def test_psi_falls_to_zero_as_two_windows_agree() -> None:
    sizes = [0.05, 0.02, 0.0]
    users = np.arange(10_000)
    psi = []
    for extra in sizes:
        one = np.repeat(["a", "b"], 5000)
        two = np.repeat(["a", "b"], [int(10_000 * (0.5 + extra)), 10_000 - int(10_000 * (0.5 + extra))])
        psi.append(population_shift(one, two, users, users).psi)
    assert all(a > b for a, b in itertools.pairwise(psi)) and psi[-1] == 0.0
