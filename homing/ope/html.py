"""Reports as self-contained pages: one file, no scripts, no network, readable at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homing.errors import missing_dependency
from homing.ope.figures import Bar, forest_svg, weights_svg
from homing.ope.report import LOGGED, OPEReport, compare
from homing.ope.text import VERDICTS, number, parts, percent

if TYPE_CHECKING:
    from homing.ope.artifacts import Evaluation
    from homing.ope.support import Support

#: Whose intervals the figures show, the first that a report has.
PREFERRED = ("dr", "snips", "snpdis", "ips", "pdis")
#: Lines of the support table before it is folded.
TABLE_ROWS = 15


def page(template: str, *, folders: Sequence[Path] = (), **values: Any) -> str:
    """Render a template of this package (or of `folders`) with everything escaped."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_dependency("jinja2", "data") from error
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "parts": parts, "percent": percent}
    return environment.get_template(template).render(**values)


def evaluation_page(evaluation: Evaluation) -> str:
    """Challenger against champion, with the reference policies: see `Evaluation.to_html`."""
    return report_page(
        [evaluation.challenger, evaluation.champion],
        references=evaluation.references,
        title="Challenger against " + ("baseline" if evaluation.champion_is_baseline else "champion"),
    )


def report_page(reports: Sequence[OPEReport], *, title: str, references: Sequence[OPEReport] = ()) -> str:
    """One or more reports on one log; the first is the one in question, the second what it is compared with."""
    first = reports[0]
    other = reports[1] if len(reports) > 1 else None
    estimator = shown_estimator(first)
    roles = ["challenger", "champion"] + ["reference"] * len(reports)
    objectives = []
    for name in first.objectives:
        bars = []
        for report, role in zip(reports, roles, strict=False):
            bars += _bar(report, name, estimator, role)
        bars.append(Bar("the log itself", first.logged[name], "logged"))
        for report in references:
            bars += _bar(report, name, estimator, "reference")
        against = other.estimate(name, estimator).value if other and (estimator, name) in other.estimates else None
        reference = first.logged[name].value if against is None else against
        objectives.append(
            {
                "name": name,
                "figure": forest_svg(bars, label=f"{name} per {first.unit}", reference=reference),
                "headline": _headline(first, other, name, estimator),
                "reasons": first.support.events[name].reasons,
                "rows": _rows(reports, name),
            }
        )
    weights = [
        {"report": report, "figure": _histogram(report.support, role, report.policy)}
        for report, role in zip(reports[:2], roles, strict=False)
    ]
    return page(
        "report.html",
        title=title,
        first=first,
        other=other,
        reports=reports,
        estimator=estimator,
        verdict=first.support.verdict,
        meaning=VERDICTS[first.support.verdict],
        objectives=objectives,
        weights=weights,
        messages=_messages(reports[:2], first.n),
        segments=_segments(first.support),
        table_rows=TABLE_ROWS,
        notes=list(dict.fromkeys(note for report in reports for note in report.notes)),
    )


def shown_estimator(report: OPEReport) -> str:
    """The estimator whose intervals figures show."""
    return next((name for name in PREFERRED if name in report.estimators), report.estimators[0])


def _bar(report: OPEReport, objective: str, estimator: str, role: str) -> list[Bar]:
    if (estimator, objective) not in report.estimates:
        return []
    doubtful = report.support.verdict_for(objective) == "refuse"
    return [Bar(report.policy, report.estimate(objective, estimator), role, doubtful)]


def _headline(first: OPEReport, other: OPEReport | None, objective: str, estimator: str) -> dict[str, Any] | None:
    """The paired difference and how it reads: `up`, `down` or `open`."""
    if (estimator, objective) not in first.estimates:
        return None
    if other is None:
        other, base = first, LOGGED
    else:
        base = estimator
    if base != LOGGED and (base, objective) not in other.estimates:
        return None
    difference = compare(first, other, objective, estimator, champion_estimator=base)
    base_estimate = other.estimate(objective, base)
    reading = "up" if difference.lower > 0 else "down" if difference.upper < 0 else "open"
    return {
        "difference": difference,
        "value": first.estimate(objective, estimator),
        "base": base_estimate,
        "relative": difference.value / abs(base_estimate.value) if base_estimate.value else None,
        "reading": reading,
        "against": "the log" if base == LOGGED else other.policy,
    }


def _rows(reports: Sequence[OPEReport], objective: str) -> list[dict[str, Any]]:
    """One line an estimator: each policy's estimate, and the paired difference of the first two."""
    first = reports[0]
    out = []
    for estimator in first.estimators:
        cells = [report.estimates.get((estimator, objective)) for report in reports]
        paired = None
        if len(reports) > 1 and cells[0] is not None and cells[1] is not None:
            paired = compare(reports[0], reports[1], objective, estimator)
        details = first.details.get((estimator, objective), {})
        out.append({"estimator": estimator, "cells": cells, "paired": paired, "details": details})
    return out


def _histogram(support: Support, role: str, label: str) -> str:
    return weights_svg(support.histogram_edges, support.histogram_counts, support.zero_weight_share, role, label)


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
