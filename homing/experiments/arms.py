"""From sufficient statistics to one value per metric, variant and look, with its error."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe
from homing.experiments.estimators import ArmValues, Means, adjusted, means_of, per_cluster, post_stratified, ratio
from homing.experiments.estimators import unadjusted as raw
from homing.experiments.metrics import Metric
from homing.experiments.plan import ExperimentPlan
from homing.experiments.statistics import Layout, SufficientStatistics, layout
from homing.experiments.statistics.layout import UNITS
from homing.experiments.statistics.looks import Cumulated, Looks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


#: A mean this small beside what it was counted from is the rounding of a 0: sums of four million rows leave 1e-12.
_ROUNDING = 1e-10


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
        return replace(self.arms, value=_whole(self.arms.value, self.base[:, None, None]))


@dataclass(frozen=True)
class _Form:
    """What metrics that are estimated by the same steps have in common.

    Attributes:
        delay: days from exposure until a unit counts.
        ratio: whether the first column is divided by the second.
        proportion: whether it is a plain share, whose variance is p (1 - p).
        units: place of the number of a cluster's units; None without clusters.
        columns: how many; 0 for a quantile, which has a histogram.
    """

    delay: int
    ratio: bool
    proportion: bool
    units: int | None
    columns: int

    @classmethod
    def of(cls, metric: Metric, columns: tuple[int, ...], made: Layout, plan: ExperimentPlan) -> _Form:
        delay = 0 if metric.window is None else metric.window.matures_after
        units = None
        if plan.cluster is not None:
            counted = [at for at, column in enumerate(columns) if made.columns[column].source == UNITS]
            units = counted[0] if counted else 1
        plain = metric.kind == "proportion" and len(columns) == 1
        return cls(delay, metric.kind == "ratio", plain, units, len(columns))

    @property
    def offsets(self) -> bool:
        """Whether values can be kept as offsets; a ratio needs its parts whole."""
        return not self.ratio and self.units is None

    def values(self, means: Means, *, pooled: bool) -> ArmValues:
        """From means of the columns to the metric's values."""
        if self.units is not None:
            means = per_cluster(means, self.units)
        elif self.ratio:
            means = ratio(means)
        return adjusted(means, pooled=pooled) if means.mean.shape[-1] > 1 else raw(means)


@dataclass(frozen=True)
class _Cells:
    """Raw moments of some columns of G metrics: axes (G, V, L, S, …)."""

    n: IntArray
    mean: FloatArray
    products: FloatArray

    @classmethod
    def of(cls, seen: Cumulated, made: Layout, columns: IntArray, shift: FloatArray) -> _Cells:
        pairs = np.stack([made.product_of(tuple(row)) for row in columns.tolist()])
        return cls(
            np.broadcast_to(seen.n, (len(columns), *seen.n.shape)),
            _whole(np.moveaxis(seen.offset[..., columns], -2, 0), shift[:, None, None, None]),
            np.moveaxis(seen.products[..., pairs], -3, 0),
        )

    def strata(self, *, ddof: int = 1) -> Means:
        """Of each stratum: axes (G, V, L, S, …)."""
        return means_of(self.n, self.mean, self.products, ddof=ddof)

    def pooled(self, *, ddof: int = 1) -> Means:
        """Of all strata together: axes (G, V, L, …)."""
        n = self.n.sum(axis=3)
        mean = (self.n[..., None] * self.mean).sum(axis=3) / np.maximum(n, 1)[..., None]
        gap = self.mean - mean[..., None, :]
        between = np.einsum("...s,...si,...sj->...ij", self.n.astype(np.float64), gap, gap)
        return means_of(n, mean, self.products.sum(axis=3) + between, ddof=ddof)


def metric_values(looks: Looks, plan: ExperimentPlan) -> MetricValues:
    """The values of all the plan's metrics at each look.

    Raises:
        SupportError: if no unit of some variant has matured by the last look.
        InvalidInputError: if a unit that has matured has no value, or a ratio's denominator is 0 in some variant.
    """
    made, statistics = layout(plan), looks.statistics
    shape = (len(plan.metrics), len(statistics.variants), len(looks.days))
    n, value, variance, df = (np.empty(shape) for _ in range(4))
    out = ArmValues(n, value, variance, np.empty((*shape[:2], *shape[1:])), df)
    base, coarse = np.zeros(len(plan.metrics)), np.zeros((shape[0], shape[2]), dtype=bool)
    forms: dict[_Form, list[int]] = {}
    for number, metric in enumerate(plan.metrics):
        form = _Form.of(metric, made.metrics.get(metric.name, ()), made, plan)
        forms.setdefault(form, []).append(number)
    for form, numbers in forms.items():
        metrics, seen = [plan.metrics[number] for number in numbers], looks.matured(form.delay)
        _check_matured(looks, metrics[0])
        if form.columns == 0:
            for number, metric in zip(numbers, metrics, strict=True):
                _put(out, [number], _quantile(looks, metric))
            continue
        columns = np.array([made.metrics[metric.name] for metric in metrics])
        _check_values(seen, metrics, columns)
        shift = statistics.shift[columns]
        if form.offsets:
            base[numbers] = shift[:, 0]
            shift = np.where(np.arange(form.columns) == 0, 0.0, shift)
        means, small = _means(_Cells.of(seen, made, columns, shift), form, plan)
        if form.ratio:
            _check_denominators(means, metrics, statistics.variants)
        _put(out, numbers, form.values(means, pooled=plan.adjustment == "pooled"))
        coarse[numbers] = small
    return MetricValues(out, base, coarse)


