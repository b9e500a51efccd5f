"""Decompositions: hand-worked, exact sums, errors against a bootstrap, segments' error rate."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.experiments import ExperimentPlan, Metric, SufficientStatistics, analyze
from homing.experiments.decomposition import Decomposition, decompose
from homing.experiments.decomposition.funnel import log_mean_terms, shapley_terms
from homing.experiments.decomposition.mix_rate import kitagawa_terms

ORDERS = Metric("orders", "mean", "orders")
CTR = Metric("ctr", "ratio", "clicks", "sends", diagnostic=True)


def funnel_rows(rng: np.random.Generator, n: int, rates: tuple[float, float, float]) -> dict[str, np.ndarray]:
    sends = rng.poisson(rates[0], n)
    clicks = rng.binomial(sends, rates[1])
    return {"sends": sends, "clicks": clicks, "orders": rng.binomial(clicks, rates[2])}


def two_groups(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> pl.DataFrame:
    names = ["a"] * len(first["sends"]) + ["b"] * len(second["sends"])
    return pl.DataFrame({name: np.concatenate([first[name], second[name]]) for name in first} | {"variant": names})


def check_sums(found: Decomposition) -> None:
    values = [item.estimate.value for item in found.terms]
    assert sum(values) == pytest.approx(found.after - found.before, abs=1e-12)
    assert found.movement.value == pytest.approx(found.after - found.before, abs=1e-12)
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.to_svg().count("<rect") == len(found.terms)
    assert found.metric in found.to_text()


def test_log_means_by_hand() -> None:
    # Sends 2 → 3, clicks per send .1 → .2: y .2 → .6, L = .4 / ln 3, terms L ln 1.5 and L ln 2.
    mean = 0.4 / np.log(3)
    found = log_mean_terms(np.array([[2.0, 0.2], [3.0, 0.6]]))
    np.testing.assert_allclose(found, [mean * np.log(1.5), mean * np.log(2)], rtol=1e-14)


def test_shapley_is_the_mean_over_orders() -> None:
    before, after = np.array([2.0, 0.3, 0.5]), np.array([3.0, 0.1, 0.9])
    expected = np.zeros(3)
    for order in permutations(range(3)):
        now = before.copy()
        for i in order:
            old = now.prod()
            now[i] = after[i]
            expected[i] += (now.prod() - old) / 6
    np.testing.assert_allclose(shapley_terms(np.cumprod([before, after], axis=1)), expected, rtol=1e-12)


def test_kitagawa_with_a_segment_that_one_group_lacks() -> None:
    # Rates .1 and .4; the second segment appears with half of the weight: all .15 is mix, none is rate.
    terms = kitagawa_terms(np.array([[0.1, 0.0, 1.0, 0.0], [0.05, 0.2, 0.5, 0.5]]))
    np.testing.assert_allclose(terms, [0.0375, 0.1125, 0.0, 0.0], atol=1e-14)


@pytest.mark.parametrize("method", ["log-mean", "shapley"])
@pytest.mark.parametrize("metric", [ORDERS, Metric("per_send", "ratio", "orders", "sends", diagnostic=True)])
def test_funnel_sums_exactly_and_knows_its_error(method: str, metric: Metric) -> None:
    rng = np.random.default_rng(0)
    first, second = funnel_rows(rng, 3000, (4.0, 0.2, 0.3)), funnel_rows(rng, 2000, (5.0, 0.15, 0.3))
    stages = ["sends", "clicks", "orders"] if metric is ORDERS else ["clicks", "orders"]
    options = {"baseline": "a", "comparison": "b", "stages": stages, "method": method}
    found = decompose(two_groups(first, second), metric, "funnel", **options)
    check_sums(found)
    assert found.terms[0].name == (f"{stages[0]} per unit" if metric is ORDERS else "clicks per sends")
    # Another route to the errors: means of resampled units. 400 of them know a standard deviation to 3.5 %; 4 of those.
    columns = ["sends", "clicks", "orders"]
    tables = [np.column_stack([one[name] for name in columns]) for one in (first, second)]
    draws = np.stack([[t[rng.integers(0, len(t), len(t))].mean(axis=0) for t in tables] for _ in range(400)])
    if metric is not ORDERS:
        draws = draws[..., 1:] / draws[..., :1]
    terms = (log_mean_terms if method == "log-mean" else shapley_terms)(draws)
    for item, values in zip(found.terms, terms.T, strict=True):
        assert item.estimate.std_error == pytest.approx(values.std(), rel=0.14)
    assert found.movement.std_error == pytest.approx(terms.sum(axis=1).std(), rel=0.14)


def test_mean_of_one_segment_has_welch_s_error() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(5, 1, 50), rng.normal(6, 2, 30)
    rows = {"variant": ["a"] * 50 + ["b"] * 30, "orders": np.concatenate([a, b]), "country": ["SE"] * 80}
    found = decompose(rows, ORDERS, "mix_rate", baseline="a", comparison="b", by=["country"])
    assert found.movement.value == pytest.approx(b.mean() - a.mean(), rel=1e-12)
    assert found.movement.std_error == pytest.approx(np.sqrt(a.var(ddof=1) / 50 + b.var(ddof=1) / 30), rel=1e-10)
    check_sums(found)


def test_mix_and_rate_of_a_ratio_with_several_rows_a_unit() -> None:
    rng = np.random.default_rng(4)
    unit = np.arange(4000).repeat(2)
    channel = np.tile([0, 1], 4000)
    treated = unit % 2 == 1
    sends = rng.poisson(np.where(channel == 0, 3.0, np.where(treated, 3.0, 1.0)))
    clicks = rng.binomial(sends, np.where(channel == 0, 0.1, 0.3))
    rows = {
        "variant": np.where(treated, "b", "a"),
        "unit": unit,
        "channel": np.array(["email", "push"])[channel],
        "sends": sends,
        "clicks": clicks,
    }
    found = decompose(rows, CTR, "mix_rate", baseline="a", comparison="b", by=["channel"], unit="unit")
    check_sums(found)
    # Push went from a quarter to half of the sends, at a rate .2 above email's: mix .05, rate 0.
    mix, rate = found.total(part="mix"), found.total(part="rate")
    assert abs(mix.value - 0.05) < 4 * mix.std_error < 0.02
    assert abs(rate.value) < 4 * rate.std_error < 0.03
    both = found.total(segment="push")
    assert both.value == pytest.approx(sum(t.estimate.value for t in found.terms if t.segment == "push"))
    with pytest.raises(UnknownNameError, match="Did you mean 'push'"):
        found.total(segment="pus")


def test_periods_of_the_same_users_are_paired() -> None:
    rng = np.random.default_rng(5)
    level = rng.normal(10, 3, 500)
    before, after = level + rng.normal(size=500), level + 0.5 + rng.normal(size=500)
    rows = {
        "week": [1] * 500 + [2] * 500,
        "user": np.tile(np.arange(500), 2),
        "orders": np.concatenate([before, after]),
        "country": np.tile(rng.choice(["SE", "DE"], 500), 2),
    }
    options = {"baseline": "1", "comparison": "2", "group": "week", "unit": "user", "by": ["country"]}
    found = decompose(rows, ORDERS, "mix_rate", **options)
    difference = after - before
    assert found.movement.std_error == pytest.approx(difference.std(ddof=1) / np.sqrt(500), rel=1e-10)
    assert found.total(part="mix").value == pytest.approx(0.0, abs=1e-12)
    check_sums(found)


def test_parts_count_each_unit_once() -> None:
    rows = {
        "variant": ["a", "a", "a", "b", "b", "b"],
        "unit": [1, 1, 2, 3, 4, 4],
        "channel": ["push", "email", "push", "email", "push", "email"],
        "campaign": ["w", "w", "w", "w", "x", "w"],
        "orders": [1.0, 2.0, 3.0, 4.0, 1.0, 3.0],
    }
    found = decompose(rows, ORDERS, "parts", baseline="a", comparison="b", by=["channel", "campaign"], unit="unit")
    # Orders per unit: a: push/w (1 + 3) / 2, email/w 1; b: email/w (4 + 3) / 2, push/x .5.
    expected = {"email / w": 2.5, "push / w": -2.0, "push / x": 0.5}
    assert {item.name: item.estimate.value for item in found.terms} == pytest.approx(expected)
    assert (found.before, found.after) == (3.0, 4.0)
    check_sums(found)
    with pytest.raises(InvalidInputError, match="Use how='parts'"):
        decompose(rows, ORDERS, "mix_rate", baseline="a", comparison="b", by=["channel"], unit="unit")


@pytest.mark.parametrize("metric", [ORDERS, Metric("rate", "ratio", "orders", "baskets")], ids=["mean", "ratio"])
def test_statistics_give_what_rows_give(metric: Metric) -> None:
    rng = np.random.default_rng(8)
    n = 900
    sends = rng.poisson(5, n) + 1
    rows = pl.DataFrame(
        {
            "user_id": np.arange(n),
            "variant": np.array(["a", "b", "c"])[rng.integers(0, 3, n)],
            "country": rng.choice(["DE", "FR", "SE"], n),
            "baskets": sends,
            "orders": 1e4 + rng.binomial(sends, 0.3),
        }
    )
    plan = ExperimentPlan("e", success=[metric], variants={"a": 0.4, "b": 0.3, "c": 0.3}, strata="country")
    groups = {"baseline": "a", "comparison": "c"}
    one = decompose(rows, metric, "mix_rate", **groups, by=["country"])
    card = analyze(SufficientStatistics.from_frame(rows, plan), plan)
    two = decompose(card.source.statistics, metric.name, "mix_rate", **groups, plan=plan)
    assert [item.name for item in two.terms] == [item.name for item in one.terms]
    scale = one.movement.std_error
    for first, second in zip((*one.terms, one), (*two.terms, two), strict=True):
        left, right = (getattr(each, "estimate", None) or each.movement for each in (first, second))
        assert right.value == pytest.approx(left.value, abs=1e-8 * scale)
        assert right.std_error == pytest.approx(left.std_error, rel=1e-6)
    assert two.before == pytest.approx(one.before, rel=1e-12)
    assert decompose(card, metric.name, how="mix_rate", comparison="c").to_dict() == two.to_dict()
    with pytest.raises(InvalidInputError, match=r"comparison == None, must be given"):  # two treatments
        decompose(card, metric.name, how="mix_rate")
    for other in (card, card.source.statistics):
        with pytest.raises(InvalidInputError, match="Pass the rows of units in place of the scorecard"):
            decompose(other, metric, "parts", **groups, plan=plan)
    with pytest.raises(InvalidInputError, match="source of the scorecard == None"):
        decompose(replace(card, source=None), metric, "mix_rate", **groups)


def segment_rows(rng: np.random.Generator, n: int, gain: float) -> dict[str, object]:
    country, platform = rng.integers(0, 4, n), rng.integers(0, 3, n)
    treated = rng.integers(0, 2, n)
    orders = rng.normal(2 + 0.5 * country, 1, n) + gain * treated * ((country == 2) & (platform == 1))
    return {
        "variant": np.array(["a", "b"])[treated],
        "orders": orders,
        "country": np.array(["DE", "FR", "SE", "US"])[country],
        "platform": np.array(["android", "ios", "web"])[platform],
    }


def test_segments_find_where_the_effect_is() -> None:
    rng = np.random.default_rng(6)
    rows = segment_rows(rng, 8000, 1.0)
    options = {"baseline": "a", "comparison": "b", "by": ["country", "platform"], "rng": rng}
    found = decompose(rows, ORDERS, "segments", **options)
    assert found.terms[0].name == "country = SE and platform = ios"
    assert found.terms[0].p_value < 1e-6
    assert [item.p_value is None for item in found.terms] == [False, False, False, True]
    assert "has not seen" in found.notes[0]
    check_sums(found)
    # A twelfth of the units gains 1: it adds about 1/12.
    one = found.terms[0].estimate
    assert abs(one.value - 1 / 12) < 4 * one.std_error


@pytest.mark.slow
def test_segments_keep_their_error_rate_where_no_effect_differs() -> None:
    # 400 experiments with 19 cells each: family-wise error .05 has a standard error of .011; 3 of them above.
    rng = np.random.default_rng(7)
    options = {"baseline": "a", "comparison": "b", "by": ["country", "platform"], "rng": rng}
    false = 0
    for _ in range(400):
        found = decompose(segment_rows(rng, 800, 0.0), ORDERS, "segments", **options)
        false += min(item.p_value for item in found.terms if item.p_value is not None) < 0.05
    assert false / 400 < 0.05 + 3 * 0.011


@pytest.mark.parametrize(
    ("how", "options", "error", "message"),
    [
        ("funnel", {}, InvalidInputError, "must be stages for a funnel"),
        ("mix_rate", {"stages": ["clicks"]}, InvalidInputError, "must be stages for a funnel, else by"),
        ("funnel", {"stages": ["orders", "clicks"]}, InvalidInputError, "must be the metric's numerator 'orders'"),
        ("funnel", {"stages": ["nothing", "orders"]}, SupportError, "mean of stage 'nothing'"),
        ("segments", {"by": ["country"]}, InvalidInputError, "rng == None"),
        ("segments", {"by": ["country"], "most": 0, "rng": np.random.default_rng(0)}, InvalidInputError, "most == 0"),
        ("mix_rate", {"by": ["contry"]}, InvalidInputError, r"missing columns == \['contry'\]"),
        ("mix_rate", {"by": ["country"], "comparison": "c"}, UnknownNameError, "variant == 'c'"),
        ("mix_rate", {"by": ["country"], "comparison": "a"}, InvalidInputError, "must differ from the baseline"),
        ("mix-rate", {"by": ["country"]}, UnknownNameError, "Did you mean 'mix_rate'"),
    ],
)
def test_bad_input(how: str, options: dict[str, object], error: type, message: str) -> None:
    rows = {
        "variant": ["a", "a", "b", "b"],
        "clicks": [1, 1, 1, 1],
        "orders": [1, 1, 1, 1],
        "nothing": [0, 0, 0, 0],
        "country": ["SE"] * 4,
    }
    with pytest.raises(error, match=message):
        decompose(rows, ORDERS, how, **{"baseline": "a", "comparison": "b", **options})
