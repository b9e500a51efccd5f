"""`SqliteLedger`: the embedded ledger, one file, several processes of one machine."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from homing.decisions.decision import Decision
from homing.decisions.ledger import ConsentState, ExportBatch, FeatureKind, OutcomeCounts
from homing.decisions.requests import EVERY_CHANNEL, MAX_FEATURES, Consent, Outcome, microseconds
from homing.errors import CorruptFileError, InvalidInputError, describe

#: Kinds of outcomes that take consent back.
OPT_OUTS = ("unsubscribed", "disabled")
_VERSION = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOME = "outcome_id, decision_id, user_id, kind, occurred_at, value"
_SCHEMA = """
CREATE TABLE decisions (
    row INTEGER PRIMARY KEY AUTOINCREMENT, decision_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
    decided_at INTEGER NOT NULL, channel TEXT NOT NULL, sent INTEGER NOT NULL, receipt TEXT NOT NULL, batch INTEGER);
CREATE INDEX decisions_sent ON decisions (user_id, decided_at) WHERE sent = 1;
CREATE INDEX decisions_batch ON decisions (batch);
CREATE TABLE outcomes (
    row INTEGER PRIMARY KEY AUTOINCREMENT, outcome_id TEXT NOT NULL UNIQUE, decision_id TEXT, user_id TEXT NOT NULL,
    kind TEXT NOT NULL, occurred_at INTEGER NOT NULL, value REAL NOT NULL, batch INTEGER);
CREATE INDEX outcomes_batch ON outcomes (batch);
CREATE TABLE consents (
    user_id TEXT NOT NULL, channel TEXT NOT NULL, allowed INTEGER NOT NULL, changed_at INTEGER NOT NULL,
    source TEXT NOT NULL, PRIMARY KEY (user_id, channel)) WITHOUT ROWID;
CREATE TABLE features (
    place INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    UNIQUE (scope, name));
CREATE TABLE batches (number INTEGER PRIMARY KEY AUTOINCREMENT, decisions INTEGER, outcomes INTEGER, marked INTEGER);
CREATE TABLE identity (ledger TEXT NOT NULL);
"""
#: What version 2 adds to version 1.
_BUDGETS = """
CREATE TABLE budgets (
    period TEXT NOT NULL, budget TEXT NOT NULL, used REAL NOT NULL, PRIMARY KEY (period, budget)) WITHOUT ROWID;
