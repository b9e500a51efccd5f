"""What the rules ask of the log beside what it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from homing.pages import number
from homing.pages.canvas import COLOURS, LABEL_WIDTH, ROW, TEXT_WIDTH, VERDICT_COLOURS, WIDTH, opened, shortened


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
    out = [opened(height, label)]
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
        colour = COLOURS["logged"] if item.met else VERDICT_COLOURS["refuse"]
        name = shortened(item.label, 45)
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
