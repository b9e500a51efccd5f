"""Small self-contained HTML pages: what a step shows in the Kubeflow UI."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { border-bottom: 1px solid #dfe5ec; padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.note { color: #5b6876; } code { background: #f2f5f8; padding: 0 .25rem; }
iframe { width: 100%; border: 1px solid #dfe5ec; } svg text { font: 11px system-ui, sans-serif; }
"""


def page(title: str, *sections: str) -> str:
    """A page from finished sections."""
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"{head}<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{''.join(sections)}</body></html>\n"


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, *, note: bool = False) -> str:
    """A paragraph; `note` for small print."""
    return f'<p class="note">{html.escape(text)}</p>' if note else f"<p>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand to the right."""
    body = [[(_is_number(cell), show(cell)) for cell in row] for row in rows]
    right = [bool(body) and all(row[i][0] for row in body) for i in range(len(head))]
    cells = "".join(f'<th class="{"n" if r else ""}">{html.escape(h)}</th>' for h, r in zip(head, right, strict=True))
    lines = "".join(
        "<tr>"
        + "".join(f'<td class="{"n" if number else ""}">{html.escape(text)}</td>' for number, text in row)
        + "</tr>"
        for row in body
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def curve(values: Sequence[float], label: str, *, width: int = 420, height: int = 150) -> str:
    """A line over steps, with its first and last value; "" for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = " ".join(
        f"{10 + (width - 80) * i / (len(values) - 1):.1f},{height - 20 - (height - 40) * (v - low) / span:.1f}"
        for i, v in enumerate(values)
    )
    last = points.rsplit(" ", 1)[-1].split(",")
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{html.escape(label)}">'
        f'<polyline points="{points}" fill="none" stroke="#2563a8" stroke-width="1.5"/>'
        f'<text x="10" y="12">{html.escape(label)}: {show(float(values[0]))} → {show(float(values[-1]))}</text>'
        f'<text x="{float(last[0]) + 5}" y="{float(last[1]) + 4}">{show(float(values[-1]))}</text></svg>'
    )


def show(value: object) -> str:
    """A value for people: thousands separated, four significant digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{int(value):,}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"[+-]?[\d,]+(\.\d+)?", value))
    return isinstance(value, int | float) and not isinstance(value, bool)
