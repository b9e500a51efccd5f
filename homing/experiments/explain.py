"""A decision in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from homing.experiments.scorecard import Comparison, OneSidedTest, Scorecard

if TYPE_CHECKING:
    from homing.experiments.decision import TreatmentDecision
    from homing.experiments.plan import ExperimentPlan

_NEXT_STEP = {
    "sample_ratio": "Find where units are lost or counted differently by variant (assignment, exposure log, bots, "
    "redirects), repair it and start anew with another salt; nothing else on the scorecard can be trusted.",
    "pre_exposure_bias": "The variants differed before exposure: look for units that were exposed earlier or moved "
    "between variants, and start anew with another salt.",
}


def without_kept_error(plan: ExperimentPlan) -> tuple[str, ...]:
    """The metrics that several looks are taken at although values that were counted before keep changing.

    Sequential bounds hold for numbers that arrive and stay; of a metric without a window they are no more than a guide.
    """
    if not plan.monitoring.several_looks:
        return ()
    return tuple(metric.name for metric in plan.metrics if metric.window is None)


def treatment_reasons(
    verdict: str, comparisons: Sequence[Comparison], scorecard: Scorecard, *, chance: float, more_units: int | None
) -> tuple[str, ...]:
    """Why one treatment got its verdict."""
    name = comparisons[0].treatment
    if verdict == "invalid":
        return (f"{name} is not judged: {_rejecting(scorecard)} rejects.",)
    if verdict == "stop-harm":
        return tuple(
            f"{name} is stopped for harm: {item.metric.name} is inferior, {item.difference} "
            f"({_crossing(item, 'inferior')})."
            for item in comparisons
            if item.inferior.rejected
        )
    if verdict == "ship":
        return (_shipping(name, comparisons),)
    still = _open(comparisons)
    if verdict == "continue":
        return (
            f"{name} is open: {still}. {_more(more_units)} It ships by then with probability of at most {chance:.0%}.",
        )
    if _complete(comparisons):
        return (f"{name} does not ship: the planned information is reached, and {still}.",)
    return (
        f"{name} is stopped for futility: {still}, and whether effects are as designed for or as estimated, it would "
        f"ship by the planned end with probability of at most {chance:.1%}.",
    )


def experiment_reasons(
    verdict: str, winner: str | None, told: Sequence[TreatmentDecision], scorecard: Scorecard
) -> tuple[str, ...]:
    """Why the experiment got its verdict: the decisive treatments first.

    Args:
        verdict: of the experiment.
        winner: the treatment that ships.
        told: each treatment's own.
        scorecard: for quality tests and warnings.
    """
    out: list[str] = []
    if verdict == "invalid":
        for result in scorecard.quality:
            if result.rejected:
                step = _NEXT_STEP.get(result.name, "")
                out.append(f"{result.name} rejects at {result.threshold:.4g}: {result.detail}. {step}".rstrip())
    else:
        first = sorted(told, key=lambda item: (item.treatment != winner, item.verdict != verdict))
        out += [reason for item in first for reason in item.reasons]
        may = [item.treatment for item in told if item.verdict == "ship"]
        if len(may) > 1:
            out.append(
                f"{' and '.join(may)} may ship; {winner} is named for most superior success metrics, then for the "
                "largest z on the plan's first metric. Which of them is better was not tested."
            )
    return (*out, *scorecard.warnings)


def adjustment_reasons(scorecard: Scorecard, plan: ExperimentPlan) -> tuple[str, ...]:
    """What was done to error rates, bounds and looks."""
    out = [_capital(item.sentence) for item in plan.corrections.adjustments]
    t = np.stack([item.path.information for item in scorecard.comparisons])
    low, high = float(t[:, -1].min()), float(t[:, -1].max())
    at = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    bounds = "; ".join(
        f"{label} needs {_bound(tests)}"
        for label, tests in (
            ("superiority", [item.superior for item in scorecard.comparisons if item.superior]),
            ("non-inferiority", [item.non_inferior for item in scorecard.comparisons if item.non_inferior]),
            ("inferiority", [item.inferior for item in scorecard.comparisons]),
        )
        if tests
    )
    out.append(f"Look {scorecard.look}, {plan.monitoring.name} monitoring, information {at}: {bounds}.")
    reached = np.all(t >= 1.0, axis=0)
    if plan.planned_size is None:
        out.append(
            "No planned size was set, so that this look is taken for the only one: set it before the next start."
        )
    elif np.any(reached[:-1]):
        out.append(
            f"The planned size of {plan.planned_size:,} was reached at look {int(np.argmax(reached)) + 1} and stays "
            "frozen: what that look decided stands; where a design has a last look, later ones add nothing."
        )
    if len(plan.treatments) > 1:
        out.append(
            f"{len(plan.treatments)} treatments share alpha, so that any of them ships falsely with probability of at "
            f"most {plan.alpha:.4g}."
        )
    return tuple(out)


def _shipping(name: str, comparisons: Sequence[Comparison]) -> str:
    parts = [
        f"{item.metric.name} is superior ({_crossing(item, 'superior')})"
        for item in comparisons
        if item.superior is not None and item.superior.rejected
    ]
    guarded = sum(item.non_inferior is not None for item in comparisons)
    if guarded:
        parts.append(f"{guarded} guardrail{'' if guarded == 1 else 's'} non-inferior")
    parts.append("it is not inferior" if len(comparisons) == 1 else f"none of {len(comparisons)} metrics is inferior")
    return f"{name} ships: {'; '.join(parts)}."


def _open(comparisons: Sequence[Comparison]) -> str:
    """What is missing."""
    parts = []
    success = [item for item in comparisons if item.superior is not None]
    if success and not any(_test(item, "superior").rejected for item in success):
        best = max(success, key=lambda item: np.nan_to_num(_test(item, "superior").z, nan=-np.inf))
        parts.append(
            f"no success metric is superior (nearest: {best.metric.name}, {_standing(_test(best, 'superior'))})"
        )
    parts += [
        f"{item.metric.name} is not non-inferior ({_standing(item.non_inferior)})"
        for item in comparisons
        if item.non_inferior is not None and not item.non_inferior.rejected
    ]
    return "; ".join(parts)


def _complete(comparisons: Sequence[Comparison]) -> bool:
    return all(item.information_fraction >= 1.0 - 1e-9 for item in comparisons if item.role != "deterioration")


def _more(more_units: int | None) -> str:
    if more_units is None:
        return "More data may tell."
    if more_units == 0:
        return "All planned units are exposed: wait until their windows have ended."
    return f"{more_units:,} more units have to be exposed."


def _crossing(item: Comparison, name: str) -> str:
    """When and how a test reached its bound first."""
    z, bound = item.path.z[name], item.path.critical[name]
    look = int(np.argmax(z >= bound))
    return f"z {z[look]:.3g} >= {bound[look]:.4g} at look {look + 1}, information {item.path.information[look]:.2f}"


def _standing(test: OneSidedTest) -> str:
    return f"z {test.z:.3g} of {test.critical:.4g}" if np.isfinite(test.critical) else f"z {test.z:.3g}, not looked at"


def _test(item: Comparison, name: str) -> OneSidedTest:
    return item.tests[name]


def _bound(tests: Sequence[OneSidedTest]) -> str:
    finite = sorted({round(test.critical, 3) for test in tests if np.isfinite(test.critical)})
    if not finite:
        return "no look now"
    return f"z >= {finite[0]}" if len(finite) == 1 else f"z >= {finite[0]} to {finite[-1]}"


def _rejecting(scorecard: Scorecard) -> str:
    return " and ".join(result.name for result in scorecard.quality if result.rejected)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
