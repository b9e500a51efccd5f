"""From the ledger to the decision log, format 1: every row exactly once, whatever dies in between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from homing.decisions.ledger import ExportBatch, FeatureKind, Ledger
from homing.decisions.requests import CANDIDATE_COLUMNS
from homing.log import OUTCOMES_SCHEMA, decisions_schema
from homing.log.writing import TableWriter

_TYPES: dict[FeatureKind, pa.DataType] = {"number": pa.float64(), "category": pa.string(), "flag": pa.bool_()}
#: Rows that are turned into Arrow at once.
_CHUNK = 2_000


@dataclass(frozen=True)
class ExportCounts:
    """What one export wrote.

    Attributes:
        decisions: rows written to `decisions/`.
        outcomes: rows written to `outcomes/`.
        batches: how many batches they came in.
    """

    decisions: int
    outcomes: int
    batches: int

    def to_dict(self) -> dict[str, int]:
        """As JSON types."""
        return asdict(self)


def export(ledger: Ledger, log_dir: str | Path, *, max_rows: int = 20_000) -> ExportCounts:
    """Write what the ledger has not yet exported into the log at `log_dir`.

    Exactly once: a batch of rows is claimed in the ledger under a number, written to files whose names come from that
    number, and marked. Killed before the mark, the next export writes the same rows to the same names and marks them.
    Files appear whole (written beside, synced, renamed). Several processes may export at once. One ledger belongs to
    one log folder.

    Args:
        ledger: where decisions were committed.
        log_dir: a folder in format 1; made if missing.
        max_rows: of each table in one batch.

    Example:
        >>> import tempfile
        >>> from homing.decisions import SqliteLedger
        >>> folder = tempfile.mkdtemp()
        >>> export(SqliteLedger(folder + "/ledger.sqlite"), folder + "/log")
        ExportCounts(decisions=0, outcomes=0, batches=0)
    """
    decisions = outcomes = batches = 0
    while (batch := ledger.claim(max_rows)) is not None:
        write_batch(ledger, batch, Path(log_dir))
        ledger.mark(batch)
        decisions, outcomes, batches = decisions + batch.decisions, outcomes + batch.outcomes, batches + 1
    return ExportCounts(decisions, outcomes, batches)


def write_batch(ledger: Ledger, batch: ExportBatch, log_dir: Path) -> list[Path]:
    """Write the files of one batch, over earlier ones of the same batch; returns their paths."""
    context = {name: _TYPES[kind] for name, kind in ledger.features("context").items()}
    extra = {name: _TYPES[kind] for name, kind in ledger.features("candidate").items()}
    rows = (_decision_row(receipt, context, extra) for receipt in ledger.batch_decisions(batch))
    events = (item.model_dump() for item in ledger.batch_outcomes(batch))
    return [
        *_write(rows, decisions_schema(context, extra), "decided_at", log_dir / "decisions", batch.name),
        *_write(events, OUTCOMES_SCHEMA, "occurred_at", log_dir / "outcomes", batch.name),
    ]


def _decision_row(
    receipt: Mapping[str, Any], context: Mapping[str, pa.DataType], extra: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    items = receipt["candidates"]
    return {
        **{name: receipt[name] for name in ("decision_id", "user_id", "policy", "action", "explored", "slice")},
        "decided_at": datetime.fromisoformat(receipt["decided_at"]),
        "context": {name: _typed(receipt["context"].get(name), kind) for name, kind in context.items()},
        "candidates": [
            {name: _time(item[name]) if name == "expires_at" else item[name] for name in CANDIDATE_COLUMNS}
            | {name: _typed(item["features"].get(name), kind) for name, kind in extra.items()}
            for item in items
        ],
        "eligible": [item["eligible"] for item in items],
        "propensity": receipt["propensity"],
        "propensities": [item["propensity"] for item in items],
    }


def _typed(value: Any, kind: pa.DataType) -> Any:
    return float(value) if value is not None and pa.types.is_floating(kind) else value


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _write(rows: Iterator[dict[str, Any]], schema: pa.Schema, time: str, folder: Path, name: str) -> list[Path]:
    writer = TableWriter(folder, schema, name=name, time_column=time)
    try:
        while chunk := list(islice(rows, _CHUNK)):
            writer.write(pa.RecordBatch.from_pylist(chunk, schema=schema))
        written = writer.commit()
    except BaseException:
        writer.abort()
        raise
    if written:
        # A new day's folder must be on disk, too, before the ledger forgets the rows.
        for parent in (folder, folder.parent):
            _sync(parent)
    return written


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
