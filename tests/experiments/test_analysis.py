"""`analyze` against scipy and statsmodels on the rows themselves, look by look."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from homing.errors import InvalidInputError, SupportError
from homing.experiments import (
    MDE,
    NIM,
    Covariate,
    ExperimentPlan,
    GroupSequential,
    Metric,
    PreExposureBias,
    SampleRatio,
    SufficientStatistics,
    Window,
    analyze,
    segment_effects,
    switchback_periods,
)
from homing.experiments.estimators import t_to_z

VISITS = Metric("visits", "mean", "visits", window=Window(4))
KEPT = Metric("kept", "proportion", "kept", window=Window(2))
LEFT = Metric("left", "proportion", "left", window=Window(2), direction="decrease")
PLAN = ExperimentPlan(
    "e",
    success=[(VISITS, MDE(rel=0.05))],
    guardrail=[(KEPT, NIM(rel=0.02)), (LEFT, NIM(abs=0.03))],
    quality=[SampleRatio(), SampleRatio(sequential=False)],
    variants={"control": 0.5, "warm": 0.3, "bold": 0.2},
    monitoring=GroupSequential(),
    planned_size=3000,
)


def frame(n: int = 3000, seed: int = 5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    variant = rng.choice(["control", "warm", "bold"], n, p=[0.5, 0.3, 0.2])
    before = rng.gamma(2.0, 1.0, n)
    return pl.DataFrame(
        {
            "user_id": np.arange(n),
            "variant": variant,
            "exposed_at": np.sort(rng.integers(0, 10, n)),
            "country": rng.choice(["x", "y", "z"], n),
            "visits_pre28": before,
            "visits": before + rng.gamma(1.0, 1.0, n) + 0.3 * (variant == "warm"),
            "kept": rng.random(n) < 0.8,
            "left": rng.random(n) < 0.1,
        }
    )


def card_of(data: pl.DataFrame, plan: ExperimentPlan = PLAN, **options: Any) -> Any:
    return analyze(SufficientStatistics.from_frame(data, plan), plan, **options)


def test_every_look_is_welchs_test_of_matured_units() -> None:
    data = frame()
    path = card_of(data, as_of=13).comparison("visits", "warm").path
    for look in range(14):
        old = data.filter(pl.col("exposed_at") <= look - 4)
        control, warm = (old.filter(pl.col("variant") == name)["visits"].to_numpy() for name in ("control", "warm"))
        assert path.n[look] == len(control) + len(warm)
        assert path.information[look] == pytest.approx(old.height / 3000)
        if old.height:
            expected = stats.ttest_ind(warm, control, equal_var=False)
            assert path.value[look] == pytest.approx(warm.mean() - control.mean(), rel=1e-9)
            assert path.std_error[look] == pytest.approx(path.value[look] / expected.statistic, rel=1e-9)
            assert path.z["superior"][look] == pytest.approx(t_to_z(expected.statistic, expected.df).item(), rel=1e-9)
    assert np.isinf(path.critical["superior"][:4]).all()


def test_the_bounds_and_levels_are_the_designs() -> None:
    card = card_of(frame(), as_of=13)
    one = card.comparison("visits", "warm")
    rates = PLAN.corrections
    assert one.superior.alpha == rates.alpha_success and one.inferior.alpha == rates.alpha_deterioration
    assert one.non_inferior is None and set(card.comparison("kept", "bold").tests) == {"non_inferior", "inferior"}
    expected = PLAN.monitoring.critical(one.path.information, rates.alpha_success)
    np.testing.assert_allclose(one.path.critical["superior"], expected)
    # What the bound leaves: the test rejects at the looks where the lower end passes 0.
    np.testing.assert_array_equal(one.path.lower > 0, one.path.z["superior"] >= one.path.critical["superior"])
    assert one.superior.rejected == bool((one.path.lower > 0).any())
    assert one.superior.critical == expected[np.isfinite(expected)][-1]
    left = card.comparison("left", "bold").path
    np.testing.assert_array_equal(left.lower > 0, left.z["inferior"] >= left.critical["inferior"])


def test_intervals_are_the_fixed_tests_at_the_corrected_level() -> None:
    data = frame()
    one = card_of(data, as_of=13).comparison("visits", "bold")
    control, bold = (data.filter(pl.col("variant") == name)["visits"].to_numpy() for name in ("control", "bold"))
    level = 1 - 2 * PLAN.corrections.alpha_success
    low, high = stats.ttest_ind(bold, control, equal_var=False).confidence_interval(level)
    assert (one.difference.lower, one.difference.upper) == pytest.approx((low, high), rel=1e-9)
    assert one.difference.level == pytest.approx(level) and one.n == {"control": len(control), "bold": len(bold)}
    assert one.relative.value == pytest.approx(bold.mean() / control.mean() - 1, rel=1e-9)
    assert one.values["bold"].value == pytest.approx(bold.mean(), rel=1e-12)


def test_margins_point_in_the_bad_direction() -> None:
    data = frame()
    card = card_of(data, as_of=13)
    p, n = {}, {}
    for name in ("control", "warm"):
        rows = data.filter(pl.col("variant") == name)
        n[name] = rows.height
        p[name] = {column: rows[column].mean() for column in ("kept", "left")}

    def variance(column: str, name: str) -> float:
        return p[name][column] * (1 - p[name][column]) / n[name]

    kept = card.comparison("kept", "warm")
    z = (p["warm"]["kept"] - 0.98 * p["control"]["kept"]) / np.sqrt(
        variance("kept", "warm") + 0.98**2 * variance("kept", "control")
    )
    # The normal and the t distribution differ by about z³ / 4n.
    assert kept.non_inferior.z == pytest.approx(z, rel=1e-2)
    assert kept.margin == pytest.approx(0.02 * p["control"]["kept"])
    left = card.comparison("left", "warm")
    z = (0.03 - (p["warm"]["left"] - p["control"]["left"])) / np.sqrt(
        variance("left", "warm") + variance("left", "control")
    )
    assert left.non_inferior.z == pytest.approx(z, rel=1e-2) and left.margin == 0.03 and left.sign == -1
    assert left.difference.value == pytest.approx(p["warm"]["left"] - p["control"]["left"])
    assert np.sign(left.inferior.z) == np.sign(left.difference.value)


def test_adding_statistics_gives_the_same_scorecard() -> None:
    metric = replace(VISITS, covariates=(Covariate("visits_pre28"),))
    plan = replace(
        PLAN, success=[(metric, MDE(rel=0.05))], quality=[SampleRatio(), PreExposureBias()], strata="country"
    )
    data = frame().with_columns(pl.col("visits") + 1e8)
    one, two = (SufficientStatistics.from_frame(data.filter(side), plan) for side in (pl.col("kept"), ~pl.col("kept")))
    whole, added = card_of(data, plan, as_of=13), analyze(one + two, plan, as_of=13)
    for a, b in zip(whole.comparisons, added.comparisons, strict=True):
        # At 1e8 a value itself is rounded to 1e-8; differences of .1 then agree to 1e-7, z-values of 1 too.
        tolerance = 1e-12 if a.metric.name != "visits" else 1e-6
        np.testing.assert_allclose(b.path.value, a.path.value, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(b.path.std_error, a.path.std_error, rtol=tolerance)
    np.testing.assert_allclose(added.quality[1].path, whole.quality[1].path, rtol=1e-9)


def test_the_order_of_rows_does_not_matter() -> None:
    data = frame()
    one, two = card_of(data, as_of=13), card_of(data.sample(fraction=1.0, shuffle=True, seed=1), as_of=13)
    for a, b in zip(one.comparisons, two.comparisons, strict=True):
        np.testing.assert_allclose(b.path.value, a.path.value, rtol=1e-10, atol=1e-13)


def test_a_covariate_narrows_the_interval_by_what_it_explains() -> None:
    data = frame()
    metric = replace(VISITS, covariates=(Covariate("visits_pre28"),))
    plan = replace(PLAN, success=[(metric, MDE(rel=0.05))])
    plain = card_of(data, as_of=13).comparison("visits", "warm").difference.std_error
    narrow = card_of(data, plan, as_of=13).comparison("visits", "warm").difference.std_error
    explained = np.corrcoef(data["visits"] - 0.3 * (data["variant"] == "warm"), data["visits_pre28"])[0, 1] ** 2
    # A correlation of 3,000 units has a standard error of .01.
    assert (narrow / plain) ** 2 == pytest.approx(1 - explained, abs=0.04)


def test_quality_is_seen() -> None:
    data = frame()
    card = card_of(data, as_of=13)
    counts = [card.n[name] for name in PLAN.variants]
    expected = stats.chisquare(counts, np.array([0.5, 0.3, 0.2]) * sum(counts)).pvalue
    assert card.quality[1].p_value == pytest.approx(expected, rel=1e-9)
    assert not card.quality[0].rejected and "warm" in card.quality[0].detail
    lost = data.filter((pl.col("variant") != "warm") | (pl.col("user_id") % 3 > 0))
    assert all(result.rejected for result in card_of(lost, as_of=13).quality)


@pytest.mark.parametrize("sequential", [True, False])
def test_a_bias_before_exposure_is_seen(sequential: bool) -> None:
    test = PreExposureBias(("visits_pre28", "age_pre"), sequential)
    plan = replace(PLAN, quality=[test])
    data = frame().with_columns(age_pre=pl.col("user_id") * 7919 % 61)
    assert not card_of(data, plan, as_of=13).quality[0].rejected
    moved = pl.when(pl.col("variant") == "bold").then(pl.col("age_pre") + 6).otherwise(pl.col("age_pre"))
    assert card_of(data.with_columns(moved.alias("age_pre")), plan, as_of=13).quality[0].rejected


def test_the_joint_test_before_exposure_has_its_distribution() -> None:
    """1,000 A/A tests of 2 columns in 3 variants: rejections at .1 within 4 standard errors (.0095) of .1."""
    from homing.experiments.estimators import Means
    from homing.experiments.quality_tests import wald

    rng = np.random.default_rng(0)
    half = np.array([[1.0, 0.0], [0.6, 0.8]])
    mean = rng.normal(size=(3, 1000, 2)) @ half.T / np.sqrt(100)
    cov = np.broadcast_to(half @ half.T / 100, (3, 1000, 2, 2))
    statistic, df, n = wald(Means(np.full((3, 1000), 100.0), mean, cov))
    assert df == 4 and (n == 300).all()
    assert abs((stats.chi2.sf(statistic, df) < 0.1).mean() - 0.1) < 0.038


def test_the_joint_test_may_be_looked_at_daily() -> None:
    """4,000 A/A paths of 30 looks and 2 degrees of freedom at .05: at most .05 + 3 standard errors (.0034)."""
    from homing.experiments.quality_tests import mixture_p_value

    n = np.arange(1.0, 31.0) * 100
    walk = np.random.default_rng(1).normal(size=(4000, 2, 30)).cumsum(axis=-1) / np.sqrt(np.arange(1, 31))
    p = mixture_p_value((walk**2).sum(axis=1), 2, n, 3000, 0.05)
    assert (p[:, -1] <= 0.05).mean() <= 0.0604
    assert (stats.chi2.sf((walk**2).sum(axis=1), 2).min(axis=-1) <= 0.05).mean() > 0.2


def test_what_is_no_analysis_is_refused() -> None:
    data = frame()
    statistics = SufficientStatistics.from_frame(data, PLAN)
    with pytest.raises(InvalidInputError, match="made for another plan, or it was changed"):
        analyze(statistics, replace(PLAN, alpha=0.1))
    with pytest.raises(InvalidInputError, match="units of variant 'bold' == 0, must be at least one"):
        card_of(data.filter(pl.col("variant") != "bold"))
    with pytest.raises(InvalidInputError, match=r"variance of metric 'visits' == 0\.0, must be known and > 0"):
        card_of(data.with_columns(visits=1e6 / 3), as_of=13)
    with pytest.raises(InvalidInputError, match="matured units without a value of metric 'visits' == "):
        card_of(data.with_columns(pl.when(pl.col("user_id") > 9).then("visits")), as_of=13)
    with pytest.raises(SupportError, match=r"that matured for metric 'visits' == 0.*Pass as_of="):
        card_of(data.filter(pl.col("exposed_at") > 7))
    with pytest.raises(InvalidInputError, match="as_of == -1, must be 0, the first exposure, or later"):
        card_of(data, as_of=-1)
    with pytest.raises(InvalidInputError, match="as_of == '2026-01-01', must be a whole number"):
        card_of(data, as_of="2026-01-01")


def test_what_has_not_matured_need_not_be_there() -> None:
    data = frame().with_columns(pl.when(pl.col("exposed_at") <= 5).then("visits").alias("visits"))
    assert (
        card_of(data).comparison("visits", "warm").path.n[-1]
        == data.filter((pl.col("exposed_at") <= 5) & (pl.col("variant") != "bold")).height
    )
    assert any("do not count yet" in warning for warning in card_of(data).warnings)


def test_readers_are_warned() -> None:
    open_ended = replace(PLAN, success=[(replace(VISITS, window=None), MDE(rel=0.05))])
    assert any(warning.startswith("visits: no window") for warning in card_of(frame(), open_ended).warnings)
    over = replace(PLAN, planned_size=1000)
    assert any("planned size was reached before" in warning for warning in card_of(frame(), over, as_of=13).warnings)


def test_a_scorecard_is_strict_json() -> None:
    told = json.loads(json.dumps(card_of(frame(), as_of=13).to_dict(), allow_nan=False))
    assert told["comparisons"][0]["tests"]["superior"]["rejected"] is True
    assert told["comparisons"][0]["path"]["critical"]["superior"][0] is None


@pytest.mark.parametrize(("correction", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_segments_are_tested_one_by_one_and_together(correction: str, theirs: str) -> None:
    data, plan = frame(), replace(PLAN, strata="country")
    found = segment_effects(
        SufficientStatistics.from_frame(data, plan), plan, "visits", "warm", as_of=13, correction=correction
    )
    p, d, se = [], [], []
    for country, one in zip("xyz", found.segments, strict=True):
        rows = data.filter(pl.col("country") == country)
        arms = [rows.filter(pl.col("variant") == name)["visits"].to_numpy() for name in ("control", "warm")]
        expected = stats.ttest_ind(arms[1], arms[0], equal_var=False)
        p.append(expected.pvalue)
        d.append(arms[1].mean() - arms[0].mean())
        se.append(d[-1] / expected.statistic)
        assert one.segment == country and one.n == len(arms[0]) + len(arms[1])
        assert one.p_value == pytest.approx(expected.pvalue, rel=1e-7)
        assert (one.difference.lower, one.difference.upper) == pytest.approx(tuple(expected.confidence_interval()))
    np.testing.assert_allclose(
        [one.adjusted_p_value for one in found.segments], multipletests(p, method=theirs)[1], rtol=1e-7
    )
    w, d = 1 / np.square(se), np.array(d)
    assert found.heterogeneity == pytest.approx(w @ (d - w @ d / w.sum()) ** 2, rel=1e-9)
    assert found.heterogeneity_p_value == pytest.approx(stats.chi2.sf(found.heterogeneity, 2))
    with pytest.raises(InvalidInputError, match="treatment == None, must be one of warm, bold"):
        segment_effects(SufficientStatistics.from_frame(data, plan), plan, "visits")
    with pytest.raises(InvalidInputError, match="strata of the plan == None"):
        segment_effects(SufficientStatistics.from_frame(data, PLAN), PLAN, "visits", "warm")


def test_switchbacks_are_analysed_by_turn_without_what_the_turn_before_left() -> None:
    start, hour = datetime(2026, 1, 5), timedelta(hours=1)
    rng = np.random.default_rng(4)
    rows = pl.DataFrame(
        {
            "order_id": np.arange(4000),
            "market": rng.choice(["a", "b"], 4000),
            "at": [start + float(h) * hour for h in rng.uniform(0, 240, 4000)],
        }
    )
    turns = switchback_periods(rows, cluster="market", time="at", start=start, period=6 * hour, burn_in=2 * hour)
    kept = turns.collect()
    hours = (rows["at"] - start).dt.total_seconds().to_numpy() / 3600
    assert kept.height == (hours % 6 >= 2).sum() and kept["turn"].n_unique() == 80
    treated = kept.with_columns(
        variant=pl.when(pl.col("turn").hash(2) % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b")),
        late=pl.col("turn").hash(3) % 100 / 50 + pl.Series(rng.normal(size=kept.height)),
    )
    plan = ExperimentPlan(
        "s", success=[Metric("late", "mean", "late")], variants={"a": 0.5, "b": 0.5}, unit="order_id", cluster="turn"
    )
    one = card_of(treated, plan).comparison("late")
    assert sum(one.n.values()) == 80
    rows_a, rows_b = (treated.filter(pl.col("variant") == name)["late"] for name in ("a", "b"))
    assert one.difference.value == pytest.approx(rows_b.mean() - rows_a.mean(), rel=1e-9)
    with pytest.raises(InvalidInputError, match="burn_in == '6:00:00', must be >= 0 and shorter"):
        switchback_periods(rows, cluster="market", time="at", start=start, period=6 * hour, burn_in=6 * hour)
    with pytest.raises(InvalidInputError, match="rows before the start"):
        switchback_periods(rows, cluster="market", time="at", start=start + hour, period=6 * hour, burn_in=hour)


def test_variants_in_another_order_are_another_plan() -> None:
    data, swapped = frame(), replace(PLAN, variants=dict(reversed(PLAN.variants.items())))
    made = SufficientStatistics.from_frame(data, PLAN)
    with pytest.raises(InvalidInputError, match="plan digest of the statistics"):
        analyze(made, swapped, as_of=13)
    other = SufficientStatistics.from_frame(data, swapped)
    one, two = analyze(made, PLAN, as_of=13), analyze(other, swapped, as_of=13)
    for treatment in PLAN.treatments:
        found = [card.comparison("visits", treatment).difference.value for card in (one, two)]
        assert found[0] == pytest.approx(found[1], rel=1e-9)
    forged = replace(other, plan_digest=PLAN.digest)
    with pytest.raises(InvalidInputError, match="variants of the statistics"):
        analyze(forged, PLAN, as_of=13)
    with pytest.raises(InvalidInputError, match=r"variants == .*, must be the same, in the same order"):
        made + forged


def test_what_is_neither_statistics_nor_a_plan_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="type of statistics == 'DataFrame', must be SufficientStatistics"):
        analyze(frame(), PLAN)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="type of plan == 'dict', must be ExperimentPlan"):
        analyze(frame(), {})  # type: ignore[arg-type]


def test_a_ratio_that_decides_comes_with_a_warning() -> None:
    rate = Metric("rate", "ratio", "visits", "kept")
    mean = replace(VISITS, window=None)
    for success, others, warned in (([rate], [], True), ([mean], [rate], False)):
        plan = ExperimentPlan("e", success=success, deterioration=others, variants=PLAN.variants)
        assert any("rate: a ratio decides" in item for item in card_of(frame(), plan).warnings) is warned
