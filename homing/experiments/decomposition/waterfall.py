"""A decomposition drawn as a waterfall: from before to after, one row a term."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homing.experiments.decomposition.result import Decomposition, Term

WIDTH, LABEL, NUMBERS, ROW = 890, 250, 200, 26
_UP, _DOWN, _TOTAL, _FAINT = "#2563eb", "#c2410c", "#0f172a", "#94a3b8"


def waterfall_svg(result: Decomposition) -> str:
    """Bars that start where the bar above ended; whiskers are the terms' intervals, numbers stand beside them.

    Bars whose interval holds 0 are grey.
    """
    starts, at = [], result.before
    for item in result.terms:
        starts.append(at)
        at += item.estimate.value
    pairs = list(zip(starts, result.terms, strict=True))
    edges = [result.before, result.after]
    edges += [start + end for start, item in pairs for end in (0.0, item.estimate.lower, item.estimate.upper)]
    low = min(edges)
    room = (max(edges) - low) or 1.0

    def x(value: float) -> float:
        return LABEL + (value - low) / room * (WIDTH - LABEL - NUMBERS)

    height = ROW * (len(pairs) + 2) + 12
    title = f"{result.metric}: from {result.baseline} to {result.comparison}, term by term"
    out = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="13">',
        _end(result.baseline, result.before, x, _middle(0)),
    ]
    out += [_bar(item, start, x, _middle(i)) for i, (start, item) in enumerate(pairs, start=1)]
    out.append(_end(result.comparison, result.after, x, _middle(len(pairs) + 1)))
    return "".join([*out, "</svg>"])


def _middle(row: int) -> float:
    return 6 + ROW * row + ROW / 2


def _end(name: str, value: float, x: Callable[[float], float], y: float) -> str:
    dot = f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="5" fill="{_TOTAL}"/>'
    return _label(name, y) + dot + _number(f"{value:.4g}", y)


def _bar(item: Term, start: float, x: Callable[[float], float], y: float) -> str:
    estimate = item.estimate
    left, right = sorted((x(start), x(start + estimate.value)))
    sure = estimate.lower > 0 or estimate.upper < 0
    colour = (_UP if estimate.value >= 0 else _DOWN) if sure else _FAINT
    return (
        _label(item.name, y)
        + f'<rect x="{left:.1f}" y="{y - 8:.1f}" width="{max(right - left, 1.0):.1f}" height="16" fill="{colour}"/>'
        + f'<line x1="{x(start + estimate.lower):.1f}" x2="{x(start + estimate.upper):.1f}" y1="{y:.1f}" '
        + f'y2="{y:.1f}" stroke="{_TOTAL}"/>'
        + _number(str(estimate), y)
    )


def _label(text: str, y: float) -> str:
    shown = text if len(text) <= 34 else text[:33] + "…"
    return (
        f'<text x="{LABEL - 12}" y="{y + 4:.1f}" text-anchor="end"><title>{escape(text)}</title>{escape(shown)}</text>'
    )


def _number(text: str, y: float) -> str:
    return f'<text x="{WIDTH - NUMBERS + 12}" y="{y + 4:.1f}">{escape(text)}</text>'
