"""What a plan's metrics look like before the experiment: level, spread, what covariates explain, traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_finite, check_positive
from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.experiments.columns import Columns
from homing.experiments.metrics import Metric

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan
    from homing.log import DecisionLog

FloatArray = NDArray[np.float64]
#: Half-width, in standard errors, of the order-statistic interval from which a quantile's variance is read.
_QUANTILE_Z = 1.96


@dataclass(frozen=True)
class MetricBaseline:
    """One metric without treatment.

    Attributes:
        mean: its value over units: mean, share, ratio or quantile.
        variance: of one unit's contribution, such that variance / n is that of the value over n independent units: for
            a ratio that of (numerator - R denominator) / mean denominator, for a quantile q (1 - q) / density². None
            for a proportion, whose variance is mean (1 - mean).
        r_squared: share of the variance that the covariates explain, in [0, 1).
        design_effect: by how much clusters multiply it: 1 + (m - 1) ρ for m units a cluster of correlation ρ.

    Raises:
        InvalidInputError: if a value breaks its bound.

    Example:
        >>> MetricBaseline(0.5).unit_variance, MetricBaseline(3.0, 16.0, r_squared=0.36).unit_variance
        (0.25, 10.24)
    """

    mean: float
    variance: float | None = None
    r_squared: float = 0.0
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        check_finite("mean", self.mean)
        if self.variance is not None:
            check_positive("variance", self.variance, next_step="A metric that does not vary cannot be tested.")
        elif not 0.0 < self.mean < 1.0:
            raise InvalidInputError(
                describe(
                    "mean", self.mean, "must be in (0, 1) without a variance", "Pass variance= unless it is a share."
                )
            )
        if not 0.0 <= self.r_squared < 1.0:
            raise InvalidInputError(describe("r_squared", self.r_squared, "must be in [0, 1)"))
        check_positive("design_effect", self.design_effect)

    def variance_at(self, value: float) -> float:
        """Of one unit where the metric's value is another: a share's variance moves with it, others' is kept."""
        raw = self.variance if self.variance is not None else value * (1.0 - value)
        return raw * (1.0 - self.r_squared) * self.design_effect

    @property
    def unit_variance(self) -> float:
        """Variance of one unit, after covariates and with clusters: what n divides."""
        return self.variance_at(self.mean)


@dataclass(frozen=True)
class Baseline:
    """What is known before the start of every metric of a plan that must be powered, and of its traffic.

    Wrong to use when it describes other units, another season or another window than the experiment will have: the
    size is only as good as the variance. A conversion of a week says nothing of one of four weeks.

    Attributes:
        metrics: by metric name.
        units_per_day: units that would be newly exposed a day, in all variants; None if unknown: no duration then.

    Example:
        >>> Baseline({"orders": MetricBaseline(0.1), "reach": MetricBaseline(0.8)}, units_per_day=5000)["reach"].mean
        0.8
    """

    metrics: Mapping[str, MetricBaseline] = field(default_factory=dict)
    units_per_day: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", dict(self.metrics))
        if self.units_per_day is not None:
            check_positive("units_per_day", self.units_per_day)

    def __getitem__(self, name: str) -> MetricBaseline:
        if name not in self.metrics:
            raise unknown_name(
                "baseline of metric", name, self.metrics, "Every success metric and guardrail needs one."
            )
        return self.metrics[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "metrics": {name: asdict(item) for name, item in self.metrics.items()},
            "units_per_day": self.units_per_day,
        }

    @classmethod
    def from_history(cls, frame: Any, plan: ExperimentPlan, *, units_per_day: float | None = None) -> Baseline:
        """From units without treatment, one row each, with the columns that the plan names.

        Covariates' R² is that of a regression on them all, corrected for their number. With `plan.cluster` the design
        effect is the variance of cluster sums of what they leave unexplained over that of independent units.

        Args:
            frame: a Polars or pandas DataFrame, an Arrow table, or a mapping of columns.
            plan: whose metrics.
            units_per_day: see the attribute.

        Raises:
            InvalidInputError: if a column is missing or no number, or a metric does not vary.
            SupportError: if there are too few units.

        Example:
            >>> from homing.experiments import MDE, ExperimentPlan, Metric
            >>> orders = Metric("orders", "mean", "orders", covariates=("orders_pre28",))
            >>> plan = ExperimentPlan("test", success=[(orders, MDE(rel=0.02))])
            >>> before = np.arange(1000) % 7.0
            >>> history = {"orders": 2 * before + np.arange(1000) % 3, "orders_pre28": before}
            >>> round(Baseline.from_history(history, plan)["orders"].r_squared, 2)
            0.96
        """
        clusters = () if plan.cluster is None else (plan.cluster,)
        columns = Columns(frame, (*(name for metric in plan.metrics for name in metric.columns), *clusters))
        if columns.n < 2:
            raise SupportError(describe("units of the history", columns.n, "must be >= 2"))
        cluster = None if plan.cluster is None else columns.codes(plan.cluster)[0]
        return cls({metric.name: _measured(metric, columns, cluster) for metric in plan.metrics}, units_per_day)

    @classmethod
    def from_decision_log(cls, log: DecisionLog, plan: ExperimentPlan, *, start: datetime | None = None) -> Baseline:
        """From a decision log, as if the experiment had begun at `start` and had changed nothing.

        Args:
            log: decisions and outcomes; what a column is called there says `LogHistory`.
            plan: whose metrics and windows.
            start: UTC; None for as early as the covariates allow.

        Raises:
            UnknownNameError: if the plan asks for what a decision log does not hold.
            SupportError: if no user's window ends within the log.
            InvalidInputError: if the plan's units are no users, or a metric does not vary.
        """
        from homing.experiments.history import LogHistory

        if plan.cluster is not None:
            raise InvalidInputError(
                describe(
                    "cluster", plan.cluster, "must be None for a decision log", "Build the frame, use from_history."
                )
            )
        found = LogHistory.of(log, plan, start=start)
        measured = {
            metric.name: _measured(metric, Columns(found.columns(metric), metric.columns), None)
            for metric in plan.metrics
        }
        return cls(measured, found.units_per_day)


