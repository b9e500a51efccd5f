"""Reachability: curves against statsmodels and without censoring against means, states by hand, the click-rate trap."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.estimates import Estimate
from homing.experiments import NIM, ExperimentPlan, SufficientStatistics, Window, analyze
from homing.experiments.intervals import welch
from homing.experiments.reachability import (
    KaplanMeier,
    Reachability,
    break_even,
    losses_of,
    per_send,
    reachable_at,
    reachable_days,
    read_reachability,
)
from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema


def censored(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole days until losses (ties), censored between day 10 and 40."""
    loss, end = np.ceil(rng.exponential(25, n)), rng.integers(10, 40, n)
    return np.minimum(loss, end), loss <= end


def test_curve_by_hand() -> None:
    # 5 users: lost at 2 and 4, censored at 3, followed to 6: S = 4/5, then 4/5 · 2/3.
    curve = KaplanMeier.fit([2, 3, 4, 6, 6], [1, 0, 1, 0, 0])
    assert curve.at(1.9) == (1.0, 0.0)
    value, variance = curve.at(5)
    assert value == pytest.approx(8 / 15)
    assert variance == pytest.approx((8 / 15) ** 2 * (1 / (5 * 4) + 1 / (3 * 2)))
    mean, error = curve.restricted_mean(6)
    assert mean == pytest.approx(2 + 2 * 0.8 + 2 * 8 / 15)
    assert error == pytest.approx((2 * 0.8 + 2 * 8 / 15) ** 2 / 20 + (2 * 8 / 15) ** 2 / 6)
    with pytest.raises(SupportError, match="at most 6, the longest follow-up"):
        curve.at(7)
    assert KaplanMeier.fit([1, 2], [1, 1]).restricted_mean(30) == pytest.approx((1.5, 0.125))


def test_curve_is_statsmodels() -> None:
    time, lost = censored(np.random.default_rng(0), 400)
    curve, peer = KaplanMeier.fit(time, lost), SurvfuncRight(time, lost)
    for day in (3.0, 10.0, 25.5):
        at = np.searchsorted(peer.surv_times, day, side="right") - 1
        value, variance = curve.at(day)
        assert value == pytest.approx(peer.surv_prob[at], rel=1e-12)
        assert variance == pytest.approx(peer.surv_prob_se[at] ** 2, rel=1e-9)


def test_without_censoring_it_is_the_mean() -> None:
    time = np.random.default_rng(1).exponential(20, 300)
    curve = KaplanMeier.fit(time, np.ones(300))
    assert curve.at(15.0) == pytest.approx(((p := (time > 15).mean()), p * (1 - p) / 300), rel=1e-10)
    short = np.minimum(time, 15)
    assert curve.restricted_mean(15.0) == pytest.approx((short.mean(), short.var() / 300), rel=1e-10)


def test_interval_covers_under_censoring() -> None:
    # Exponential losses of mean 25 days, rounded up: E min(T, 28) = Σ_{j<28} P(T > j). Coverage .95 over 600 draws has
    # a standard error of .009.
    rng = np.random.default_rng(2)
    truth = np.exp(-np.arange(28) / 25).sum()
    inside = 0
    for _ in range(600):
        mean, variance = KaplanMeier.fit(*censored(rng, 200)).restricted_mean(28)
        inside += abs(mean - truth) <= 1.972 * np.sqrt(variance)
    assert abs(inside / 600 - 0.95) < 4 * 0.009


@pytest.fixture
def states() -> Reachability:
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    units = pl.DataFrame(
        {
            "user_id": ["u1", "u2", "u3", "u4"],
            "variant": ["a", "a", "b", "b"],
            "exposed_at": [start, start + dt.timedelta(days=1), start, start + dt.timedelta(days=20)],
        }
    )
    events = [
        ("u1", "push", 5.0),  # lost on day 5
        ("u1", "push", 9.0),  # and again: the first counts
        ("u3", "push", -3.0),  # never reachable by push
        ("u3", "email", 6.5),  # so lost to any on day 6.5
        ("u2", "email", 40.0),  # after the data end
        ("u9", "email", 2.0),  # not randomised
    ]
    losses = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in events],
            "channel": [channel for _, channel, _ in events],
            "lost_at": [start + dt.timedelta(days=day) for _, _, day in events],
        }
    )
    end = start + dt.timedelta(days=30)
    return Reachability.from_frames(units, losses, channels=["push", "email"], as_of=end)


