"""A search for segments in which an effect differs from that elsewhere: suspects, to be tested on fresh units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """Units with given values of one or two dimensions.

    Attributes:
        where: pairs of dimension (its position) and value (its code).
    """

    where: tuple[tuple[int, int], ...]

    def holds(self, codes: Sequence[IntArray]) -> NDArray[np.bool_]:
        """Which units are in it, (n,)."""
        out = np.ones(len(codes[0]), dtype=np.bool_)
        for dimension, value in self.where:
            out &= codes[dimension] == value
        return out

    def name(self, dimensions: Sequence[str], labels: Sequence[Sequence[str]]) -> str:
        """For people: `platform = ios and country = SE`."""
        return " and ".join(f"{dimensions[d]} = {labels[d][value]}" for d, value in self.where)


def find_cells(
    y: FloatArray,
    treated: NDArray[np.bool_],
    codes: Sequence[IntArray],
    sizes: Sequence[int],
    *,
    most: int,
    depth: int,
    least_units: int,
) -> list[Cell]:
    """Up to `most` cells by the size of their contrast with all other units, in standard errors; greedily.

    After each, its units are set aside, so that what is found next is not the same again. What is returned is a list
    of suspects: among hundreds of cells some differ by chance, and only fresh units tell which.

    Args:
        y: (n,) outcomes.
        treated: (n,).
        codes: of each dimension, (n,) from 0.
        sizes: number of values of each dimension.
        most: cells to return.
        depth: dimensions of a cell, 1 or 2.
        least_units: of each group in a cell, and out of it.
    """
    spaces = [space for size in range(1, depth + 1) for space in combinations(range(len(codes)), size)]
    left = np.ones(len(y), dtype=np.bool_)
    found: list[Cell] = []
    while len(found) < most:
        rows = np.flatnonzero(left)
        best, strongest = None, 0.0
        for space in spaces:
            index, shape = _joint(space, codes, sizes, rows)
            z = _strengths(y[rows], treated[rows], index, int(np.prod(shape)), least_units)
            at = int(np.argmax(z))
            if z[at] > strongest:
                values = np.unravel_index(at, shape)
                best = Cell(tuple((d, int(value)) for d, value in zip(space, values, strict=True)))
                strongest = float(z[at])
        if best is None:
            break
        found.append(best)
        left &= ~best.holds(codes)
    return found


def _joint(
    space: tuple[int, ...], codes: Sequence[IntArray], sizes: Sequence[int], rows: IntArray
) -> tuple[IntArray, tuple[int, ...]]:
    """One number for the values of several dimensions, of some rows."""
    shape = tuple(sizes[d] for d in space)
    index = codes[space[0]][rows]
    for d in space[1:]:
        index = index * sizes[d] + codes[d][rows]
    return index, shape


def _strengths(y: FloatArray, treated: NDArray[np.bool_], index: IntArray, cells: int, least_units: int) -> FloatArray:
    """|z| of each cell's contrast with all other units, (cells,); 0 where there are too few units."""
    n, total, square = _sums(2 * index + treated, y, 2 * cells)
    inside = (n, total, square)
    outside = tuple(_all_but(item) for item in inside)
    effects, variances = _effects(*inside)
    rest_effects, rest_variances = _effects(*outside)
    enough = (np.minimum(n, outside[0]).reshape(-1, 2) >= least_units).all(axis=1)
    variance = variances + rest_variances
    usable = enough & (variance > 0)
    out: FloatArray = np.where(usable, np.abs(effects - rest_effects) / np.sqrt(np.where(usable, variance, 1.0)), 0.0)
    return out


def _sums(group: IntArray, y: FloatArray, groups: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Counts, sums and sums of squares of each group, with y around its mean so that squares do not cancel."""
    centred = y - y.mean()
    sums = [np.bincount(group, weights=w, minlength=groups) for w in (np.ones(len(y)), centred, centred * centred)]
    return sums[0].astype(np.float64), sums[1].astype(np.float64), sums[2].astype(np.float64)


def _all_but(sums: FloatArray) -> FloatArray:
    pairs = sums.reshape(-1, 2)
    out: FloatArray = (pairs.sum(axis=0) - pairs).reshape(-1)
    return out


def _effects(n: FloatArray, total: FloatArray, square: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Difference of means and its variance for each pair (baseline, comparison) of groups."""
    count = np.maximum(n, 2.0)
    mean = total / count
    variance = np.maximum(square - total * mean, 0.0) / (count - 1.0) / count
    pairs = mean.reshape(-1, 2)
    return pairs[:, 1] - pairs[:, 0], variance.reshape(-1, 2).sum(axis=1)
