"""One small number a candidate that stands for all its codes, for `Layout`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.planning.compiled import compiled
from homing.planning.problem import PlanningProblem
from homing.planning.threads import Here, Pool

#: Candidates whose cells are made at once.
_PIECE = 2**19


def cells_of(
    problem: PlanningProblem,
    tops: dict[str, int],
    strides: dict[str, int],
    cells: int,
    pool: Pool | None,
) -> Callable[[], NDArray[Any]]:
    """What gives the cell of each candidate (N,); threads begin at once, with two or three columns in one pass."""
    n = problem.n_candidates
    kind = np.dtype(np.uint8 if cells < 2**8 else np.uint16 if cells < 2**16 else np.uint32)
    cell = np.empty(n, dtype=kind)
    columns = [
        (problem.codes[column], kind.type(top), kind.type(strides[column]))
        for column, top in tops.items()
        if column in problem.codes
    ]
    if not columns:
        cell[:] = 0
    if len(columns) == 1:
        columns.append((*columns[-1][:2], kind.type(0)))
    odd = len(columns) % 2

    def fill(begin: int) -> None:
        piece = slice(begin, begin + _PIECE)
        pieces = [(code[piece], top, stride) for code, top, stride in columns]
        if odd:
            put_codes(cell[piece], *pieces[0], *pieces[1], *pieces[2])
        for c in range(3 * odd, len(columns), 2):
            add_codes(cell[piece], kind.type(c > 0), *pieces[c], *pieces[c + 1])

    pieces = (pool or Here()).map(fill, range(0, n, _PIECE))

    def filled() -> NDArray[Any]:
        list(pieces)
        for column, top in tops.items():
            if column in problem.segments:
                stride = kind.type(strides[column])
                add_segments(cell, problem.offsets, problem.segments[column], kind.type(top), stride)
        return cell

    return filled


@compiled
def add_codes(
    cell: Any, held: Any, code: Any, top: Any, stride: Any, other: Any, other_top: Any, other_stride: Any
) -> Any:
    """cell = held · cell + min(code, top) · stride + the same of another column, row by row."""
    for i in range(cell.shape[0]):
        cell[i] = cell[i] * held + min(code[i], top) * stride + min(other[i], other_top) * other_stride


@compiled
def put_codes(
    cell: Any,
    code: Any,
    top: Any,
    stride: Any,
    second: Any,
    second_top: Any,
    second_stride: Any,
    third: Any,
    third_top: Any,
    third_stride: Any,
) -> Any:
    """The same of three columns from nothing."""
    for i in range(cell.shape[0]):
        two = min(code[i], top) * stride + min(second[i], second_top) * second_stride
        cell[i] = two + min(third[i], third_top) * third_stride


@compiled
def add_segments(cell: Any, offsets: Any, code: Any, top: Any, stride: Any) -> Any:
    """The same for a code of the user."""
    for u in range(offsets.shape[0] - 1):
        more = min(code[u], top) * stride
        for i in range(offsets[u], offsets[u + 1]):
            cell[i] += more
