"""A plan's report as one self-contained page: no scripts, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from homing.errors import missing_dependency
from homing.planning.figures import number, sweep_svg, usage_svg

if TYPE_CHECKING:
    from homing.planning.plan_report import PlanReport

#: Limits that are drawn; the rest stand in the table.
DRAWN = 20


def report_page(report: PlanReport, *, title: str) -> str:
    """See `PlanReport.to_html`."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_dependency("jinja2", "data") from error
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number}
    dearest = sorted(report.plan.usage, key=lambda item: -item.price * item.limit)
    return environment.get_template("plan.html").render(
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
