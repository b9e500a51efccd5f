"""Lines over looks: how numbers and their bounds moved as data came in."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from homing.pages.canvas import opened, shortened, ticks
from homing.pages.text import number

SIDE, TALL = 420, 230
LEFT, RIGHT, TOP, BASE = 62, 14, 16, 178
_LEGEND = 150


@dataclass(frozen=True)
class Line:
    """One line of a figure.

    Attributes:
        label: what it is, for the legend.
        values: one for each look; not finite where there is none: the line has a gap there.
        colour: of the line, and of its band.
        lower: lower end of a band around it.
        upper: upper end of a band around it.
        dashed: for bounds.
    """

    label: str
    values: Sequence[float]
    colour: str
    lower: Sequence[float] | None = None
    upper: Sequence[float] | None = None
    dashed: bool = False


def lines_svg(
    lines: Sequence[Line],
    looks: Sequence[str],
    *,
    label: str,
    reference: float | None = None,
    limit: float | None = None,
    span: tuple[float, float] | None = None,
) -> str:
    """Lines over looks, with gaps where a number is missing, and dots where a number stands alone.

    Args:
        lines: at most four are told apart in the legend.
        looks: the looks' names, first to last; three are written.
        label: of the upright axis.
        reference: where a dotted line lies across.
        limit: where a red line lies across.
        span: lowest and highest value that is drawn, what lies beyond is cut; by default all there is.

    Example:
        >>> svg = lines_svg([Line("z", [0.5, 1.0], "#2563eb")], ["1 March", "2 March"], label="z", reference=0.0)
        >>> svg.count("<polyline"), "2 March" in svg
        (1, True)
    """
    low, high = span or _span(lines, [value for value in (reference, limit) if value is not None])

    def x(place: float) -> float:
        return LEFT + place / max(len(looks) - 1, 1) * (SIDE - LEFT - RIGHT)

    def y(value: float) -> float:
        return BASE - (value - low) / (high - low) * (BASE - TOP)

    said = f"{label} over {len(looks)} looks: {', '.join(line.label for line in lines)}"
    out = [opened(TALL, said, SIDE)]
    for tick in ticks(low, high, 4):
        out.append(f'<line x1="{LEFT}" x2="{SIDE - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" class="tick">{number(tick)}</text>')
    for value, kind in ((reference, "ref"), (limit, "limit")):
        if value is not None:
            out.append(
                f'<line x1="{LEFT}" x2="{SIDE - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="{kind}"/>'
            )
    last = len(looks) - 1
    for place in sorted({0, last // 2, last}):
        anchor = "start" if place == 0 else "end" if place == last else "middle"
        at = f'x="{x(place):.1f}" y="{BASE + 16}" text-anchor="{anchor}"'
        out.append(f'<text {at} class="tick">{escape(looks[place])}</text>')
    drawn = "".join(part for line in lines for part in _drawn(line, x, y))
    inside = f"inside-{zlib.crc32(drawn.encode()):08x}"
    frame = f'x="{LEFT}" y="{TOP - 4}" width="{SIDE - LEFT - RIGHT + 4}" height="{BASE - TOP + 8}"'
    out.append(f'<clipPath id="{inside}"><rect {frame}/></clipPath><g clip-path="url(#{inside})">{drawn}</g>')
    columns = 1 if len(lines) <= 2 else 2
    for i, line in enumerate(lines[:4]):
        across, down = LEFT + (i % columns) * _LEGEND, BASE + 34 + 15 * (i // columns)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        out.append(
            f'<line x1="{across}" x2="{across + 16}" y1="{down - 4}" y2="{down - 4}" stroke="{line.colour}" '
            f'stroke-width="2.5"{dash}/><text x="{across + 21}" y="{down}" class="axis">'
            f"<title>{escape(line.label)}</title>{escape(shortened(line.label, 46 // columns))}</text>"
        )
    out.append(f'<text x="{LEFT}" y="{TOP - 5}" class="axis">{escape(label)}</text>')
    return "".join([*out, "</svg>"])


def _drawn(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> Iterator[str]:
    """The band, then the line; what stands alone as a bar and a dot."""
    if line.lower is not None and line.upper is not None:
        for part in _runs(line.lower, line.upper):
            edge = [(k, line.upper[k]) for k in part] + [(k, line.lower[k]) for k in reversed(part)]
            points = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value in edge)
            frame = f'stroke="{line.colour}" stroke-opacity="0.45"' if len(part) == 1 else 'stroke="none"'
            yield f'<polygon points="{points}" fill="{line.colour}" fill-opacity="0.14" stroke-width="4" {frame}/>'
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    for part in _runs(line.values):
        points = " ".join(f"{x(k):.1f},{y(line.values[k]):.1f}" for k in part)
        if len(part) == 1:
            yield f'<circle cx="{x(part[0]):.1f}" cy="{y(line.values[part[0]]):.1f}" r="3.5" fill="{line.colour}"/>'
        else:
            yield f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>'


def _runs(*columns: Sequence[float]) -> list[list[int]]:
    """Neighbouring places at which every column has a number."""
    out: list[list[int]] = []
    for place, values in enumerate(zip(*columns, strict=True)):
        if not all(math.isfinite(value) for value in values):
            continue
        if out and out[-1][-1] == place - 1:
            out[-1].append(place)
        else:
            out.append([place])
    return out


def _span(lines: Sequence[Line], also: Sequence[float]) -> tuple[float, float]:
    known = [
        value for line in lines for column in (line.values, line.lower or (), line.upper or ()) for value in column
    ]
    known = [value for value in [*known, *also] if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    pad = 0.05 * ((high - low) or max(abs(high), 1.0))
    return low - pad, high + pad