"""


class SqliteLedger:
    """The ledger in one SQLite file: write-ahead log, synchronous=FULL, every write in one BEGIN IMMEDIATE.

    What `transaction` has committed survives a kill and a power cut (as far as the disk keeps its promises).
    Writers wait for each other, threads of this process on a lock, processes on SQLite's; a reader never waits.
    The file must be on a local disk: SQLite's write-ahead log does not work on network file systems.

    Args:
        path: the file; it and its folder are made if missing, readable by this user only.
        busy_seconds: how long a writer waits for the other processes before it gives up.

    Raises:
        InvalidInputError: if the file cannot be made or opened.
        CorruptFileError: if the file is not a ledger, or one of a newer version.
    """

    def __init__(self, path: str | Path, *, busy_seconds: float = 30.0) -> None:
        self.path = Path(path)
        self._busy_seconds = busy_seconds
        self._local = threading.local()
        self._writer = threading.Lock()
        self._open: list[sqlite3.Connection] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            step = "Name a file in a folder that can be written."
            raise InvalidInputError(
                describe("ledger", str(path), f"cannot be opened ({error.strerror})", step)
            ) from error
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise CorruptFileError(
                describe("ledger", str(path), f"is not a readable SQLite file ({error})", "Restore it from a backup.")
            ) from error

    def _prepare(self) -> None:
        with self._write() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex[:12],))
            if version < _VERSION:
                db.execute(_BUDGETS)
                db.execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                bound = f"must be {_VERSION}"
                raise CorruptFileError(
                    describe(
                        f"version of {self.path}", version, bound, "Use the Homing version that wrote this ledger."
                    )
                )

    def _connection(self) -> sqlite3.Connection:
        # A connection belongs to one thread of one process: a forked child opens its own.
        if getattr(self._local, "owner", None) != os.getpid():
            db = sqlite3.connect(
                self.path,
                timeout=self._busy_seconds,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=64,
            )
            self._log_ahead(db)
            db.execute("PRAGMA synchronous = FULL")
            self._local.db, self._local.owner = db, os.getpid()
            self._open.append(db)
        connection: sqlite3.Connection = self._local.db
        return connection

    def _log_ahead(self, db: sqlite3.Connection) -> None:
        """Set the mode of the journal. For all else SQLite waits for a lock, here it does not; others may be at it."""
        until = time.monotonic() + self._busy_seconds
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # whatever the reason
                if not busy or time.monotonic() > until:
                    raise
            time.sleep(0.005)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        with self._writer:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connections of all threads; the ledger is not to be used afterwards."""
        for db in self._open:
            db.close()
        self._open.clear()
        self._local = threading.local()

    # Decisions -----------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        """See `Ledger.transaction`."""
        with self._write() as db:
            yield _Transaction(db)

    def get(self, decision_id: str) -> Decision | None:
        """See `Ledger.get`."""
        found = (
            self._connection().execute("SELECT receipt FROM decisions WHERE decision_id = ?", (decision_id,)).fetchone()
        )
        return None if found is None else Decision.from_dict(json.loads(found[0]))

    # Outcomes and consents -----------------------------------------------------------------------------------------

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> OutcomeCounts:
        """See `Ledger.record_outcomes`."""
        accepted = duplicates = revoked = 0
        conflicts: list[str] = []
        with self._write() as db:
            for i, item in enumerate(outcomes):
                channel = _channel_of(db, i, item)
                row = (
                    item.outcome_id,
                    item.decision_id,
                    item.user_id,
                    item.kind,
                    microseconds(item.occurred_at),
                    item.value,
                )
                new = db.execute(
                    f"INSERT INTO outcomes ({_OUTCOME}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (outcome_id) DO NOTHING",
                    row,
                ).rowcount
                if new:
                    accepted += 1
                    if item.kind in OPT_OUTS:
                        revoked += _state(db, item.user_id, channel, False, item.occurred_at, item.kind)
                    continue
                known = db.execute(
                    f"SELECT {_OUTCOME} FROM outcomes WHERE outcome_id = ?",
                    (item.outcome_id,),
                ).fetchone()
                if known == row:
                    duplicates += 1
                else:
                    conflicts.append(item.outcome_id)
        return OutcomeCounts(accepted, duplicates, tuple(conflicts), revoked)

    def record_consents(self, consents: Sequence[Consent], *, source: str = "consents") -> int:
        """See `Ledger.record_consents`."""
        with self._write() as db:
            return sum(_state(db, c.user_id, c.channel, c.allowed, c.changed_at, source) for c in consents)

    # Features ------------------------------------------------------------------------------------------------------

    def declare_features(self, scope: Literal["context", "candidate"], kinds: Mapping[str, FeatureKind]) -> None:
        """See `Ledger.declare_features`."""
        known = self.features(scope)
        if all(known.get(name) == kind for name, kind in kinds.items()):
            return
        with self._write() as db:
            for name, kind in kinds.items():
                db.execute(
                    "INSERT INTO features (scope, name, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (scope, name, kind),
                )
            known = self.features(scope)
            if len(known) > MAX_FEATURES:
                bound = f"must be at most {MAX_FEATURES}: each is a column of the log"
                raise InvalidInputError(
                    describe(
                        f"number of {scope} features", len(known), bound, "Put what varies into values, not names."
                    )
                )
            for name, kind in kinds.items():
                if known[name] != kind:
                    bound = f"must be a {known[name]}, as in the decisions before"
                    raise InvalidInputError(describe(f"kind of {scope}.{name}", kind, bound, "Rename the feature."))

    def features(self, scope: Literal["context", "candidate"]) -> dict[str, FeatureKind]:
        """See `Ledger.features`."""
        rows = self._connection().execute("SELECT name, kind FROM features WHERE scope = ? ORDER BY place", (scope,))
        return dict(rows.fetchall())

    # Export --------------------------------------------------------------------------------------------------------

    def claim(self, max_rows: int) -> ExportBatch | None:
        """See `Ledger.claim`."""
        with self._write() as db:
            (ledger,) = db.execute("SELECT ledger FROM identity").fetchone()
            open_batch = db.execute(
                "SELECT number, decisions, outcomes FROM batches WHERE marked = 0 ORDER BY number LIMIT 1"
            ).fetchone()
            if open_batch is None:
                number = db.execute("INSERT INTO batches (marked) VALUES (0)").lastrowid
                counts = [
                    db.execute(
                        f"UPDATE {table} SET batch = ? WHERE row IN"
                        f" (SELECT row FROM {table} WHERE batch IS NULL ORDER BY row LIMIT ?)",
                        (number, max_rows),
                    ).rowcount
                    for table in ("decisions", "outcomes")
                ]
                if not any(counts):
                    db.execute("DELETE FROM batches WHERE number = ?", (number,))
                    return None
                db.execute("UPDATE batches SET decisions = ?, outcomes = ? WHERE number = ?", (*counts, number))
                open_batch = (number, *counts)
        return ExportBatch(open_batch[0], f"{ledger}-{open_batch[0]:08d}", open_batch[1], open_batch[2])

    def batch_decisions(self, batch: ExportBatch) -> Iterator[Mapping[str, Any]]:
        """See `Ledger.batch_decisions`."""
        rows = self._connection().execute("SELECT receipt FROM decisions WHERE batch = ? ORDER BY row", (batch.number,))
        with closing(rows):
            for (receipt,) in rows:
                yield json.loads(receipt)

    def batch_outcomes(self, batch: ExportBatch) -> Iterator[Outcome]:
        """See `Ledger.batch_outcomes`."""
        rows = self._connection().execute(
            f"SELECT {_OUTCOME} FROM outcomes WHERE batch = ? ORDER BY row",
            (batch.number,),
        )
        with closing(rows):
            for outcome_id, decision_id, user_id, kind, occurred_at, value in rows:
                yield Outcome(outcome_id=outcome_id, decision_id=decision_id, user_id=user_id, kind=kind,
                              occurred_at=_time(occurred_at), value=value)  # fmt: skip

    def mark(self, batch: ExportBatch) -> None:
        """See `Ledger.mark`."""
        with self._write() as db:
            db.execute("UPDATE batches SET marked = 1 WHERE number = ?", (batch.number,))

    # State ---------------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """See `Ledger.counts`."""
        db = self._connection()
        rows = {
            name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("decisions", "outcomes", "consents")
        }
        done = db.execute(
            "SELECT coalesce(sum(decisions), 0), coalesce(sum(outcomes), 0) FROM batches WHERE marked = 1"
        )
        decisions, outcomes = done.fetchone()
        return {**rows, "exported_decisions": decisions, "exported_outcomes": outcomes}

    def check(self) -> None:
        """See `Ledger.check`."""
        with self._write():
            pass


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def sends(self, user_id: str, *, since: datetime, channels: frozenset[str] | None = None) -> int:
        query = "SELECT count(*) FROM decisions WHERE sent = 1 AND user_id = ? AND decided_at > ?"
        values: list[object] = [user_id, microseconds(since)]
        if channels is not None:
            query += f" AND channel IN ({', '.join('?' * len(channels))})"
            values += sorted(channels)
        return int(self._db.execute(query, values).fetchone()[0])

    def consents(self, user_id: str) -> dict[str, ConsentState]:
        rows = self._db.execute(
            "SELECT channel, allowed, changed_at, source FROM consents WHERE user_id = ?", (user_id,)
        )
        return {channel: ConsentState(bool(allowed), _time(at), source) for channel, allowed, at, source in rows}

    def used(self, period: str) -> dict[str, float]:
        return dict(self._db.execute("SELECT budget, used FROM budgets WHERE period = ?", (period,)).fetchall())

    def use(self, period: str, units: Mapping[str, float]) -> None:
        self._db.executemany(
            "INSERT INTO budgets (period, budget, used) VALUES (?, ?, ?)"
            " ON CONFLICT (period, budget) DO UPDATE SET used = used + excluded.used",
            [(period, name, float(value)) for name, value in units.items() if value],
        )

    def add(self, decision: Decision) -> None:
        receipt = json.dumps(decision.to_dict(), separators=(",", ":"), allow_nan=False)
        self._db.execute(
            "INSERT INTO decisions (decision_id, user_id, decided_at, channel, sent, receipt)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (decision.decision_id, decision.user_id, microseconds(decision.decided_at), decision.candidate.channel,
             int(not decision.is_silence), receipt),
        )  # fmt: skip


