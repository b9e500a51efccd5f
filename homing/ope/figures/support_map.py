"""The support map: what a policy would send to whom, and whether the log can tell."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from homing.pages import number
from homing.pages.canvas import LABEL_WIDTH, VERDICT_COLOURS, WIDTH, opened, shortened

if TYPE_CHECKING:
    from homing.ope.support_map import Cell, SupportMap

TALL = 46


def support_map_svg(found: SupportMap) -> str:
    """A heat map: a row a message, a column a segment, the darker the more the policy sends; frames are verdicts.

    Args:
        found: the map.
    """
    count = len(found.segments)
    wide = (WIDTH - LABEL_WIDTH) / max(count, 1)
    height = 34 + TALL * len(found.messages) + 44
    troubled = sum(cell.verdict != "fine" for cell in found.cells)
    said = (
        "the log supports all of it" if not troubled else f"doubtful support in {troubled} of {len(found.cells)} cells"
    )
    what = f"{found.policy}: what it sends by {found.feature}, {len(found.messages)} messages, {count} segments; {said}"
    out = [opened(height, what)]
    for j, segment in enumerate(found.segments):
        x = LABEL_WIDTH + wide * (j + 0.5)
        name = shortened(segment.removeprefix(found.feature).lstrip(" ="), int(wide / 7))
        out.append(
            f'<text x="{x:.1f}" y="20" text-anchor="middle" class="tick"><title>{escape(segment)}, '
            f"{found.rows[j]:,} rows</title>{escape(name)}</text>"
        )
    for i, message in enumerate(found.messages):
        y = 34 + TALL * i
        out.append(
            f'<text x="{LABEL_WIDTH - 12}" y="{y + TALL / 2 + 4:.1f}" text-anchor="end" class="name">'
            f"<title>{escape(message)}</title>{escape(shortened(message, 26))}</text>"
        )
        for j in range(count):
            out += _cell(found.cells[i * count + j], LABEL_WIDTH + wide * j, y, wide)
    out.append(
        f'<text x="{LABEL_WIDTH}" y="{height - 26}" class="axis">Share of the policy’s choices in the segment; below '
        "it the log’s share · effective rows.</text>"
        f'<text x="{LABEL_WIDTH}" y="{height - 8}" class="axis">Framed amber: few rows tell; red: too few, or it was '
        "never sent there.</text>"
    )
    return "".join([*out, "</svg>"])


def _cell(cell: Cell, x: float, y: float, wide: float) -> list[str]:
    """One message in one segment."""
    share = f"{cell.policy_share:.0%}" if cell.policy_share >= 0.095 else f"{cell.policy_share:.1%}"
    said = (
        f"{cell.message}, {cell.segment}: {cell.policy_share:.1%} of the policy's choices, {cell.logged_share:.1%} of "
        f"the log's ({cell.logged:,} rows), effective rows {number(cell.ess)}: {cell.verdict}"
    )
    frame = "#e2e8f0" if cell.verdict == "fine" else VERDICT_COLOURS[cell.verdict]
    ink = "#ffffff" if cell.policy_share > 0.55 else "#0f172a"
    middle = x + wide / 2
    return [
        f"<g><title>{escape(said)}</title>"
        f'<rect x="{x + 2:.1f}" y="{y + 2:.1f}" width="{wide - 4:.1f}" height="{TALL - 4}" fill="#2563eb" '
        f'fill-opacity="{min(cell.policy_share, 1.0) ** 0.7:.3f}" stroke="none"/>'
        f'<rect x="{x + 2:.1f}" y="{y + 2:.1f}" width="{wide - 4:.1f}" height="{TALL - 4}" fill="none" '
        f'stroke="{frame}" stroke-width="{1 if cell.verdict == "fine" else 3}"/>'
        f'<text x="{middle:.1f}" y="{y + 20:.1f}" text-anchor="middle" style="fill:{ink};font-weight:600">'
        f"{share}</text>"
        f'<text x="{middle:.1f}" y="{y + 36:.1f}" text-anchor="middle" style="fill:{ink};font-size:10.5px">'
        f"{cell.logged_share:.0%} · {number(round(cell.ess))}</text></g>"
    ]
