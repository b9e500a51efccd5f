"""Sufficient statistics from user-level data: one query that groups, one that checks, over one scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, unknown_name
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.statistics.checking import EXPOSED_AT, VARIANT, check_columns, checks, joined, refuse
from homing.experiments.statistics.histogram import WIDTH, Histogram
from homing.experiments.statistics.layout import UNITS, Layout, layout
from homing.experiments.statistics.sufficient import SufficientStatistics

CLUSTER = "(cluster)"
DAY = "(day)"
STRATUM = "(stratum)"
_ZERO = 1 << 20


def statistics_of_frame(
    frame: Any,
    plan: ExperimentPlan,
    *,
    exposures: Any = None,
    thresholds: Mapping[str, float] | None = None,
) -> SufficientStatistics:
    """See `SufficientStatistics.from_frame`."""
    import polars as pl

    check_plan(plan)
    rows = as_lazy(frame)
    if exposures is not None:
        rows = joined(rows, as_lazy(exposures), plan)
    made = layout(plan)
    dated = check_columns(rows, plan, made)
    if thresholds is None and any(metric.winsorize is not None for metric in plan.metrics):
        refuse(checks(rows, plan, made).collect().row(0, named=True), rows, plan)
    bounds = thresholds_of(rows, plan) if thresholds is None else checked_thresholds(thresholds, plan)
    units = unit_rows(rows, plan, made, bounds, dated)
    if plan.cluster is not None:
        units = clusters(units).collect().lazy()
    shift = provisional_means(units, made)
    found = pl.collect_all(
        [cells(units, made, shift), checks(rows, plan, made)]
        + [histogram_rows(rows, metric.numerator, plan, dated) for metric in made.quantiles]
    )
    refuse(found[1].row(0, named=True), rows, plan)
    return assembled(found[0], found[2:], plan, made, shift, dated, bounds)


def as_lazy(frame: Any) -> Any:
    """A LazyFrame of whatever speaks Arrow, or of Parquet files."""
    import polars as pl

    if isinstance(frame, pl.LazyFrame):
        return frame
    if isinstance(frame, pl.DataFrame):
        return frame.lazy()
    if isinstance(frame, str | Path):
        return pl.scan_parquet(frame)
    if hasattr(frame, "__arrow_c_stream__") or isinstance(frame, Mapping):
        return pl.DataFrame(frame).lazy()
    bound = "must be a Polars, Arrow or pandas table, a mapping of columns, or a path of Parquet files"
    raise InvalidInputError(describe("frame", type(frame).__name__, bound))


def thresholds_of(rows: Any, plan: ExperimentPlan) -> dict[str, float]:
    """The quantile of the pooled data at which each winsorised metric is bounded."""
    import polars as pl

    asked = [metric for metric in plan.metrics if metric.winsorize is not None]
    if not asked:
        return {}
    found = rows.select(
        pl.col(metric.numerator).cast(pl.Float64).quantile(metric.winsorize, "higher").alias(metric.name)
        for metric in asked
    ).collect()
    return checked_thresholds(found.row(0, named=True), plan)


def checked_thresholds(thresholds: Mapping[str, float], plan: ExperimentPlan) -> dict[str, float]:
    """The thresholds of the plan's winsorised metrics."""
    asked = [metric.name for metric in plan.metrics if metric.winsorize is not None]
    for name in thresholds:
        if name not in asked:
            raise unknown_name("threshold of metric", name, asked)
    for name in asked:
        value = thresholds.get(name)
        if value is None or not np.isfinite(value):
            raise InvalidInputError(describe(f"threshold of metric {name!r}", value, "must be a finite number"))
    return {name: float(thresholds[name]) for name in asked}


def keys_of(rows: Any, plan: ExperimentPlan, dated: bool) -> list[Any]:
    """A row's variant, number of its exposure day, and stratum, as columns of these names."""
    import polars as pl

    if dated:
        day = pl.col(EXPOSED_AT).cast(pl.Date).cast(pl.Int32).cast(pl.Int64)
    elif EXPOSED_AT in rows.collect_schema():
        day = pl.col(EXPOSED_AT).cast(pl.Int64)
    else:
        day = pl.lit(0, dtype=pl.Int64)
    stratum = pl.lit("") if plan.strata is None else pl.col(plan.strata).cast(pl.String)
    return [pl.col(VARIANT).cast(pl.String), day.alias(DAY), stratum.alias(STRATUM)]


def unit_rows(rows: Any, plan: ExperimentPlan, made: Layout, thresholds: Mapping[str, float], dated: bool) -> Any:
    """Variant, day, stratum (and cluster), and one Float64 column for each of the layout's."""
    import polars as pl

    columns = []
    for column in made.columns:
        if column.source == UNITS:
            columns.append(pl.lit(1.0).alias(UNITS))  # clusters sum it to their number of units
            continue
        value = pl.col(column.source).cast(pl.Float64)
        if column.winsorized is not None:
            value = value.clip(upper_bound=thresholds[column.winsorized])
        columns.append(value.alias(column.name))
    keys = keys_of(rows, plan, dated)
    if plan.cluster is not None:
        keys.append(pl.col(plan.cluster).alias(CLUSTER))
    return rows.select(keys + columns)


