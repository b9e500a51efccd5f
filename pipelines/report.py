"""`report.html`: the run on one self-contained page."""

from __future__ import annotations

import html

from components.page import heading, page, paragraph, show, table
from pipelines.summary import Summary, readable

# Title and step: what was decided first, how it came about after it.
PAGES = (("Gate", "gate"), ("Evaluation", "evaluate"), ("Data", "prepare"), ("Training", "train"))
# As high as what is in it, once that is known. The frame's own scripts stay off.
FRAME = (
    '<iframe title="{title}" style="height: 40rem" sandbox="allow-same-origin" '
    "onload=\"this.style.height = this.contentDocument.documentElement.scrollHeight + 16 + 'px'\" "
    'srcdoc="{inner}"></iframe>'
)


def write_report(summary: Summary) -> str:
    """The page: verdict and values first, then each step's own page embedded."""
    registered, deciding = summary.registered(), summary.evaluation["deciding"]
    sections = [
        paragraph(f"Verdict: {summary.gate['verdict']}. {registered}"),
        "<ul>" + "".join(f"<li>{html.escape(reason)}</li>" for reason in summary.reasons) + "</ul>",
        heading("Values per decision"),
        paragraph(
            f"Estimated by {deciding['estimator'].upper()} on {show(summary.evaluation['n'])} decisions of "
            f"{show(summary.evaluation['n_users'])} users that no policy here was trained on. The intervals are those "
            f"that the gate decided on, {deciding['interval']} clustered by user.",
            note=True,
        ),
        table(("objective", "policy", "estimate", "interval", "level"), _rows(summary)),
    ]
    if summary.truth:
        true = [(name, *readable(item, sign=sign)) for name, item, sign in summary.true_rows()]
        rows = [(name, value, f"[{lower}, {upper}]") for name, value, lower, upper in true]
        sections += [
            heading("Truth: the data are simulated"),
            paragraph(f"True values {summary.true_caption()}; 95 % intervals of the simulation.", note=True),
            table(("", "true value", "interval"), rows),
        ]
    for title, step in PAGES:
        inner = (summary.folder / step / "report").read_text(encoding="utf-8")
        sections += [heading(title), FRAME.format(title=title, inner=html.escape(inner))]
    seconds = [(step, round(value, 1)) for step, value in summary.seconds.items()]
    sections += [heading("Time"), table(("step", "seconds"), seconds)]
    return page(f"{summary.pipeline} run {summary.run_name}", *sections)


def _rows(summary: Summary) -> list[tuple[object, ...]]:
    out: list[tuple[object, ...]] = []
    for objective in summary.objectives:
        level = f"{100 * summary.values(objective)['level']:.4g} %"
        for name, item, sign in summary.rows(objective):
            value, lower, upper = readable(item, sign=sign)
            out.append((objective, name, value, f"[{lower}, {upper}]", level))
    return out
