"""How many units decide: the size at which the whole decision rule has its power, and what a given size can detect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from homing.errors import InvalidInputError, describe
from homing.experiments.baseline import Baseline, MetricBaseline
from homing.experiments.corrections import Corrections
from homing.experiments.metrics import MDE, NIM, Metric
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.plan_checks import check_made
from homing.experiments.power import counts_units, effect_detectable, inflation_at, inflation_of, units_needed


@dataclass(frozen=True)
class MetricSize:
    """What one metric asks of one treatment and the control.

    Attributes:
        metric: its name.
        role: `success` or `guardrail`.
        treatment: of the pair.
        effect: that is to be found (MDE), or that must be ruled out (NIM), in the metric's unit, > 0.
        alpha: one-sided level of its test, after corrections.
        power: of its test at that effect, after corrections.
        variance: of one control unit, after covariates and with clusters.
        inflation: price of looking more than once, in units over those of one look.
        n_total: units in all variants at which this pair has enough.
    """

    metric: str
    role: str
    treatment: str
    effect: float
    alpha: float
    power: float
    variance: float
    inflation: float
    n_total: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SampleSize:
    """The size of an experiment.

    Attributes:
        n_total: units in all variants: the largest that any metric asks for in any pair.
        n_per_variant: the same by variant.
        per_metric: what each metric and treatment asks for.
        recruiting_days: days until as many units have been exposed; None without traffic.
        days: days until the last one's windows have ended: the duration.
        looks: that the inflation was computed for, where the design has no schedule of its own; None where it has.
        corrections: how error rates were divided.
    """

    n_total: int
    n_per_variant: Mapping[str, int]
    per_metric: tuple[MetricSize, ...]
    recruiting_days: int | None
    days: int | None
    looks: int | None
    corrections: Corrections

    @property
    def decisive(self) -> MetricSize:
        """What the size comes from: without it the experiment would be smaller."""
        return max(self.per_metric, key=lambda item: item.n_total)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "n_total": self.n_total,
            "n_per_variant": dict(self.n_per_variant),
            "per_metric": [item.to_dict() for item in self.per_metric],
            "recruiting_days": self.recruiting_days,
            "days": self.days,
            "looks": self.looks,
            "corrections": self.corrections.to_dict(),
        }

    def __str__(self) -> str:
        most = self.decisive
        time = "" if self.days is None else f", {self.days} days"
        return f"{self.n_total:,} units{time}; decided by {most.metric} ({most.role}, {most.treatment})"


@dataclass(frozen=True)
class Detectable:
    """The smallest effect that a size finds with the planned power.

    Attributes:
        metric: its name.
        role: `success` (smallest gain that is found) or `guardrail` (smallest absolute margin that is kept).
        treatment: of the pair.
        abs: in the metric's unit, > 0.
        rel: as a share of the baseline's value; None where that is 0.
    """

    metric: str
    role: str
    treatment: str
    abs: float
    rel: float | None


def plan_sample_size(plan: ExperimentPlan, baseline: Baseline, *, looks: int | None = None) -> SampleSize:
    """The size at which the whole decision rule ships a treatment as good as planned with the plan's power.

    Every success metric with an MDE and every guardrail is planned at the corrected rates (`plan.corrections`), and the
    largest size is taken over metrics and treatments, so that any one success metric at its MDE is enough. With more
    than one look the design's inflation is included; with a number of daily looks that depends on the duration, both
    are solved together.

    Wrong to use as the number of users to expose where some of them are never counted: count units as the metric does.

    Args:
        plan: the plan; a success metric without an MDE has no say.
        baseline: of its metrics.
        looks: how many looks there will be, for designs that look daily; None to take the recruiting days.

    Raises:
        UnknownNameError: if the baseline lacks a metric.
        InvalidInputError: if nothing has a margin, an alternative is no share any more, or the looks are unknown.

    Example:
        >>> from homing.experiments import MDE, NIM, ExperimentPlan, Metric
        >>> plan = ExperimentPlan(
        ...     "greeting",
        ...     success=[(Metric("ordered", "proportion", "ordered"), MDE(rel=0.05))],
        ...     guardrail=[(Metric("reachable", "proportion", "reachable"), NIM(rel=0.01))],
        ... )
        >>> known = {"ordered": MetricBaseline(0.1), "reachable": MetricBaseline(0.8)}
        >>> print(plan_sample_size(plan, Baseline(known, units_per_day=10_000)))
        126,290 units, 13 days; decided by ordered (success, treatment)
    """
    _check(plan, baseline)
    needed = [(metric, margin) for metric, margin in plan.success if margin is not None]
    if not needed and not plan.guardrail:
        raise InvalidInputError(
            describe(
                "margins", 0, "must be at least one", "Give a success metric its MDE: the smallest gain worth finding."
            )
        )
    per_day = baseline.units_per_day
    sizes = _sizes(plan, baseline, looks if per_day is None or looks is not None else 1)
    if looks is None and per_day is not None:
        # More units take more days, which are more looks, which ask for more units, ever fewer: this ends.
        looks = 1
        while (days := _days(sizes, per_day)) > looks:
            looks = days
            sizes = _sizes(plan, baseline, looks)
    n_total = max(item.n_total for item in sizes)
    recruiting = None if per_day is None else _days(sizes, per_day)
    matures = max((metric.window.matures_after for metric in plan.metrics if metric.window is not None), default=0)
    return SampleSize(
        n_total=n_total,
        n_per_variant={name: math.ceil(n_total * share) for name, share in plan.variants.items()},
        per_metric=tuple(sizes),
        recruiting_days=recruiting,
        days=None if recruiting is None else recruiting + matures,
        looks=looks,
        corrections=plan.corrections,
    )


def detectable(
    plan: ExperimentPlan, baseline: Baseline, n_total: int, *, looks: int | None = None
) -> tuple[Detectable, ...]:
    """The smallest effect of each success metric and the smallest margin of each guardrail that a size can show.

    Args:
        plan: the plan; margins that it has are not used.
        baseline: of its metrics.
        n_total: units in all variants.
        looks: as in `plan_sample_size`; None to take the days that the traffic needs for as many units.

    Raises:
        UnknownNameError: if the baseline lacks a metric.
        InvalidInputError: if the looks are unknown.

    Example:
        >>> from homing.experiments import ExperimentPlan, Metric
        >>> plan = ExperimentPlan("greeting", success=[Metric("ordered", "proportion", "ordered")])
        >>> found = detectable(plan, Baseline({"ordered": MetricBaseline(0.1)}), 100_000)
        >>> print(f"{found[0].rel:.3f}")
        0.048
    """
    _check(plan, baseline)
    if looks is None and baseline.units_per_day is not None:
        looks = math.ceil(n_total / baseline.units_per_day)
    found = []
    for metric, _, role, alpha in _tests(plan):
        known = baseline[metric.name]
        for treatment in plan.treatments:
            inflation = inflation_at(n_total, plan.monitoring, alpha, plan.corrections.power, looks)
            effect = effect_detectable(
                n_total / inflation,
                known,
                sign=metric.sign,
                share_control=plan.variants[plan.control],
                share_treatment=plan.variants[treatment],
                alpha=alpha,
                power=plan.corrections.power,
                moves_variance=role == "success",
            )
            relative = effect / abs(known.mean) if known.mean else None
            found.append(Detectable(metric.name, role, treatment, effect, relative))
    return tuple(found)


def _check(plan: ExperimentPlan, baseline: Baseline) -> None:
    check_plan(plan)
    step = "Write Baseline({'orders': MetricBaseline(1.2, variance=3.0)}), or take Baseline.from_history."
    check_made("baseline", baseline, Baseline, step)


def _sizes(plan: ExperimentPlan, baseline: Baseline, looks: int | None) -> list[MetricSize]:
    power = plan.corrections.power
    found = []
    for metric, margin, role, alpha in _tests(plan):
        if margin is None:
            continue
        known = baseline[metric.name]
        effect = margin.absolute(known.mean)
        treated = _alternative(metric, known, effect) if role == "success" else known.mean
        weight = _control_weight(metric, margin, known.mean) if role == "guardrail" else 1.0
        for treatment in plan.treatments:
            at_inflation = partial(
                units_needed,
                effect,
                variance_control=known.unit_variance * weight**2,
                variance_treatment=known.variance_at(treated),
                share_control=plan.variants[plan.control],
                share_treatment=plan.variants[treatment],
                alpha=alpha,
                power=power,
            )
            once = at_inflation() if counts_units(plan.monitoring) else None
            inflation = inflation_of(plan.monitoring, alpha, power, looks, once)
            needed = at_inflation(inflation=inflation)
            found.append(
                MetricSize(metric.name, role, treatment, effect, alpha, power, known.unit_variance, inflation, needed)
            )
    return found


def _tests(plan: ExperimentPlan) -> Iterator[tuple[Metric, MDE | NIM | None, str, float]]:
    """Each success metric and guardrail with its margin, role and corrected level."""
    for role, pairs, alpha in (
        ("success", plan.success, plan.corrections.alpha_success),
        ("guardrail", plan.guardrail, plan.corrections.alpha_guardrail),
    ):
        for metric, margin in pairs:
            yield metric, margin, role, float(alpha or 0.0)


def _control_weight(metric: Metric, margin: MDE | NIM, mean: float) -> float:
    """A relative margin r moves with the control: treatment - (1 - r) control is tested, whose error it multiplies."""
    return 1.0 if margin.rel is None else 1.0 - metric.sign * margin.rel * math.copysign(1.0, mean)


def _alternative(metric: Metric, known: MetricBaseline, effect: float) -> float:
    """The treatment's value at its MDE."""
    value = known.mean + metric.sign * effect
    if known.variance is None and not 0.0 < value < 1.0:
        raise InvalidInputError(
            describe(
                f"share of {metric.name!r} at its MDE",
                value,
                "must be in (0, 1)",
                "Lower the MDE, or check the baseline.",
            )
        )
    return value


def _days(sizes: list[MetricSize], per_day: float) -> int:
    return math.ceil(max(item.n_total for item in sizes) / per_day)
