"""From rows to a problem: candidates as an Arrow table, user by user, with columns by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, missing_dependency, unknown_name
from homing.planning.problem import PlanningProblem, UserOffsets


def problem_from_table(
    table: Any,
    *,
    user: str,
    value: str,
    codes: Sequence[str],
    costs: Sequence[str],
    segments: Sequence[str],
    labels: Mapping[str, Sequence[str]] | None = None,
    **limits: Any,
) -> PlanningProblem:
    """See `PlanningProblem.from_table`; `labels` gives texts their codes, by column, where the table is a part."""
    rows = arrow_table(table)
    for name in (user, value, *codes, *costs, *segments):
        if name not in rows.column_names:
            raise unknown_name("column of the candidates", name, rows.column_names)
    offsets, ids = users_of(rows[user])
    names = {name: tuple(texts) for name, texts in (labels or {}).items()}
    coded = {name: _codes(name, rows[name], names) for name in codes}
    of_user = {}
    for name in segments:
        each = _codes(name, rows[name], names)
        of_user[name] = each[offsets[:-1]]
        wrong = np.flatnonzero(each != np.repeat(of_user[name], np.diff(offsets)))
        if len(wrong):
            bound = f"must be the same in all rows of user {ids[np.searchsorted(offsets, wrong[0], 'right') - 1]!r}"
            raise InvalidInputError(describe(f"{name}[{wrong[0]}]", str(rows[name][int(wrong[0])]), bound))
    return PlanningProblem(
        user=UserOffsets(offsets, ids),
        value=_numbers(value, rows[value]),
        codes=coded,
        costs={name: _numbers(name, rows[name]) for name in costs},
        segments=of_user,
        names=names,
        **limits,
    )


def arrow_table(table: Any) -> Any:
    """An Arrow table of whatever speaks Arrow's C stream (Polars, DuckDB, pandas …), in one chunk.

    Raises:
        InvalidInputError: if it does not.
    """
    try:
        import pyarrow as pa
    except ImportError as error:  # pragma: no cover
        raise missing_dependency("pyarrow", "planning") from error
    if isinstance(table, pa.Table):
        return table.combine_chunks()
    if not hasattr(table, "__arrow_c_stream__"):
        bound = "must be an Arrow table, a Polars frame, or another that speaks Arrow's C stream"
        raise InvalidInputError(describe("table", type(table).__name__, bound))
    return pa.table(table).combine_chunks()


def users_of(column: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Where each user's rows begin, and their ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise InvalidInputError(describe(f"user[{row}]", None, "must be given", "Leave rows without a user out."))
    coded = pc.dictionary_encode(_plain(column))
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    codes = coded.indices.to_numpy(zero_copy_only=False)
    # Users are numbered as they first occur: in a file where they stand together the numbers never fall.
    falls = np.flatnonzero(codes[1:] < codes[:-1])
    if len(falls):
        row = int(falls[0]) + 1
        step = "Sort the rows by user; each user's candidates must stand together."
        raise InvalidInputError(
            describe(f"user[{row}]", str(column[row]), "occurred before, with others between", step)
        )
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    ids = coded.dictionary.to_numpy(zero_copy_only=False)
    return np.append(starts, len(codes)).astype(np.int64), ids


def _plain(column: Any) -> Any:
    """The same without a dictionary, and texts of any of Arrow's kinds as one kind."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):  # few kernels know dictionaries of every kind of text
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        values = [_plain(chunk.dictionary).take(chunk.indices) for chunk in chunks]
        return pa.chunked_array(values, None if values else column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column


def _codes(name: str, column: Any, names: dict[str, tuple[str, ...]]) -> NDArray[Any]:
    """Whole numbers as they are; texts numbered by their order, with their names."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise InvalidInputError(describe(f"{name}[{row}]", None, "must be given"))
    column = _plain(column)
    if pa.types.is_integer(column.type):
        out: NDArray[Any] = column.to_numpy()
        return out
    if not pa.types.is_string(column.type):
        raise InvalidInputError(describe(f"{name} type", str(column.type), "must be texts or whole numbers"))
    if name not in names:
        names[name] = tuple(pc.unique(column).sort().to_pylist())
    found = pc.index_in(column, value_set=pa.array(names[name], column.type))
    codes: NDArray[Any] = np.asarray(found.to_numpy()).astype(np.uint32)
    return codes


def _numbers(name: str, column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise InvalidInputError(describe(f"{name} type", str(column.type), "must be numbers"))
    out: NDArray[Any] = column.to_numpy()  # what is missing becomes NaN, and is refused by its row
    return out
