"""`DecisionLog`: decisions and outcomes, read when asked for, from files or from tables in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from homing.errors import InvalidInputError, describe, unknown_name
from homing.log.conform import check_schema, conform, unify_decisions
from homing.log.parts import Part, TablePart
from homing.log.schema import CANDIDATE_FIELDS, OUTCOMES_SCHEMA

#: Rows of a batch, at most; decisions with many candidates come in smaller ones.
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class RefusedFile:
    """A file that was not read, with the reason.

    Attributes:
        name: the file, relative to the log's folder; with that folder where several were read.
        table: `decisions` or `outcomes`.
        reason: a sentence.
        n_bytes: its size.
        n_rows: rows that its footer promises; None when the footer cannot be read.
    """

    name: str
    table: str
    reason: str
    n_bytes: int
    n_rows: int | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain types, for JSON."""
        return {
            "file": self.name,
            "table": self.table,
            "reason": self.reason,
            "bytes": self.n_bytes,
            "rows": self.n_rows,
        }


class DecisionLog:
    """Logged decisions and their outcomes; nothing is read before it is asked for.

    Built by `read_log` over files, or by `from_tables` in memory; both behave the same.

    Attributes:
        schema: of the decisions, one for all files: the union of their features.
        paths: the folders or files that it was read from; empty in memory.
        refused: files that were set aside (`read_log(..., set_aside=True)`).
    """

    def __init__(
        self,
        decisions: Sequence[Part],
        outcomes: Sequence[Part] = (),
        *,
        paths: Sequence[Path] = (),
        refused: Sequence[RefusedFile] = (),
    ) -> None:
        """Take the parts of both tables; their columns are checked, their rows are not.

        Raises:
            InvalidInputError: a column is missing or of the wrong type; the message names the part.
        """
        for part in outcomes:
            check_schema("outcomes", part.name, part.schema, OUTCOMES_SCHEMA)
        self.schema: pa.Schema = unify_decisions((part.name, part.schema) for part in decisions)
        self.decision_parts = tuple(decisions)
        self.outcome_parts = tuple(outcomes)
        self.paths = tuple(paths)
        self.refused = tuple(refused)

    @classmethod
    def from_tables(cls, decisions: pa.Table, outcomes: pa.Table | None = None) -> DecisionLog:
        """A log in memory.

        Args:
            decisions: columns of `decisions_schema(...)`.
            outcomes: columns of `OUTCOMES_SCHEMA`; none when left out.

        Raises:
            InvalidInputError: a column is missing or of the wrong type.

        Example:
            >>> from homing.log import OUTCOMES_SCHEMA, decisions_schema
            >>> log = DecisionLog.from_tables(decisions_schema({"age": pa.int64()}).empty_table())
            >>> log
            DecisionLog(0 decisions, 0 outcomes, in memory)
        """
        parts = [] if outcomes is None else [TablePart("outcomes", outcomes)]
        return cls([TablePart("decisions", decisions)], parts)

    @classmethod
    def concat(cls, *logs: DecisionLog) -> DecisionLog:
        """Several logs as one; features are united, a feature that a log lacks is null there."""
        return cls(
            [part for log in logs for part in log.decision_parts],
            [part for log in logs for part in log.outcome_parts],
            paths=[path for log in logs for path in log.paths],
            refused=[file for log in logs for file in log.refused],
        )

    @property
    def n_decisions(self) -> int:
        """Number of decisions; from the files' footers, without reading rows."""
        return sum(part.n_rows for part in self.decision_parts)

    @property
    def n_outcomes(self) -> int:
        """Number of outcome rows, duplicates included; from the files' footers."""
        return sum(part.n_rows for part in self.outcome_parts)

    @property
    def context_types(self) -> dict[str, pa.DataType]:
        """Name and type of each context feature."""
        return {field.name: field.type for field in self.schema.field("context").type}

    @property
    def candidate_types(self) -> dict[str, pa.DataType]:
        """Name and type of each candidate feature beyond the fixed fields."""
        struct = self.schema.field("candidates").type.value_type
        return {field.name: field.type for field in struct if field.name not in CANDIDATE_FIELDS}

    def decision_batches(
        self, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Decisions in the order in which they were written, a bounded number at a time.

        Args:
            columns: names of columns to read, in this order; all when None.
            batch_rows: rows of a batch, at most.

        Raises:
            CorruptFileError: a file's bytes do not match its checksums.
            UnknownNameError: a column does not exist.
        """
        return self._batches(self.decision_parts, self.schema, columns, batch_rows)

    def outcome_batches(
        self, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Outcomes in the order in which they were written, a bounded number at a time; see `decision_batches`."""
        return self._batches(self.outcome_parts, OUTCOMES_SCHEMA, columns, batch_rows)

    def decisions(self) -> pa.Table:
        """All decisions in memory."""
        return pa.Table.from_batches(self.decision_batches(), schema=self.schema)

    def outcomes(self) -> pa.Table:
        """All outcomes in memory."""
        return pa.Table.from_batches(self.outcome_batches(), schema=OUTCOMES_SCHEMA)

    def __repr__(self) -> str:
        where = ", ".join(repr(str(path)) for path in self.paths) or "in memory"
        return f"DecisionLog({self.n_decisions} decisions, {self.n_outcomes} outcomes, {where})"

    @staticmethod
    def _batches(
        parts: Sequence[Part], schema: pa.Schema, columns: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        # Arguments are checked at the call, not at the first batch.
        if batch_rows < 1:
            raise InvalidInputError(describe("batch_rows", batch_rows, "must be >= 1"))
        for name in columns or ():
            if name not in schema.names:
                raise unknown_name("column", name, schema.names)
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns], schema.metadata)
        return (
            conform(batch, wanted)
            for part in parts
            for batch in part.batches(None if columns is None else [*columns], batch_rows)
        )