def _channel_of(db: sqlite3.Connection, i: int, item: Outcome) -> str:
    """The channel that an outcome speaks of: that of its decision's message, every channel if that is not known."""
    if item.decision_id is None:
        return EVERY_CHANNEL
    found = db.execute(
        "SELECT user_id, channel, sent FROM decisions WHERE decision_id = ?", (item.decision_id,)
    ).fetchone()
    if found is None:
        return EVERY_CHANNEL
    user_id, channel, sent = found
    if user_id != item.user_id:
        bound = "must be the user of its decision"
        raise InvalidInputError(
            describe(f"outcomes[{i}].user_id", item.user_id, bound, "Correct user_id or decision_id.")
        )
    return str(channel) if sent else EVERY_CHANNEL


def _state(db: sqlite3.Connection, user_id: str, channel: str, allowed: bool, at: datetime, source: str) -> int:
    return db.execute(
        "INSERT INTO consents (user_id, channel, allowed, changed_at, source) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (user_id, channel) DO UPDATE SET allowed = excluded.allowed, changed_at = excluded.changed_at,"
        " source = excluded.source WHERE excluded.changed_at > consents.changed_at"
        " OR (excluded.changed_at = consents.changed_at AND excluded.allowed < consents.allowed)",
        (user_id, channel, int(allowed), microseconds(at), source),
    ).rowcount


def _time(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