def test_states_by_hand(states: Reachability) -> None:
    assert states.lost_day.tolist() == [[5, np.inf], [np.inf, np.inf], [0, 6.5], [np.inf, np.inf]]
    assert states.followed_days.tolist() == [30, 29, 30, 10]
    duration, lost = states.durations("any")
    assert (duration.tolist(), lost.tolist()) == ([30, 29, 6.5, 10], [False, False, True, False])
    columns = states.columns(7)
    assert columns["reachable_push_7d"].tolist() == [0, 1, 0, 1]
    assert columns["reachable_days_push_7d"].tolist() == [5, 7, 0, 7]
    assert columns["reachable_days_any_7d"].tolist() == [7, 7, 6.5, 7]
    with pytest.raises(UnknownNameError, match="Did you mean 'push'"):
        states.durations("pus")


def test_metrics_fit_the_columns_and_enter_a_plan(states: Reachability) -> None:
    columns = states.columns(28)
    for metric in (reachable_at("any", 28), reachable_days("email", 28)):
        assert metric.numerator in columns
        assert metric.window == Window(28)
        ExperimentPlan("e", guardrail=[(metric, NIM(abs=0.01))])
    with pytest.raises(InvalidInputError, match="must not be a diagnostic"):
        ExperimentPlan("e", success=[per_send("click_rate", "clicks", "sends")])


def test_a_plan_says_what_the_curves_say() -> None:
    rng = np.random.default_rng(4)
    n = 600
    variant = np.array(["a", "b"])[rng.integers(0, 2, n)]
    units = {"user_id": np.arange(n), "variant": variant, "exposed_at": rng.integers(0, 5, n).astype(float)}
    lost_at = units["exposed_at"] + rng.exponential(np.where(variant == "a", 40, 25))
    losses = {"user_id": np.arange(n), "channel": np.full(n, "push"), "lost_at": lost_at}
    states = Reachability.from_frames(units, losses, channels=["push"], as_of=20.0)
    metrics = reachable_at("push", 14), reachable_days("any", 14)
    plan = ExperimentPlan(
        "e", guardrail=[(metric, NIM(abs=0.01)) for metric in metrics], variants={"a": 0.5, "b": 0.5}, planned_size=n
    )
    table = units | {"exposed_at": units["exposed_at"].astype(int)} | states.columns(14)
    card = analyze(SufficientStatistics.from_frame(pl.DataFrame(table), plan), plan, as_of=20)
    readout = read_reachability(states, horizon_days=14, control="a")
    share, days = (card.comparison(metric.name).difference for metric in metrics)
    # Everyone was followed for 14 days: Greenwood's variance is p (1 - p) / n, and that of the area differs by n - 1.
    assert share.value == pytest.approx(readout.of("push", "b").still_difference.value, abs=1e-12)
    assert share.std_error == pytest.approx(readout.of("push", "b").still_difference.std_error, rel=1e-9)
    assert days.value == pytest.approx(readout.of("any", "b").days_difference.value, abs=1e-9)
    assert days.std_error == pytest.approx(readout.of("any", "b").days_difference.std_error, rel=0.003)


def test_losses_of_a_decision_log() -> None:
    at = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    rows = [("o1", "u1", "opened"), ("o2", "u1", "unsubscribed"), ("o3", "u2", "disabled")]
    outcomes = pa.Table.from_pylist(
        [
            {"outcome_id": o, "decision_id": None, "user_id": u, "kind": k, "occurred_at": at, "value": 1.0}
            for o, u, k in rows
        ],
        schema=OUTCOMES_SCHEMA,
    )
    log = DecisionLog.from_tables(decisions_schema({}).empty_table(), outcomes)
    losses = losses_of(log, {"unsubscribed": "email", "disabled": "push"})
    assert losses["user_id"].to_pylist() == ["u1", "u2"]
    assert losses["channel"].to_pylist() == ["email", "push"]
    units = {"user_id": ["u1", "u2"], "variant": ["a", "b"], "exposed_at": [at - dt.timedelta(days=2)] * 2}
    found = Reachability.from_frames(units, losses, channels=["email", "push"], as_of=at + dt.timedelta(days=9))
    assert found.lost_day.tolist() == [[2, np.inf], [np.inf, 2]]


