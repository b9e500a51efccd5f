"""Named columns of whatever holds them (Polars, pandas, Arrow, a mapping), as arrays that NumPy counts with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, unknown_name

_MICROSECONDS_A_DAY = 86_400e6


class Columns:
    """A table's columns by name, each read when asked for.

    Args:
        frame: a Polars DataFrame or LazyFrame, a pandas DataFrame, an Arrow table, or a mapping of names to arrays.
        needed: names of columns that must be there.
        empty: whether a table without rows will do.

    Raises:
        InvalidInputError: if it is no table, needed columns are missing (all are named), or there are no rows where
            there must be.

    Example:
        >>> table = Columns({"variant": ["b", "a", "b"], "visits": [1, 0, 2]}, ("variant", "visits"))
        >>> table.numbers("visits").tolist(), table.codes("variant")[0].tolist(), table.codes("variant")[1]
        ([1.0, 0.0, 2.0], [1, 0, 1], ('a', 'b'))
    """

    def __init__(self, frame: Any, needed: tuple[str, ...], *, empty: bool = False) -> None:
        if hasattr(frame, "collect_schema") and hasattr(frame, "collect"):  # Polars, lazy: read what is needed alone
            known = frame.collect_schema().names()
            self._check(known, needed)
            frame = frame.select(list(dict.fromkeys(needed))).collect()
        else:
            self._check(_names(frame), needed)
        self._frame = frame
        lengths = {name: len(frame[name]) for name in needed}
        if len(set(lengths.values())) > 1:
            raise InvalidInputError(describe("lengths of columns", lengths, "must be equal"))
        self.n = next(iter(lengths.values()), 0)
        if self.n == 0 and not empty:
            raise InvalidInputError(describe("rows", 0, "must be at least 1", "The table is empty."))

    @staticmethod
    def _check(known: list[str], needed: tuple[str, ...]) -> None:
        missing = [name for name in dict.fromkeys(needed) if name not in known]
        if missing:
            raise InvalidInputError(
                describe("missing columns", missing, f"must be among {sorted(map(str, known))}", "Add or rename them.")
            )

    def numbers(self, name: str, *, missing: float | None = None) -> NDArray[np.float64]:
        """A column as float64 (n,).

        Args:
            name: of the column.
            missing: what stands for null and NaN; None to refuse them.

        Raises:
            InvalidInputError: if it is not numeric, or a value is missing or infinite.
        """
        import pyarrow as pa

        column = self._arrow(name)
        try:
            out = np.array(column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInputError(
                describe(f"type of column {name!r}", str(column.type), "must be numbers")
            ) from error
        if missing is not None:
            out[np.isnan(out)] = missing
        bad = np.isinf(out) if missing is not None else ~np.isfinite(out)
        if bad.any():
            row = int(np.argmax(bad))
            raise InvalidInputError(
                describe(
                    f"{name}[{row}]",
                    float(out[row]),
                    "must be finite",
                    "Every unit counts: write 0 where it did nothing.",
                )
            )
        return out

    def codes(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """A column of names as numbers (n,) from 0, and the names in order; null is a name of its own, `(none)`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded = pc.fill_null(self._arrow(name).cast(pa.string()), "(none)").dictionary_encode()
        labels = encoded.dictionary.to_pylist()
        order = sorted(range(len(labels)), key=labels.__getitem__)
        rank = np.empty(len(labels), dtype=np.int64)
        rank[order] = np.arange(len(labels))
        return rank[encoded.indices.to_numpy()], tuple(labels[i] for i in order)

    def days(self, name: str) -> NDArray[np.float64]:
        """A column of dates, of times, or of numbers of days, as days (n,); dates and times count from 1970-01-01.

        Raises:
            InvalidInputError: if it is none of them, or a value is missing.
        """
        import pyarrow as pa

        column = self._arrow(name)
        if not pa.types.is_temporal(column.type):
            return self.numbers(name)
        if column.null_count:
            raise InvalidInputError(describe(f"missing values of column {name!r}", column.null_count, "must be 0"))
        ticks = column.cast(pa.timestamp("us", getattr(column.type, "tz", None))).cast(pa.int64())
        return np.asarray(ticks.to_numpy(zero_copy_only=False), dtype=np.float64) / _MICROSECONDS_A_DAY

    def is_group(self, name: str, group: str) -> NDArray[np.bool_]:
        """Which rows have that name in a column, (n,).

        Raises:
            UnknownNameError: none has.
        """
        codes, labels = self.codes(name)
        if group not in labels:
            raise unknown_name(name, group, labels)
        return np.asarray(codes == labels.index(group))

    def _arrow(self, name: str) -> Any:
        import pyarrow as pa

        column = self._frame[name]
        if hasattr(column, "to_arrow"):
            column = column.to_arrow()
        elif not isinstance(column, pa.Array | pa.ChunkedArray):
            column = pa.array(column, from_pandas=True)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        return column


def _names(frame: Any) -> list[str]:
    if isinstance(frame, Mapping):
        return list(frame)
    found = getattr(frame, "column_names", None) or getattr(frame, "columns", None)
    if found is None:
        raise InvalidInputError(
            describe(
                "data",
                type(frame).__name__,
                "must be a table (Polars, pandas, Arrow) or a mapping of names to arrays",
                "A scorecard has estimates alone: pass the rows that it was made from.",
            )
        )
    return list(found)
