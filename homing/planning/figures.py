"""A plan's figures as inline SVG: what is used of each limit, and what other sizes of one would bring."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from homing.pages import number
from homing.pages.canvas import COLOURS, opened, shortened, ticks

if TYPE_CHECKING:
    from homing.planning.plan import LimitUse
    from homing.planning.sweeping import Sweep

WIDTH, LEFT, RIGHT = 860, 240, 130
INK, BLUE, GREY = COLOURS["champion"], COLOURS["challenger"], COLOURS["reference"]


def usage_svg(usage: Sequence[LimitUse]) -> str:
    """A bar for each limit: the share of it that is used, beside its price."""
    row, top = 26, 26
    height = top + row * len(usage) + 8
    scale = (WIDTH - LEFT - RIGHT) / 1.25
    told = "; ".join(f"{i.name} {_share(i):.0%}" for i in usage)
    out = [opened(height, f"Use of each limit: {told}", WIDTH)]
    one = LEFT + scale
    out.append(f'<text x="{WIDTH - 4}" y="14" text-anchor="end" class="axis">one more unit is worth</text>')
    out.append(f'<text x="{one:.1f}" y="14" text-anchor="middle" class="axis">limit</text>')
    for i, item in enumerate(usage):
        y = top + row * i
        width = min(_share(item), 1.25) * scale
        colour = BLUE if item.binding else GREY
        said = f"{number(item.used)} of {'at least ' if item.floor else ''}{number(item.limit)}"
        name = escape(shortened(item.name, 34))
        out.append(f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end" class="name">{name}</text>')
        out.append(f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="16" rx="3" fill="{colour}"/>')
        inside = width > 170
        at, anchor, ink = (LEFT + width - 6, "end", "#fff") if inside else (LEFT + width + 6, "start", INK)
        out.append(f'<text x="{at:.1f}" y="{y + 14}" text-anchor="{anchor}" fill="{ink}" font-size="12">{said}</text>')
        price = f"{'−' if item.floor else ''}{number(item.price)}" if item.binding else "nothing"
        out.append(f'<text x="{WIDTH - 4}" y="{y + 14}" text-anchor="end" class="value">{price}</text>')
    out.append(f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{top - 6}" y2="{height - 6}" class="ref"/>')
    return "".join([*out, "</svg>"])


def sweep_svg(found: Sweep) -> str:
    """The plan's value over the size of one limit, with today's size marked."""
    width, height, left, base, top = 620, 300, 84, 252, 20
    points = [(point.limit, point.value) for point in found.points if point.value is not None]
    if len(points) < 2:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    pad = 0.08 * ((y1 - y0) or 1.0)

    def x(value: float) -> float:
        return left + (value - x0) / ((x1 - x0) or 1.0) * (width - left - 24)

    def y(value: float) -> float:
        return base - (value - y0 + pad) / ((y1 - y0 + 2 * pad) or 1.0) * (base - top)

    said = "; ".join(f"{number(a)}: {number(b)}" for a, b in points)
    out = [opened(height, f"Value by size of {found.name}: {said}", width)]
    for tick in ticks(y0, y1, 4):
        out.append(f'<line x1="{left}" x2="{width - 24}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>')
        out.append(f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" class="tick">{number(tick)}</text>')
    for tick in ticks(x0, x1, 4):
        out.append(f'<text x="{x(tick):.1f}" y="{base + 18}" text-anchor="middle" class="tick">{number(tick)}</text>')
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    out.append(f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2.5"/>')
    out += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" fill="{BLUE}"/>' for a, b in points]
    if x0 <= found.now <= x1:
        at = x(found.now)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{base}" class="ref"/>')
        out.append(f'<text x="{at + 5:.1f}" y="{top + 10}" class="axis">today</text>')
    middle = (left + width) / 2
    out.append(f'<text x="{middle:.0f}" y="{base + 38}" text-anchor="middle" class="axis">{escape(found.name)}</text>')
    return "".join([*out, "</svg>"])


def _share(item: LimitUse) -> float:
    return item.used / item.limit if item.limit else float(item.used > 0)
