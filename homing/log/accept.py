"""`accept`: good rows into a log of format 1, bad rows beside it with their reason; nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from homing.errors import InvalidInputError, describe
from homing.log.decision_log import DecisionLog
from homing.log.files import TIME_COLUMN, data_files, read_log, write_empty
from homing.log.schema import OUTCOMES_SCHEMA
from homing.log.validation import Judged, LogCheck, ValidationReport
from homing.log.writing import TableWriter

_TABLES = ("decisions", "outcomes")


def accept(
    log: DecisionLog, out: str | Path | None, *, max_rejected_share: float = 0.05, rejected: str | Path | None = None
) -> tuple[DecisionLog, ValidationReport]:
    """Sort a log's rows by whether they keep the contract: read = accepted + rejected, in each table.

    The log is read once, batch by batch. A damaged file is refused as a whole: none of its rows appear anywhere, its
    name and the reason go to `rejected/files.json`.

    Args:
        log: from `read_log(path, set_aside=True)` when damaged files shall not stop the run.
        out: folder for the accepted rows, empty or new; None keeps them in memory, and writes no rejected rows.
        max_rejected_share: in [0, 1]. Of each table, at most this share of the rows may be rejected; and at most this
            share of its bytes may be in refused files (a file counts with at least the mean size of the others).
        rejected: folder for rejected rows: `decisions/` and `outcomes/` with the columns as they were read and
            `reason`, and `files.json`; `out/rejected` when None.

    Returns:
        The accepted rows as a log, and the report.

    Raises:
        InvalidInputError: more is rejected than `max_rejected_share`. The rejected rows are written by then, the
            accepted ones are not.

    Example:
        >>> from homing.log import decisions_schema
        >>> empty = DecisionLog.from_tables(decisions_schema({"age": pa.int64()}).empty_table())
        >>> accepted, report = accept(empty, None)
        >>> accepted.n_decisions, report.ok
        (0, True)
    """
    if not 0.0 <= max_rejected_share <= 1.0:
        raise InvalidInputError(describe("max_rejected_share", max_rejected_share, "must be in [0, 1]"))
    if out is None:
        return _in_memory(log, max_rejected_share)
    root = Path(out)
    aside = root / "rejected" if rejected is None else Path(rejected)
    for name, folder in (("out", root / "decisions"), ("out", root / "outcomes"), ("rejected", aside)):
        _check_unused(name, folder)
    check = LogCheck(log)
    good: list[TableWriter] = []
    bad: list[TableWriter] = []
    try:
        _sort_all(check, root, aside, good, bad)
        report = check.report()
        _commit_rejected(bad, aside, report)
        _check_share(log, report, max_rejected_share, str(aside))
        for writer in reversed(good):  # outcomes first, as in write_log
            writer.commit()
        if not report.accepted_decisions:
            write_empty(root, log.schema, "00000")
    except BaseException:
        for writer in (*good, *bad):
            writer.abort()
        raise
    return read_log(root), report


def write_rejected(log: DecisionLog, folder: str | Path) -> ValidationReport:
    """Write the rows that break the contract, with their reasons, as `accept` does; the others are only counted.

    Args:
        log: read once, batch by batch.
        folder: for `decisions/`, `outcomes/` and `files.json`; new, or without Parquet files.
    """
    aside = Path(folder)
    _check_unused("rejected", aside)
    check = LogCheck(log)
    bad: list[TableWriter] = []
    try:
        _sort_all(check, None, aside, [], bad)
        report = check.report()
        _commit_rejected(bad, aside, report)
    except BaseException:
        for writer in bad:
            writer.abort()
        raise
    return report


def _sort_all(check: LogCheck, root: Path | None, aside: Path, good: list[TableWriter], bad: list[TableWriter]) -> None:
    """Write every part's rows to one side or the other; `good` and `bad` grow by the writers that shall be committed.

    Each part has its own writers, because a part that proves damaged half-way takes its rows back. They are finished
    with the part, so that neither rows nor open files add up over a log of many small files.
    """
    for table in _TABLES:
        schema = check.log.schema if table == "decisions" else OUTCOMES_SCHEMA
        for number, part in enumerate(check.parts(table)):
            name = f"{number:05d}"
            drop = TableWriter(aside / table, _with_reason(part.schema), name=name, time_column=None)
            mine = [drop]
            bad.append(drop)
            keep = _forget
            if root is not None:
                writer = TableWriter(root / table, schema, name=name, time_column=TIME_COLUMN[table])
                mine.append(writer)
                good.append(writer)
                keep = writer.write
            before = len(check.refused)
            for judged in check.judge(table, part):
                _sort(judged, keep, drop.write)
            for writer in mine:
                if len(check.refused) > before:
                    writer.abort()
                else:
                    writer.finish()


def _forget(batch: pa.RecordBatch) -> None:
    """Rows that nobody asked for."""


def _commit_rejected(bad: list[TableWriter], aside: Path, report: ValidationReport) -> None:
    for writer in bad:
        writer.commit()
    _list_refused(aside, report)


def _check_unused(name: str, folder: Path) -> None:
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        raise InvalidInputError(describe(name, str(folder), f"must be a folder, but {nearest} is a file"))
    if data_files(folder):
        step = "Choose another folder, or delete what an earlier run left there."
        raise InvalidInputError(describe(name, str(folder), "must not hold Parquet files yet", step))


def _in_memory(log: DecisionLog, max_rejected_share: float) -> tuple[DecisionLog, ValidationReport]:
    check = LogCheck(log)
    schemas = {"decisions": log.schema, "outcomes": OUTCOMES_SCHEMA}
    kept: dict[str, list[pa.RecordBatch]] = {table: [] for table in _TABLES}
    for table in _TABLES:
        for part in check.parts(table):
            before = len(check.refused)
            mine: list[pa.RecordBatch] = []
            for judged in check.judge(table, part):
                _sort(judged, mine.append, _forget)
            if len(check.refused) == before:
                kept[table] += mine
    report = check.report()
    _check_share(log, report, max_rejected_share, None)
    tables = {table: pa.Table.from_batches(kept[table], schema=schemas[table]) for table in _TABLES}
    return DecisionLog.from_tables(tables["decisions"], tables["outcomes"]), report


def _sort(judged: Judged, keep: Callable[[pa.RecordBatch], None], drop: Callable[[pa.RecordBatch], None]) -> None:
    broken = judged.rule >= 0
    if not broken.any():
        keep(judged.rows)
        return
    if not broken.all():
        keep(judged.rows.filter(pa.array(~broken)))
    # The reason is the same sentence for all rows under a rule: taken by position, not built row by row.
    reason = pa.array(judged.reasons).take(pa.array(judged.rule[broken].astype(np.int32)))
    raw = judged.raw.filter(pa.array(broken))
    columns = {name: column for name, column in zip(raw.schema.names, raw.columns, strict=True) if name != "reason"}
    drop(pa.RecordBatch.from_arrays([*columns.values(), reason], schema=_with_reason(raw.schema)))


def _with_reason(schema: pa.Schema) -> pa.Schema:
    fields = [field for field in schema if field.name != "reason"]
    return pa.schema([*fields, pa.field("reason", pa.string())])


def _list_refused(folder: Path, report: ValidationReport) -> None:
    if not report.refused_files:
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([file.to_dict() for file in report.refused_files], indent=2) + "\n"
    draft = folder / ".files.json.tmp"
    draft.write_text(text, encoding="utf-8")
    draft.replace(folder / "files.json")


def _check_share(log: DecisionLog, report: ValidationReport, limit: float, aside: str | None) -> None:
    step = _advice(report, aside)
    counts = {
        "decisions": (report.rejected_decisions, report.n_decisions),
        "outcomes": (report.rejected_outcomes, report.n_outcomes),
    }
    for table, (rejected, read) in counts.items():
        if rejected > limit * read:
            shown = f"{rejected:,} of {read:,} ({rejected / read:.1%})"
            raise InvalidInputError(describe(f"rejected {table}", shown, f"must be at most {limit:.1%}", step))
        refused = [file for file in report.refused_files if file.table == table]
        if not refused:
            continue
        names = {file.name for file in refused}
        parts = log.decision_parts if table == "decisions" else log.outcome_parts
        intact = [part.n_bytes for part in parts if part.name not in names]
        # A truncated file held more than is left of it: it counts with at least the mean size of the others.
        usual = sum(intact) / len(intact) if intact else 1.0
        lost = sum(max(file.n_bytes, usual) for file in refused)
        share = lost / (lost + sum(intact))
        if share > limit:
            shown = f"{len(refused)} of {len(refused) + len(intact)} ({share:.1%} of the bytes)"
            raise InvalidInputError(
                describe(f"refused files of {table}", shown, f"must be at most {limit:.1%} of the bytes", step)
            )


def _advice(report: ValidationReport, aside: str | None) -> str:
    first = next(iter(report.reasons), None)
    parts = []
    if first is not None:
        example = next(example for example in report.examples if example.reason == first)
        parts.append(f"Most often: {example.message}")
    if report.refused_files:
        parts.append(f"First refused: {report.refused_files[0].reason}")
    if aside is not None:
        parts.append(f"All of them, with reasons, are in {aside}.")
    parts.append("Mend the log, or raise max_rejected_share.")
    return " ".join(parts)
