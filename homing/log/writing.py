"""Writing one table of a log: partitions by day, checksummed pages, files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from homing.errors import InvalidInputError, describe
from homing.log.conform import EMPTY_CONTEXT_KEY
from homing.log.seal import BLANK, SEAL_KEY, seal

#: A day's rows are written out when there are this many, or this many bytes, of them.
ROWS_PER_GROUP = 65_536
BYTES_PER_GROUP = 64 * 2**20
#: All days together buffer at most this much; the largest day is then written out.
BUFFERED_BYTES = 256 * 2**20
#: Files that are open at once; a day that comes back later continues in another file.
OPEN_FILES = 64


@dataclass
class _Day:
    folder: Path
    index: int = 0  # number of the day's next file
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    n_bytes: int = 0
    writer: pq.ParquetWriter | None = None
    used: int = 0  # when it was last written to


class TableWriter:
    """Writes batches under `folder`, one file a UTC day (or more, when days come back); visible after `commit`.

    Until then everything stands in hidden temporary files, which `abort` deletes and which readers never see.

    Args:
        folder: of the table, for example `log/decisions`.
        schema: of all batches.
        name: files are called `part-<name>-<number>.parquet`; writing the same name again replaces them.
        time_column: its UTC day is the partition; None writes straight into `folder`.
    """

    def __init__(self, folder: Path, schema: pa.Schema, *, name: str, time_column: str | None) -> None:
        self.n_rows = 0
        self._folder = folder
        self._schema = schema
        self._name = name
        self._time = time_column
        self._days: dict[str, _Day] = {}
        self._staged: list[tuple[Path, Path]] = []
        self._token = secrets.token_hex(4)
        self._clock = 0
        self._files = _file_schema(schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            InvalidInputError: a row has no time, so that it belongs to no day.
        """
        if not len(batch):
            return
        self.n_rows += len(batch)
        if self._time is None:
            self._add("", batch)
            return
        moments = batch.column(self._time)
        if moments.null_count:
            step = "Run homing.log.accept first: it sets such rows aside with their reason."
            raise InvalidInputError(describe(self._time, None, "must not be null", step))
        days = pc.strftime(moments, format="%Y-%m-%d")
        for day in sorted(pc.unique(days).to_pylist()):
            rows = pc.equal(days, day)
            self._add(day, batch if pc.all(rows).as_py() else batch.filter(rows))

    def write_empty(self) -> None:
        """Make one file without rows, which carries the schema; only without a time column."""
        day = self._days[""] = _Day(self._folder)
        self._open(day)

    def finish(self) -> None:
        """Complete all files, still under their temporary names: no row stays in memory, and no file open."""
        for name in sorted(self._days):
            self._flush(self._days[name])
            self._close(self._days[name])

    def commit(self) -> list[Path]:
        """Finish all files and rename them to their final names; returns these."""
        self.finish()
        for temporary, final in self._staged:
            temporary.replace(final)
        for folder in {final.parent for _, final in self._staged}:
            _sync(folder)
        written = [final for _, final in self._staged]
        self._staged = []
        return written

    def abort(self) -> None:
        """Delete everything that was written."""
        for day in self._days.values():
            if day.writer is not None:
                with suppress(Exception):  # a full disk, say, fails here once more; the file is deleted anyway
                    day.writer.close()
                day.writer = None
            day.batches = []
        for temporary, final in self._staged:
            temporary.unlink(missing_ok=True)
            for folder in dict.fromkeys((final.parent, self._folder)):
                with suppress(OSError):  # not empty: others write there too
                    folder.rmdir()
        self._staged = []

    def _add(self, day: str, batch: pa.RecordBatch) -> None:
        entry = self._days.get(day)
        if entry is None:
            entry = self._days[day] = _Day(self._folder / f"day={day}" if day else self._folder)
        # A filtered or sliced batch may share a large buffer: its own bytes are what counts.
        entry.batches.append(batch)
        entry.rows += len(batch)
        entry.n_bytes += batch.nbytes
        if entry.rows >= ROWS_PER_GROUP or entry.n_bytes >= BYTES_PER_GROUP:
            self._flush(entry)
        elif sum(other.n_bytes for other in self._days.values()) >= BUFFERED_BYTES:
            self._flush(max(self._days.values(), key=lambda other: other.n_bytes))

    def _flush(self, day: _Day) -> None:
        if not day.batches:
            return
        if day.writer is None:
            busy = [other for other in self._days.values() if other.writer is not None]
            if len(busy) >= OPEN_FILES:
                self._close(min(busy, key=lambda other: other.used))
            self._open(day)
        assert day.writer is not None
        table = pa.Table.from_batches(day.batches)
        if len(self._files) < len(self._schema):
            table = table.select(self._files.names)
        day.writer.write_table(table.cast(self._files), row_group_size=ROWS_PER_GROUP)
        self._clock += 1
        day.batches, day.rows, day.n_bytes, day.used = [], 0, 0, self._clock

    def _open(self, day: _Day) -> None:
        day.folder.mkdir(parents=True, exist_ok=True)
        final = day.folder / f"part-{self._name}-{day.index:04d}.parquet"
        temporary = day.folder / f".{final.name}.{self._token}.tmp"
        day.index += 1
        self._staged.append((temporary, final))
        day.writer = pq.ParquetWriter(temporary, self._files, compression="zstd", write_page_checksum=True)

    def _close(self, day: _Day) -> None:
        if day.writer is None:
            return
        day.writer.add_key_value_metadata({SEAL_KEY: BLANK})
        day.writer.close()
        path = Path(day.writer.where)
        seal(path)
        _sync(path)
        day.writer = None


def _file_schema(schema: pa.Schema) -> pa.Schema:
    """Parquet stores no struct without fields: a context without features is left out, and said so in the metadata."""
    if "context" in schema.names and pa.types.is_struct(schema.field("context").type):
        position = schema.get_field_index("context")
        if not len(schema.field(position).type):
            return schema.remove(position).with_metadata({**(schema.metadata or {}), EMPTY_CONTEXT_KEY: b"1"})
    return schema


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
