"""An experiment as a self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homing import pages
from homing.experiments.report.text import asked, finding, main_test, meaning, monitoring_text
from homing.experiments.scorecard import Comparison, Scorecard
from homing.pages import Bar, Line, forest_svg, lines_svg
from homing.pages.canvas import COLOURS, SERIES, VERDICT_COLOURS

if TYPE_CHECKING:
    from homing.experiments.decision import ShipDecision
    from homing.experiments.decomposition import Decomposition
    from homing.experiments.plan import ExperimentPlan

_BLUE, _RED, _DARK = SERIES[0], VERDICT_COLOURS["refuse"], COLOURS["champion"]
#: The colours of a page's verdicts.
_LOOKS = {"ship": "fine", "continue": "caution", "stop-harm": "refuse", "stop-futility": "refuse", "invalid": "refuse"}


def experiment_page(
    card: Scorecard,
    plan: ExperimentPlan,
    decision: ShipDecision,
    *,
    decompositions: Sequence[Decomposition] = (),
    notes: Sequence[str] = (),
) -> str:
    """The decision in sentences, sample and quality, then each metric: its effects, and the path of its bounds.

    Args:
        card: what was found.
        plan: the experiment's.
        decision: on this scorecard.
        decompositions: why metrics moved, if asked.
        notes: what a reader must know of the data (that they are simulated, say).

    Returns:
        HTML without scripts or links to elsewhere.

    Raises:
        MissingDependencyError: if jinja2 is not installed.
    """
    total = sum(card.n.values())
    said = meaning(decision, plan)
    return pages.page(
        "experiment.html",
        folders=[Path(__file__).parent / "templates"],
        title=f"{plan.name}: {said}",
        plan=plan,
        card=card,
        decision=decision,
        reasons=_reasons(decision),
        looks=_LOOKS,
        meaning=said,
        total=total,
        monitoring=monitoring_text(plan.monitoring),
        variants=[
            {"name": name, "n": count, "share": count / total, "planned": plan.variants[name]}
            for name, count in card.n.items()
        ],
        progress=_progress(card),
        quality_figure=_quality(card),
        sections=[_section(card, plan, name) for name in plan.roles],
        decompositions=[(item, item.to_svg()) for item in decompositions],
        notes=list(notes),
    )


def _reasons(decision: ShipDecision) -> tuple[Sequence[str], Sequence[str]]:
    """Why, and how error rates were divided."""
    first = decision.adjustments[0].sentence.casefold()
    place = next((k for k, reason in enumerate(decision.reasons) if reason.casefold() == first), len(decision.reasons))
    return decision.reasons[:place], decision.reasons[place:]


def _section(card: Scorecard, plan: ExperimentPlan, name: str) -> dict[str, Any]:
    """One metric: all treatments in one forest plot, and each one's paths."""
    found = [item for item in card.comparisons if item.metric.name == name]
    limit = _limit(found[0])
    label = f"difference in {name} to {plan.control}"
    return {
        "name": name,
        "role": plan.roles[name],
        "asked": asked(plan, name),
        "good": "an increase is good" if found[0].sign > 0 else "a decrease is good",
        "level": found[0].difference.level,
        "figure": forest_svg(
            [Bar(item.treatment, item.difference, "challenger") for item in found],
            label=label,
            reference=0.0,
            limit=limit,
        ),
        "rows": [_row(item) for item in found],
        "paths": [(item.treatment, *_paths(item, card, limit)) for item in found] if len(card.looks) > 1 else [],
    }


def _limit(item: Comparison) -> float | None:
    """The difference down to which a guardrail may fall."""
    return None if item.margin is None or item.role != "guardrail" else -item.sign * item.margin


def _row(item: Comparison) -> dict[str, Any]:
    name, test = main_test(item)
    return {
        "treatment": item.treatment,
        "control_value": item.values[item.control],
        "value": item.values[item.treatment],
        "difference": item.difference,
        "relative": item.relative,
        "test": name.replace("_", "-"),
        "result": test,
        "bound": f"{test.critical:.3f}" if math.isfinite(test.critical) else "–",
        "inferior": item.inferior,
        "finding": finding(item),
        "reading": {"inferior": "down", "superior": "up", "non-inferior": "up"}.get(finding(item), "open"),
    }


def _paths(item: Comparison, card: Scorecard, limit: float | None) -> tuple[str, str]:
    """The difference with its monitoring bounds, and z beside what it must reach."""
    path = item.path
    value, lower, upper = (path.value.tolist(), path.lower.tolist(), path.upper.tolist())
    known = [k for k, spread in enumerate(path.std_error.tolist()) if math.isfinite(spread)]
    # The first looks are wide: what is drawn is four standard errors about the estimates of the later half.
    later = [k for k in known if 2 * k >= len(value)] or known
    ends = [value[k] + side * 4.0 * path.std_error[k] for k in later for side in (-1.0, 1.0)]
    ends += [end for end in (0.0, limit) if end is not None]
    difference = lines_svg(
        [Line("difference, with monitoring bounds", value, _BLUE, lower, upper)],
        card.looks,
        label=f"difference in {item.metric.name}",
        reference=0.0,
        limit=limit,
        span=(float(min(ends)), float(max(ends))),
    )
    name, test = main_test(item)
    lines = [Line(f"z: {name.replace('_', '-')}", path.z[name].tolist(), _BLUE)]
    lines.append(Line(f"its bound, alpha {test.alpha:.3g}", path.critical[name].tolist(), _DARK, dashed=True))
    if name != "inferior":
        lines.append(Line("z: inferior", path.z["inferior"].tolist(), _RED))
        lines.append(Line("its bound", path.critical["inferior"].tolist(), _RED, dashed=True))
    # Bounds of the first looks can be far out: all z are drawn, and the bounds that they come near to.
    every = [z for line in lines for z in line.values if math.isfinite(z) and not line.dashed]
    nearest = [min((z for z in line.values if math.isfinite(z)), default=0.0) for line in lines if line.dashed]
    low, high = min([0.0, *every]), max([0.0, *every, *nearest])
    pad = 0.08 * (high - low)
    figure = lines_svg(
        lines, card.looks, label="z, and what it must reach", reference=0.0, span=(low - pad, high + pad)
    )
    return difference, figure


def _progress(card: Scorecard) -> str:
    """The share of the planned information that each metric has at each look; metrics that go together are one line."""
    if len(card.looks) < 2:
        return ""
    together: dict[tuple[float, ...], list[Comparison]] = {}
    for item in card.comparisons:
        together.setdefault(tuple(item.path.information.tolist()), []).append(item)
    lines = []
    for i, (values, items) in enumerate(together.items()):
        names = list(dict.fromkeys(item.metric.name for item in items))
        lines.append(Line(", ".join(names), values, SERIES[i % len(SERIES)]))
    return lines_svg(lines, card.looks, label="share of the planned information", reference=1.0)


def _quality(card: Scorecard) -> str:
    """How the p-values of the quality tests went, in powers of ten, with the least threshold."""
    if len(card.looks) < 2 or not card.quality:
        return ""
    lines = [
        Line(
            item.name.replace("_", " "),
            [math.log10(max(p, 1e-12)) if math.isfinite(p) else math.nan for p in item.path.tolist()],
            SERIES[i % len(SERIES)],
        )
        for i, item in enumerate(card.quality)
    ]
    limit = math.log10(min(item.threshold for item in card.quality))
    lowest = min([limit, *(p for line in lines for p in line.values if math.isfinite(p))])
    return lines_svg(lines, card.looks, label="p of quality tests, power of 10", limit=limit, span=(lowest - 0.5, 0.2))
