"""What every figure shares: sizes, colours, the opening tag with its text alternative, round numbers on axes."""

from __future__ import annotations

import math
from html import escape

WIDTH = 890
LABEL_WIDTH = 210
TEXT_WIDTH = 230
ROW = 26
COLOURS = {"challenger": "#2563eb", "champion": "#0f172a", "logged": "#0f766e", "reference": "#94a3b8"}
#: Of a verdict, or of what is not met.
VERDICT_COLOURS = {"fine": "#15803d", "caution": "#b45309", "refuse": "#b91c1c"}
#: Apart for people who do not see all colours alike; one a challenger.
SERIES = ("#2563eb", "#c2410c", "#7c3aed", "#0f766e", "#be185d", "#4d7c0f", "#0369a1", "#78350f")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two bounds; the bound itself where both are one.

    >>> ticks(0.0, 1.0), ticks(0.0, 0.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0])
    """
    if low == high:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if raw <= power * m * 1.0001)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]


def shortened(text: str, longest: int) -> str:
    """A label that fits, with an ellipsis where it was cut.

    >>> shortened("always the long offer", 12)
    'always the …'
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def opened(height: float, title: str, width: int = WIDTH) -> str:
    """The opening tag: as wide as there is room, with what the figure shows in words."""
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )
