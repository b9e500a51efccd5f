"""Monitoring designs: one contract for all, and what they promise by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from homing.errors import InvalidInputError
from homing.experiments.monitoring import (
    MONITORING,
    ConfidenceSequence,
    FixedHorizon,
    FixedPower,
    GroupSequential,
    Hybrid,
)

DAYS = np.arange(1, 31) / 30
#: Three standard errors of a share of .05 among 10,000.
SLACK = 3 * np.sqrt(0.05 * 0.95 / 10_000)


def paths(information: np.ndarray, *, drift: float = 0.0, count: int = 10_000, seed: int = 3) -> np.ndarray:
    """z at each day of many experiments whose effect gives z a mean of `drift` with all of the information."""
    steps = np.diff(information, prepend=0.0)
    noise = np.random.default_rng(seed).standard_normal((count, len(information)))
    return (np.cumsum(noise * np.sqrt(steps), axis=1) + drift * information) / np.sqrt(information)


def rejects(design, z, information, *, alpha: float = 0.05, sides: int = 2) -> float:
    seen = np.abs(z) if sides == 2 else z
    return float((seen >= design.critical(information, alpha, sides)).any(axis=1).mean())


DESIGNS = [kind() for kind in MONITORING.values()]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
@pytest.mark.parametrize("sides", [1, 2])
def test_the_contract_of_designs(design, sides) -> None:
    t = design.information(np.arange(1, 13) * 100, 1000, std_error=2 / np.sqrt(3.0 * np.arange(1, 13)), effect=1.0,
                           alpha=0.05, power=0.8)  # fmt: skip
    assert t.shape == (12,) and (np.diff(t) >= 0).all()
    bounds = design.critical(t, 0.05, sides)
    assert bounds.shape == (12,) and np.isfinite(bounds).any()
    # Never below the fixed test's bound: looking is not free.
    assert (bounds >= norm.isf(0.05 / sides) - 1e-9).all()
    z = paths(np.arange(1, 13) / 12, drift=1.5, count=50)
    p = design.p_value(z, t, 0.05, sides)
    assert p.shape == z.shape and (p > 0).all() and (p <= 1).all() and (np.diff(p, axis=1) <= 0).all()
    # Rejected at a level: the p-value is no larger. Only z at a bound to five digits could differ.
    crossed = np.logical_or.accumulate((np.abs(z) if sides == 2 else z) >= bounds, axis=1)
    np.testing.assert_array_equal(crossed, p <= 0.05)
    np.testing.assert_allclose(design.critical(np.stack([t, t]), np.array([0.05, 0.01]), sides)[0], bounds)
    assert design.inflation(0.05, 0.8, sides, looks=6) >= 1.0 - 1e-8


def test_looking_daily_without_a_design_is_wrong_more_than_five_times_as_often() -> None:
    z = paths(DAYS)
    assert (np.abs(z) > norm.isf(0.025)).any(axis=1).mean() > 0.25


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock", "power", "hsd"])
def test_group_sequential_tests_keep_their_error_over_30_looks(spending) -> None:
    assert rejects(GroupSequential(spending), paths(DAYS), DAYS) == pytest.approx(0.05, abs=SLACK)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_running_over_to_twice_the_planned_size_keeps_the_error(design) -> None:
    t = np.arange(1, 61) / 30
    assert rejects(design, paths(t), t) <= 0.05 + SLACK


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_the_planned_size_times_the_inflation_has_the_power(spending) -> None:
    design = GroupSequential(spending)
    drift = (norm.isf(0.025) + norm.isf(0.2)) * np.sqrt(design.inflation(0.05, 0.8, 2, looks=30))
    # Three standard errors of .8 among 10,000.
    assert rejects(design, paths(DAYS, drift=drift), DAYS) == pytest.approx(0.8, abs=0.012)


def test_a_fixed_horizon_has_one_look() -> None:
    design = FixedHorizon()
    assert np.isfinite(design.critical([0.5, 0.99, 1.02, 1.1], 0.05)).tolist() == [False, False, True, False]
    p = design.p_value([9.0, 9.0, 1.0, 9.0], [0.5, 0.99, 1.02, 1.1], 0.05)
    np.testing.assert_allclose(p, [1.0, 1.0, norm.sf(1.0), norm.sf(1.0)])
    # With no planned size, the data end where the experiment does.
    assert design.information([50, 100]).tolist() == [0.5, 1.0]


@pytest.mark.slow
def test_confidence_sequences_hold_at_every_look_and_cost_power() -> None:
    design = ConfidenceSequence()
    for sides in (1, 2):
        assert rejects(design, paths(DAYS), DAYS, sides=sides) <= 0.05 + SLACK
    # Far beyond the planned size, at looks in geometric steps, too.
    t = np.geomspace(0.01, 1000.0, 60)
    assert rejects(design, paths(t), t) <= 0.05 + SLACK
    drift = (norm.isf(0.025) + norm.isf(0.2)) * np.sqrt(design.inflation(0.05, 0.8, 2, looks=30))
    assert rejects(design, paths(DAYS, drift=drift), DAYS) == pytest.approx(0.8, abs=0.012)
    # The price of a size that need not be planned, against the group-sequential test's few per cent.
    assert 1.4 < design.inflation(0.05, 0.8, 2, looks=30) < 1.8


def test_a_sequence_tuned_at_a_number_of_units_is_planned_with_the_size_in_units() -> None:
    tuned, fixed = ConfidenceSequence(n_star=5000), 8000
    factor = tuned.inflation(0.05, 0.8, looks=8, fixed_size=fixed)
    n = np.arange(1, 9) / 8 * factor * fixed
    z = paths(n / n[-1], drift=(norm.isf(0.05) + norm.isf(0.2)) * np.sqrt(factor))
    assert rejects(tuned, z, tuned.information(n), sides=1) == pytest.approx(0.8, abs=0.012)
    with pytest.raises(InvalidInputError, match="fixed_size == None, is needed with n_star"):
        tuned.inflation(0.05, 0.8, looks=8)


@pytest.mark.parametrize("sides", [1, 2])
def test_a_hybrid_uses_its_error_and_decides_almost_like_a_fixed_test(sides) -> None:
    design = Hybrid(share=0.2)
    assert rejects(design, paths(DAYS), DAYS, sides=sides) == pytest.approx(0.05, abs=SLACK)
    bounds = design.critical(DAYS, 0.05, sides)
    np.testing.assert_allclose(bounds[:-1], ConfidenceSequence().critical(DAYS, 0.01, sides)[:-1])
    assert norm.isf(0.05 / sides) < bounds[-1] < norm.isf(0.05 / sides) + 0.05
    assert 1.0 < design.inflation(0.05, 0.8, sides, looks=30) < 1.03


def test_fixed_power_stops_by_variance_and_keeps_error_and_power() -> None:
    # 10,000 experiments of two groups of standard deviation 2, 50 units a day and group, for an effect of .4:
    # the variance is not known to the design.
    rng, days, per_day, count = np.random.default_rng(11), 40, 50, 2000
    sums = np.cumsum(rng.normal(0.0, 2.0 * np.sqrt(per_day), (2, count, days)), axis=2)
    n = np.arange(1, days + 1) * per_day
    squares = 4.0 * np.cumsum(rng.chisquare(per_day, (2, count, days)), axis=2)
    std_error = np.sqrt((squares / n).sum(axis=0) / n)
    design = FixedPower(burn_in=200)
    t = design.information(2 * n, std_error=std_error, effect=0.4, alpha=0.05, power=0.8)
    for effect, expected in ((0.0, 0.05), (0.4, 0.8)):
        z = ((sums[1] - sums[0]) / n + effect) / std_error
        # Three standard errors; whole days end a little beyond the size that is needed, 15.5 days: power up to .81.
        slack = 3 * np.sqrt(expected * (1 - expected) / count) + 0.012 * (effect > 0)
        assert rejects(design, z, t, sides=1) == pytest.approx(expected, abs=slack)
    assert (t[:, 0] == 0).all()
    with pytest.raises(InvalidInputError, match="effect == None, is needed by 'fixed-power'"):
        design.information(n, std_error=std_error)


def test_a_planned_size_must_be_frozen_for_group_sequential_tests() -> None:
    with pytest.raises(InvalidInputError, match=r"planned_size == None, is needed by 'group-sequential'"):
        GroupSequential().information([10, 20])
    with pytest.raises(InvalidInputError, match="looks"):
        GroupSequential().inflation(0.05, 0.8)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConfidenceSequence(n_star=0), "n_star == 0"),
        (lambda: FixedPower(burn_in=-1), "burn_in == -1"),
        (lambda: Hybrid(share=1.0), "share == 1.0"),
        (lambda: GroupSequential(looks=0), "looks == 0"),
        (lambda: ConfidenceSequence().critical([-1.0], 0.05), "information"),
        (lambda: ConfidenceSequence().critical([1.0], 0.6), "One-sided it must be below one half"),
    ],
)
def test_designs_refuse_what_they_cannot_do(build, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build()
