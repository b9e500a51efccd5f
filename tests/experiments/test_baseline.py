"""A metric's level and spread before the experiment, from a history and from a decision log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.experiments import MDE, NIM, Covariate, ExperimentPlan, Metric, Window
from homing.experiments.baseline import Baseline, MetricBaseline
from homing.experiments.history import LogHistory
from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema


def plan(*metrics, **more):
    return ExperimentPlan("test", success=[(metric, MDE(rel=0.02)) for metric in metrics], quality=(), **more)


def measured(metric, frame, **more):
    return Baseline.from_history(frame, plan(metric, **more))[metric.name]


def test_a_share():
    found = measured(Metric("a", "proportion", "x"), {"x": [1, 0, 0, 1, 0]})
    assert found.mean == 0.4 and found.variance is None
    assert found.unit_variance == pytest.approx(0.24)


def test_a_mean_with_covariates_is_a_regression(rng):
    x = rng.normal(size=(400, 2))
    y = 3 + x @ [1.0, -2.0] + rng.normal(size=400)
    frame = pl.DataFrame({"y": y, "one_pre7": x[:, 0], "two_pre28": x[:, 1]})
    found = measured(Metric("a", "mean", "y", covariates=("one_pre7", "two_pre28")), frame)
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    assert found.variance == pytest.approx(y.var(ddof=1), rel=1e-12)
    assert found.r_squared == pytest.approx(fit.rsquared_adj, rel=1e-10)
    assert found.unit_variance == pytest.approx(fit.mse_resid, rel=1e-10)


def test_a_useless_covariate_costs_nothing(rng):
    frame = {"y": rng.normal(size=30), "x_pre": rng.normal(size=30)}
    assert 0.0 <= measured(Metric("a", "mean", "y", covariates=("x_pre",)), frame).r_squared < 0.3


def test_a_ratio_is_linearised(rng):
    """By moments: (s_yy - 2 R s_yd + R² s_dd) / mean(d)²."""
    d = rng.poisson(4, 500) + 1.0
    y = rng.binomial(d.astype(int), 0.3).astype(float)
    found = measured(Metric("a", "ratio", "y", denominator="d"), {"y": y, "d": d})
    ratio, s = y.sum() / d.sum(), np.cov(y, d)
    assert found.mean == pytest.approx(ratio, rel=1e-12)
    assert found.variance == pytest.approx(
        (s[0, 0] - 2 * ratio * s[0, 1] + ratio**2 * s[1, 1]) / d.mean() ** 2, rel=1e-10
    )


def test_a_quantile_of_normal_values(rng):
    """q (1 - q) / φ(z_q)² at q = .9 is 2.92; at 40,000 units its two order statistics vary by a few per cent."""
    found = measured(Metric("a", "quantile", "x", quantile=0.9), {"x": rng.normal(size=40_000)})
    assert found.mean == pytest.approx(1.2816, abs=0.04)
    assert found.variance == pytest.approx(2.92, rel=0.15)


def test_winsorized_as_the_plan_says():
    found = measured(Metric("a", "mean", "x", winsorize=0.75), {"x": [0.0, 1.0, 2.0, 3.0, 100.0]})
    assert found.mean == pytest.approx((0 + 1 + 2 + 3 + 3) / 5)


def test_clusters_that_agree_are_as_good_as_one_unit(rng):
    """Ten equal units a cluster: design effect 10, but for the degrees of freedom of 200 clusters."""
    frame = {"y": np.repeat(rng.normal(size=200), 10), "team": np.repeat(np.arange(200), 10).astype(str)}
    found = measured(Metric("a", "mean", "y"), frame, cluster="team")
    assert found.design_effect == pytest.approx(10 * 200 / 199, rel=1e-12)


def test_clusters_of_correlated_units(rng):
    """1 + (m - 1) ρ = 1 + 4 · .25 = 2; its relative error over 4,000 clusters is about √(2 / 4000) = .022."""
    y = np.repeat(rng.normal(scale=0.5, size=4000), 5) + rng.normal(scale=np.sqrt(0.75), size=20_000)
    frame = {"y": y, "team": np.repeat(np.arange(4000), 5)}
    assert measured(Metric("a", "mean", "y"), frame, cluster="team").design_effect == pytest.approx(2.0, rel=0.09)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        ({"y": [1.0, 1.0, 1.0]}, InvalidInputError, r"variance of metric 'a' == 0\.0, must be > 0"),
        ({"z": [1.0, 2.0]}, InvalidInputError, r"missing columns == \['y'\]"),
        ({"y": [1.0]}, SupportError, "units of the history == 1, must be >= 2"),
    ],
    ids=["constant", "missing", "one unit"],
)
def test_refuses_a_history(frame, error, message):
    with pytest.raises(error, match=message):
        measured(Metric("a", "mean", "y"), frame)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": 1.2}, r"mean == 1\.2, must be in \(0, 1\) without a variance"),
        ({"mean": 2.0, "variance": 0.0}, r"variance == 0\.0, must be a finite number > 0"),
        ({"mean": 2.0, "variance": 1.0, "r_squared": 1.0}, r"r_squared == 1\.0, must be in \[0, 1\)"),
    ],
    ids=["share", "variance", "r_squared"],
)
def test_refuses_values(given, message):
    with pytest.raises(InvalidInputError, match=message):
        MetricBaseline(**given)


DAY0 = datetime(2026, 3, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    return DAY0 + timedelta(days=day)


@pytest.fixture
def log() -> DecisionLog:
    """Three users. `a` is exposed on day 10, `b` on day 12, `c` on day 18; the log ends on day 20."""
    made = [("a", 2, 1), ("a", 10, 1), ("a", 11, 0), ("b", 12, 0), ("b", 16, 1), ("c", 3, 0), ("c", 18, 1)]
    told = [
        ("a", "session", 9, None),
        ("a", "session", 9.5, None),
        ("a", "converted", 10, 5.0),
        ("a", "converted", 13.9, 7.0),
        ("a", "converted", 14, 100.0),  # four days after exposure: outside of [0, 4)
        ("b", "session", 5, None),
        ("b", "converted", 11.9, 9.0),  # before exposure
        ("b", "clicked", 20, None),
        ("c", "converted", 18.5, 3.0),  # its window has not ended
    ]
    schema = decisions_schema({"age": pa.int64()})
    columns = {name: pa.nulls(len(made), schema.field(name).type) for name in schema.names}
    columns["user_id"] = pa.array([user for user, _, _ in made])
    columns["decided_at"] = pa.array([at(day) for _, day, _ in made], schema.field("decided_at").type)
    columns["action"] = pa.array([action for _, _, action in made], pa.int16())
    told = [*told, told[2]]  # logged twice
    outcomes = {
        "outcome_id": [f"{user}{day}" for user, _, day, _ in told],
        "decision_id": [None] * len(told),
        "user_id": [user for user, *_ in told],
        "kind": [kind for _, kind, _, _ in told],
        "occurred_at": [at(day) for _, _, day, _ in told],
        "value": [value for *_, value in told],
    }
    return DecisionLog.from_tables(
        pa.table(columns, schema=schema), pa.Table.from_pydict(outcomes, schema=OUTCOMES_SCHEMA)
    )


def test_columns_of_a_log(log):
    four = {"window": Window(4)}
    bought = Metric("bought", "proportion", "converted", **four)
    spent = Metric("spent", "mean", "converted_value", covariates=(Covariate("session_pre7", days=7),), **four)
    rate = Metric("rate", "ratio", "messages", denominator="decisions", window=Window(3, start_day=1))
    found = LogHistory.of(log, plan(bought, spent, rate), start=at(10))
    assert found.exposed.rows() == [("a", at(10)), ("b", at(12)), ("c", at(18))]
    assert found.end == at(20) and found.units_per_day == pytest.approx(0.3)
    assert {name: column.tolist() for name, column in found.columns(bought).items()} == {"converted": [1.0, 0.0]}
    assert {name: column.tolist() for name, column in found.columns(spent).items()} == {
        "converted_value": [12.0, 0.0],
        "session_pre7": [2.0, 1.0],
    }
    assert {name: column.tolist() for name, column in found.columns(rate).items()} == {
        "messages": [0.0, 0.0],
        "decisions": [1.0, 0.0],
    }


def test_an_open_ended_metric_takes_everybody(log):
    clicks = Metric("clicks", "mean", "clicked")
    assert LogHistory.of(log, plan(clicks), start=at(10)).columns(clicks)["clicked"].tolist() == [0.0, 1.0, 0.0]


def test_the_start_leaves_room_for_covariates(log):
    spent = Metric("spent", "mean", "converted_value", covariates=("session_pre7",), window=Window(4))
    assert LogHistory.of(log, plan(spent)).start == at(2) + timedelta(days=7)


def test_a_baseline_from_a_log(log):
    spent = Metric("spent", "mean", "converted_value", window=Window(4))
    reached = Metric("reached", "proportion", "clicked")
    asked = ExperimentPlan("test", success=[(spent, MDE(rel=0.1))], guardrail=[(reached, NIM(rel=0.1))])
    found = Baseline.from_decision_log(log, asked, start=at(10))
    assert found["spent"] == MetricBaseline(6.0, 72.0)
    assert found["reached"].mean == pytest.approx(1 / 3)
    assert found.units_per_day == pytest.approx(0.3)


def test_refuses_what_a_log_cannot_say(log):
    with pytest.raises(UnknownNameError, match="column == 'conversions', must be one of"):
        Baseline.from_decision_log(log, plan(Metric("a", "mean", "conversions")))
    with pytest.raises(SupportError, match="users whose window of 30 days ends within the log, for metric 'a' == 0"):
        Baseline.from_decision_log(log, plan(Metric("a", "mean", "converted", window=Window(30))))
    with pytest.raises(SupportError, match="decisions after the start == 0"):
        Baseline.from_decision_log(log, plan(Metric("a", "mean", "converted")), start=at(40))
    with pytest.raises(InvalidInputError, match="unit == 'device', must be 'user_id'"):
        Baseline.from_decision_log(log, plan(Metric("a", "mean", "converted"), unit="device"))
