"""Reports as self-contained pages: one file, no scripts, no network, readable at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homing import pages
from homing.ope.figures import (
    regions_svg,
    support_map_svg,
    tail_svg,
    weights_svg,
    weights_sweep_svg,
)
from homing.ope.report import OPEReport
from homing.ope.text import VERDICTS
from homing.pages import Bar, forest_svg

if TYPE_CHECKING:
    from homing.ope.estimate import Estimate
    from homing.ope.evaluation import Evaluation, Values
    from homing.ope.pareto import Pareto
    from homing.ope.support import Support
    from homing.ope.support_map import SupportMap

#: Lines of the support table before it is folded.
TABLE_ROWS = 15


@dataclass(frozen=True)
class Decision:
    """A gate's verdict, as a page shows it above everything else.

    Attributes:
        verdict: `promote`, `hold` or `refuse`.
        headline: the verdict in a sentence.
        reasons: sentences behind it.
        figures: what the rules ask of the log beside what it has: a name and an SVG each.
    """

    verdict: str
    headline: str
    reasons: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()


def page(template: str, **values: Any) -> str:
    """Render a template of this package."""
    return pages.page(template, folders=[Path(__file__).parent / "templates"], **values)


def report_page(reports: Sequence[OPEReport], *, title: str) -> str:
    """One or more reports on one log, each against what the log itself earned."""
    from homing.ope.deciding import Deciding
    from homing.ope.evaluation import Evaluation

    return evaluation_page(Evaluation(tuple(reports), None, Deciding.of(reports[0])), title=title)


def evaluation_page(evaluation: Evaluation, *, title: str = "", decision: Decision | None = None) -> str:
    """Challengers against the champion, with the reference policies: see `Evaluation.to_html`.

    Args:
        evaluation: what was evaluated.
        title: the page's; by default it says who stands against whom.
        decision: the gate's verdict, where there is one.
    """
    first, deciding, champion = evaluation.challengers[0], evaluation.deciding, evaluation.champion
    against = "the log itself" if champion is None else champion.policy
    count = len(evaluation.challengers)
    who = "Challenger" if count == 1 else f"{count} challengers"
    role = "baseline" if evaluation.champion_is_baseline else "champion"
    return page(
        "report.html",
        title=title or f"{who} against {role if champion else 'the log itself'}",
        first=first,
        challengers=evaluation.challengers,
        policies=evaluation.policies,
        champion=champion,
        against=against,
        deciding=deciding,
        decision=decision,
        meanings=VERDICTS,
        objectives=[_objective(evaluation, name) for name in first.objectives],
        evidence=evidence(evaluation.challengers, champion, evaluation.maps, evaluation.pareto, first.level),
        messages=_messages(evaluation.policies, first.n),
        segments=[(report, _segments(report.support)) for report in evaluation.challengers if report.support.segments],
        table_rows=TABLE_ROWS,
        notes=list(dict.fromkeys(note for report in evaluation.policies for note in report.notes)),
    )


def evidence(
    challengers: Sequence[OPEReport],
    champion: OPEReport | None,
    maps: Sequence[SupportMap],
    found: Pareto,
    level: float,
) -> str:
    """The sections on what the log can say: trade-offs between objectives, weights, support.

    Args:
        challengers, champion: their reports.
        maps: what each would send to whom.
        found: gains and losses on all objectives.
        level: of the bands over weights.
    """
    roles = [("challenger", report) for report in challengers]
    roles += [] if champion is None else [("champion", champion)]
    weights = [
        {
            "report": report,
            "figure": _histogram(report.support, role, report.policy),
            "tail": _tail(report.support, role, report.policy),
        }
        for role, report in roles
    ]
    pairs = []
    for two in range(1, len(found.objectives)):
        sweep = found.base[0] != 0 and found.base[two] != 0
        pairs.append(
            {
                "names": (found.objectives[0], found.objectives[two]),
                "regions": regions_svg(found, 0, two),
                "sweep": weights_sweep_svg(found, 0, two, level) if sweep else "",
            }
        )
    return page(
        "evidence.html",
        weights=weights,
        first=challengers[0],
        maps=[(item, support_map_svg(item)) for item in maps],
        pareto=found,
        pairs=pairs,
        level=level,
    )


def _objective(evaluation: Evaluation, name: str) -> dict[str, Any]:
    """One objective's section: the forest of all policies, the headlines, and all estimators folded away."""
    first, values = evaluation.challengers[0], evaluation.values[name]
    bars = [
        bar
        for report in evaluation.challengers
        for bar in _bar(report, name, values.challengers[report.policy], "challenger")
    ]
    if evaluation.champion is not None:
        bars += _bar(evaluation.champion, name, values.champion, "champion")
    bars.append(Bar("the log itself", values.logged, "logged"))
    for report in evaluation.references:
        bars += _bar(report, name, evaluation.deciding.value(report, name), "reference")
    base = values.champion or values.logged
    differences = [
        bar
        for report in evaluation.challengers
        for bar in _bar(report, name, values.differences[report.policy], "challenger")
    ]
    per = f"{name} per {first.unit}"
    return {
        "name": name,
        "figure": forest_svg(bars, label=per, reference=base.value),
        "differences": forest_svg(differences, label=f"difference in {per}", reference=0.0) if differences else "",
        "headlines": [_headline(values, report.policy, base) for report in evaluation.challengers],
        "reasons": [
            f"{report.policy}: {reason}" if len(evaluation.challengers) > 1 else reason
            for report in evaluation.challengers
            for reason in report.support.events[name].reasons
        ],
        "rows": _rows(evaluation, name),
        "level": values.level,
    }


