"""Figures as inline SVG, drawn here: a few lines and circles need no plotting library, and the text stays text."""

from __future__ import annotations

from homing.ope.figures.demands import Demand, demands_svg
from homing.ope.figures.pareto import regions_svg, weights_sweep_svg
from homing.ope.figures.support_map import support_map_svg
from homing.ope.figures.weights import tail_svg, weights_svg

__all__ = [
    "Demand",
    "demands_svg",
    "regions_svg",
    "support_map_svg",
    "tail_svg",
    "weights_svg",
    "weights_sweep_svg",
]