def test_more_messages_raise_the_click_rate_and_lose_people() -> None:
    """Twice the sends, eight times the opt-outs, the same people: clicks per send rise, reachability falls."""
    rng = np.random.default_rng(3)
    n = 6000
    treated = np.arange(n) % 2 == 1
    keen = rng.random(n) < 0.4
    hazard = np.where(keen, 0.0005, 0.01) * np.where(treated, 8, 1)
    lost = np.ceil(rng.exponential(1 / hazard))
    sends = np.minimum(lost, 14) * np.where(treated, 2, 1)
    clicks = rng.binomial(sends.astype(int), np.where(keen, 0.10, 0.02))
    units = {"user_id": np.arange(n), "variant": np.where(treated, "double", "control"), "exposed_at": np.zeros(n)}
    losses = {"user_id": np.arange(n), "channel": np.full(n, "push"), "lost_at": lost}
    states = Reachability.from_frames(units, losses, channels=["push"], as_of=14.0)
    # Clicks per send, by the delta method over users.
    arms = []
    for own in (~treated, treated):
        rate = clicks[own].sum() / sends[own].sum()
        arms.append(rate + (clicks[own] - rate * sends[own]) / sends[own].mean())
    assert welch(*arms, 0.95).lower > 0
    found = read_reachability(states, horizon_days=14, control="control").of("push", "double")
    expected = [np.exp(-14 * h) for h in (0.0005, 0.01)]
    truth = 0.4 * (expected[0] ** 8 - expected[0]) + 0.6 * (expected[1] ** 8 - expected[1])
    assert found.still_difference.upper < 0
    assert abs(found.still_difference.value - truth) < 4 * found.still_difference.std_error
    json.dumps(read_reachability(states, horizon_days=14, control="control").to_dict(), allow_nan=False)


def test_break_even_by_hand_and_covering() -> None:
    history = {"r": [1, 1, 1, 0, 0, 0], "y": [6.0, 7.0, 8.0, 2.0, 3.0, 1.0], "size": [1.0, 2.0, 3.0, 1.0, 3.0, 2.0]}
    found = break_even(history, reachable="r", outcome="y", gain=0.1)
    assert found.worth.value == pytest.approx(5.0)
    assert found.worth.std_error == pytest.approx(np.sqrt(2 / 3))
    # A known gain: the margin's interval is the gain over the worth's.
    assert (found.margin.lower, found.margin.upper) == pytest.approx((0.1 / found.worth.upper, 0.1 / found.worth.lower))
    assert found.nim == NIM(abs=found.margin.lower)
    adjusted = break_even(history, reachable="r", outcome="y", gain=0.1, adjust_for=["size"])
    assert adjusted.worth.value == pytest.approx(5.0)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gain": 0.0}, InvalidInputError, "gain == 0.0"),
        ({"gain": Estimate(-1.0, 0.1, -1.2, -0.8, 0.95, 50)}, InvalidInputError, "nothing to weigh"),
        ({"reachable": "y"}, InvalidInputError, r"y\[0\] == 6.0, must be 0 or 1"),
        ({"outcome": "flat"}, SupportError, "must have an interval above 0"),
    ],
)
def test_break_even_refuses(changes: dict[str, object], error: type, message: str) -> None:
    history = {"r": [1, 1, 0, 0], "y": [6.0, 7.0, 2.0, 3.0], "flat": [1.0, 2.0, 2.0, 1.0]}
    with pytest.raises(error, match=message):
        break_even(history, **{"reachable": "r", "outcome": "y", "gain": 0.1, **changes})


@pytest.mark.parametrize(
    ("units", "losses", "message"),
    [
        ({"user_id": [1, 1]}, {}, "units with the same 'user_id' == 1"),
        ({"exposed_at": [0.0, 11.0]}, {}, r"exposed_at\[1\] == 11.0, must be at most as_of"),
        ({}, {"channel": ["fax"]}, "channel of a loss == 'fax'"),
    ],
)
def test_states_refuse(units: dict[str, object], losses: dict[str, object], message: str) -> None:
    given = {"user_id": [1, 2], "variant": ["a", "b"], "exposed_at": [0.0, 0.0]} | units
    lost = {"user_id": [1], "channel": ["push"], "lost_at": [3.0]} | losses
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        Reachability.from_frames(given, lost, channels=["push"], as_of=10.0)
