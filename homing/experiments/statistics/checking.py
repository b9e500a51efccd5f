"""What is refused of user-level data, before any number is shown."""

from __future__ import annotations

from typing import Any

from homing.errors import InvalidInputError, describe
from homing.experiments.plan import ExperimentPlan
from homing.experiments.quality import PreExposureBias
from homing.experiments.statistics.layout import UNITS, Layout

VARIANT = "variant"
EXPOSED_AT = "exposed_at"


def joined(outcomes: Any, exposures: Any, plan: ExperimentPlan) -> Any:
    """Exposures with the outcomes of the same units.

    Raises:
        InvalidInputError: if one has units that the other lacks, or both name a unit's variant and it is not the same.
    """
    import polars as pl

    for name, table in (("outcomes", outcomes), ("exposures", exposures)):
        if plan.unit not in table.collect_schema():
            raise InvalidInputError(describe(f"{name}: column {plan.unit!r}", None, "must be there", "It joins both."))
    keys = {"exposures": exposures.select(plan.unit), "outcomes": outcomes.select(plan.unit)}
    ways = (("exposures", "outcomes"), ("outcomes", "exposures"))
    lonely = pl.collect_all([keys[here].join(keys[there], on=plan.unit, how="anti").unique() for here, there in ways])
    for (here, there), found in zip(ways, lonely, strict=True):
        if found.height:
            raise InvalidInputError(
                describe(
                    f"units of {here} without {there}",
                    found.height,
                    f"must be 0, one is {found[plan.unit].min()!r}",
                    "Give every exposed unit a row, with 0 where nothing happened; who was not exposed has no outcome.",
                )
            )
    if VARIANT in outcomes.collect_schema() and VARIANT in exposures.collect_schema():
        _check_same_variants(outcomes, exposures, plan)
    shared = [name for name in (VARIANT, EXPOSED_AT) if name in outcomes.collect_schema()]
    return exposures.join(outcomes.drop(shared), on=plan.unit, how="inner")


def _check_same_variants(outcomes: Any, exposures: Any, plan: ExperimentPlan) -> None:
    """An outcome's variant, where it is known, must be that of the unit's exposure."""
    import polars as pl

    theirs = "(variant of the outcome)"
    pairs = exposures.select(plan.unit, pl.col(VARIANT).cast(pl.String)).join(
        outcomes.select(plan.unit, pl.col(VARIANT).cast(pl.String).alias(theirs)), on=plan.unit, how="inner"
    )
    found = pairs.filter(pl.col(VARIANT) != pl.col(theirs)).sort(plan.unit).collect()
    if found.height:
        first = found.row(0, named=True)
        raise InvalidInputError(
            describe(
                "units whose outcomes and exposures have different variants",
                found[plan.unit].n_unique(),
                f"must be 0; {plan.unit} {first[plan.unit]!r} is in {first[VARIANT]!r} by its exposure and in "
                f"{first[theirs]!r} by its outcome",
                "Find out which of both tables is right; leave the column out of the outcomes if it means something "
                "else.",
            )
        )


def check_columns(rows: Any, plan: ExperimentPlan, made: Layout) -> bool:
    """Whether days are dates; every column that the plan names must be there, before any number is.

    Raises:
        InvalidInputError: if a column is missing or has the wrong type.
    """
    import polars as pl

    schema = rows.collect_schema()
    needed = {plan.unit: "the plan's unit", VARIANT: "the unit's variant"}
    for metric in plan.metrics:
        needed |= dict.fromkeys(metric.columns, f"metric {metric.name!r}")
    needed |= {item.column: f"covariate {item.column!r}" for item in plan.covariates}
    times = measured_at(plan)
    needed |= {name: f"covariate {column!r}" for column, names in times.items() for name in names}
    if any(metric.window is not None for metric in plan.metrics) or times:
        needed[EXPOSED_AT] = "windows after exposure"
    for name, why in ((plan.strata, "the plan's strata"), (plan.cluster, "the plan's cluster")):
        if name is not None:
            needed[name] = why
    lacking = {name: why for name, why in needed.items() if name not in schema}
    if lacking:
        raise InvalidInputError(
            describe(
                "missing columns",
                sorted(lacking),
                "must be in the data: " + "; ".join(f"{name} is needed for {why}" for name, why in lacking.items()),
                f"It has: {', '.join(schema.names()[:30])}.",
            )
        )
    numbers = {column.source for column in made.columns} | {metric.numerator for metric in made.quantiles}
    for name in sorted(numbers - {UNITS}):
        if not (schema[name].is_numeric() or schema[name] == pl.Boolean):
            raise InvalidInputError(describe(f"type of column {name!r}", str(schema[name]), "must be a number"))
    dated = days_are_dates(schema)
    for name in sorted({name for names in times.values() for name in names}):
        if _clock(schema[name]) != _clock(schema[EXPOSED_AT]):
            raise InvalidInputError(
                describe(
                    f"type of column {name!r}, which says when a covariate was measured",
                    str(schema[name]),
                    f"must be that of {EXPOSED_AT!r}, {schema[EXPOSED_AT]}, or they cannot be compared",
                    "Convert one of both; times need the same time zone.",
                )
            )
    return dated


