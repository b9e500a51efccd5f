"""Reports for a terminal: aligned columns, the verdict before the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.pages import number, parts, percent, table

if TYPE_CHECKING:
    from homing.ope.report import OPEReport

#: What each verdict means, in the words that every rendering uses.
VERDICTS = {
    "fine": "the log supports these estimates",
    "caution": "read these estimates with the reasons below",
    "refuse": "the log cannot support these estimates",
}


def report_text(report: OPEReport) -> str:
    """See `OPEReport.to_text`."""
    support = report.support
    per = report.unit
    lines = [
        f"{report.policy}: {support.verdict}, {VERDICTS[support.verdict]}",
        f"  {report.n:,} {'decisions' if per == 'decision' else 'trajectories'} of {report.n_users:,} users; "
        f"effective sample size {support.ess:,.0f} ({support.ess_share:.1%}), "
        f"largest weight {number(support.max_weight)}",
    ]
    lines += [f"  - {reason}" for reason in support.reasons]
    for objective in report.objectives:
        kind = "" if report.interval == "cluster-t" else f" ({report.interval})"
        lines += ["", f"  {objective} per {per}, {percent(report.level)} intervals{kind}"]
        rows = [["", "value", "lower", "upper"]]
        for name in ("logged", *report.estimators):
            if name != "logged" and (name, objective) not in report.estimates:
                continue
            item = report.estimate(objective, name)
            rows.append([name, *parts(item)])
        lines.append(table(rows, indent="    "))
        lines += [f"    - {reason}" for reason in support.events[objective].reasons]
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines)
