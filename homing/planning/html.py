"""A plan's report as one self-contained page: no scripts, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from homing import pages
from homing.planning.figures import sweep_svg, usage_svg

if TYPE_CHECKING:
    from homing.planning.plan_report import PlanReport

#: Limits that are drawn; the rest stand in the table.
DRAWN = 20


def report_page(report: PlanReport, *, title: str) -> str:
    """See `PlanReport.to_html`."""
    dearest = sorted(report.plan.usage, key=lambda item: -item.price * item.limit)
    return pages.page(
        "plan.html",
        folders=[Path(__file__).parent / "templates"],
        title=title,
        plan=report.plan,
        report=report,
        drawn=len(dearest[:DRAWN]),
        usage=usage_svg(dearest[:DRAWN]),
        limits=dearest,
        sweeps=[(item, sweep_svg(item)) for item in report.sweeps],
        alternatives=[
            ("greedy: what is worth most first", report.greedy),
            ("first come, first served", report.first_come),
        ],
    )
