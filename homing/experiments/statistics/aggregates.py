"""Sufficient statistics from sums that a warehouse has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.experiments.plan import ExperimentPlan
from homing.experiments.statistics.checking import EXPOSED_AT, VARIANT
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
        square = f"sum({metric.numerator}*{metric.numerator})"
        if metric.kind == "proportion" and plan.cluster is None and square not in schema:
            rows = rows.with_columns(pl.col(f"sum({metric.numerator})").alias(square))
    needed = [VARIANT, *aggregates_needed(plan), *([plan.strata] if plan.strata else [])]
    if any(metric.window is not None for metric in plan.metrics):
        needed.append(EXPOSED_AT)
    lacking = [name for name in needed if name not in rows.collect_schema()]
    if lacking:
        raise InvalidInputError(
            describe("missing columns", lacking, "must be in the aggregates", "See aggregates_needed(plan).")
        )
    dated = EXPOSED_AT in schema and not schema[EXPOSED_AT].is_integer()
    sums = [f"sum({name})" for name in made.names]
    products = [f"sum({one}*{two})" for one, two in made.products]
    found = (
        rows.select(*keys_of(rows, plan, dated), "n", *(pl.col(name).cast(pl.Float64) for name in sums + products))
        .group_by(VARIANT, DAY, STRATUM)
        .agg(pl.all().sum())
        .collect()
    )
    _check_sums(found, plan)
    n = found["n"].to_numpy().astype(np.float64)
    x, xy = found.select(sums).to_numpy(), found.select(products).to_numpy()
    shift = x.sum(axis=0) / max(n.sum(), 1.0)
    mean = x / np.maximum(n, 1.0)[:, None]
    moved = mean - shift
    left, right = made.left, made.right
    centred = xy - n[:, None] * mean[:, left] * mean[:, right]
    _check_variances(centred, xy, products, made)
    about = centred + n[:, None] * moved[:, left] * moved[:, right]
    columns = {f"s{at}": n * moved[:, at] for at in range(len(sums))}
    columns |= {f"m{at}": np.zeros(len(n), dtype=np.int64) for at in range(len(sums))}
    columns |= {f"p{at}": about[:, at] for at in range(len(products))}
    cells = found.select(VARIANT, DAY, STRATUM, "n").with_columns(**{k: pl.Series(v) for k, v in columns.items()})
    return assembled(cells, [], plan, made, shift, dated, {})


def _check_sums(found: Any, plan: ExperimentPlan) -> None:
    """Counts are whole and no less than 0, and events no more than units."""
    n = found["n"].to_numpy()
    for bad, bound in ((n < 0, "must be >= 0"), (n != np.floor(n), "must be a whole number")):
        if bad.any():
            raise InvalidInputError(describe("n", n[bad][0].item(), bound, "It counts the units of a cell."))
    if n.sum() == 0:
        raise InvalidInputError(describe("units", 0, "must be at least one", "Were any units exposed?"))
    for metric in plan.metrics if plan.cluster is None else ():
        if metric.kind == "proportion":
            events = found[f"sum({metric.numerator})"].to_numpy()
            bad = (events < 0) | (events > n)
            if bad.any():
                raise InvalidInputError(
                    describe(
                        f"sum({metric.numerator})",
                        float(events[bad][0]),
                        f"must be in [0, n], as {metric.name!r} is a proportion",
                        "Count each unit's event once.",
                    )
                )


def _check_variances(
    centred: NDArray[np.float64], products: NDArray[np.float64], names: list[str], made: Layout
) -> None:
    """Sums of squares are at least what the means make of them."""
    for at in np.flatnonzero(made.left == made.right):
        bad = centred[:, at] < -_ROUNDING * np.abs(products[:, at])
        if not np.isfinite(products[:, at]).all() or bad.any():
            worst = float(products[bad | ~np.isfinite(products[:, at]), at][0])
            raise InvalidInputError(
                describe(names[at], worst, "must be finite and at least sum² / n", "Were squares summed over units?")
            )
