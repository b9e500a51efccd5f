"""The forest plot: one row a policy, its interval as a line, its value as a dot and in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from homing.estimates import Estimate
from homing.pages.canvas import COLOURS, LABEL_WIDTH, ROW, TEXT_WIDTH, WIDTH, opened, shortened, ticks
from homing.pages.text import number, parts


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

    out = [opened(height, f"{label}: value and interval of each policy")]
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


def _row(bar: Bar, y: float, at: Callable[[float], float], low: float, high: float) -> list[str]:
    item = bar.estimate
    colour = COLOURS[bar.role]
    strong = bar.role != "reference"
    x0, x1, x = at(item.lower), at(item.upper), at(item.value)
    name = shortened(bar.label, 27)
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
