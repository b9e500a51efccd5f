"""The closed loop's result, as a table on the screen and as a page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class Step:
    """One step of the story, its start and what came of it."""

    title: str
    started_at: str
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"title": self.title, "started_at": self.started_at, "said": self.said, "seconds": self.seconds}


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Homing: the closed loop</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top }}
th {{ font-weight: 600; width: 38% }}
ol {{ padding-left: 1.2rem }} li {{ margin: 1.2rem 0 }} h3 {{ margin: 0; font-size: 1rem }} p {{ margin: .2rem 0 }}
.time {{ color: #66727f; font-size: .85rem }}
.bar {{ height: 6px; min-width: 2px; background: #2f6fde; border-radius: 3px; margin: .3rem 0 }}
</style></head><body>
<h1>The closed loop</h1>
<p>Decisions over HTTP become the next training run's input. The outcomes are those of real held-back decisions that
received the same message (nearest-neighbour donors): semi-synthetic.</p>
<table>{table}</table>
<h2>Timeline</h2>
<ol>{timeline}</ol>
</body></html>
"""


def rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each line of the closing table."""
    counts, trained, retrained, held_back = (facts[k] for k in ("counts", "trained", "retrained", "held_back"))
    adds_up = f"{counts['decided']:,} = {counts['logged']:,} = {counts['prepared']:,} + {counts['rejected']:,}"
    outcomes = (
        f"{counts['outcomes']:,} sent, {counts['outcomes_sent_twice']:,} of them twice; "
        f"{counts['outcomes_logged']:,} logged"
    )
    return [
        ("data set", facts["dataset"]),
        ("held back from training", f"{held_back['decisions']:,} decisions of {held_back['users']:,} users"),
        ("decided = logged = prepared + rejected", adds_up),
        ("outcomes", outcomes),
        ("without the change", _verdict(facts["drift_quiet"])),
        ("the change", facts["shift"]),
        ("after the change", _verdict(facts["drift_shifted"])),
        ("the same again", _verdict(facts["drift_again"])),
        ("retraining runs started", f"{retrained['runs']} ({retrained['run_name']})"),
        ("champion before", f"version {trained['champion_version']}"),
        ("registered from the serving log", f"version {retrained['version']}"),
        ("champion after", f"version {retrained['champion_version']}"),
    ]


def table(facts: Mapping[str, Any]) -> str:
    """The closing table as text."""
    lines = rows(facts)
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def page(facts: Mapping[str, Any]) -> str:
    """The story as one self-contained HTML page: the table, then the timeline."""
    body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows(facts))
    longest = max(step["seconds"] for step in facts["steps"]) or 1.0
    items = "".join(
        f"<li><h3>{html.escape(step['title'])}</h3><div class=bar style='width:{100 * step['seconds'] / longest:.1f}%'>"
        f"</div><p class=time>{html.escape(_clock(step['started_at']))} · {step['seconds']:.1f} s</p>"
        + "".join(f"<p>{html.escape(line)}</p>" for line in step["said"])
        + "</li>"
        for step in facts["steps"]
    )
    return _PAGE.format(table=body, timeline=items)


def _verdict(run: Mapping[str, Any]) -> str:
    if not run["alert"]:
        return f"no alert on {run['rows']:,} decisions"
    return f"ALERT: {', '.join(run['columns'])}. {run['trigger']}"


def _clock(time: str) -> str:
    return f"{datetime.fromisoformat(time):%H:%M:%S} UTC"
