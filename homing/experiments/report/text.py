"""Plans, scorecards and decisions for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from homing.experiments.explain import without_kept_error
from homing.experiments.metrics import MDE, NIM
from homing.experiments.monitoring import Monitoring
from homing.experiments.plain import to_plain
from homing.experiments.scorecard import Comparison, OneSidedTest, Scorecard
from homing.pages import number, parts, percent, table

if TYPE_CHECKING:
    from homing.experiments.decision import ShipDecision
    from homing.experiments.plan import ExperimentPlan
    from homing.experiments.sample_size import SampleSize

_MEANINGS = {
    "ship": "ship it",
    "continue": "go on",
    "stop-harm": "stop: it does harm",
    "stop-futility": "stop: it will not be shown to be good enough",
    "invalid": "invalid: the experiment itself is broken",
}


def meaning(decision: ShipDecision, plan: ExperimentPlan) -> str:
    """What a verdict says, in the words of every rendering."""
    if decision.verdict == "ship" and without_kept_error(plan):
        return "it would ship, but at an error rate that is not kept: give every metric a window"
    return _MEANINGS[decision.verdict]


def plan_text(plan: ExperimentPlan) -> str:
    """What a plan tests and at which levels.

    Example:
        >>> from homing.experiments import MDE, ExperimentPlan, Metric
        >>> plan = ExperimentPlan("greeting", [(Metric("visits", "mean", "visits"), MDE(rel=0.02))], quality=())
        >>> print(plan_text(plan).splitlines()[0])
        greeting: control 50%, treatment 50% of each user_id, fixed-horizon monitoring, no planned size yet
    """
    shares = ", ".join(f"{name} {share:.4g}%" for name, share in ((k, 100 * v) for k, v in plan.variants.items()))
    size = "no planned size yet" if plan.planned_size is None else f"{plan.planned_size:,} units planned"
    rows = [["metric", "role", "is tested for", "window"]]
    for metric in plan.metrics:
        window = "none" if metric.window is None else f"{metric.window.days} days"
        rows.append([metric.name, plan.roles[metric.name], asked(plan, metric.name), window])
    lines = [
        f"{plan.name}: {shares} of each {plan.unit}, {monitoring_text(plan.monitoring)} monitoring, {size}",
        table(rows),
        *(f"  - {item.sentence}" for item in plan.corrections.adjustments),
        f"  digest {plan.digest[:16]}…",
    ]
    return "\n".join(lines)


def monitoring_text(monitoring: Monitoring) -> str:
    """A design's name and its settings."""
    given = ", ".join(f"{name} {value}" for name, value in to_plain(monitoring).items())
    return f"{monitoring.name} ({given})" if given else monitoring.name


def asked(plan: ExperimentPlan, metric: str) -> str:
    """What must be shown of a metric."""
    margin = plan.margins.get(metric)
    role = plan.roles[metric]
    if role == "deterioration" or (role == "success" and margin is None):
        return "superiority" if role == "success" else "no inferiority"
    assert isinstance(margin, MDE | NIM)
    size = f"{100 * margin.rel:.4g}%" if margin.rel is not None else number(float(margin.abs or 0.0))
    return f"superiority, designed for {size}" if role == "success" else f"non-inferiority within {size}"


def size_text(size: SampleSize) -> str:
    """A planned size, and what each metric asks for."""
    rows = [["metric", "treatment", "effect", "alpha", "power", "inflation", "units"]]
    for item in sorted(size.per_metric, key=lambda item: -item.n_total):
        cells = [number(item.effect), f"{item.alpha:.4g}", f"{item.power:.3g}", f"{item.inflation:.3f}"]
        rows.append([item.metric, item.treatment, *cells, f"{item.n_total:,}"])
    time = ""
    if size.days is not None:
        time = f" in {size.recruiting_days} days"
        if size.days != size.recruiting_days:
            time += f", and {size.days} until the last window has ended"
    each = ", ".join(f"{name} {count:,}" for name, count in size.n_per_variant.items())
    return "\n".join([f"{size.n_total:,} units{time} ({each})", table(rows)])