def _measured(metric: Metric, columns: Columns, cluster: NDArray[np.int64] | None) -> MetricBaseline:
    y = columns.numbers(metric.numerator, missing=0.0)
    n = len(y)
    if metric.winsorize is not None:
        y = np.minimum(y, np.quantile(y, metric.winsorize))
    if metric.kind == "quantile":
        return _quantile(metric, y)
    mean, u = float(y.mean()), y - y.mean()
    if metric.denominator is not None:
        d = columns.numbers(metric.denominator, missing=0.0)
        below = check_positive(f"mean of column {metric.denominator!r}", float(d.mean()))
        mean = mean / below
        u = (y - mean * d) / below
    total = float(u @ u)
    if total == 0.0:
        raise InvalidInputError(
            describe(f"variance of metric {metric.name!r}", 0.0, "must be > 0", "A constant metric cannot be tested.")
        )
    rest, explained = u, 0.0
    if metric.covariates:
        x = np.column_stack([columns.numbers(item.column, missing=0.0) for item in metric.covariates])
        x = x - x.mean(axis=0)
        rest = u - x @ np.linalg.lstsq(x, u, rcond=None)[0]
        left = max(n - 1 - x.shape[1], 1)
        explained = min(max(1.0 - float(rest @ rest) / left / (total / (n - 1)), 0.0), 1.0 - 1e-9)
    return MetricBaseline(
        mean,
        None if metric.kind == "proportion" else total / (n - 1),
        r_squared=explained,
        design_effect=1.0 if cluster is None else _design_effect(rest, cluster),
    )


def _design_effect(rest: FloatArray, cluster: NDArray[np.int64]) -> float:
    sums = np.bincount(cluster, weights=rest)
    if len(sums) < 2:
        raise SupportError(describe("clusters of the history", len(sums), "must be >= 2"))
    return float(len(sums) / (len(sums) - 1) * (sums @ sums) / max(float(rest @ rest), np.finfo(float).tiny))


def _quantile(metric: Metric, y: FloatArray) -> MetricBaseline:
    """Its variance from the distance of two order statistics (Woodruff 1952, "Confidence intervals for medians")."""
    q = float(metric.quantile or 0.5)
    half = _QUANTILE_Z * np.sqrt(q * (1.0 - q) / len(y))
    low, value, high = np.quantile(y, [max(q - half, 0.0), q, min(q + half, 1.0)])
    return MetricBaseline(float(value), len(y) * float((high - low) / (2.0 * _QUANTILE_Z)) ** 2)
