"""What a look has said stays said when data arrive, and what is 0 is 0 and not its rounding."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from homing.errors import InvalidInputError
from homing.experiments import (
    MDE,
    NIM,
    ExperimentPlan,
    FixedHorizon,
    FixedPower,
    GroupSequential,
    Metric,
    SufficientStatistics,
    Window,
    analyze,
)
from homing.experiments.estimators import ArmValues, Means, fieller, relative
from homing.experiments.estimators.moments import per_cluster, ratio

ORDERS = Metric("orders", "mean", "orders", window=Window(2))
KEPT = Metric("kept", "proportion", "kept", window=Window(2))
PLAN = ExperimentPlan(
    "e",
    success=[(ORDERS, MDE(rel=0.2))],
    guardrail=[(KEPT, NIM(rel=0.05))],
    variants={"control": 0.5, "warm": 0.3, "bold": 0.2},
    monitoring=FixedPower(burn_in=100),
)


def frame(n: int = 4000) -> pl.DataFrame:
    """Orders that rise from exposure day to exposure day, so that the control of the last look is not the first's."""
    rng = np.random.default_rng(11)
    day = np.sort(rng.integers(0, 12, n))
    return pl.DataFrame(
        {
            "user_id": np.arange(n),
            "variant": rng.choice(["control", "warm", "bold"], n, p=[0.5, 0.3, 0.2]),
            "exposed_at": day,
            "orders": rng.poisson(0.3 + 0.3 * day).astype(float),
            "sends": rng.integers(1, 4, n),
            "kept": rng.random(n) < 0.8,
        }
    )


def card_of(data: pl.DataFrame, plan: ExperimentPlan, **options: Any) -> Any:
    return analyze(SufficientStatistics.from_frame(data, plan), plan, **options)


@pytest.mark.parametrize("monitoring", [FixedPower(burn_in=100), GroupSequential()], ids=lambda each: each.name)
def test_a_path_is_the_beginning_of_every_later_one(monitoring: Any) -> None:
    plan = replace(PLAN, monitoring=monitoring, planned_size=4000)
    whole = card_of(frame(), plan, as_of=13)
    for day in (5, 8, 11):
        early = card_of(frame().filter(pl.col("exposed_at") <= day), plan, as_of=day)
        for one, all_ in zip(early.comparisons, whole.comparisons, strict=True):
            looks = slice(0, day + 1)
            for name in ("information", "value", "std_error", "lower", "upper"):
                np.testing.assert_allclose(getattr(one.path, name), getattr(all_.path, name)[looks], rtol=1e-9)
            for name, critical in one.path.critical.items():
                np.testing.assert_allclose(critical, all_.path.critical[name][looks], rtol=1e-9)
                np.testing.assert_allclose(one.path.z[name], all_.path.z[name][looks], rtol=1e-7)


def test_the_information_is_that_of_each_looks_own_control() -> None:
    # By hand: (share · control / SE)² of one look over that of another.
    card = card_of(frame(), PLAN, as_of=13)
    path, data = card.comparison("orders", "warm").path, frame()
    control = [
        data.filter((pl.col("exposed_at") <= look - 2) & (pl.col("variant") == "control"))["orders"].mean()
        for look in (6, 13)
    ]
    expected = (control[0] / path.std_error[6] / (control[1] / path.std_error[13])) ** 2
    assert path.information[6] / path.information[13] == pytest.approx(expected, rel=1e-9)


def test_a_share_of_a_control_without_events_is_no_effect_to_be_found() -> None:
    none = pl.when(pl.col("variant") == "control").then(0.0).otherwise("orders")
    card = card_of(frame().with_columns(orders=none), PLAN, as_of=13)
    assert card.comparison("orders", "warm").information_fraction == 0.0
    # Until the control has an event; the looks before are not touched by it.
    late = pl.when(pl.col("exposed_at") < 6).then(none).otherwise("orders")
    path = card_of(frame().with_columns(orders=late), PLAN, as_of=13).comparison("orders", "warm").path
    assert (path.information[:8] == 0).all() and path.information[8] > 0


@pytest.mark.parametrize("scale", [1.0, 1.1, 1e9 / 3])
def test_a_control_without_events_has_no_relative_effect(scale: float) -> None:
    data = frame().with_columns(
        orders=pl.when(pl.col("variant") == "control").then(0.0).otherwise((pl.col("orders") + 1) * scale)
    )
    plan = replace(PLAN, monitoring=GroupSequential(), planned_size=4000, guardrail=[(KEPT, NIM(rel=0.05))])
    card = card_of(data, plan, as_of=13)
    one = card.comparison("orders", "warm")
    assert one.relative is None
    assert one.values["control"].value == 0.0
    assert one.difference.value == pytest.approx(data.filter(pl.col("variant") == "warm")["orders"].mean(), rel=1e-9)
    json.dumps(card.to_dict(), allow_nan=False)


def test_a_ratio_of_nothing_is_refused() -> None:
    plan = replace(PLAN, success=[(Metric("basket", "ratio", "orders", "visits"), None)], monitoring=GroupSequential())
    plan = replace(plan, planned_size=4000)
    none = pl.when(pl.col("variant") == "bold").then(0).otherwise("sends")
    message = "sum of 'visits', the denominator of metric 'basket', in variant 'bold' == 0, must be > 0"
    with pytest.raises(InvalidInputError, match=message):
        card_of(frame().with_columns(visits=none), plan, as_of=13)
    # Later than the first looks there is one: those before have no test, and no number from rounding.
    late = pl.when(pl.col("exposed_at") < 3).then(none).otherwise("sends")
    path = card_of(frame().with_columns(visits=late), plan, as_of=13).comparison("basket", "bold").path
    assert np.isnan(path.value[:3]).all() and np.isfinite(path.value[3:]).all()


def test_a_ratio_that_is_the_same_for_all_has_a_variance_of_nothing() -> None:
    # Numerator 0.3 · denominator: the delta method's variance is 0, and its rounding would be below.
    below = np.random.default_rng(0).gamma(1.0, 1.0, (50, 40))
    columns = np.stack([0.3 * below, below], axis=-1)
    cov = np.stack([np.cov(each.T) / 40 for each in columns])
    for made in (ratio, lambda means: per_cluster(means, 1)):
        found = made(Means(np.full(50, 40.0), columns.mean(axis=1), cov)).cov[..., 0, 0]
        assert (found >= 0).all() and (found < 1e-15).all()


def test_shares_of_rounding_are_none() -> None:
    value = np.array([[1e-15], [2.0], [0.0]])
    arms = ArmValues(
        np.full((3, 1), 9.0), value, np.array([[0.0], [0.1], [0.1]]), np.zeros((3, 3, 1)), np.full((3, 1), 8.0)
    )
    assert np.isnan(relative(arms, 0).value).all() and np.isnan(fieller(arms, 0, 1.96)).all()
    assert np.isnan(relative(arms, 2).value).all()
    assert relative(arms, 1).value[0, 0] == pytest.approx(-1.0)


@pytest.mark.parametrize(("monitoring", "several"), [(GroupSequential(), True), (FixedHorizon(), False)])
def test_a_bound_that_may_move_between_looks_is_told(monitoring: Any, several: bool) -> None:
    bounded = replace(PLAN, success=[(replace(ORDERS, winsorize=0.99), MDE(rel=0.2))], monitoring=monitoring)
    bounded = replace(bounded, planned_size=4000)
    warnings = card_of(frame(), bounded, as_of=13).warnings
    assert any(text.startswith("orders: winsorised") for text in warnings) is several