def clusters(units: Any) -> Any:
    """One row per cluster: its sums, on the day of its last unit.

    A cluster that is split between variants or strata gets a null there, which is refused.
    """
    import polars as pl

    names = [name for name in units.collect_schema().names() if name not in (VARIANT, DAY, STRATUM, CLUSTER)]

    def one(name: str) -> Any:
        return pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).alias(name)

    return units.group_by(CLUSTER).agg(
        one(VARIANT),
        pl.col(DAY).max(),
        one(STRATUM),
        # A sum over a missing value is missing.
        *(pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name) for name in names),
    )


def provisional_means(units: Any, made: Layout) -> NDArray[np.float64]:
    """(k,), a value near each column's mean, about which its sums are taken: they then keep their digits."""
    import polars as pl

    head = units.head(1000).select(pl.col(name).mean() for name in made.names).collect()
    found = np.array([0.0 if x is None else x for x in head.row(0)] if made.names else [], dtype=np.float64)
    return np.where(np.isfinite(found), found, 0.0)


def cells(units: Any, made: Layout, shift: NDArray[np.float64]) -> Any:
    """Query: per variant, day and stratum the number of units, and sums of shifted columns and of their products."""
    import polars as pl

    moved = [pl.col(name) - value for name, value in zip(made.names, shift.tolist(), strict=True)]
    return units.group_by(VARIANT, DAY, STRATUM).agg(
        pl.len().alias("n"),
        *(expression.sum().alias(f"s{at}") for at, expression in enumerate(moved)),
        *(pl.col(name).null_count().alias(f"m{at}") for at, name in enumerate(made.names)),
        *(
            (moved[i] * moved[j]).sum().alias(f"p{at}")
            for at, (i, j) in enumerate(zip(made.left.tolist(), made.right.tolist(), strict=True))
        ),
    )


def histogram_rows(rows: Any, column: str, plan: ExperimentPlan, dated: bool) -> Any:
    """Query: count, least and largest value by variant, day and bin."""
    import polars as pl

    value = pl.col(column).cast(pl.Float64)
    size = (value.abs().log() / float(np.log1p(WIDTH))).ceil() + _ZERO
    bin_ = pl.when(value == 0).then(0.0).otherwise(value.sign() * size).cast(pl.Int64, strict=False)
    return (
        rows.select(*keys_of(rows, plan, dated), bin_.alias("bin"), value.alias("value"))
        .filter(pl.col("value").is_not_null())
        .group_by(VARIANT, DAY, "bin")
        .agg(pl.len().alias("count"), pl.col("value").min().alias("least"), pl.col("value").max().alias("largest"))
    )


def assembled(
    found: Any,
    histograms: list[Any],
    plan: ExperimentPlan,
    made: Layout,
    shift: NDArray[np.float64],
    dated: bool,
    thresholds: Mapping[str, float],
) -> SufficientStatistics:
    """Statistics from the grouped rows."""
    variants = tuple(plan.variants)
    for name in found[VARIANT].to_list():
        if name not in plan.variants:
            split = "is there in one cluster with another" if name is None else "must be one of the plan's variants"
            raise InvalidInputError(describe("variant", name, f"{split}: {', '.join(variants)}"))
    if found[STRATUM].null_count():
        raise InvalidInputError(describe("stratum of a cluster", None, "must be one for all its units"))
    strata = tuple(sorted(set(found[STRATUM].to_list())))
    days = found[DAY].to_numpy()
    first, count = int(days.min()), int(days.max() - days.min()) + 1
    variant = np.array([variants.index(name) for name in found[VARIANT].to_list()])
    stratum = np.array([strata.index(name) for name in found[STRATUM].to_list()])
    at = (variant, days - first, stratum)

    def spread(prefix: str, width: int, dtype: type) -> NDArray[Any]:
        out: NDArray[Any] = np.zeros((len(variants), count, len(strata), width), dtype=dtype)
        for place in range(width):
            out[(*at, place)] = found[f"{prefix}{place}"].to_numpy()
        return out

    n = np.zeros((len(variants), count, len(strata)), dtype=np.int64)
    n[at] = found["n"].to_numpy()
    sums = spread("s", len(made.columns), np.float64)
    for place in np.flatnonzero(~np.isfinite(sums).all(axis=(0, 1, 2)))[:1]:
        raise InvalidInputError(
            describe(f"column {made.columns[place].source!r}", float("nan"), "must hold finite numbers", "Fill NaN.")
        )
    offset = sums / np.maximum(n, 1)[..., None]
    products = spread("p", len(made.left), np.float64)
    products -= n[..., None] * offset[..., made.left] * offset[..., made.right]
    return SufficientStatistics(
        plan.digest,
        variants,
        strata,
        first,
        dated,
        made.names,
        made.left,
        made.right,
        shift,
        n,
        offset,
        products,
        spread("m", len(made.columns), np.int64),
        {metric.name: histogram_of(rows, variants) for metric, rows in zip(made.quantiles, histograms, strict=True)},
        thresholds,
    )


def histogram_of(rows: Any, variants: tuple[str, ...]) -> Histogram:
    """The histogram of what `histogram_rows` found."""
    return Histogram(
        np.array([variants.index(name) for name in rows[VARIANT].to_list()], dtype=np.int64),
        rows[DAY].to_numpy().astype(np.int64),
        rows["bin"].to_numpy().astype(np.int64),
        rows["count"].to_numpy().astype(np.int64),
        rows["least"].to_numpy().astype(np.float64),
        rows["largest"].to_numpy().astype(np.float64),
    )
