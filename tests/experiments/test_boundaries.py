"""Bounds of group-sequential tests against published tables, the multivariate normal distribution and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from homing.errors import InvalidInputError, UnknownNameError
from homing.experiments.sequential import (
    exit_probabilities,
    group_sequential_bounds,
    group_sequential_p_value,
    inflation_factor,
    look_information,
    spend,
    spending_bounds,
)

FIFTHS = np.arange(1, 6) / 5


def correlation(t: np.ndarray) -> np.ndarray:
    """Of z at looks: √(t_i / t_j)."""
    return np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))


@pytest.mark.parametrize(
    ("spending", "parameter", "information", "expected"),
    [
        # R's gsDesign and ldbounds, four decimals: sfLDOF and sfLDPocock at five equal looks, one-sided .025.
        ("obrien-fleming", None, FIFTHS, [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
        ("pocock", None, FIFTHS, [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
        # gsDesign's default design.
        ("hsd", -4.0, np.arange(1, 4) / 3, [3.0107, 2.5465, 1.9992]),
    ],
    ids=["obrien-fleming", "pocock", "hsd"],
)
def test_bounds_are_those_of_published_tables(spending, parameter, information, expected) -> None:
    found = group_sequential_bounds(information, 0.025, spending=spending, parameter=parameter)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    # Jennison and Turnbull (2000), tables 2.1 and 2.3: constants of the classical tests, two-sided .05.
    [
        (2, 2.178, 1.977),
        (3, 2.289, 2.004),
        (4, 2.361, 2.024),
        (5, 2.413, 2.040),
        (10, 2.555, 2.087),
        (20, 2.672, 2.126),
    ],
)
def test_the_classical_constants_have_the_error_that_they_were_made_for(looks, pocock, obrien_fleming) -> None:
    t = np.arange(1, looks + 1) / looks
    # A constant is rounded to .0005; the error's slope is at most 2 φ(c) each look: below .15 in all.
    for bounds in (np.full(looks, pocock), obrien_fleming / np.sqrt(t)):
        assert exit_probabilities(bounds, t, sides=2).sum() == pytest.approx(0.05, abs=8e-5)


@pytest.mark.parametrize("sides", [1, 2])
def test_probabilities_are_those_of_the_multivariate_normal(sides) -> None:
    t, bounds, drift = np.array([0.2, 0.55, 1.3]), np.array([2.2, 1.9, 1.5]), 1.7
    inside = []
    for k in range(1, 4):
        law = multivariate_normal(drift * np.sqrt(t[:k]), correlation(t[:k]), abseps=1e-9, releps=1e-9, maxpts=10**6)
        inside.append(law.cdf(bounds[:k], lower_limit=-bounds[:k] if sides == 2 else None))
    expected = -np.diff([1.0, *inside])
    np.testing.assert_allclose(exit_probabilities(bounds, t, drift, sides=sides), expected, atol=2e-7)


def test_bounds_far_out_are_finite_and_fall() -> None:
    bounds = group_sequential_bounds(np.arange(2, 101) / 100, 1e-6)
    assert np.isfinite(bounds).all() and (np.diff(bounds) < 0).all() and bounds[0] > 30
    # Spending hardly anything before, the last look is nearly the fixed test.
    assert bounds[-1] == pytest.approx(norm.isf(1e-6), abs=0.1) and bounds[-1] > norm.isf(1e-6)
    # e^-1200 is no number: nothing is spent there.
    assert np.isinf(group_sequential_bounds([0.01, 1.0], 1e-6)[0])


def test_what_is_spent_is_what_is_used_by_each_look_at_any_number_of_looks() -> None:
    for looks in (1, 7, 90):
        t = np.sort(np.random.default_rng(looks).uniform(0.01, 1.0, looks))
        t[-1] = 1.0
        spent = spend(t, 0.025, spending="pocock")
        for sides in (1, 2):
            used = exit_probabilities(spending_bounds(t, spent, sides=sides), t, sides=sides).cumsum()
            np.testing.assert_allclose(used, sides * spent, atol=1e-8)


def test_a_batch_of_schedules_is_each_alone() -> None:
    rng = np.random.default_rng(5)
    t = np.sort(rng.uniform(0.05, 1.4, (6, 8)), axis=1)
    t[2, :3] = 0.0  # nothing matured yet
    t[3, 4:] = t[3, 3]  # nothing came any more
    alpha = np.array([0.05, 0.01, 0.05, 0.05, 1e-4, 0.2])
    together = group_sequential_bounds(t, alpha, sides=2)
    for row in range(6):
        np.testing.assert_allclose(together[row], group_sequential_bounds(t[row], alpha[row], sides=2), atol=1e-8)
    assert np.isinf(together[2, :3]).all() and np.isinf(together[3, 4:]).all()


def test_looks_follow_the_schedule_and_end_with_all_of_the_information() -> None:
    t = [0.1, 0.4, 0.55, 0.9, 1.3, 1.6]
    assert look_information(t).tolist() == [0.1, 0.4, 0.55, 0.9, 1.3, 1.3]
    assert look_information(t, 2).tolist() == [0.0, 0.0, 0.55, 0.55, 1.3, 1.3]
    assert look_information(t, [0.3, 0.5, 1.0]).tolist() == [0.0, 0.4, 0.55, 0.55, 1.3, 1.3]
    # A look that is reached within rounding is reached.
    assert look_information([0.1 * 3, 0.1 * 3 * 3, 1.0 - 1e-12], (0.3, 0.9, 1.0))[-1] == 1.0 - 1e-12
    bounds = group_sequential_bounds(t, 0.05, looks=2)
    assert np.isfinite(bounds).tolist() == [False, False, True, False, True, False]


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock", "power", "hsd"])
@pytest.mark.parametrize("sides", [1, 2])
def test_the_p_value_is_the_level_whose_bound_is_reached(spending, sides) -> None:
    t = np.array([0.2, 0.5, 0.8, 1.0])
    for alpha in (0.3, 0.05, 1e-3, 1e-6):
        bounds = group_sequential_bounds(t, alpha, spending=spending, sides=sides)
        for look in range(4):
            z = np.full(4, -1.0 if sides == 1 else 0.0)
            z[look] = bounds[look]
            p = group_sequential_p_value(z, t, spending=spending, sides=sides)
            np.testing.assert_allclose(p[look:], alpha, rtol=2e-4)
            assert (p[:look] > alpha).all()


def test_p_values_never_rise_and_missing_z_reach_nothing() -> None:
    p = group_sequential_p_value([np.nan, 2.5, 1.0, 99.0], [0.2, 0.5, 1.0, 2.0])
    assert p[0] == 1.0 and p[1] == p[2] == p[3] < 0.1


@pytest.mark.parametrize(("spending", "expected"), [("obrien-fleming", 1.055), ("power", 1.084), ("pocock", 1.270)])
def test_inflation_is_that_of_rpact(spending, expected) -> None:
    t = np.arange(1, 15) / 14
    factor = inflation_factor(group_sequential_bounds(t, 0.05, spending=spending), t, 0.05, 0.8)
    assert factor == pytest.approx(expected, abs=6e-4)


def test_one_look_costs_nothing() -> None:
    assert inflation_factor([norm.isf(0.05)], [1.0], 0.05, 0.8) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spend([0.5], 0.05, spending="pocok"), UnknownNameError, "Did you mean 'pocock'"),
        (lambda: spend([-0.5], 0.05), InvalidInputError, "information == -0.5, must be >= 0"),
        (lambda: spend([0.5], 1.5), InvalidInputError, "alpha == 1.5, must be in"),
        (lambda: spend([0.5], 0.05, spending="power", parameter=-1), InvalidInputError, "must be > 0"),
        (lambda: spend([0.5], 0.05, parameter=2.0), InvalidInputError, "is not one of 'obrien-fleming'"),
        (lambda: spending_bounds([0.5, 0.4], [0.01, 0.02]), InvalidInputError, "never fall from look to look"),
        (lambda: spending_bounds([0.5, 1.0], [0.02, 0.01]), InvalidInputError, "spent"),
        (lambda: exit_probabilities([np.nan], [1.0]), InvalidInputError, "bounds"),
        (lambda: group_sequential_bounds([1.0], 0.05, sides=3), InvalidInputError, "sides == 3"),
        (lambda: look_information([1.0], 0), InvalidInputError, "looks == 0, must be >= 1"),
        (lambda: look_information([1.0], "weekly"), InvalidInputError, "'daily', a number of looks"),
        (lambda: look_information([1.0], [0.5, 0.9]), InvalidInputError, "must increase from above 0 to 1"),
        (lambda: inflation_factor([1.6], [1.0], 0.05, 0.01), InvalidInputError, "must be > alpha"),
    ],
)
def test_mistakes_are_named(call, error, message) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        call()
