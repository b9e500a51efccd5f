"""Sufficient statistics from sums that a warehouse has."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.errors import InvalidInputError, describe
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.statistics.checking import EXPOSED_AT, VARIANT, days_are_dates
from homing.experiments.statistics.frames import DAY, STRATUM, as_lazy, assembled, keys_of
from homing.experiments.statistics.layout import Layout, layout
from homing.experiments.statistics.sufficient import SufficientStatistics

#: Rounding of a sum of products, as a share of it, that is taken for a variance of 0.
_ROUNDING = 1e-9


def aggregates_needed(plan: ExperimentPlan) -> tuple[str, ...]:
    """Names of the columns that `SufficientStatistics.from_aggregates` reads beside variant, day and stratum.

    A winsorised metric's column is named `COLUMN@METRIC`: bound it from above before summing. The sum of squares of a
    proportion is its sum, and may be left out.

    Example:
        >>> from homing.experiments import Metric
        >>> aggregates_needed(ExperimentPlan("e", success=[Metric("m", "mean", "x", covariates=("x_pre7",))]))
        ('n', 'sum(x)', 'sum(x_pre7)', 'sum(x*x)', 'sum(x*x_pre7)', 'sum(x_pre7*x_pre7)')
    """
    made = layout(plan)
    return (
        "n",
        *(f"sum({name})" for name in made.names),
        *(f"sum({one}*{two})" for one, two in made.products),
    )


def statistics_of_aggregates(frame: Any, plan: ExperimentPlan) -> SufficientStatistics:
    """See `SufficientStatistics.from_aggregates`."""
    import polars as pl

    check_plan(plan)
    rows = as_lazy(frame)
    made = layout(plan)
    if made.quantiles:
        raise InvalidInputError(
            describe(
                "quantile metrics",
                [metric.name for metric in made.quantiles],
                "cannot be had from sums",
                "Use SufficientStatistics.from_frame, which keeps histograms.",
            )
        )
    schema = rows.collect_schema()
    for metric in plan.metrics:
        events, square = f"sum({metric.numerator})", f"sum({metric.numerator}*{metric.numerator})"
        if metric.kind == "proportion" and plan.cluster is None and events in schema and square not in schema:
            rows = rows.with_columns(pl.col(events).alias(square))
    needed = [VARIANT, *aggregates_needed(plan), *([plan.strata] if plan.strata else [])]
    if any(metric.window is not None for metric in plan.metrics):
        needed.append(EXPOSED_AT)
    schema = rows.collect_schema()
    lacking = [name for name in needed if name not in schema]
    if lacking:
        raise InvalidInputError(
            describe("missing columns", lacking, "must be in the aggregates", "See aggregates_needed(plan).")
        )
    dated = days_are_dates(schema)
    for name in aggregates_needed(plan):
        if not schema[name].is_numeric():
            raise InvalidInputError(describe(f"type of column {name!r}", str(schema[name]), "must be a number"))
    sums = [f"sum({name})" for name in made.names]
    products = [f"sum({one}*{two})" for one, two in made.products]
    given = rows.select(
        *keys_of(rows, plan, dated), pl.col("n"), *(pl.col(name).cast(pl.Float64) for name in sums + products)
    ).collect()
    # Row by row: within a cell one row's mistake may be hidden by another's.
    _check_rows(given, plan)
    _check_variances(given, made)
    found = given.group_by(VARIANT, DAY, STRATUM).agg(pl.all().sum())
    n = found["n"].to_numpy().astype(np.float64)
    x, xy = found.select(sums).to_numpy(), found.select(products).to_numpy()
    shift = x.sum(axis=0) / max(n.sum(), 1.0)
    mean = x / np.maximum(n, 1.0)[:, None]
    moved = mean - shift
    left, right = made.left, made.right
    centred = xy - n[:, None] * mean[:, left] * mean[:, right]
    about = centred + n[:, None] * moved[:, left] * moved[:, right]
    columns = {f"s{at}": n * moved[:, at] for at in range(len(sums))}
    columns |= {f"m{at}": np.zeros(len(n), dtype=np.int64) for at in range(len(sums))}
    columns |= {f"p{at}": about[:, at] for at in range(len(products))}
    cells = found.select(VARIANT, DAY, STRATUM, "n").with_columns(**{k: pl.Series(v) for k, v in columns.items()})
    return assembled(cells, [], plan, made, shift, dated, {})


def _check_rows(given: Any, plan: ExperimentPlan) -> None:
    """Nothing is missing, counts are whole and no less than 0, and events no more than units."""
    names = {VARIANT: VARIANT, DAY: EXPOSED_AT, STRATUM: plan.strata}
    for name in given.columns:
        if given[name].null_count():
            step = "A sum over no units is 0." if name not in names else "Every sum belongs to a cell."
            raise InvalidInputError(
                describe(f"rows without {names.get(name, name)!r}", given[name].null_count(), "must be 0", step)
            )
    n = given["n"].to_numpy()
    for bad, bound in ((~(n >= 0), "must be >= 0"), (n != np.floor(n), "must be a whole number")):
        if bad.any():
            raise InvalidInputError(describe("n", n[bad][0].item(), bound, "It counts the units of a cell."))
    if n.sum() == 0:
        raise InvalidInputError(describe("units", 0, "must be at least one", "Were any units exposed?"))
    for metric in plan.metrics:
        if metric.denominator is not None:
            _check_within(given, metric.denominator, np.inf, "must be >= 0, as it counts something")
        if metric.kind == "proportion" and plan.cluster is None:
            _check_within(given, metric.numerator, n, f"must be in [0, n], as {metric.name!r} is a proportion")


def _check_within(given: Any, column: str, most: Any, bound: str) -> None:
    """A column's sum lies in [0, most] in every row."""
    sums = given[f"sum({column})"].to_numpy()
    bad = (sums < 0) | (sums > most)
    if bad.any():
        raise InvalidInputError(
            describe(f"sum({column})", float(sums[bad][0]), bound, "Count each unit's events once.")
        )


def _check_variances(given: Any, made: Layout) -> None:
    """In every row, sums of squares are at least what the means make of them (Cauchy and Schwarz)."""
    n = given["n"].to_numpy().astype(np.float64)
    for column in made.names:
        sums = given[f"sum({column})"].to_numpy()
        if not np.isfinite(sums).all() or (sums[n == 0] != 0).any():
            bad = ~np.isfinite(sums) | ((n == 0) & (sums != 0))
            raise InvalidInputError(
                describe(f"sum({column})", float(sums[bad][0]), "must be finite, and 0 in a row without units")
            )
    for at, (one, two) in enumerate(made.products):
        name = f"sum({one}*{two})"
        products = given[name].to_numpy()
        bad = ~np.isfinite(products)
        if made.left[at] == made.right[at]:
            least = given[f"sum({one})"].to_numpy() ** 2 / np.maximum(n, 1.0)
            bad |= products - least < -_ROUNDING * np.abs(products)
        if bad.any():
            raise InvalidInputError(
                describe(
                    name,
                    float(products[bad][0]),
                    "must be finite and at least sum² / n",
                    "Were squares summed over units?",
                )
            )
