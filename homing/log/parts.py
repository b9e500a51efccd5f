"""What a log is read from: a table in memory, or one Parquet file whose bytes are checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from homing.errors import CorruptFileError, InvalidInputError, describe
from homing.log.seal import check_seal, corrupt

#: Rows that are decoded at once; small pieces are put together up to the number asked for, or `BATCH_BYTES`.
_DECODED_ROWS = 8_192
BATCH_BYTES = 32 * 2**20
#: Bytes buffered for one column while a file is streamed.
_BUFFER_BYTES = 2**20


class Part(Protocol):
    """One piece of a log's table, read batch by batch with the types that it was written with."""

    @property
    def name(self) -> str: ...
    @property
    def schema(self) -> pa.Schema: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    def batches(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True)
class TablePart:
    """A table in memory.

    >>> part = TablePart("decisions", pa.table({"a": [1, 2, 3]}))
    >>> [len(batch) for batch in part.batches(None, 2)]
    [2, 1]
    """

    name: str
    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def n_rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def n_bytes(self) -> int:
        return int(self.table.nbytes)

    def batches(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        table = (
            self.table if columns is None else self.table.select([c for c in self.table.column_names if c in columns])
        )
        yield from table.to_batches(max_chunksize=batch_rows)


@dataclass(frozen=True)
class FilePart:
    """One Parquet file. Its footer is read when it is opened; page checksums are verified as its rows are read."""

    path: Path
    name: str
    schema: pa.Schema
    n_rows: int
    n_bytes: int

    @classmethod
    def open(cls, path: Path, name: str) -> FilePart:
        """Check and read a file's footer.

        Raises:
            CorruptFileError: the file is truncated, its footer is damaged, or it is not Parquet.
            InvalidInputError: the file does not exist or may not be read.
        """
        with _Guarded(name):
            check_seal(path, name)
            with pq.ParquetFile(path) as file:
                return cls(path, name, file.schema_arrow, file.metadata.num_rows, path.stat().st_size)

    def batches(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Rows in order.

        Raises:
            CorruptFileError: a page does not match its checksum, or fewer rows come out than the footer says.
        """
        wanted = None if columns is None else [name for name in self.schema.names if name in columns]
        rows = 0
        for batch in _gather(self._decode(wanted, min(batch_rows, _DECODED_ROWS)), batch_rows):
            rows += len(batch)
            yield batch
        if rows != self.n_rows:
            raise corrupt(self.name, f"{rows} of its {self.n_rows} rows came out")

    def _decode(self, columns: list[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        with _Guarded(self.name):
            check_seal(self.path, self.name)
            with pq.ParquetFile(
                self.path, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER_BYTES
            ) as file:
                if not file.schema_arrow.equals(self.schema):
                    raise corrupt(self.name, "it changed since it was opened")
                stream = file.iter_batches(batch_size=rows, columns=columns)
                while (batch := next(stream, None)) is not None:
                    batch.validate(full=True)
                    yield batch


def _gather(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Put small batches together, up to `rows` rows or about `BATCH_BYTES`."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if held and (
            sum(len(one) for one in held) + len(batch) > rows or sum(one.nbytes for one in held) >= BATCH_BYTES
        ):
            yield held[0] if len(held) == 1 else pa.concat_batches(held)
            held = []
        held.append(batch)
    if held:
        yield held[0] if len(held) == 1 else pa.concat_batches(held)


class _Guarded:
    """Turns what Arrow says about damaged bytes into `CorruptFileError`, naming the file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, CorruptFileError | GeneratorExit):
            return
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            step = "Check the path and its permissions."
            raise InvalidInputError(describe("file", self.name, "must be a readable file", step)) from error
        if isinstance(error, pa.ArrowException | OSError | UnicodeDecodeError):
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise corrupt(self.name, reason) from error
