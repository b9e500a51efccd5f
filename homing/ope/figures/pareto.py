"""The Pareto preview: gains on two objectives with their joint region, and what any weights make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from homing.ope.estimate import t_quantile
from homing.pages import number
from homing.pages.canvas import SERIES, opened, shortened, ticks

if TYPE_CHECKING:
    from homing.ope.pareto import Pareto

Scale = Callable[[float], float]
SIDE = 420
LEFT, TOP, RIGHT, BASE = 64, 16, 12, 270
#: Weights that are drawn, between one objective and the other.
STEPS = 41


def regions_svg(found: Pareto, one: int, two: int) -> str:
    """Differences to the champion on two objectives, each with its joint 95% region; the shaded corner is better on
    both.

    A region holds what every weighting of both objectives holds (`Pareto.ends`): an ellipse, larger where an unseen
    user could move it.

    Args:
        found: the policies.
        one, two: the objectives' places.
    """
    pairs = [one, two]
    radius = math.sqrt(-2.0 * math.log(0.05))  # of the 95 % region of two normals
    turn = np.linspace(0.0, 2.0 * math.pi, 73)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    centres = found.differences[:, pairs]
    weights = np.zeros((len(turn), len(found.objectives)))
    weights[:, pairs] = circle.T
    reach = found.ends(weights, radius)[1] - weights @ found.differences.T
    # In each direction as far as the nearest of all lines beyond which a weighting says that nothing is.
    facing = np.cos(turn[:, None] - turn)
    distance = np.where(facing[:, :, None] > 1e-9, reach / np.maximum(facing, 1e-9)[:, :, None], np.inf).min(axis=1)
    edges = [centre[:, None] + out * circle for centre, out in zip(centres, distance.T, strict=True)]
    low, high = ([float(f([f(0.0, *(edge[i].tolist())) for edge in edges])) for i in range(2)] for f in (min, max))
    x, y = (_scale(low[i], high[i], *ends) for i, ends in enumerate(((LEFT, SIDE - RIGHT), (BASE, TOP))))
    names = [found.objectives[i] for i in pairs]
    said = "; ".join(
        f"{policy}: {names[0]} {centre[0]:+.3g}, {names[1]} {centre[1]:+.3g}"
        for policy, centre in zip(found.policies, centres, strict=True)
    )
    out = [opened(_tall(found), f"Differences to {found.champion}. {said}", SIDE), *_axes(x, y, low, high, names)]
    better = [found.directions[i] == "maximize" for i in pairs]
    left, right = (x(0.0), SIDE - RIGHT) if better[0] else (LEFT, x(0.0))
    top, bottom = (TOP, y(0.0)) if better[1] else (y(0.0), BASE)
    out.insert(
        1,
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0):.1f}" height="{max(bottom - top, 0):.1f}" '
        'fill="#15803d" fill-opacity="0.08"/>',
    )
    for i, (centre, edge) in enumerate(zip(centres, edges, strict=True)):
        colour = SERIES[i % len(SERIES)]
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in edge.T)
        out.append(f'<polygon points="{points}" fill="{colour}" fill-opacity="0.12" stroke="{colour}"/>')
        out.append(f'<circle cx="{x(centre[0]):.1f}" cy="{y(centre[1]):.1f}" r="4.5" fill="{colour}"/>')
    out.append(f'<circle cx="{x(0.0):.1f}" cy="{y(0.0):.1f}" r="4.5" fill="#0f172a"/>')
    return "".join([*out, *_legend(found), "</svg>"])


def weights_sweep_svg(found: Pareto, one: int, two: int, level: float) -> str:
    """What each policy gains when the weight moves from one objective to the other, both in shares of the champion's.

    Args:
        found: the policies.
        one, two: the objectives' places.
        level: of the bands.
    """
    pairs = [one, two]
    sign = np.array([1.0 if found.directions[i] == "maximize" else -1.0 for i in pairs])
    unit = sign / np.abs(found.base[pairs])
    share = np.linspace(0.0, 1.0, STEPS)
    w = np.zeros((STEPS, len(found.objectives)))
    w[:, pairs] = np.stack([1.0 - share, share], axis=1) * unit
    values = w @ found.differences.T
    lower, upper = found.ends(w, t_quantile(level, found.df))
    low, high = float(min(lower.min(), 0.0)), float(max(upper.max(), 0.0))
    x, y = _scale(0.0, 1.0, LEFT, SIDE - RIGHT, pad=0.0), _scale(low, high, BASE, TOP)
    names = [found.objectives[i] for i in pairs]
    said = f"Gain over {found.champion} by weight, from {names[0]} alone to {names[1]} alone"
    out = [opened(_tall(found), said, SIDE)]
    for tick in ticks(low, high):
        out.append(f'<line x1="{LEFT}" x2="{SIDE - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" class="tick">{tick:+.0%}</text>')
    out.append(f'<line x1="{LEFT}" x2="{SIDE - RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}" class="ref"/>')
    for i in range(len(found.policies)):
        colour = SERIES[i % len(SERIES)]
        band = [(s, v) for s, v in zip(share, upper[:, i], strict=True)]
        band += [(s, v) for s, v in zip(share[::-1], lower[::-1, i], strict=True)]
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in band)
        line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(share, values[:, i], strict=True))
        out.append(f'<polygon points="{points}" fill="{colour}" fill-opacity="0.12"/>')
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
    for place, anchor, name in ((LEFT, "start", names[0]), (SIDE - RIGHT, "end", names[1])):
        out.append(
            f'<text x="{place}" y="{BASE + 18}" text-anchor="{anchor}" class="tick">{escape(shortened(name, 24))} '
            "alone</text>"
        )
    middle = (LEFT + SIDE - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{BASE + 36}" text-anchor="middle" class="axis">where the weight lies</text>')
    return "".join([*out, *_legend(found), "</svg>"])


def _scale(low: float, high: float, start: float, end: float, *, pad: float = 0.05) -> Scale:
    span = (high - low) or 1e-9
    low, high = low - pad * span, high + pad * span
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _axes(x: Scale, y: Scale, low: list[float], high: list[float], names: list[str]) -> list[str]:
    out = []
    last = -1e9
    for tick in ticks(low[0], high[0], 4):
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{BASE}" class="grid"/>')
        if x(tick) - last > 58:
            last = x(tick)
            shown = number(tick)
            out.append(f'<text x="{last:.1f}" y="{BASE + 18}" text-anchor="middle" class="tick">{shown}</text>')
    for tick in ticks(low[1], high[1]):
        out.append(f'<line x1="{LEFT}" x2="{SIDE - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" class="tick">{number(tick)}</text>')
    out.append(f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{TOP}" y2="{BASE}" class="ref"/>')
    out.append(f'<line x1="{LEFT}" x2="{SIDE - RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}" class="ref"/>')
    across = f"{shortened(names[0], 20)} → · {shortened(names[1], 20)} ↑, per decision"
    middle = (LEFT + SIDE - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{BASE + 36}" text-anchor="middle" class="axis">{escape(across)}</text>')
    return out


def _tall(found: Pareto) -> int:
    return BASE + 48 + 20 * len(found.policies)


def _legend(found: Pareto) -> list[str]:
    out = []
    for i, policy in enumerate(found.policies):
        y = BASE + 58 + 20 * i
        out.append(f'<circle cx="{LEFT + 4}" cy="{y - 4}" r="4.5" fill="{SERIES[i % len(SERIES)]}"/>')
        out.append(f'<text x="{LEFT + 16}" y="{y}" class="value">{escape(shortened(policy, 44))}</text>')
    return out