def days_are_dates(schema: Any) -> bool:
    """Whether exposures are dated; False where they number their days, or have none.

    Raises:
        InvalidInputError: if `exposed_at` is neither a date, a time nor a whole number.
    """
    if EXPOSED_AT not in schema:
        return False
    kind = schema[EXPOSED_AT]
    if _clock(kind) is None:
        raise InvalidInputError(
            describe(f"type of column {EXPOSED_AT!r}", str(kind), "must be a date, a time or a whole number of days")
        )
    return not kind.is_integer()


def _clock(kind: Any) -> tuple[str, str | None] | None:
    """What a column's type counts time by: types with the same can be compared. None if it is no time."""
    import polars as pl

    if isinstance(kind, pl.Datetime):
        return "time", kind.time_zone
    if kind == pl.Date:
        return "date", None
    return ("day", None) if kind.is_integer() else None


def measured_at(plan: ExperimentPlan) -> dict[str, tuple[str, ...]]:
    """The time columns of each covariate that has any, from every place of the plan that names it."""
    asked = [item for metric in plan.metrics for item in metric.covariates]
    asked += [item for test in plan.quality if isinstance(test, PreExposureBias) for item in test.covariates]
    found: dict[str, tuple[str, ...]] = {}
    for item in asked:
        if item.measured_at is not None:
            found[item.column] = tuple(dict.fromkeys((*found.get(item.column, ()), item.measured_at)))
    return found


def checks(rows: Any, plan: ExperimentPlan, made: Layout) -> Any:
    """Query: one row with the numbers of rows and units, and counts that must be 0 (`kind:column`)."""
    import polars as pl

    schema = rows.collect_schema()
    keys = [plan.unit, VARIANT, EXPOSED_AT, plan.strata, plan.cluster]
    bad = {f"key:{name}": pl.col(name).null_count() for name in keys if name is not None and name in schema}
    for item in plan.covariates:
        bad[f"covariate:{item.column}"] = pl.col(item.column).null_count()
    for column, names in measured_at(plan).items():
        exposed = pl.col(EXPOSED_AT)
        # Of a whole day nobody knows which came first: the covariate's must be an earlier one.
        late = [pl.col(x) > exposed if isinstance(schema[x], pl.Datetime) else pl.col(x) >= exposed for x in names]
        bad[f"untimed:{column}"] = pl.any_horizontal(pl.col(x).is_null() for x in names).sum()
        bad[f"time:{column}"] = pl.any_horizontal(late).sum()
    sources = {column.source for column in made.columns} | {metric.numerator for metric in made.quantiles}
    for name in sorted(sources - {UNITS}):
        if schema[name].is_float():
            bad[f"number:{name}"] = (~pl.col(name).is_finite()).sum()
    for metric in plan.metrics:
        value = pl.col(metric.numerator)
        if metric.kind == "proportion" and schema[metric.numerator] != pl.Boolean:
            bad[f"proportion:{metric.name}"] = ((value != 0) & (value != 1)).sum()
        if metric.denominator is not None:
            bad[f"denominator:{metric.name}"] = (pl.col(metric.denominator) < 0).sum()
    return rows.select(rows=pl.len(), units=pl.col(plan.unit).n_unique(), **bad)


_WHAT = {
    "key": "rows without {}",
    "covariate": "rows without covariate {!r}",
    "number": "rows of column {!r} that are NaN or infinite",
    "untimed": "rows that do not say when covariate {!r} was measured",
    "time": "rows whose covariate {!r} was measured after exposure",
    "proportion": "rows of proportion {!r} that are neither 0 nor 1",
    "denominator": "rows of ratio {!r} with a negative denominator",
}
_NEXT_STEP = {
    "key": "Every unit has a variant and an exposure; take away who was never exposed.",
    "covariate": "Fill what is not known with a constant, and add a column that says so as another covariate.",
    "number": "Values are finite numbers; what has not matured is null.",
    "untimed": "Fill the time, or take what was known before exposure of a unit without one as a constant.",
    "time": "Measure it before each unit's own exposure, or on an earlier day: it may be an effect of the treatment.",
    "proportion": "For counts, take kind 'mean'.",
    "denominator": "A denominator counts something.",
}


def refuse(counts: dict[str, int], rows: Any, plan: ExperimentPlan) -> None:
    """Raise for the first of the checks that failed."""
    if counts["rows"] == 0:
        raise InvalidInputError(describe("rows", 0, "must be at least one", "Were any units exposed?"))
    for name, count in counts.items():
        kind, separator, which = name.partition(":")
        if separator and count:
            raise InvalidInputError(describe(_WHAT[kind].format(which), count, "must be 0", _NEXT_STEP[kind]))
    if counts["units"] < counts["rows"]:
        _refuse_duplicates(rows, plan)


def _refuse_duplicates(rows: Any, plan: ExperimentPlan) -> None:
    """Raise for a unit that is there twice, and say whether it is in two variants."""
    import polars as pl

    twice = (
        rows.group_by(plan.unit)
        .agg(pl.len().alias("rows"), pl.col(VARIANT).n_unique().alias("variants"))
        .filter(pl.col("rows") > 1)
        .sort(["variants", plan.unit], descending=[True, False])
        .collect()
    )
    first = twice.row(0, named=True)
    split = int((twice["variants"] > 1).sum())
    raise InvalidInputError(
        describe(
            "units with several rows",
            twice.height,
            f"must be 0; {plan.unit} {first[plan.unit]!r} has {first['rows']} rows; in two variants are {split} units",
            "Sum each unit's outcomes in its window into one row; a unit keeps the variant of its first exposure, and "
            "units that saw two are to be explained first.",
        )
    )
