"""Importance weights: how they are spread, and how slowly the largest fall off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from homing.pages.canvas import COLOURS, opened


def weights_svg(edges: Sequence[float], counts: Sequence[int], zero_share: float, role: str, label: str) -> str:
    """A histogram of importance weights on a logarithmic axis, with a line at 1 and the share of zeros in words."""
    width, height, base = 420, 170, 128
    out = [opened(height, f"{label}: histogram of importance weights", width)]
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


def tail_svg(edges: Sequence[float], counts: Sequence[int], threshold: float, role: str, label: str, k: float) -> str:
    """How many rows weigh at least so much, both on logarithmic axes, beside the slope from which on tails are heavy.

    Args:
        edges, counts: the histogram of log10(weight).
        threshold: the Pareto k from which on estimates are unreliable; its slope is -1 / k.
        role: its colour.
        label: whose weights.
        k: of the fitted tail.
    """
    width, height, top, base, left = 420, 190, 28, 148, 48
    total = sum(counts)
    out = [opened(height, f"{label}: share of rows by least importance weight; Pareto k is {k:.2f}", width)]
    out.append(f'<text x="8" y="16" class="name">{escape(label)}</text>')
    out.append(f'<text x="{width - 8}" y="16" text-anchor="end" class="faint">Pareto k {k:.2f}</text>')
    above = [sum(counts[i:]) / total for i in range(len(counts))]
    # The left end of each bin that holds rows: the share that weighs at least so much.
    points = [(edge, math.log10(share)) for edge, share, count in zip(edges, above, counts, strict=False) if count]
    points.append((edges[-1], points[-1][1]))
    low, high = min(edges[0], 0.0) - 0.05, max(edges[-1], 0.0) + 0.05
    bottom = min(math.floor(points[-1][1]), -1)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 12)

    def y(value: float) -> float:
        return top + value / bottom * (base - top)

    for power in range(bottom, 1):
        out.append(f'<line x1="{left}" x2="{width - 12}" y1="{y(power):.1f}" y2="{y(power):.1f}" class="grid"/>')
        shown = f"{100 * 10**power:g}%"
        out.append(f'<text x="{left - 6}" y="{y(power) + 4:.1f}" text-anchor="end" class="tick">{shown}</text>')
    last = -1e9
    for tick in _weight_ticks(low, high):
        if x(tick) - last >= 44:
            last = x(tick)
            out.append(f'<text x="{last:.1f}" y="{base + 16}" text-anchor="middle" class="tick">{10**tick:.3g}</text>')
    # From the heaviest twentieth on, where the tail begins.
    start = next((point for point in points if point[1] <= math.log10(0.05)), None)
    said = "share of rows that weigh at least this"
    if start is not None:
        end = min(high, start[0] + threshold * (start[1] - bottom))
        said += f"; red: k = {threshold:.2f}"
        out.append(
            f'<line x1="{x(start[0]):.1f}" y1="{y(start[1]):.1f}" x2="{x(end):.1f}" '
            f'y2="{y(start[1] - (end - start[0]) / threshold):.1f}" class="limit" stroke-dasharray="5 4"/>'
        )
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[role]}" stroke-width="2.5"/>')
    out.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle" class="axis">{said}</text>')
    return "".join([*out, "</svg>"])