def frozen_text(planned: int, needed: int) -> str:
    """What a plan that has its size already should do with one that it is told it needs."""
    if needed == planned:
        return f"The plan has this size, {planned:,} units, already."
    less = "fewer than" if planned < needed else "more than"
    return (
        f"The plan has its size already, {planned:,} units: {less} the {needed:,} that are needed. It stays as it is "
        "once the experiment has started; before, --freeze writes the plan with the needed size."
    )


def status_text(card: Scorecard, plan: ExperimentPlan) -> str:
    """How far an experiment is, and whether it can be trusted; no effects are shown."""
    total = sum(card.n.values())
    planned = "" if plan.planned_size is None else f" of {plan.planned_size:,} ({total / plan.planned_size:.0%})"
    rows = [["variant", "units", "share", "planned"]]
    for name, count in card.n.items():
        rows.append([name, f"{count:,}", f"{count / total:.2%}", f"{plan.variants[name]:.2%}"])
    metrics = [["metric", "treatment", "units that count", "information"]]
    for item in card.comparisons:
        metrics.append(
            [item.metric.name, item.treatment, f"{sum(item.n.values()):,}", f"{item.information_fraction:.2f}"]
        )
    return "\n".join(
        [
            f"{plan.name}, {card.as_of}, look {card.look}: {total:,} units{planned}",
            table(rows),
            table(metrics),
            *_quality(card),
            *(f"  ! {warning}" for warning in card.warnings),
        ]
    )


def scorecard_text(card: Scorecard, plan: ExperimentPlan) -> str:
    """Every comparison with its interval and its tests, and the tests of quality."""
    total = sum(card.n.values())
    rows = [["metric", "treatment", "difference", "lower", "upper", "relative", "test", "z", "bound", "p", ""]]
    for item in card.comparisons:
        name, test = main_test(item)
        rows.append(
            [
                item.metric.name,
                item.treatment,
                *parts(item.difference),
                "–" if item.relative is None else f"{100 * item.relative.value:+.2f}%",
                name.replace("_", "-"),
                *_numbers(test),
                finding(item),
            ]
        )
    return "\n".join(
        [
            f"{plan.name}, {card.as_of}, look {card.look}, {total:,} units, {monitoring_text(plan.monitoring)}",
            table(rows),
            f"  intervals of this look alone, two-sided at 1 - 2 alpha of each role ({_levels(card.comparisons)}); "
            "p holds for all looks",
            *_quality(card),
            *(f"  ! {warning}" for warning in card.warnings),
        ]
    )


def decision_text(decision: ShipDecision, plan: ExperimentPlan) -> str:
    """The answer, then why."""
    which = "" if decision.treatment is None else f" {decision.treatment}"
    lines = [f"{decision.verdict}{which}: {meaning(decision, plan)}"]
    return "\n".join([*lines, *(f"  - {reason}" for reason in decision.reasons)])


def main_test(item: Comparison) -> tuple[str, OneSidedTest]:
    """The test that a comparison is there for."""
    return next(iter(item.tests.items()))


def finding(item: Comparison) -> str:
    """What has been shown of a comparison so far."""
    if item.inferior.rejected:
        return "inferior"
    name, test = main_test(item)
    if name == "inferior":
        return "no harm shown"
    return name.replace("_", "-") if test.rejected else "not shown"


def _numbers(test: OneSidedTest) -> list[str]:
    bound = f"{test.critical:.3f}" if math.isfinite(test.critical) else "–"
    return [f"{test.z:.2f}", bound, f"{test.sequential_p_value:.3g}"]


def _levels(comparisons: Sequence[Comparison]) -> str:
    found = {item.role: item.difference.level for item in comparisons}
    return ", ".join(f"{role} {percent(level)}" for role, level in found.items())


def _quality(card: Scorecard) -> list[str]:
    return [
        f"  {'✗' if item.rejected else '✓'} {item.name}: p = {item.p_value:.3g} "
        f"({'below' if item.rejected else 'not below'} {item.threshold:.3g}). {item.detail}"
        for item in card.quality
    ]
