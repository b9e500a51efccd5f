"""From rows to a problem: candidates as an Arrow table, user by user, with columns by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, missing_dependency, unknown_name
from homing.planning.limits import Limit
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
    _check_texts(names, limits)
    return PlanningProblem(
        user=UserOffsets(offsets, ids),
        value=_numbers(value, rows[value]),
        codes=coded,
        costs={name: _numbers(name, rows[name]) for name in costs},
        segments=of_user,
        names=names,
        **limits,
    )


def _check_texts(names: Mapping[str, Sequence[str]], limits: Mapping[str, Any]) -> None:
    """Refuse numbers where a column holds texts: their places in the alphabet are nothing that a limit speaks of."""
    lists = [limits.get(key, ()) for key in ("budgets", "floors", "priorities")]
    given = [item for items in lists if isinstance(items, Iterable) for item in items]
    wheres = [(f"limit {item.label!r}", item.where) for item in given if isinstance(item, Limit)]
    wheres += [("priorities", item) for item in given if isinstance(item, Mapping)]
    for of, where in wheres:
        for column, chosen in where.items():
            codes = [chosen] if isinstance(chosen, str | int | np.integer) else chosen
            number = next((code for code in codes if not isinstance(code, str)), None)
            if column in names and number is not None:
                bound = "must be a text, as the column's are"
                raise InvalidInputError(describe(f"{column} of {of}", int(number), bound, f"Quote it: '{number}'."))


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
    if pa.types.is_nested(column.type):
        raise InvalidInputError(describe("user type", str(column.type), "must be texts or numbers"))
    coded = pc.dictionary_encode(plain_column(column))
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


def joined(tables: Sequence[Any]) -> Any:
    """Tables one after the other; of files that do not quite agree, numbers become the wider kind and texts plain.

    Raises:
        InvalidInputError: if a column is of kinds that do not go together.
    """
    import pyarrow as pa

    if all(table.schema.equals(tables[0].schema) for table in tables):
        return pa.concat_tables(tables)
    plain = [pa.table({name: plain_column(table[name]) for name in tables[0].column_names}) for table in tables]
    try:
        return pa.concat_tables(plain, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        bound = "must be of one kind in all of the candidates' files"
        raise InvalidInputError(describe("columns", " ".join(str(error).split()), bound)) from error


def plain_column(column: Any) -> Any:
    """The same without a dictionary, and texts of any of Arrow's kinds as one kind."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):  # few kernels know dictionaries of every kind of text
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        values = [plain_column(chunk.dictionary).take(chunk.indices) for chunk in chunks]
        return pa.chunked_array(values, None if values else column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column


def texts_of(name: str, column: Any) -> tuple[str, ...] | None:
    """The texts of a code column, each once and sorted; None where it holds whole numbers.

    Raises:
        InvalidInputError: if something is missing, or of another kind.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise InvalidInputError(describe(f"{name}[{row}]", None, "must be given"))
    plain = plain_column(column)
    if pa.types.is_integer(plain.type):
        return None
    if not pa.types.is_string(plain.type):
        raise InvalidInputError(describe(f"{name} type", str(column.type), "must be texts or whole numbers"))
    return tuple(pc.unique(plain).sort().to_pylist())


def _codes(name: str, column: Any, names: dict[str, tuple[str, ...]]) -> NDArray[Any]:
    """Whole numbers as they are; texts numbered by their order, with their names."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = texts_of(name, column)
    if texts is None:
        out: NDArray[Any] = plain_column(column).to_numpy()
        return out
    names.setdefault(name, texts)
    found = pc.index_in(plain_column(column), value_set=pa.array(names[name], pa.string()))
    codes: NDArray[Any] = np.asarray(found.to_numpy()).astype(np.uint32)
    return codes


def _numbers(name: str, column: Any) -> NDArray[Any]:
    import pyarrow as pa

    column = plain_column(column)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise InvalidInputError(describe(f"{name} type", str(column.type), "must be numbers"))
    out: NDArray[Any] = column.to_numpy()  # what is missing becomes NaN, and is refused by its row
    return out