def _bar(report: OPEReport, objective: str, item: Estimate | None, role: str) -> list[Bar]:
    doubtful = report.support.verdict_for(objective) == "refuse"
    return [] if item is None else [Bar(report.policy, item, role, doubtful)]


def _headline(values: Values, policy: str, base: Estimate) -> dict[str, Any] | None:
    """The paired difference and how it reads: `up`, `down` or `open`."""
    value, difference = values.challengers[policy], values.differences[policy]
    if value is None or difference is None:
        return None
    return {
        "policy": policy,
        "difference": difference,
        "value": value,
        "base": base,
        "relative": difference.value / abs(base.value) if base.value else None,
        "reading": "up" if difference.lower > 0 else "down" if difference.upper < 0 else "open",
    }


def _rows(evaluation: Evaluation, objective: str) -> list[dict[str, Any]]:
    """One line an estimator: each policy's estimate, and each challenger's paired difference."""
    first = evaluation.challengers[0]
    return [
        {
            "estimator": estimator,
            "cells": [report.estimates.get((estimator, objective)) for report in evaluation.policies],
            "paired": [item.get((estimator, objective)) for item in evaluation.paired.values()],
            "details": first.details.get((estimator, objective), {}),
        }
        for estimator in first.estimators
    ]


def _histogram(support: Support, role: str, label: str) -> str:
    return weights_svg(support.histogram_edges, support.histogram_counts, support.zero_weight_share, role, label)


def _tail(support: Support, role: str, label: str) -> str:
    """The tail of the weights; nothing where they are bounded."""
    if support.tail is None or support.tail.k is None or not support.histogram_counts:
        return ""
    return tail_svg(
        support.histogram_edges, support.histogram_counts, support.tail.threshold or 0.7, role, label, support.tail.k
    )


def _segments(support: Support) -> str:
    """The mean weight of each segment beside 1, hollow where the log cannot judge it."""
    bars = [
        Bar(item.segment, item.weight_mean, "challenger", doubtful=item.verdict == "refuse")
        for item in support.segments
        if item.weight_mean is not None
    ]
    return forest_svg(bars, label="mean importance weight", reference=1.0) if bars else ""


def _messages(reports: Sequence[OPEReport], n: int) -> list[dict[str, Any]]:
    """The support table: how often each message was logged, and how much each policy would send it."""
    shares = [{line.message: line.policy_share for line in report.support.messages} for report in reports]
    return [
        {
            "message": line.message,
            "eligible": line.eligible,
            "logged": line.logged,
            "logged_share": line.logged / n,
            "shares": [share.get(line.message, 0.0) for share in shares],
            "unsupported": line.logged == 0 and line.policy_share > 0,
        }
        for line in reports[0].support.messages
    ]