def segment_values(statistics: SufficientStatistics, plan: ExperimentPlan, metric: Metric, day: int) -> ArmValues:
    """One metric's values in every stratum by itself at the end of a day: axes (S, V, 1).

    Raises:
        SupportError: if no unit of some variant has matured.
        InvalidInputError: if a matured unit has no value, or the metric is a quantile, which has no strata.
    """
    if metric.kind == "quantile":
        raise InvalidInputError(describe("kind of metric", "quantile", "must be another", "Histograms have no strata."))
    made, looks = layout(plan), Looks(statistics, np.array([day]))
    columns = np.array([made.metrics[metric.name]])
    form = _Form.of(metric, made.metrics[metric.name], made, plan)
    _check_matured(looks, metric)
    _check_values(looks.matured(form.delay), [metric], columns)
    cells = _Cells.of(looks.matured(form.delay), made, columns, statistics.shift[columns])
    strata = cells.strata(ddof=0 if form.proportion else 1)
    by_stratum = Means(*(np.moveaxis(getattr(strata, name)[0], 2, 0) for name in ("n", "mean", "cov")))
    return form.values(by_stratum, pooled=plan.adjustment == "pooled")


def moments(seen: Cumulated, made: Layout, columns: tuple[int, ...], shift: FloatArray) -> Means:
    """Means of some columns over all strata together: axes (V, L, …)."""
    whole = _Cells.of(seen, made, np.array([columns]), shift[None]).pooled()
    return Means(whole.n[0], whole.mean[0], whole.cov[0])


def _means(cells: _Cells, form: _Form, plan: ExperimentPlan) -> tuple[Means, NDArray[np.bool_]]:
    """Means, post-stratified where the plan has strata and they are large enough, and (L,) where they were not."""
    ddof = 0 if form.proportion else 1
    if plan.strata is None:
        return cells.pooled(ddof=ddof), np.zeros(cells.n.shape[2], dtype=bool)
    weighted, pooled = post_stratified(cells.strata(ddof=ddof)), cells.pooled(ddof=ddof)
    n = cells.n[0]
    small = np.asarray(((n < 2) & (n.sum(axis=0, keepdims=True) > 0)).any(axis=(0, 2)))
    mean = np.where(small[:, None], pooled.mean, weighted.mean)
    cov = np.where(small[:, None, None], pooled.cov, weighted.cov)
    return Means(pooled.n, mean, cov), small


def _whole(offset: FloatArray, shift: FloatArray) -> FloatArray:
    """offset + shift, and 0 where both cancel but for their rounding: nothing is to be divided by what is left."""
    whole = offset + shift
    return np.where(np.abs(whole) <= _ROUNDING * np.abs(shift), 0.0, whole)


def _put(out: ArmValues, numbers: list[int], values: ArmValues) -> None:
    for item in fields(ArmValues):
        getattr(out, item.name)[numbers] = getattr(values, item.name)


def _quantile(looks: Looks, metric: Metric) -> ArmValues:
    held = looks.statistics.histograms[metric.name]
    delay = 0 if metric.window is None else metric.window.matures_after
    seen, days = looks.matured(delay), looks.days - delay
    n = seen.n.sum(axis=2).astype(np.float64)
    lacking = int(seen.n[:, -1].sum() - held.count[held.day <= days[-1]].sum())
    if lacking:
        raise _without_value(metric, lacking)
    value, std_error = held.quantiles(float(metric.quantile or 0.0), len(n), days)
    return ArmValues(n, value, std_error**2, np.zeros((len(n), len(n), len(days))), n - 1.0)


def _check_matured(looks: Looks, metric: Metric) -> None:
    window = 0 if metric.window is None else metric.window.matures_after
    n = looks.matured(window).n[:, -1].sum(axis=1).tolist()
    if min(n) >= 2:
        return
    raise SupportError(
        describe(
            f"units of variant {looks.statistics.variants[n.index(min(n))]!r} that matured for metric {metric.name!r}",
            min(n),
            f"must be >= 2 by {looks.statistics.day_text(int(looks.days[-1]))}; a unit counts {window} days after its "
            "exposure",
            "Pass as_of=, the day until which outcomes are complete, if that is later than the last exposure.",
        )
    )


def _check_denominators(means: Means, metrics: list[Metric], variants: tuple[str, ...]) -> None:
    """A ratio's denominator, its second column, must not be 0 in any variant by the last look."""
    for place, variant in np.argwhere(means.mean[:, :, -1, 1] == 0)[:1]:
        metric = metrics[place]
        raise InvalidInputError(
            describe(
                f"sum of {metric.denominator!r}, the denominator of metric {metric.name!r}, in variant "
                f"{variants[variant]!r}",
                0,
                "must be > 0",
                "Look again when it has counted something, or take another denominator.",
            )
        )


def _check_values(seen: Cumulated, metrics: list[Metric], columns: IntArray) -> None:
    lacking = seen.missing[-1][columns].max(axis=1)
    for metric, count in zip(metrics, lacking.tolist(), strict=True):
        if count:
            raise _without_value(metric, count)


def _without_value(metric: Metric, lacking: int) -> InvalidInputError:
    return InvalidInputError(
        describe(
            f"matured units without a value of metric {metric.name!r}",
            lacking,
            "must be 0: who has no value is not missing at random",
            "Fill 0 where nothing happened in the window.",
        )
    )
