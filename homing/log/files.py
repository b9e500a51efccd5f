"""`read_log` and `write_log`: format 1 as a folder of Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from homing.errors import CorruptFileError, InvalidInputError, describe
from homing.log.conform import check_schema, unify_decisions
from homing.log.decision_log import BATCH_ROWS, DecisionLog, RefusedFile
from homing.log.ids import new_id
from homing.log.parts import FilePart
from homing.log.schema import OUTCOMES_SCHEMA
from homing.log.writing import TableWriter

#: The column whose UTC day is the partition.
TIME_COLUMN = {"decisions": "decided_at", "outcomes": "occurred_at"}

AnyPath = str | Path


def read_log(path: AnyPath | Sequence[AnyPath], *, set_aside: bool = False) -> DecisionLog:
    """Open a log; footers are read now, rows when they are asked for.

    Args:
        path: a folder with `decisions/` and, once there are any, `outcomes/`; or several such folders, read as one log.
        set_aside: put files that cannot be read (damaged, a column missing) into `log.refused`, with their reason,
            instead of raising. `validate` and `accept` report them.

    Raises:
        InvalidInputError: there is no such folder, it holds no decisions, a column is missing or of the wrong type.
        CorruptFileError: a file is truncated or damaged; the message names it.

    Example:
        >>> import tempfile
        >>> from homing.log import decisions_schema
        >>> folder = tempfile.mkdtemp()
        >>> read_log(folder)
        Traceback (most recent call last):
        homing.errors.InvalidInputError: path == ..., must hold decisions/**/*.parquet. ...
    """
    folders = [Path(path)] if isinstance(path, str | Path) else [Path(item) for item in path]
    if not folders:
        raise InvalidInputError(describe("path", [], "must name at least one folder"))
    decisions: list[FilePart] = []
    outcomes: list[FilePart] = []
    refused: list[RefusedFile] = []
    for folder in folders:
        _check_folder(folder)
        for table, into in (("decisions", decisions), ("outcomes", outcomes)):
            for file in data_files(folder / table):
                # Two folders may hold files of one name: then the folder is part of it.
                name = file if len(folders) > 1 else file.relative_to(folder)
                _open(file, name.as_posix(), table, into, refused, set_aside)
    if set_aside:
        decisions = _agreeing(decisions, refused)
    return DecisionLog(decisions, outcomes, paths=folders, refused=refused)


def write_log(log: DecisionLog, path: AnyPath, *, name: str | None = None) -> None:
    """Write a log as a folder in format 1, partitioned by UTC day; what is there already stays.

    Each file is written beside its place, flushed to disk, and renamed when all are complete. Rows are written as they
    are: `accept` is what keeps rows out that break the contract.

    Args:
        log: what to write, batch by batch.
        path: the folder; it is made where it is missing.
        name: files are called `part-<name>-<number>.parquet`; a new name each time when None, so that several writes
            add up. Writing the same log under the same name again replaces its files.

    Raises:
        InvalidInputError: a row has no time, so that it belongs to no day.

    Example:
        >>> import tempfile, pyarrow as pa
        >>> from homing.log import decisions_schema
        >>> folder = tempfile.mkdtemp()
        >>> write_log(DecisionLog.from_tables(decisions_schema({"age": pa.int64()}).empty_table()), folder)
        >>> read_log(folder).n_decisions
        0
    """
    part = name or new_id()
    root = Path(path)
    writers = {
        "decisions": TableWriter(root / "decisions", log.schema, name=part, time_column="decided_at"),
        "outcomes": TableWriter(root / "outcomes", OUTCOMES_SCHEMA, name=part, time_column="occurred_at"),
    }
    try:
        for batch in log.decision_batches(batch_rows=BATCH_ROWS):
            writers["decisions"].write(batch)
        for batch in log.outcome_batches(batch_rows=BATCH_ROWS):
            writers["outcomes"].write(batch)
        if not writers["decisions"].n_rows and not data_files(root / "decisions"):
            write_empty(root, log.schema, part)
        # On disk, all of them, before any is visible: a disk that fills up leaves no part of the log.
        for writer in writers.values():
            writer.finish()
        # Outcomes first: a reader that comes between sees outcomes without their decision, never lost ones.
        writers["outcomes"].commit()
        writers["decisions"].commit()
    except BaseException:
        for writer in writers.values():
            writer.abort()
        raise


def write_empty(root: Path, schema: pa.Schema, name: str) -> None:
    """Write one decisions file without rows, so that an empty log can be read back with its features."""
    empty = TableWriter(root / "decisions", schema, name=name, time_column=None)
    empty.write_empty()
    empty.commit()


def data_files(folder: Path) -> list[Path]:
    """Parquet files below a table's folder, in the order of their names; hidden and temporary files are not data."""
    if not folder.is_dir():
        return []
    found = (file for file in folder.rglob("*.parquet") if file.is_file())
    return sorted(file for file in found if not any(p.startswith((".", "_")) for p in file.relative_to(folder).parts))


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise InvalidInputError(describe("path", str(folder), "must exist", "Check the path of the log."))
    if not folder.is_dir():
        step = "Name the folder that holds decisions/ and outcomes/."
        raise InvalidInputError(describe("path", str(folder), "must be a folder", step))
    if not data_files(folder / "decisions"):
        held = sorted(item.name for item in folder.iterdir())[:5]
        holds = f"It holds {', '.join(held)}." if held else "It is empty."
        step = f"{holds} docs/guides/your-own-data.md shows how to write a log."
        raise InvalidInputError(describe("path", str(folder), "must hold decisions/**/*.parquet", step))


def _open(file: Path, name: str, table: str, into: list[FilePart], refused: list[RefusedFile], set_aside: bool) -> None:
    part: FilePart | None = None
    try:
        part = FilePart.open(file, name)
        if table == "outcomes":
            check_schema(table, name, part.schema, OUTCOMES_SCHEMA)
        else:
            unify_decisions([(name, part.schema)])
    except (CorruptFileError, InvalidInputError) as error:
        if not set_aside:
            raise
        size = file.stat().st_size if file.exists() else 0
        refused.append(RefusedFile(name, table, str(error), size, part.n_rows if part else None))
        return
    into.append(part)


def _agreeing(parts: list[FilePart], refused: list[RefusedFile]) -> list[FilePart]:
    """The files whose features have the same types as in the files before them; the others go to `refused`."""
    kept: list[FilePart] = []
    schema = unify_decisions([])
    for part in parts:
        try:
            schema = unify_decisions([("the files before it", schema), (part.name, part.schema)])
        except InvalidInputError as error:
            refused.append(RefusedFile(part.name, "decisions", str(error), part.n_bytes, part.n_rows))
        else:
            kept.append(part)
    return kept
