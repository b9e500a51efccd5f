"""From sufficient statistics to one value per metric, variant and look, with its error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe
from homing.experiments.estimators import ArmValues, Means, adjusted, means_of, per_cluster, post_stratified, ratio
from homing.experiments.estimators import unadjusted as raw
from homing.experiments.metrics import Metric
from homing.experiments.plan import ExperimentPlan
from homing.experiments.statistics import Layout, SufficientStatistics, layout
from homing.experiments.statistics.layout import UNITS
from homing.experiments.statistics.looks import Cumulated, cumulated

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class MetricValues:
    """Values of all metrics of a plan at all looks, in the plan's order.

    Attributes:
        arms: axes (M, V, L); values as offsets from `base`, so that differences keep their digits.
        base: (M,), to be added to the values.
        unstratified: (M, L), where post-stratification had to be left out because a stratum was too small.
    """

    arms: ArmValues
    base: FloatArray
    unstratified: NDArray[np.bool_]

    @property
    def absolute(self) -> ArmValues:
        """The values themselves."""
        moved = {item.name: getattr(self.arms, item.name) for item in fields(self.arms)}
        return ArmValues(**(moved | {"value": self.arms.value + self.base[:, None, None]}))


def metric_values(statistics: SufficientStatistics, plan: ExperimentPlan, looks: IntArray) -> MetricValues:
    """The values of all the plan's metrics at each look.

    Raises:
        SupportError: if no unit of some variant has matured by the last look.
        InvalidInputError: if a unit that has matured has no value.
    """
    made = layout(plan)
    seen: dict[int, Cumulated] = {}
    found: list[ArmValues] = []
    bases: list[float] = []
    coarse = np.zeros((len(plan.metrics), len(looks)), dtype=bool)
    for number, metric in enumerate(plan.metrics):
        delay = 0 if metric.window is None else metric.window.matures_after
        if delay not in seen:
            seen[delay] = cumulated(statistics, looks, delay)
        _check_matured(statistics, seen[delay], metric, plan, looks)
        if metric.kind == "quantile":
            found.append(_quantile(statistics, seen[delay], metric, looks - delay))
            bases.append(0.0)
            continue
        columns = made.metrics[metric.name]
        _check_values(seen[delay], metric, made, columns)
        # A plain mean is compared by offsets; a ratio needs its parts whole.
        base = 0.0 if metric.kind == "ratio" or plan.cluster is not None else float(statistics.shift[columns[0]])
        means, coarse[number] = _means(seen[delay], made, columns, _shift(statistics, columns, base), metric, plan)
        found.append(_values(means, made, columns, metric, plan))
        bases.append(base)
    stacked = {item.name: np.stack([getattr(one, item.name) for one in found]) for item in fields(ArmValues)}
    return MetricValues(ArmValues(**stacked), np.array(bases), coarse)


def segment_values(statistics: SufficientStatistics, plan: ExperimentPlan, metric: Metric, day: int) -> ArmValues:
    """One metric's values in every stratum by itself at the end of a day: axes (S, V, 1).

    Raises:
        SupportError: if no unit of some variant has matured.
        InvalidInputError: if a matured unit has no value, or the metric is a quantile, which has no strata.
    """
    if metric.kind == "quantile":
        raise InvalidInputError(describe("kind of metric", "quantile", "must be another", "Histograms have no strata."))
    made, looks = layout(plan), np.array([day])
    seen = cumulated(statistics, looks, 0 if metric.window is None else metric.window.matures_after)
    _check_matured(statistics, seen, metric, plan, looks)
    columns = made.metrics[metric.name]
    _check_values(seen, metric, made, columns)
    base = 0.0 if metric.kind == "ratio" or plan.cluster is not None else float(statistics.shift[columns[0]])
    strata = _strata(seen, made, columns, _shift(statistics, columns, base), metric)
    by_stratum = Means(*(np.moveaxis(getattr(strata, name), 2, 0) for name in ("n", "mean", "cov")))
    return _values(by_stratum, made, columns, metric, plan)


def _shift(statistics: SufficientStatistics, columns: tuple[int, ...], base: float) -> FloatArray:
    """What offsets of the columns count from, less the base in the first."""
    return np.asarray(statistics.shift[list(columns)] - np.eye(1, len(columns))[0] * base)


def _values(means: Means, made: Layout, columns: tuple[int, ...], metric: Metric, plan: ExperimentPlan) -> ArmValues:
    """Ratios, clusters and covariates: from means of columns to the metric's values."""
    if plan.cluster is not None:
        counted = [at for at, column in enumerate(columns) if made.columns[column].source == UNITS]
        means = per_cluster(means, counted[0] if counted else 1)
    elif metric.kind == "ratio":
        means = ratio(means)
    return adjusted(means, pooled=plan.adjustment == "pooled") if metric.covariates else raw(means)


def moments(seen: Cumulated, made: Layout, columns: tuple[int, ...], shift: FloatArray) -> Means:
    """Means of some columns over all strata together: axes (V, L, …)."""
    at = list(columns)
    n = seen.n.sum(axis=2)
    weight = seen.n / np.maximum(n, 1)[..., None]
    mean = (weight[..., None] * seen.offset[..., at]).sum(axis=2)
    gap = seen.offset[..., at] - mean[:, :, None]
    between = np.einsum("vls,vlsi,vlsj->vlij", seen.n.astype(np.float64), gap, gap)
    within = seen.products[..., made.product_of(columns)].sum(axis=2)
    return means_of(n, mean + shift, within + between)


def _means(
    seen: Cumulated, made: Layout, columns: tuple[int, ...], shift: FloatArray, metric: Metric, plan: ExperimentPlan
) -> tuple[Means, NDArray[np.bool_]]:
    """Means, post-stratified where the plan has strata and they are large enough, and where they were not."""
    strata = _strata(seen, made, columns, shift, metric)
    if plan.strata is None:
        whole = Means(*(getattr(strata, name)[:, :, 0] for name in ("n", "mean", "cov")))
        return whole, np.zeros(seen.n.shape[1], dtype=bool)
    weighted, pooled = post_stratified(strata), moments(seen, made, columns, shift)
    small = ((seen.n < 2) & (seen.n.sum(axis=0, keepdims=True) > 0)).any(axis=(0, 2))
    mean = np.where(small[:, None], pooled.mean, weighted.mean)
    cov = np.where(small[:, None, None], pooled.cov, weighted.cov)
    return Means(pooled.n, mean, cov), small


def _strata(seen: Cumulated, made: Layout, columns: tuple[int, ...], shift: FloatArray, metric: Metric) -> Means:
    """Means of some columns in each stratum: axes (V, L, S, …)."""
    # p (1 - p) / n is the variance of an observed share; with covariates or clusters it is a mean like any other.
    ddof = 0 if metric.kind == "proportion" and len(columns) == 1 else 1
    products = seen.products[..., made.product_of(columns)]
    return means_of(seen.n, seen.offset[..., list(columns)] + shift, products, ddof=ddof)


def _quantile(statistics: SufficientStatistics, seen: Cumulated, metric: Metric, days: IntArray) -> ArmValues:
    held = statistics.histograms[metric.name]
    n = seen.n.sum(axis=2).astype(np.float64)
    until = held.day[:, None] <= days[-1:]
    lacking = int(seen.n[:, -1].sum() - (held.count * until[:, 0]).sum())
    if lacking:
        raise _without_value(metric, lacking)
    value, std_error = held.quantiles(float(metric.quantile or 0.0), len(statistics.variants), days)
    variants = len(statistics.variants)
    return ArmValues(n, value, std_error**2, np.zeros((variants, variants, len(days))), n - 1.0)


def _check_matured(
    statistics: SufficientStatistics, seen: Cumulated, metric: Metric, plan: ExperimentPlan, looks: IntArray
) -> None:
    n: Mapping[str, int] = dict(zip(statistics.variants, seen.n[:, -1].sum(axis=1).tolist(), strict=True))
    fewest = min(n, key=lambda name: n[name])
    if n[fewest] >= 2:
        return
    window = 0 if metric.window is None else metric.window.matures_after
    raise SupportError(
        describe(
            f"units of variant {fewest!r} that matured for metric {metric.name!r}",
            n[fewest],
            f"must be >= 2 by {statistics.day_text(int(looks[-1]))}; a unit counts {window} days after its exposure",
            "Pass as_of=, the day until which outcomes are complete, if that is later than the last exposure.",
        )
    )


def _check_values(seen: Cumulated, metric: Metric, made: Layout, columns: tuple[int, ...]) -> None:
    lacking = int(seen.missing[-1, list(columns)].max(initial=0))
    if lacking:
        raise _without_value(metric, lacking)


def _without_value(metric: Metric, lacking: int) -> InvalidInputError:
    return InvalidInputError(
        describe(
            f"matured units without a value of metric {metric.name!r}",
            lacking,
            "must be 0: who has no value is not missing at random",
            "Fill 0 where nothing happened in the window.",
        )
    )
