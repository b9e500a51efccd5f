"""What people read, in one style: numbers in words, forest plots as inline SVG, self-contained pages.

Rooms with reports of their own (`homing.ope`, `homing.promotion`, `homing.experiments`) bring templates and figures.
"""

from __future__ import annotations

from homing.pages.canvas import ticks
from homing.pages.forest import Bar, forest_svg
from homing.pages.lines import Line, lines_svg
from homing.pages.page import page
from homing.pages.text import decimals, number, parts, percent, table

__all__ = [
    "Bar",
    "Line",
    "decimals",
    "forest_svg",
    "lines_svg",
    "number",
    "page",
    "parts",
    "percent",
    "table",
    "ticks",
]
