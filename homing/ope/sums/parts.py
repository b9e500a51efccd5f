"""What a log that is evaluated in parts is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from homing.errors import InvalidInputError, describe
from homing.log import parts as arrow
from homing.log.dataset import LoggedDataset
from homing.ope.sums.decisions import Decisions


@runtime_checkable
class LogPart(Protocol):
    """A part of a log that gives its decisions in batches, each time the same ones.

    Example:
        >>> @dataclass(frozen=True)
        ... class Twice:
        ...     part: "LogPart"
        ...     @property
        ...     def n_rows(self):
        ...         return 2 * self.part.n_rows
        ...     def decisions(self, objectives, batch_rows, first=0):
        ...         yield from self.part.decisions(objectives, batch_rows, first)
        ...         yield from self.part.decisions(objectives, batch_rows, first + self.part.n_rows)
        >>> row = {"user_id": 7, "eligible": [True, True], "action": 1, "propensity": 0.5, "clicked": 1.0}
        >>> part = part_of(pa.Table.from_pylist([row]))
        >>> [batch.first for batch in Twice(part).decisions(["clicked"], 100)]
        [0, 1]
    """

    @property
    def n_rows(self) -> int:
        """How many decisions there are."""
        ...

    def decisions(self, objectives: Sequence[str], batch_rows: int, first: int = 0) -> Iterator[Decisions]:
        """All of them in order, of which the first is row `first` of the whole log."""
        ...


@dataclass(frozen=True)
class ArrowPart:
    """Rows in Arrow's columns: a table in memory or a Parquet file, whose bytes are checked as they are read."""

    part: arrow.Part

    @property
    def n_rows(self) -> int:
        return self.part.n_rows

    def decisions(self, objectives: Sequence[str], batch_rows: int, first: int = 0) -> Iterator[Decisions]:
        for batch in self.part.batches(None, batch_rows):
            if batch.num_rows:
                yield Decisions.of_arrow(batch, objectives, first=first)
            first += batch.num_rows


@dataclass(frozen=True, eq=False)
class DatasetPart:
    """A `LoggedDataset`, in memory."""

    dataset: LoggedDataset = field(repr=False)

    @property
    def n_rows(self) -> int:
        return self.dataset.n

    def decisions(self, objectives: Sequence[str], batch_rows: int, first: int = 0) -> Iterator[Decisions]:
        for start in range(0, self.dataset.n, batch_rows):
            rows = np.arange(start, min(start + batch_rows, self.dataset.n))
            yield Decisions.of_dataset(self.dataset.take(rows), objectives, first=first + start)


@dataclass(frozen=True)
class FolderPart:
    """A folder that `LoggedDataset.save` wrote; it is in memory while it is read."""

    path: Path

    @property
    def n_rows(self) -> int:
        from homing.log.store import dataset_rows

        return dataset_rows(self.path)

    def decisions(self, objectives: Sequence[str], batch_rows: int, first: int = 0) -> Iterator[Decisions]:
        yield from DatasetPart(LoggedDataset.load(self.path)).decisions(objectives, batch_rows, first)


def part_of(source: Any) -> LogPart:
    """A part from what holds it: a data set or its folder, an Arrow table or batch, or the path of a Parquet file.

    Raises:
        InvalidInputError: if it is none of these.
    """
    if isinstance(source, LogPart):
        return source
    if isinstance(source, LoggedDataset):
        return DatasetPart(source)
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        return ArrowPart(arrow.TablePart("decisions", source))
    if isinstance(source, str | Path):
        path = Path(source)
        return FolderPart(path) if path.is_dir() else ArrowPart(arrow.FilePart.open(path, str(path)))
    step = "Give a LoggedDataset or its folder, an Arrow table, or the path of a Parquet file."
    raise InvalidInputError(describe("part", type(source).__name__, "must be a part of a log", step))
