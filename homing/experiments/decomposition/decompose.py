"""`decompose`: from rows of units to a `Decomposition`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from homing.checks import check_one_of, check_probability
from homing.errors import InvalidInputError, describe
from homing.experiments.columns import Columns
from homing.experiments.days import Day
from homing.experiments.decomposition.from_statistics import mix_rate_of_statistics
from homing.experiments.decomposition.funnel import METHODS, funnel
from homing.experiments.decomposition.mix_rate import mix_rate, parts
from homing.experiments.decomposition.result import Decomposition
from homing.experiments.decomposition.rows import Rows
from homing.experiments.decomposition.segments import segments
from homing.experiments.metrics import Metric
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.scorecard import Scorecard
from homing.experiments.statistics import SufficientStatistics

How = Literal["funnel", "mix_rate", "parts", "segments"]
HOWS = ("funnel", "mix_rate", "parts", "segments")


def decompose(
    data: Any,
    metric: Metric | str,
    how: How,
    *,
    baseline: str | None = None,
    comparison: str | None = None,
    group: str = "variant",
    stages: Sequence[str] = (),
    by: Sequence[str] = (),
    unit: str | None = None,
    method: Literal["log-mean", "shapley"] = "log-mean",
    most: int = 3,
    depth: int = 2,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
    plan: ExperimentPlan | None = None,
    as_of: Day | None = None,
) -> Decomposition:
    """Why a metric differs between two variants, or between two periods, as terms that add up to the difference.

    | how | terms | needs |
    |---|---|---|
    | `funnel` | what each step's rate contributed (logarithmic mean Divisia index, or Shapley) | `stages` |
    | `mix_rate` | other shares of segments, other rates within them (Kitagawa) | `by` |
    | `parts` | what each channel, campaign … added, of outcomes that belong to one | `by`, `unit` |
    | `segments` | segments whose effect differs, searched on half of the units, tested on the rest | `by`, `rng` |

    Intervals are by the delta method on units' means. A decomposition is arithmetic, not cause: between variants the
    movement is an effect of the treatment, but a step's rate is taken among those who reached the step, who are other
    people in each variant; and `by` measured after exposure tells what the treatment did to the mix.

    Args:
        data: rows of units: a Polars, pandas or Arrow table, or a mapping of arrays. One row a unit and group; with
            `unit`, any number of rows (a unit without outcomes has a row of zeros). Or a `Scorecard` that `analyze`
            made, or its `SufficientStatistics`, for `mix_rate` by the strata of the plan: sums tell nothing else apart.
        metric: a proportion, a mean or a ratio, or its name in the plan; names its columns. For `funnel` its numerator
            is the last stage, and its denominator, if it has one, stands before the first.
        how: see the table.
        baseline: value of `group` from which the metric moved; of a scorecard by default the control.
        comparison: value of `group` to which it moved; of a scorecard by default the treatment, where there is one.
        group: column of variants, or of periods.
        stages: for `funnel`: columns of counts, from the first step to the metric's numerator.
        by: columns of segments; several of `mix_rate` and `parts` are crossed.
        unit: column of unit ids, where units have several rows or are in both groups.
        method: for `funnel`.
        most: for `segments`: segments to look for.
        depth: for `segments`: columns that one segment can combine, 1 or 2.
        level: of the intervals.
        rng: for `segments`: which half of the units is searched.
        plan: needed for statistics, and where the metric is given by name; a scorecard brings its own.
        as_of: for statistics: the day until which outcomes are complete; by default the last day of exposure, or the
            scorecard's day.

    Raises:
        InvalidInputError: an argument does not fit `how`, or a column is missing or not numeric.
        SupportError: a group has too few units, or a stage has none.
        UnknownNameError: no row belongs to a group.

    References:
        Ang (2005), Energy Policy 33. Kitagawa (1955), JASA 50. Sample splitting for honest segments: Athey and Imbens
        (2016), "Recursive partitioning for heterogeneous causal effects", PNAS 113.

    Example:
        >>> rows = {
        ...     "variant": ["a"] * 4 + ["b"] * 4,
        ...     "sends": [2, 2, 2, 2, 4, 4, 4, 4],
        ...     "clicks": [1, 0, 2, 1, 1, 1, 0, 2],
        ... }
        >>> clicks = Metric("clicks", "mean", "clicks")
        >>> why = decompose(rows, clicks, "funnel", baseline="a", comparison="b", stages=["sends", "clicks"])
        >>> [(item.name, round(item.estimate.value, 3)) for item in why.terms], why.movement.value
        ([('sends per unit', 0.693), ('clicks per sends', -0.693)], 0.0)
    """
    check_one_of("how", how, HOWS)
    check_one_of("method", method, tuple(METHODS))
    check_probability("level", level)
    for name, value in (("by", by), ("stages", stages)):
        if isinstance(value, str):
            raise InvalidInputError(describe(name, value, "must be a list of columns", f"Write {name}=[{value!r}]."))
    if plan is not None:
        check_plan(plan)
    if isinstance(data, Scorecard):
        if data.source is None:
            step = "Analyse the data again, or decompose the rows."
            raise InvalidInputError(describe("source of the scorecard", None, "must be there: analyze makes it", step))
        plan, day = data.source.plan, data.as_of if data.source.statistics.dated else int(data.as_of)
        data, as_of = data.source.statistics, day if as_of is None else as_of
        baseline = plan.control if baseline is None else baseline
        if comparison is None and len(plan.treatments) == 1:
            (comparison,) = plan.treatments
    baseline, comparison = _given("baseline", baseline, group), _given("comparison", comparison, group)
    if isinstance(metric, str):
        if plan is None:
            raise InvalidInputError(describe("plan", None, "must be given where the metric is a name", "Pass plan=."))
        metric = plan.metric(metric)
    if not isinstance(metric, Metric):
        raise InvalidInputError(describe("metric", metric, "must be a Metric, or its name in the plan"))
    if metric.kind == "quantile":
        bound = "must be additive: a proportion, a mean or a ratio"
        raise InvalidInputError(describe(f"kind of metric {metric.name!r}", metric.kind, bound))
    if isinstance(data, SufficientStatistics):
        if how != "mix_rate" or by or plan is None:
            asked = (how, tuple(by), None if plan is None else plan.name)
            bound = "must be 'mix_rate', no columns, and the plan for sums, which tell apart strata alone"
            step = "Pass the rows of units in place of the scorecard or its statistics."
            raise InvalidInputError(describe("(how, by, plan)", asked, bound, step))
        return mix_rate_of_statistics(
            data, plan, metric, baseline=baseline, comparison=comparison, as_of=as_of, level=level
        )
    if (how == "funnel") != bool(stages) or (how == "funnel") == bool(by):
        given = (tuple(stages), tuple(by))
        raise InvalidInputError(describe(f"(stages, by) of {how!r}", given, "must be stages for a funnel, else by"))
    needed = (group, *metric.outcomes, *stages, *by, *(() if unit is None else (unit,)))
    columns = Columns(data, needed)
    rows, kept = Rows.read(columns, metric, (group, baseline, comparison), unit, tuple(by))
    if how == "funnel":
        counts = [columns.numbers(name)[kept] for name in stages]
        return funnel(rows, tuple(stages), counts, method, level)
    if how == "segments":
        if rng is None:
            raise InvalidInputError(describe("rng", rng, "must be given", "Pass np.random.default_rng(seed)."))
        return segments(rows, most=most, depth=depth, level=level, rng=rng)
    return mix_rate(rows, level) if how == "mix_rate" else parts(rows, level)


def _given(name: str, value: str | None, group: str) -> str:
    if value is None:
        raise InvalidInputError(describe(name, None, f"must be given: a value of {group!r}"))
    return value
