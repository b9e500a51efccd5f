"""Does a log keep the contract of format 1? `validate` reads it batch by batch and says which rows do not, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from homing.errors import CorruptFileError, InvalidInputError
from homing.log.conform import OPTIONAL, conform
from homing.log.decision_log import BATCH_ROWS, DecisionLog, RefusedFile
from homing.log.parts import Part
from homing.log.rules import DECISION_RULES, DUPLICATE, OUTCOME_RULES, Columns, Rule
from homing.log.schema import OUTCOMES_SCHEMA
from homing.log.seen import SeenIds, id_digests

#: Rows that are shown for each reason.
EXAMPLES_PER_REASON = 3

_RULES: dict[str, tuple[Rule, ...]] = {"decisions": (*DECISION_RULES, DUPLICATE), "outcomes": OUTCOME_RULES}
_ID = {"decisions": "decision_id", "outcomes": "outcome_id"}


@dataclass(frozen=True)
class Example:
    """One row that breaks the contract.

    Attributes:
        reason: the reason under which it is counted.
        file: where it stands.
        row: its position there, from 0.
        id: its decision_id or outcome_id.
        message: what is wrong, the value seen, the bound, the next step.
    """

    reason: str
    file: str
    row: int
    id: str | None
    message: str

    def to_dict(self) -> dict[str, object]:
        """Plain types, for JSON."""
        return {"reason": self.reason, "file": self.file, "row": self.row, "id": self.id, "message": self.message}


@dataclass(frozen=True)
class ValidationReport:
    """What a log holds and which of its rows break the contract.

    Attributes:
        n_decisions: decisions read.
        n_outcomes: outcomes read.
        accepted_decisions: those that keep the contract.
        accepted_outcomes: those that keep the contract. A repeated `outcome_id` is not an error here: the join is
            idempotent and counts repetitions.
        reasons: rows rejected by reason, most frequent first; each row counts under the first rule that it breaks.
        examples: some rows of each reason.
        refused_files: files of which nothing was read, with the reason.
        notes: what is worth knowing but no error, for example columns that are not part of the format.
    """

    n_decisions: int
    n_outcomes: int
    accepted_decisions: int
    accepted_outcomes: int
    reasons: dict[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    refused_files: tuple[RefusedFile, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rejected_decisions(self) -> int:
        """Decisions that break the contract."""
        return self.n_decisions - self.accepted_decisions

    @property
    def rejected_outcomes(self) -> int:
        """Outcomes that break the contract."""
        return self.n_outcomes - self.accepted_outcomes

    @property
    def ok(self) -> bool:
        """No row is rejected and no file refused."""
        return not (self.rejected_decisions or self.rejected_outcomes or self.refused_files)

    def to_dict(self) -> dict[str, object]:
        """Plain types, for JSON."""
        return {
            "ok": self.ok,
            "decisions": {
                "read": self.n_decisions,
                "accepted": self.accepted_decisions,
                "rejected": self.rejected_decisions,
            },
            "outcomes": {
                "read": self.n_outcomes,
                "accepted": self.accepted_outcomes,
                "rejected": self.rejected_outcomes,
            },
            "reasons": dict(self.reasons),
            "examples": [example.to_dict() for example in self.examples],
            "refused_files": [file.to_dict() for file in self.refused_files],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [
            f"{table:<10} {read:,} read, {good:,} accepted, {read - good:,} rejected"
            for table, read, good in (
                ("decisions:", self.n_decisions, self.accepted_decisions),
                ("outcomes:", self.n_outcomes, self.accepted_outcomes),
            )
        ]
        for reason, count in self.reasons.items():
            lines.append(f"\n{count:,} × {reason}")
            lines += [
                f"    {example.file}, row {example.row} (id {example.id}): {example.message}"
                for example in self.examples
                if example.reason == reason
            ]
        if self.refused_files:
            number = len(self.refused_files)
            what = "1 file refused, nothing of it" if number == 1 else f"{number:,} files refused, nothing of them"
            lines.append(f"\n{what} was read:")
            lines += [f"    {file.name}: {file.reason}" for file in self.refused_files]
        lines += [f"\nnote: {note}" for note in self.notes]
        lines.append("\nThe log keeps the contract." if self.ok else "\nThe log breaks the contract.")
        return "\n".join(lines)


def validate(log: DecisionLog) -> ValidationReport:
    """Check every row of a log against format 1, batch by batch; the log is not changed.

    Memory is bounded by the batch, and 8 bytes for each decision (duplicates are found by a 64-bit digest of the id: of
    ten million different ids, two are taken for the same with probability 3e-6). A damaged file is refused as a whole
    and reported; the rest is still read.

    Example:
        >>> from homing.log import decisions_schema
        >>> report = validate(DecisionLog.from_tables(decisions_schema({"age": pa.int64()}).empty_table()))
        >>> report.ok, report.n_decisions
        (True, 0)
    """
    check = LogCheck(log)
    for table in ("decisions", "outcomes"):
        for part in check.parts(table):
            for _ in check.judge(table, part):
                pass
    return check.report()


@dataclass(frozen=True)
class Judged:
    """One batch after judgement.

    Attributes:
        raw: as it was written.
        rows: with the types of format 1.
        rule: int (n,), position of the first rule that the row breaks; -1 for accepted rows.
        reasons: the sentence of each rule.
    """

    raw: pa.RecordBatch
    rows: pa.RecordBatch
    rule: NDArray[np.int16]
    reasons: tuple[str, ...]


@dataclass
class _Tally:
    read: int = 0
    accepted: int = 0
    by_rule: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    examples: list[Example] = field(default_factory=list)


class LogCheck:
    """The state of one pass over a log: counts, examples, ids seen, files refused."""

    def __init__(self, log: DecisionLog) -> None:
        self.log = log
        self.refused: list[RefusedFile] = list(log.refused)
        self._seen = SeenIds()
        self._tally = {table: _Tally(by_rule=np.zeros(len(rules), np.int64)) for table, rules in _RULES.items()}
        self._notes: dict[str, None] = {}

    def parts(self, table: str) -> tuple[Part, ...]:
        """The parts of one table."""
        return self.log.decision_parts if table == "decisions" else self.log.outcome_parts

    def judge(self, table: str, part: Part) -> Iterator[Judged]:
        """Judge one part, batch by batch.

        A part that proves damaged on the way counts as refused, with none of its rows: `refused` has grown when the
        iteration ends, and whatever was made of its earlier batches must be thrown away.
        """
        schema = self.log.schema if table == "decisions" else OUTCOMES_SCHEMA
        rules = _RULES[table]
        reasons = tuple(f"{table}.{rule.reason}" for rule in rules)
        before = self._tally[table]
        tally = _Tally(before.read, before.accepted, before.by_rule.copy(), list(before.examples))
        ids = SeenIds()
        row = 0
        try:
            for raw in part.batches(None, BATCH_ROWS):
                rows = conform(raw, schema)
                columns = Columns(rows)
                broken = first_broken(columns, rules)
                if table == "decisions":
                    self._find_duplicates(rows, broken, ids)
                self._count(tally, columns, broken, rules, reasons, part.name, row, _ID[table])
                row += len(raw)
                yield Judged(raw, rows, broken, reasons)
        except (CorruptFileError, InvalidInputError) as error:
            self.refused.append(RefusedFile(part.name, table, str(error), part.n_bytes, part.n_rows))
            return
        self._tally[table] = tally
        self._seen.merge(ids)
        self._note(table, part, schema)

    def report(self) -> ValidationReport:
        """What was found so far."""
        decisions, outcomes = self._tally["decisions"], self._tally["outcomes"]
        counts = {
            f"{table}.{rule.reason}": int(count)
            for table, rules in _RULES.items()
            for rule, count in zip(rules, self._tally[table].by_rule, strict=True)
            if count
        }
        return ValidationReport(
            n_decisions=decisions.read,
            n_outcomes=outcomes.read,
            accepted_decisions=decisions.accepted,
            accepted_outcomes=outcomes.accepted,
            reasons=dict(sorted(counts.items(), key=lambda item: -item[1])),
            examples=(*decisions.examples, *outcomes.examples),
            refused_files=tuple(self.refused),
            notes=tuple(self._notes),
        )

    def _find_duplicates(self, rows: pa.RecordBatch, broken: NDArray[np.int16], ids: SeenIds) -> None:
        good = np.flatnonzero(broken < 0)
        digests = id_digests(rows.column("decision_id"))[good]
        repeated = ids.repeated(digests) | self._seen.repeated_before(digests)
        broken[good[repeated]] = len(DECISION_RULES)
        ids.add(digests[~repeated])

    @staticmethod
    def _count(
        tally: _Tally,
        columns: Columns,
        broken: NDArray[np.int16],
        rules: tuple[Rule, ...],
        reasons: tuple[str, ...],
        file: str,
        start: int,
        id_column: str,
    ) -> None:
        counts = np.bincount(broken[broken >= 0], minlength=len(rules))
        tally.read += len(broken)
        tally.accepted += int((broken < 0).sum())
        for index in np.flatnonzero(counts):
            missing = EXAMPLES_PER_REASON - min(int(tally.by_rule[index]), EXAMPLES_PER_REASON)
            for place in np.flatnonzero(broken == index)[:missing]:
                name = columns[id_column][int(place)].as_py()
                message = rules[index].message(columns, int(place))
                tally.examples.append(Example(reasons[index], file, start + int(place), name, message))
        tally.by_rule += counts

    def _note(self, table: str, part: Part, schema: pa.Schema) -> None:
        extra = [name for name in part.schema.names if name not in schema.names]
        if extra:
            self._notes[
                f"{table} have columns that are not part of the format and are left out: {', '.join(extra)}"
            ] = None
        absent = [name for name in schema.names if name in OPTIONAL[table] and name not in part.schema.names]
        if "value" in absent:
            self._notes["outcomes have no column 'value': 1.0 is taken"] = None


def first_broken(columns: Columns, rules: tuple[Rule, ...]) -> NDArray[np.int16]:
    """Position of the first rule that each row breaks, -1 where it keeps all, (n,)."""
    out = np.full(len(columns.batch), -1, dtype=np.int16)
    for index, rule in enumerate(rules):
        out[rule.broken(columns) & (out < 0)] = index
    return out
