"""Sufficient statistics: adding them is adding data, and what is no experiment is refused before any number."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.experiments import (
    Covariate,
    ExperimentPlan,
    Metric,
    PreExposureBias,
    SampleRatio,
    SufficientStatistics,
    Window,
    aggregates_needed,
)
from homing.experiments.statistics import layout, total
from homing.experiments.statistics.histogram import Histogram, bins
from homing.experiments.statistics.looks import cumulated

SPEND = Metric("spend", "mean", "spend", window=Window(3), covariates=("spend_pre28",))
BOUNDED = Metric("bounded", "mean", "spend", winsorize=0.9)
BOUGHT = Metric("bought", "proportion", "bought")
BASKET = Metric("basket", "ratio", "spend", "orders")
WAIT = Metric("wait", "quantile", "wait", quantile=0.9)
PLAN = ExperimentPlan(
    "e",
    success=[SPEND, BOUGHT],
    deterioration=[BOUNDED, BASKET, WAIT],
    quality=[SampleRatio(), PreExposureBias()],
    variants={"a": 0.5, "b": 0.5},
    strata="country",
)


def frame(n: int = 3000, *, level: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    before = rng.gamma(2.0, 1.0, n)
    return pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(n)],
            "variant": rng.choice(["a", "b"], n),
            "exposed_at": rng.integers(5, 15, n),
            "country": rng.choice(["x", "y", "z"], n),
            "spend_pre28": before + level,
            "spend": before + rng.gamma(1.0, 1.0, n) + level,
            "orders": rng.integers(1, 4, n),
            "bought": rng.random(n) < 0.3,
            "wait": np.round(rng.gamma(1.0, 30.0, n), 1),
        }
    )


def close(one: SufficientStatistics, two: SufficientStatistics, tolerance: float) -> None:
    assert one.variants == two.variants and one.strata == two.strata and one.first_day == two.first_day
    np.testing.assert_array_equal(one.n, two.n)
    filled = one.n > 0
    means = ((each.shift + each.offset)[filled] for each in (one, two))
    np.testing.assert_allclose(*means, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(one.products, two.products, rtol=tolerance, atol=tolerance * np.abs(two.products).max())


@pytest.mark.parametrize("level", [0.0, 1e9], ids=["plain", "a mean of 1e9 and a spread of 1"])
def test_adding_statistics_is_adding_data(level: float) -> None:
    data = frame(level=level)
    whole = SufficientStatistics.from_frame(data, PLAN)
    # By day, by variant and at random: cells that one side lacks are found too.
    for mask in (pl.col("exposed_at") < 9, pl.col("country") == "x", pl.col("user_id").hash(1) % 3 == 0):
        one, two = (
            SufficientStatistics.from_frame(data.filter(side), PLAN, thresholds=whole.thresholds)
            for side in (mask, ~mask)
        )
        close(one + two, whole, 1e-12)
        close(two + one, whole, 1e-12)
        assert (one + two).histograms["wait"].quantile(0.5) == whole.histograms["wait"].quantile(0.5)


def test_cells_are_the_moments_of_the_data() -> None:
    data = frame(400, level=1e9)
    found = SufficientStatistics.from_frame(data, PLAN)
    made = layout(PLAN)
    cell = data.filter((pl.col("variant") == "b") & (pl.col("exposed_at") == 7) & (pl.col("country") == "y"))
    at = (1, 2, 1)
    assert found.n[at] == cell.height
    place = made.names.index("spend"), made.names.index("spend_pre28")
    expected = np.cov(cell["spend"].to_numpy() - 1e9, cell["spend_pre28"].to_numpy() - 1e9) * (cell.height - 1)
    kept = found.products[at][made.product_of(place)]
    # Values near 1e9 are themselves rounded to 1e-7.
    np.testing.assert_allclose(kept, expected, rtol=1e-6)


def test_a_look_counts_what_has_matured() -> None:
    data = frame()
    found = cumulated(SufficientStatistics.from_frame(data, PLAN), np.array([6, 9, 20]), matures_after=3)
    for look, day in enumerate((6, 9, 20)):
        old = data.filter(pl.col("exposed_at") <= day - 3)
        assert found.n[:, look].sum() == old.height
        if old.height:
            values = old.filter((pl.col("variant") == "a") & (pl.col("country") == "z"))["spend"].to_numpy()
            place = layout(PLAN).product_of((layout(PLAN).names.index("spend"),))[0, 0]
            np.testing.assert_allclose(found.products[0, look, 2, place], values.var() * len(values), rtol=1e-12)


@pytest.mark.parametrize("kind", ["pandas", "arrow", "lazy", "parquet"])
def test_any_table_will_do(kind: str, tmp_path: Path) -> None:
    data = frame(300)
    data.write_parquet(tmp_path / "data.parquet")
    table: Any = {
        "pandas": data.to_pandas,
        "arrow": data.to_arrow,
        "lazy": data.lazy,
        "parquet": lambda: tmp_path / "data.parquet",
    }[kind]()
    close(SufficientStatistics.from_frame(table, PLAN), SufficientStatistics.from_frame(data, PLAN), 1e-12)


def test_exposures_of_their_own_are_joined() -> None:
    data = frame(300)
    exposures, outcomes = data.select("user_id", "variant", "exposed_at"), data.drop("variant", "exposed_at")
    found = SufficientStatistics.from_frame(outcomes, PLAN, exposures=exposures)
    close(found, SufficientStatistics.from_frame(data, PLAN), 1e-12)
    with pytest.raises(InvalidInputError, match="units of exposures without outcomes == 1, must be 0, one is 'u9'"):
        SufficientStatistics.from_frame(outcomes.filter(pl.col("user_id") != "u9"), PLAN, exposures=exposures)
    with pytest.raises(InvalidInputError, match="units of outcomes without exposures == 1"):
        SufficientStatistics.from_frame(outcomes, PLAN, exposures=exposures.filter(pl.col("user_id") != "u9"))


def test_an_outcome_of_another_variant_than_the_exposures_is_refused() -> None:
    data = frame(300)
    exposures = data.select("user_id", "variant", "exposed_at")
    found = SufficientStatistics.from_frame(data, PLAN, exposures=exposures)  # the same, and there twice
    close(found, SufficientStatistics.from_frame(data, PLAN), 1e-12)
    other = pl.when(pl.col("variant") == "a").then(pl.lit("b")).otherwise(pl.lit("a"))
    first = pl.col("user_id").is_in(["u0", "u7"])
    moved = data.with_columns(variant=pl.when(first).then(other).otherwise("variant"))
    message = "units whose outcomes and exposures have different variants == 2, must be 0; user_id 'u0' is in"
    with pytest.raises(InvalidInputError, match=message):
        SufficientStatistics.from_frame(moved, PLAN, exposures=exposures)
    # Where the outcomes do not know, the exposures do.
    unknown = data.with_columns(variant=pl.when(first).then(None).otherwise("variant"))
    close(SufficientStatistics.from_frame(unknown, PLAN, exposures=exposures), found, 1e-12)


def test_times_are_days() -> None:
    days = frame(300).with_columns(
        exposed_at=pl.lit(datetime(1970, 1, 1, 23, 59, tzinfo=UTC)) + pl.duration(days=pl.col("exposed_at"))
    )
    dated, plain = (SufficientStatistics.from_frame(data, PLAN) for data in (days, frame(300)))
    close(dated, plain, 1e-12)
    assert dated.dated and dated.day_text(dated.first_day) == "1970-01-06"
    with pytest.raises(InvalidInputError, match="dated"):
        dated + plain


def test_parts_are_read_one_by_one() -> None:
    data = frame()
    parts = [data[:1000], data[1000:1500], data[1500:]]
    plan = ExperimentPlan("e", success=[SPEND], deterioration=[BOUNDED, WAIT], variants={"a": 0.5, "b": 0.5})
    found, whole = SufficientStatistics.from_parts(parts, plan), SufficientStatistics.from_frame(data, plan)
    # Thresholds are read off a histogram with bins of 0.2 %.
    assert found.thresholds["bounded"] == pytest.approx(whole.thresholds["bounded"], rel=0.002)
    same = SufficientStatistics.from_parts(parts, plan, thresholds=whole.thresholds)
    close(same, whole, 1e-12)
    with pytest.raises(InvalidInputError, match="units in several parts == 5, must be 0"):
        SufficientStatistics.from_parts([data[:10], data[5:20]], plan)


def sent(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 (our own bytes)


class Shared:
    """Three shares, and nothing passes between them but bytes: what a cluster does, in this process."""

    def map_reduce(self, items: Any, split: Any, merge: Any, finish: Any) -> list[Any]:
        pieces = [sent(sent(split)(item, 3)) for item in items]
        return [sent(sent(finish)(reduce(sent(merge), column))) for column in zip(*pieces, strict=True)]


@pytest.mark.parametrize("cluster", [False, True], ids=["units", "clusters"])
def test_shares_of_parts_come_to_the_same(cluster: bool) -> None:
    data = teams()
    plan = clustered() if cluster else PLAN
    parts = [data[:200], data[200:350], data[350:]]
    thresholds = {} if cluster else {"bounded": 4.0}
    found = SufficientStatistics.from_parts(parts, plan, engine=Shared(), thresholds=thresholds)
    close(found, SufficientStatistics.from_frame(data, plan, thresholds=thresholds), 1e-12)
    with pytest.raises(InvalidInputError, match="units in several parts"):
        SufficientStatistics.from_parts([data[:10], data[5:20]], plan, engine=Shared(), thresholds=thresholds)


def clustered(**changes: Any) -> ExperimentPlan:
    fields: dict[str, Any] = {"success": [SPEND, BOUGHT], "deterioration": [BASKET]}
    return ExperimentPlan("c", variants={"a": 0.5, "b": 0.5}, cluster="team", **(fields | changes))


def teams(n: int = 600) -> pl.DataFrame:
    team = np.random.default_rng(3).integers(0, 40, n)
    return frame(n).with_columns(team=team, variant=np.where(team % 2, "a", "b"))


def test_clusters_are_kept_whole() -> None:
    data, plan = teams(), clustered()
    found = SufficientStatistics.from_frame(data, plan)
    assert found.n.sum() == 40
    sums = data.filter(pl.col("variant") == "a").group_by("team").agg(pl.col("spend", "orders").sum())
    place = layout(plan).product_of((layout(plan).names.index("spend"), layout(plan).names.index("orders")))
    running = cumulated(found, np.array([99]))
    np.testing.assert_allclose(
        running.products[0, 0, 0][place], np.cov(sums["spend"], sums["orders"], ddof=0) * sums.height, rtol=1e-11
    )
    close(SufficientStatistics.from_parts([data[:100], data[100:300], data[300:]], plan), found, 1e-12)
    split = data.with_columns(variant=pl.when(pl.col("user_id") == "u0").then(pl.lit("a")).otherwise(pl.lit("b")))
    with pytest.raises(InvalidInputError, match="variant == None, is there in one cluster with another"):
        SufficientStatistics.from_frame(split, plan)


def test_sums_of_a_warehouse_will_do() -> None:
    data = frame(2000).with_columns(pl.col("bought").cast(pl.Float64))
    plan = ExperimentPlan(
        "e", success=[SPEND, BOUGHT], deterioration=[BASKET], variants={"a": 0.5, "b": 0.5}, strata="country"
    )
    columns = {name: pl.len() for name in ("n",)}
    for name in aggregates_needed(plan)[1:]:
        one, _, two = name.removeprefix("sum(").removesuffix(")").partition("*")
        columns[name] = (pl.col(one) * (pl.col(two) if two else 1.0)).sum()
    sums = data.group_by("variant", "exposed_at", "country").agg(**columns)
    # Plain sums cancel a little: the mean squared is about as large as the variance.
    close(SufficientStatistics.from_aggregates(sums, plan), SufficientStatistics.from_frame(data, plan), 1e-11)
    close(
        SufficientStatistics.from_aggregates(sums.drop("sum(bought*bought)"), plan),
        SufficientStatistics.from_frame(data, plan),
        1e-11,
    )
    row = pl.int_range(pl.len()) == 3

    def changed(name: str, value: float | None) -> pl.DataFrame:
        return sums.with_columns(pl.when(row).then(value).otherwise(pl.col(name)).alias(name))

    for name, value, message in (
        ("n", -5.0, "n == -5.0, must be >= 0"),
        ("n", 2.5, "n == 2.5, must be a whole number"),
        ("sum(bought)", 1e6, r"sum\(bought\) == 1000000.0, must be in \[0, n\]"),
        ("sum(spend*spend)", 0.1, r"sum\(spend\*spend\) == 0.1, must be finite and at least sum² / n"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            SufficientStatistics.from_aggregates(changed(name, value), plan)
    with pytest.raises(InvalidInputError, match=r"missing columns == \['sum\(orders\)'\]"):
        SufficientStatistics.from_aggregates(sums.drop("sum(orders)"), plan)
    with pytest.raises(InvalidInputError, match="quantile metrics == \\['wait'\\], cannot be had from sums"):
        SufficientStatistics.from_aggregates(sums, PLAN)
    with pytest.raises(InvalidInputError, match=r"missing columns == \['n', 'sum\(spend\)'"):
        SufficientStatistics.from_aggregates(data, plan)
    for name in ("n", "sum(spend)", "sum(spend*spend)", "variant", "exposed_at", "country"):
        with pytest.raises(InvalidInputError, match=f"rows without {re.escape(repr(name))} == 1, must be 0"):
            SufficientStatistics.from_aggregates(changed(name, None), plan)
    for name in ("n", "sum(bought)", "exposed_at"):
        with pytest.raises(InvalidInputError, match=f"type of column {re.escape(repr(name))} == 'String'"):
            SufficientStatistics.from_aggregates(sums.with_columns(pl.col(name).cast(pl.String)), plan)


def test_a_row_of_sums_does_not_hide_in_its_cell() -> None:
    plan = ExperimentPlan("e", success=[BOUGHT], deterioration=[BASKET], variants={"a": 0.5, "b": 0.5})
    names = [name for name in aggregates_needed(plan) if name != "sum(bought*bought)"]
    good = dict.fromkeys(names, 9.0) | {"n": 10.0, "sum(bought)": 4.0}
    fine = [good | {"variant": name} for name in "aab"]
    assert SufficientStatistics.from_aggregates(pl.DataFrame(fine), plan).exposed.tolist() == [[20], [10]]
    for wrong, message in (
        ({"n": -2.0}, "n == -2.0, must be >= 0"),
        ({"n": None}, "rows without 'n' == 1"),
        ({"sum(bought)": -1.0}, r"sum\(bought\) == -1.0, must be in \[0, n\]"),
        ({"sum(bought)": 11.0}, r"sum\(bought\) == 11.0, must be in \[0, n\]"),
        ({"sum(orders)": -1.0}, r"sum\(orders\) == -1.0, must be >= 0"),
        ({"sum(spend*spend)": 8.0}, r"sum\(spend\*spend\) == 8.0, must be finite and at least"),
        ({"sum(spend*spend)": float("nan")}, r"sum\(spend\*spend\) == nan, must be finite"),
        ({"n": 0.0, "sum(bought)": 0.0}, r"sum\(spend\) == 9.0, must be finite, and 0 in a row without units"),
    ):
        # With the other rows of its cell the sum would pass.
        wide = [good | wrong | {"variant": "a"}, *fine]
        with pytest.raises(InvalidInputError, match=message):
            SufficientStatistics.from_aggregates(pl.DataFrame(wide), plan)


def test_winsorised_values_are_bounded_at_the_pooled_quantile() -> None:
    data = frame()
    found = SufficientStatistics.from_frame(data, PLAN)
    threshold = float(np.quantile(data["spend"], 0.9, method="higher"))
    assert found.thresholds == {"bounded": threshold}
    mean = (found.n[..., None] * (found.shift + found.offset)).sum(axis=(0, 1, 2)) / data.height
    place = layout(PLAN).names.index("spend@bounded")
    assert mean[place] == pytest.approx(np.minimum(data["spend"].to_numpy(), threshold).mean(), rel=1e-12)
    other = SufficientStatistics.from_frame(data, PLAN, thresholds={"bounded": 1.0})
    with pytest.raises(InvalidInputError, match=r"thresholds .* must be the same to add"):
        found + other
    with pytest.raises(UnknownNameError, match="threshold of metric == 'spend'"):
        SufficientStatistics.from_frame(data, PLAN, thresholds={"spend": 1.0})


def changed(**columns: Any) -> pl.DataFrame:
    return frame(300).with_columns(**columns)


FIRST = pl.col("user_id") == "u0"
BAD = {
    "missing column": (frame(300).drop("orders"), r"missing columns == \['orders'\].*needed for metric 'basket'"),
    "missing covariate": (frame(300).drop("spend_pre28"), "needed for covariate 'spend_pre28'"),
    "missing time": (frame(300).drop("exposed_at"), "exposed_at is needed for windows after exposure"),
    "no number": (changed(spend=pl.lit("much")), "type of column 'spend' == 'String', must be a number"),
    "time as text": (changed(exposed_at=pl.lit("monday")), "type of column 'exposed_at' == 'String'"),
    "twice": (pl.concat([frame(300), frame(300)[:2]]), "units with several rows == 2.*in two variants are 0 units"),
    "two variants": (
        pl.concat(
            [
                frame(300),
                frame(300)[:1].with_columns(variant=pl.lit("a")),
                frame(300)[:1].with_columns(variant=pl.lit("b")),
            ]
        ),
        "user_id 'u0' has 3 rows; in two variants are 1 units",
    ),
    "unknown variant": (changed(variant=pl.lit("c")), "variant == 'c', must be one of the plan's variants: a, b"),
    "no variant": (changed(variant=pl.when(FIRST).then(None).otherwise("variant")), "rows without variant == 1"),
    "no rows": (frame(300)[:0], "rows == 0, must be at least one"),
    "no proportion": (changed(bought=pl.lit(2)), "rows of proportion 'bought' that are neither 0 nor 1 == 300"),
    "negative": (changed(orders=-1), "rows of ratio 'basket' with a negative denominator == 300"),
    "nan": (changed(spend=pl.lit(float("nan"))), "rows of column 'spend' that are NaN or infinite == 300"),
    "infinite wait": (changed(wait=pl.lit(float("inf"))), "rows of column 'wait' that are NaN or infinite == 300"),
    "no covariate": (
        changed(spend_pre28=pl.lit(None, dtype=pl.Float64)),
        "rows without covariate 'spend_pre28' == 300",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_what_data_is_refused(data: pl.DataFrame, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SufficientStatistics.from_frame(data, PLAN)


def timed(data: pl.DataFrame, *others: Metric) -> SufficientStatistics:
    known = Metric("m", "mean", "spend", covariates=(Covariate("spend_pre28", measured_at="seen_at"),))
    plan = ExperimentPlan("e", success=[known, *others], variants={"a": 0.5, "b": 0.5})
    return SufficientStatistics.from_frame(data, plan)


def test_a_covariate_measured_after_exposure_is_refused() -> None:
    late = "rows whose covariate 'spend_pre28' was measured after exposure == 1"
    # Of one whole day nobody knows which came first.
    days = frame(300).with_columns(seen_at=pl.col("exposed_at") - (pl.col("user_id") != "u4").cast(pl.Int32))
    with pytest.raises(InvalidInputError, match=late):
        timed(days)
    times = frame(300).with_columns(exposed_at=datetime(2026, 1, 5, 12))
    with pytest.raises(InvalidInputError, match=late):
        timed(
            times.with_columns(
                seen_at=pl.col("exposed_at") + pl.duration(seconds=(pl.col("user_id") == "u4").cast(pl.Int32))
            )
        )
    assert timed(times.with_columns(seen_at=pl.col("exposed_at").cast(pl.Datetime("ms")))).n.sum() == 300
    # Another metric takes the same column without a time: it is asked for all the same.
    for other in ((), (Metric("o", "mean", "orders", covariates=("spend_pre28",)),)):
        with pytest.raises(InvalidInputError, match=late):
            timed(days, *other)
        with pytest.raises(InvalidInputError, match=r"missing columns == \['seen_at'\]"):
            timed(frame(300), *other)


@pytest.mark.parametrize(
    ("seen_at", "message"),
    [
        (pl.lit("2026-01-01"), "type of column 'seen_at', .* == 'String', must be that of 'exposed_at', Datetime"),
        (pl.lit(3), "type of column 'seen_at', .* == 'Int32', must be that of 'exposed_at'"),
        (pl.col("exposed_at").cast(pl.Date), "type of column 'seen_at', .* == 'Date', must be that of 'exposed_at'"),
        (pl.col("exposed_at").dt.replace_time_zone("UTC"), "times need the same time zone"),
        (
            pl.when(FIRST).then(None).otherwise("exposed_at"),
            "rows that do not say when covariate 'spend_pre28' was measured == 1, must be 0",
        ),
    ],
    ids=["text", "day number", "date", "zone", "null"],
)
def test_a_time_that_cannot_be_compared_with_exposure_is_refused(seen_at: pl.Expr, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        timed(frame(300).with_columns(exposed_at=datetime(2026, 1, 5, 12)).with_columns(seen_at=seen_at))


def test_statistics_of_another_plan_are_not_added() -> None:
    one = SufficientStatistics.from_frame(frame(300), PLAN)
    two = SufficientStatistics.from_frame(
        frame(300), ExperimentPlan("e", success=[BOUGHT], variants={"a": 0.5, "b": 0.5})
    )
    with pytest.raises(InvalidInputError, match=r"plan digests .* must be the same"):
        one + two
    with pytest.raises(InvalidInputError, match="statistics == \\[\\], must be at least one"):
        total([])
    assert total([one]) is one and sum([one]) is one


def histogram(values: np.ndarray) -> Histogram:
    none = np.zeros(len(values), dtype=np.int64)
    single = Histogram(none, none, bins(values), none + 1, values, values)
    return single + Histogram(*(np.zeros(0, dtype=np.int64),) * 4, np.zeros(0), np.zeros(0))


def test_quantiles_have_a_bounded_error() -> None:
    rng = np.random.default_rng(1)
    continuous, counts = rng.lognormal(0.0, 1.5, 5_000), rng.poisson(3.0, 5_000).astype(float)
    for p in (0.05, 0.5, 0.9, 0.999):
        # Bins are 0.2 % wide, counts are in bins of their own.
        assert histogram(continuous).quantile(p) == pytest.approx(
            np.quantile(continuous, p, method="inverted_cdf"), rel=0.002
        )
        assert histogram(counts).quantile(p) == np.quantile(counts, p, method="inverted_cdf")
        assert histogram(-continuous).quantile(p) == pytest.approx(
            np.quantile(-continuous, p, method="inverted_cdf"), rel=0.002
        )


def test_the_standard_error_of_a_median_is_that_of_its_density() -> None:
    values = np.random.default_rng(2).normal(10.0, 1.0, 50_000)
    _, std_error = histogram(values).quantiles(0.5, 1, np.array([0]))
    # sqrt(p (1 - p) / n) / f(median) = sqrt(pi / 2 n); the spacing of ranks that reads it off has an error of about
    # (n p (1 - p))^(-1/4) = 9 %.
    assert std_error[0, 0] == pytest.approx(np.sqrt(np.pi / 2 / len(values)), rel=0.2)


def test_columns_may_be_a_mapping_and_what_is_no_plan_is_named() -> None:
    data = frame()
    close(SufficientStatistics.from_frame(data.to_dict(), PLAN), SufficientStatistics.from_frame(data, PLAN), 1e-12)
    with pytest.raises(InvalidInputError, match="frame == 'int', must be a Polars, Arrow or pandas table, a mapping"):
        SufficientStatistics.from_frame(7, PLAN)
    made = SufficientStatistics.from_frame, SufficientStatistics.from_aggregates, SufficientStatistics.from_parts
    for build in made:
        with pytest.raises(InvalidInputError, match=r"plan == 'dict', must be"):
            build(data, {})  # type: ignore[arg-type]
