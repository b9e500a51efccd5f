"""Segments whose effect differs: searched on one half of the units, told and tested on the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe
from homing.experiments.decomposition.means import PairedMeans
from homing.experiments.decomposition.mix_rate import contributions
from homing.experiments.decomposition.result import Decomposition, assemble, holm, p_values
from homing.experiments.decomposition.rows import Rows
from homing.experiments.decomposition.search import Cell, find_cells

_MOST_VALUES = 500
Numbers = NDArray[np.inexact]


def segments(rows: Rows, *, most: int, depth: int, level: float, rng: np.random.Generator) -> Decomposition:
    """What each segment that was found, and all others, added to the movement among units that the search has not seen.

    A segment's p-value is that of an effect as among the units that are in none of the segments so far, adjusted for
    all that were found (Holm): where no effect differs, the chance that any is below .05 is at most .05, however many
    cells were searched.
    """
    rows.check_one_row_each()
    for name, labels in zip(rows.by, rows.labels, strict=True):
        if len(labels) > _MOST_VALUES:
            bound = f"must be at most {_MOST_VALUES}"
            raise InvalidInputError(
                describe(f"values of {name!r}", len(labels), bound, "Cut it into a few ranges first.")
            )
    for name, value, longest in (("most", most, 20), ("depth", depth, 2)):
        if value not in range(1, longest + 1):
            raise InvalidInputError(describe(name, value, f"must be a whole number in [1, {longest}]"))
    searched = _half(rows, rng)
    half = rows.of(searched)
    cells = find_cells(
        (half.top - half.pooled * half.bottom) / half.bottom.mean(),
        half.compared,
        half.codes,
        [len(values) for values in rows.labels],
        most=most,
        depth=depth,
        least_units=max(2, min(100, len(half.top) // 100)),
    )
    return _tell(rows.of(~searched), cells, level)


def contrast(means: Numbers) -> Numbers:
    """The effect inside a segment minus that outside, (…, 1), of means (…, 2, 4).

    The means are of the outcome inside, of being inside, of the outcome outside, of being outside.

    >>> contrast(np.array([[0.5, 0.5, 1.0, 0.5], [2.0, 0.5, 1.5, 0.5]])).tolist()
    [2.0]
    """
    inside, outside = means[..., 0] / means[..., 1], means[..., 2] / means[..., 3]
    return (inside[..., 1:] - inside[..., :1]) - (outside[..., 1:] - outside[..., :1])


def _tell(rows: Rows, cells: list[Cell], level: float) -> Decomposition:
    names = [cell.name(rows.by, rows.labels) for cell in cells]
    # Told apart from the pooled rate, what a segment adds is its effect, not how many happened to be in it.
    y = rows.top - rows.pooled * rows.bottom
    rest = len(cells)
    segment = np.full(len(y), rest)
    tests = []
    for i, (cell, name) in enumerate(zip(cells, names, strict=True)):
        inside = (segment == rest) & cell.holds(rows.codes)
        tests.append(_p_value(rows, y, inside, (segment == rest) & ~inside, name))
        segment[inside] = i
    places = np.column_stack([segment, np.full(len(y), rest + 1)])
    means = PairedMeans.of_rows(rows.compared, rows.units, places, np.column_stack([y, rows.bottom]), rest + 2)
    return assemble(
        rows.movement,
        "segments",
        means.through(contributions),
        means.df,
        names=[*names, "all others"],
        parts=["segment"] * rest + ["rest"],
        segments=[*names, None],
        level=level,
        tests=[*holm(np.array(tests)).tolist(), None],
        notes=(f"Told on the {len(y)} rows that the search has not seen.",),
    )


def _p_value(
    rows: Rows, y: NDArray[np.float64], inside: NDArray[np.bool_], outside: NDArray[np.bool_], name: str
) -> float:
    for place, some in (("inside", inside), ("outside", outside)):
        smaller = int(min((some & rows.compared).sum(), (some & ~rows.compared).sum()))
        if smaller < 2:
            raise SupportError(
                describe(
                    f"units {place} segment {name!r} in a group", smaller, "must be >= 2", "Look for fewer segments."
                )
            )
    some = inside | outside
    places = np.where(inside, 0, 2)[some, None] + np.array([0, 1])
    values = np.column_stack([y[some], rows.bottom[some]])
    means = PairedMeans.of_rows(
        rows.compared[some], None if rows.units is None else rows.units[some], places, values, 4
    )
    value, covariance = means.through(contrast)
    return float(p_values(value, np.diag(covariance), means.df)[0])


def _half(rows: Rows, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random half, (n,); rows of one unit stay together."""
    if rows.units is None:
        return rng.random(len(rows.top)) < 0.5
    return (rng.random(int(rows.units.max()) + 1) < 0.5)[rows.units]
