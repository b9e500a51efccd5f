"""Figures as inline SVG, drawn here: a few lines and circles need no plotting library, and the text stays text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from homing.ope.estimate import Estimate
from homing.ope.text import number, parts

WIDTH = 890
LABEL_WIDTH = 210
TEXT_WIDTH = 230
ROW = 26
COLOURS = {"challenger": "#2563eb", "champion": "#0f172a", "logged": "#0f766e", "reference": "#94a3b8"}


@dataclass(frozen=True)
class Bar:
    """One row of a forest plot.

    Attributes:
        label: what it is.
        estimate: value and interval.
        role: `challenger`, `champion`, `logged` or `reference`: its colour and weight.
        doubtful: the log does not support it: drawn as a hollow dot, without the interval that it does not deserve.
    """

    label: str
    estimate: Estimate
    role: str = "reference"
    doubtful: bool = False


def forest_svg(bars: Sequence[Bar], *, label: str, reference: float | None = None, limit: float | None = None) -> str:
    """A forest plot: one row a policy, its interval as a line, its value as a dot and in numbers.

    Args:
        bars: rows, top to bottom.
        label: of the axis, with its unit.
        reference: where the dotted vertical line stands (the champion's value).
        limit: where the red line of a guardrail stands.
    """
    low, high = _range(bars, [x for x in (reference, limit) if x is not None])
    left, right = LABEL_WIDTH, WIDTH - TEXT_WIDTH
    height = ROW * len(bars) + 46

    def at(value: float) -> float:
        share = (value - low) / (high - low)
        return left + min(max(share, 0.0), 1.0) * (right - left)

    out = [_open(height, f"{label}: value and interval of each policy")]
    for tick in ticks(low, high):
        x = at(tick)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 38}" class="grid"/>')
        out.append(f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle" class="tick">{number(tick)}</text>')
    if reference is not None:
        out.append(f'<line x1="{at(reference):.1f}" x2="{at(reference):.1f}" y1="4" y2="{height - 38}" class="ref"/>')
    if limit is not None:
        out.append(f'<line x1="{at(limit):.1f}" x2="{at(limit):.1f}" y1="4" y2="{height - 38}" class="limit"/>')
    for i, bar in enumerate(bars):
        out += _row(bar, 4 + ROW * i + ROW / 2, at, low, high)
    out.append(
        f'<text x="{(left + right) / 2:.0f}" y="{height - 4}" text-anchor="middle" class="axis">{escape(label)}</text>'
    )
    return "".join([*out, "</svg>"])


def _row(bar: Bar, y: float, at: object, low: float, high: float) -> list[str]:
    assert callable(at)
    item = bar.estimate
    colour = COLOURS[bar.role]
    strong = bar.role != "reference"
    x0, x1, x = at(item.lower), at(item.upper), at(item.value)
    name = bar.label if len(bar.label) <= 30 else bar.label[:29] + "…"
    out = [
        f'<text x="{LABEL_WIDTH - 12}" y="{y + 4:.1f}" text-anchor="end" class="{"name" if strong else "faint"}">'
        f"<title>{escape(bar.label)}</title>{escape(name)}</text>",
    ]
    if not bar.doubtful:
        out.append(
            f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="{3 if strong else 2}" stroke-linecap="round"/>'
        )
    # An arrow where the interval goes on beyond the figure.
    if item.lower < low and not bar.doubtful:
        out.append(f'<path d="M{x0:.1f} {y - 5} l-6 5 l6 5 z" fill="{colour}"/>')
    if item.upper > high and not bar.doubtful:
        out.append(f'<path d="M{x1:.1f} {y - 5} l6 5 l-6 5 z" fill="{colour}"/>')
    if low <= item.value <= high:
        fill = "#ffffff" if bar.doubtful else colour
        radius = 5 if strong else 4
        out.append(f'<circle cx="{x:.1f}" cy="{y}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="2"/>')
    value, lower, upper = parts(item)
    text = "not supported by this log" if bar.doubtful else f"{value} [{lower}, {upper}]"
    style = "value" if strong else "faint"
    out.append(f'<text x="{WIDTH - TEXT_WIDTH + 16}" y="{y + 4:.1f}" class="{style}">{text}</text>')
    return out


def _range(bars: Sequence[Bar], also: Sequence[float]) -> tuple[float, float]:
    """Wide enough for every value and the main intervals; a hopeless reference does not squeeze the others."""
    main = [bar.estimate for bar in bars if bar.role != "reference"] or [bar.estimate for bar in bars]
    low = min([item.lower for item in main] + [bar.estimate.value for bar in bars] + list(also))
    high = max([item.upper for item in main] + [bar.estimate.value for bar in bars] + list(also))
    span = (high - low) or max(abs(high), 1e-3)
    lowest = min(bar.estimate.lower for bar in bars)
    highest = max(bar.estimate.upper for bar in bars)
    low, high = max(lowest, low - 0.5 * span) if lowest < low else low, min(highest, high + 0.5 * span)
    low, high = min([low, *also]), max([high, *also])
    pad = 0.04 * ((high - low) or span)
    return low - pad, high + pad


@dataclass(frozen=True)
class Demand:
    """One row of a plot of demands: what was found, and what was asked for.

    Attributes:
        label: what was measured.
        value: what was found.
        limit: what was asked for.
        at_least: whether more is good; otherwise less is.
        met: whether it holds.
    """

    label: str
    value: float
    limit: float
    at_least: bool
    met: bool


def demands_svg(demands: Sequence[Demand], *, label: str) -> str:
    """Bars of what was found over what was asked for, with a line at 1; numbers stand beside them.

    Args:
        demands: rows, top to bottom.
        label: of the axis.
    """
    left, right = LABEL_WIDTH + 150, WIDTH - TEXT_WIDTH  # these labels are sentences
    height = ROW * len(demands) + 46
    longest = 2.0  # bars are cut where they are far beyond
    out = [_open(height, label)]
    for tick in (0.0, 0.5, 1.0, 1.5, 2.0):
        x = left + tick / longest * (right - left)
        kind = "limit" if tick == 1.0 else "grid"
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 38}" class="{kind}"/>')
        shown = f"{tick:g}" if tick < longest else f"≥ {tick:g}"
        out.append(f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle" class="tick">{shown}</text>')
    for i, item in enumerate(demands):
        y = 4 + ROW * i + ROW / 2
        ratio = item.value / item.limit if item.limit else (0.0 if item.value == 0.0 and not item.at_least else longest)
        wide = min(ratio, longest) / longest * (right - left)
        colour = COLOURS["logged"] if item.met else "#b91c1c"
        name = item.label if len(item.label) <= 45 else item.label[:44] + "…"
        sign = "≥" if item.at_least else "≤"
        out.append(
            f'<text x="{left - 12}" y="{y + 4:.1f}" text-anchor="end" class="name"><title>{escape(item.label)}</title>'
            f"{escape(name)}</text>"
            f'<rect x="{left}" y="{y - 6:.1f}" width="{wide:.1f}" height="12" fill="{colour}"/>'
            f'<text x="{right + 16}" y="{y + 4:.1f}" class="value">'
            f"{number(item.value)} ({sign} {number(item.limit)})</text>"
        )
    out.append(
        f'<text x="{(left + right) / 2:.0f}" y="{height - 4}" text-anchor="middle" class="axis">{escape(label)}</text>'
    )
    return "".join([*out, "</svg>"])


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two bounds.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if raw <= power * m * 1.0001)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]


def weights_svg(edges: Sequence[float], counts: Sequence[int], zero_share: float, role: str, label: str) -> str:
    """A histogram of importance weights on a logarithmic axis, with a line at 1 and the share of zeros in words."""
    width, height, base = 420, 170, 128
    out = [_open(height, f"{label}: histogram of importance weights", width)]
    out.append(f'<text x="8" y="16" class="name">{escape(label)}</text>')
    if zero_share > 0:
        out.append(
            f'<text x="{width - 8}" y="16" text-anchor="end" class="faint">{zero_share:.0%} of rows weigh 0</text>'
        )
    if counts:
        low, high = min(edges[0], 0.0) - 0.05, max(edges[-1], 0.0) + 0.05
        top = max(counts)

        def at(value: float) -> float:
            return 12 + (value - low) / (high - low) * (width - 24)

        for left, right, count in zip(edges, edges[1:], counts, strict=False):
            tall = 96 * count / top
            if count:
                tall = max(tall, 1.5)
                wide = max(at(right) - at(left) - 1, 1)
                out.append(
                    f'<rect x="{at(left):.1f}" y="{base - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
                    f'fill="{COLOURS[role]}" fill-opacity="0.8"><title>{10**left:.3g} to '
                    f"{10**right:.3g}: {count:,} rows</title></rect>"
                )
        out.append(f'<line x1="{at(0):.1f}" x2="{at(0):.1f}" y1="26" y2="{base}" class="ref"/>')
        out.append(f'<line x1="12" x2="{width - 12}" y1="{base}" y2="{base}" class="grid"/>')
        last = -1e9
        for power in _weight_ticks(low, high):
            if at(power) - last < 44:
                continue
            last = at(power)
            anchor = "start" if last < 24 else "middle"
            out.append(
                f'<text x="{last:.1f}" y="{base + 16}" text-anchor="{anchor}" class="tick">{10**power:.3g}</text>'
            )
    out.append(
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle" class="axis">importance weight (log scale)</text>'
    )
    return "".join([*out, "</svg>"])


def _weight_ticks(low: float, high: float) -> list[float]:
    if high - low > 2:
        return [float(power) for power in range(math.ceil(low), math.floor(high) + 1)]
    steps = [math.log10(m) + p for p in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    inside = [step for step in steps if low <= step <= high]
    return inside or [0.0]


def _open(height: float, title: str, width: int = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )
