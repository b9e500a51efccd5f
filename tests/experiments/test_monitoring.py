"""Monitoring designs: one contract for all, and what they promise by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from homing.errors import InvalidInputError
from homing.experiments.monitoring import MONITORING, FixedHorizon, GroupSequential

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
    t = design.information(np.arange(1, 31) * 40, 1000, std_error=2 / np.sqrt(np.arange(1, 31)), effect=1.0,
                           alpha=0.05, power=0.8)  # fmt: skip
    assert t.shape == (30,) and (np.diff(t) >= 0).all()
    bounds = design.critical(t, 0.05, sides)
    assert bounds.shape == (30,) and np.isfinite(bounds).any()
    # Never below the fixed test's bound: looking is not free.
    assert (bounds >= norm.isf(0.05 / sides) - 1e-9).all()
    z = paths(DAYS, drift=1.5, count=50)
    p = design.p_value(z, t, 0.05, sides)
    assert p.shape == z.shape and (p > 0).all() and (p <= 1).all() and (np.diff(p, axis=1) <= 0).all()
    # Rejected at a level: the p-value is no larger. Only z at a bound to five digits could differ.
    crossed = np.logical_or.accumulate((np.abs(z) if sides == 2 else z) >= bounds, axis=1)
    np.testing.assert_array_equal(crossed, p <= 0.05)
    np.testing.assert_allclose(design.critical(np.stack([t, t]), np.array([0.05, 0.01]), sides)[0], bounds)
    assert design.inflation(0.05, 0.8, sides, looks=14) >= 1.0 - 1e-8


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


def test_a_planned_size_must_be_frozen_for_group_sequential_tests() -> None:
    with pytest.raises(InvalidInputError, match=r"planned_size == None, is needed by 'group-sequential'"):
        GroupSequential().information([10, 20])
    with pytest.raises(InvalidInputError, match="looks"):
        GroupSequential().inflation(0.05, 0.8)
