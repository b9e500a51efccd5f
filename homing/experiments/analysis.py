"""`analyze`: from sufficient statistics to a scorecard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.experiments.arms import MetricValues, metric_values
from homing.experiments.comparisons import comparisons
from homing.experiments.days import Day, day_number
from homing.experiments.explain import without_kept_error
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.plan_checks import check_made
from homing.experiments.quality_tests import quality_results
from homing.experiments.scorecard import Scorecard, Source
from homing.experiments.statistics import SufficientStatistics
from homing.experiments.statistics.looks import Looks
from homing.experiments.testing import Compared, compare

IntArray = NDArray[np.int64]
#: A spread that is this share of the value is what rounding leaves of no spread at all.
_NO_SPREAD = 1e-12


def analyze(statistics: SufficientStatistics, plan: ExperimentPlan, *, as_of: Day | None = None) -> Scorecard:
    """Every comparison of a plan, with its tests at every look so far, as of a day.

    A look is the end of a day, from the first exposure on. A metric with a window counts the units whose window had
    ended by then (exposed `window.matures_after` days before, or earlier): the outcomes of the others are still
    growing, and a test on values that keep growing does not have independent increments, which every sequential test
    needs. So a metric of 7 days has its first look on day 7, and its last 7 days after the last exposure.

    The share of information at a look is the number of matured units of all variants over the plan's size.

    Args:
        statistics: made for the same plan.
        plan: the plan, unchanged since its start.
        as_of: the day until which outcomes are complete; by default the last day of exposure.

    Raises:
        InvalidInputError: if the statistics are of another plan (or of this one before it was changed), a variant has
            no units, a metric does not vary, or a matured unit has no value.
        SupportError: if no unit has matured.

    Example:
        >>> import numpy as np, polars as pl
        >>> from homing.experiments import MDE, Metric
        >>> rng = np.random.default_rng(0)
        >>> treated = rng.random(4000) < 0.5
        >>> frame = pl.DataFrame({
        ...     "user_id": np.arange(4000), "variant": np.where(treated, "warm", "control"),
        ...     "orders": rng.poisson(np.where(treated, 1.2, 1.0))})
        >>> orders = Metric("orders", "mean", "orders")
        >>> plan = ExperimentPlan(
        ...     "greeting", success=[(orders, MDE(rel=0.1))], variants={"control": 0.5, "warm": 0.5})
        >>> card = analyze(SufficientStatistics.from_frame(frame, plan), plan)
        >>> one = card.comparison("orders")
        >>> print(one.difference, one.superior.rejected)
        0.1587 [0.104, 0.2133] True
    """
    check_plan(plan)
    step = "Make them with SufficientStatistics.from_frame(frame, plan)."
    check_made("statistics", statistics, SufficientStatistics, step)
    if statistics.plan_digest != plan.digest:
        raise InvalidInputError(
            describe(
                "plan digest of the statistics",
                statistics.plan_digest[:12],
                f"must be the plan's, {plan.digest[:12]}: they were made for another plan, or it was changed",
                "Analyse under the plan that the experiment was started with.",
            )
        )
    if statistics.variants != tuple(plan.variants):
        raise InvalidInputError(
            describe(
                "variants of the statistics",
                statistics.variants,
                f"must be the plan's, in its order: {tuple(plan.variants)}",
                "Make the statistics with this plan.",
            )
        )
    looks = _looks(statistics, as_of)
    exposed = statistics.exposed[:, statistics.days <= looks[-1]].sum(axis=1)
    _check_variants(dict(zip(statistics.variants, exposed.tolist(), strict=True)))
    seen = Looks(statistics, looks)
    values = metric_values(seen, plan)
    table = compare(values, plan)
    _check_spread(values, table, plan)
    return Scorecard(
        plan_digest=plan.digest,
        as_of=statistics.day_text(int(looks[-1])),
        look=len(looks),
        looks=tuple(statistics.day_text(int(day)) for day in looks),
        n=dict(zip(statistics.variants, exposed.tolist(), strict=True)),
        comparisons=comparisons(values, table, plan),
        quality=quality_results(seen, plan),
        warnings=tuple(_warnings(values, table, plan, exposed)),
        source=Source(statistics, plan),
    )


def _looks(statistics: SufficientStatistics, as_of: Day | None) -> IntArray:
    last = int(statistics.days[-1]) if as_of is None else day_number(as_of, dated=statistics.dated)
    if last < statistics.first_day:
        first = statistics.day_text(statistics.first_day)
        raise InvalidInputError(describe("as_of", as_of, f"must be {first}, the first exposure, or later"))
    return np.arange(statistics.first_day, last + 1)


def _check_variants(exposed: dict[str, int]) -> None:
    for name, count in exposed.items():
        if count == 0:
            raise InvalidInputError(
                describe(
                    f"units of variant {name!r}",
                    0,
                    "must be at least one: the plan has it, the data do not",
                    "Compare the names in the data with the plan's; what never ran is no variant of this experiment.",
                )
            )


def _check_spread(values: MetricValues, table: Compared, plan: ExperimentPlan) -> None:
    """Every metric must vary by the last look: without a variance nothing can be said."""
    variance, n = values.arms.variance[..., -1], values.arms.n[..., -1]
    size = np.abs(values.arms.value[..., -1] + values.base[:, None])
    flat = (np.sqrt(variance * n) <= _NO_SPREAD * size) | (variance == 0)
    known = np.asarray(np.isfinite(table.effect.std_error[..., -1]).all(axis=-1))
    for number, metric in enumerate(plan.metrics):
        if flat[number].all() or not known[number]:
            raise InvalidInputError(
                describe(
                    f"variance of metric {metric.name!r}",
                    float(variance[number].max()),
                    "must be known and > 0 in some variant",
                    "Every unit has the same value so far: look again later, or leave the metric out of the next plan.",
                )
            )


def _warnings(values: MetricValues, table: Compared, plan: ExperimentPlan, exposed: NDArray[np.int64]) -> Iterator[str]:
    single = not plan.monitoring.several_looks
    if single and plan.planned_size is None:
        yield "The plan has no planned size, so this look is taken for the only one: do not look again."
    total = int(exposed.sum())
    for number, metric in enumerate(plan.metrics):
        matured = int(values.arms.n[number, :, -1].sum())
        if matured < total:
            yield f"{metric.name}: {total - matured:,} of {total:,} units do not count yet, their window has not ended."
        if values.unstratified[number, -1]:
            yield f"{metric.name}: not post-stratified, since some stratum has fewer than two units in a variant."
    rates = [
        metric.name for metric in plan.metrics if metric.kind == "ratio" and plan.roles[metric.name] != "deterioration"
    ]
    if rates:
        yield (
            f"{', '.join(rates)}: a ratio decides, which can improve because its denominator fell, such as where those "
            "least interested left: sound only where the treatment cannot change the denominator; else take a mean."
        )
    bounded = [metric.name for metric in plan.metrics if metric.winsorize is not None]
    if bounded and not single:
        yield (
            f"{', '.join(bounded)}: winsorised. Unless thresholds= of the first look were passed when these statistics "
            "were made, the bound moved with the data, and with it what earlier looks showed."
        )
    growing = without_kept_error(plan)
    if growing:
        yield (
            f"{', '.join(growing)}: no window, so that values of units that were counted before keep changing, and "
            f"{plan.monitoring.name!r} monitoring does not keep its error rate."
        )
    bounds = np.concatenate([test.critical.reshape(-1, test.critical.shape[-1]) for test in table.tests.values()])
    if np.isfinite(bounds[:, :-1]).any() and np.isinf(bounds[:, -1]).all() and (table.information[..., -1] > 1).all():
        yield "The planned size was reached before this look: what was decided then stands, and this look adds nothing."
