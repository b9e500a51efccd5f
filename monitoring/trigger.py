"""The retraining trigger: one start per drift episode, under duplicate alerts, two controllers and crashes.

An episode opens with the first alert against a champion and its training window, and closes with the first clean run.
Its record in a SQLite file goes through

    claimed ──► started ──► closed
       ▲  └─ a dead or late claimant's claim is taken over; the run's name stays, and starters are idempotent by name

so a crash between claim and start costs a delay, never a second run.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from homing.errors import describe
from monitoring.report import DriftReport, digest
from monitoring.starters import Starter, StartError

Action = Literal["none", "started", "already started", "claimed elsewhere", "closed", "not judged"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS episodes (
  key TEXT PRIMARY KEY, scope TEXT NOT NULL, run_name TEXT NOT NULL, state TEXT NOT NULL
    CHECK (state IN ('claimed', 'started', 'closed')),
  columns TEXT NOT NULL, opened_at REAL NOT NULL, token TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
  claimed_at REAL NOT NULL, attempts INTEGER NOT NULL, started_at REAL, where_to_look TEXT,
  closed_at REAL, closed_by TEXT, last_error TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS one_open_episode ON episodes (scope) WHERE state != 'closed';
"""


@dataclass(frozen=True)
class TriggerResult:
    """What the trigger did on one report.

    Attributes:
        action: see the sentences of `to_text`.
        key: the episode's key; "" if there is none.
        run_name: the retraining run's name; "" if there is none.
        where: where to look at the run; "" if it was not started here.
    """

    action: Action
    key: str = ""
    run_name: str = ""
    where: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain JSON types."""
        return asdict(self)

    def to_text(self) -> str:
        """One sentence.

        >>> TriggerResult("already started", "ab12", "retrain-ab12").to_text()
        'Drift episode ab12 is still open; its retraining run retrain-ab12 was started before.'
        """
        return {
            "none": "No alert and no open drift episode: nothing to do.",
            "started": f"Drift episode {self.key} opened: started retraining run {self.run_name} ({self.where}).",
            "already started": f"Drift episode {self.key} is still open; "
            f"its retraining run {self.run_name} was started before.",
            "claimed elsewhere": f"Drift episode {self.key}: another controller is starting run {self.run_name}.",
            "closed": f"Drift episode {self.key} closed: this run is clean.",
            "not judged": "Too little data to judge: no episode was opened or closed.",
        }[self.action]


class Episodes:
    """The record of drift episodes in a SQLite file; safe for several processes at once.

    Example:
        >>> import tempfile
        >>> episodes = Episodes(Path(tempfile.mkdtemp()) / "episodes.db")
        >>> claim = episodes.claim("scope", "2026-01-01", ("context.age",))
        >>> claim.mine, episodes.claim("scope", "2026-01-02", ()).mine
        (True, False)
        >>> episodes.started(claim, "a folder")
        >>> episodes.close("scope", "clean run"), episodes.close("scope", "clean run")
        ('...', '')
    """

    def __init__(self, path: Path, *, lease_seconds: float = 600.0, clock: Callable[[], float] = time.time) -> None:
        """Open the file, and make it if it is new.

        Args:
            path: the SQLite file; on a local disk, or a volume with working locks.
            lease_seconds: a claim older than this that was not followed by a start may be taken over; a dead process's
                claim on the same host at once.
            clock: seconds since 1970.
        """
        self.path, self.lease_seconds, self.clock = path, lease_seconds, clock
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)

    def claim(self, scope: str, window_start: str, columns: tuple[str, ...]) -> Claim:
        """Open an episode, or join the open one; `Claim.mine` says that the caller has to start the run."""
        now, token = self.clock(), uuid.uuid4().hex
        me = (token, socket.gethostname(), os.getpid(), now)
        with self._transaction() as db:
            row = db.execute(
                "SELECT key, run_name, state, host, pid, claimed_at FROM episodes "
                "WHERE scope = ? AND state != 'closed'",
                (scope,),
            ).fetchone()
            if row is None:
                # Another scope's episode is over: its champion or its training window is not the current one any more.
                db.execute(
                    "UPDATE episodes SET state = 'closed', closed_at = ?, closed_by = 'new champion or reference' "
                    "WHERE state = 'started'",
                    (now,),
                )
                number = db.execute("SELECT COUNT(*) FROM episodes WHERE scope = ?", (scope,)).fetchone()[0]
                key = digest(scope, window_start, number)
                db.execute(
                    "INSERT INTO episodes (key, scope, run_name, state, columns, opened_at, token, host, pid, "
                    "claimed_at, attempts) VALUES (?, ?, ?, 'claimed', ?, ?, ?, ?, ?, ?, 1)",
                    (key, scope, f"retrain-{key}", ", ".join(columns), now, *me),
                )
                return Claim(key, f"retrain-{key}", token, "claimed", True)
            key, run_name, state, host, pid, claimed_at = row
            if state == "started" or not self._abandoned(host, pid, claimed_at, now):
                return Claim(key, run_name, token, state, False)
            db.execute(
                "UPDATE episodes SET token = ?, host = ?, pid = ?, claimed_at = ?, attempts = attempts + 1 "
                "WHERE key = ?",
                (*me, key),
            )
            return Claim(key, run_name, token, "claimed", True)

    def started(self, claim: Claim, where: str) -> None:
        """Record that the claimed run was started."""
        self._update(claim, "state = 'started', started_at = ?, where_to_look = ?", self.clock(), where)

    def failed(self, claim: Claim, error: str) -> None:
        """Record that starting failed; the next alert may claim at once."""
        self._update(claim, "claimed_at = 0, pid = 0, last_error = ?", error)

    def close(self, scope: str, reason: str) -> str:
        """Close the scope's open episode; returns its key, "" if none was open."""
        with self._transaction() as db:
            row = db.execute("SELECT key FROM episodes WHERE scope = ? AND state != 'closed'", (scope,)).fetchone()
            if row is None:
                return ""
            db.execute(
                "UPDATE episodes SET state = 'closed', closed_at = ?, closed_by = ? WHERE key = ?",
                (self.clock(), reason, row[0]),
            )
            return str(row[0])

    def rows(self) -> list[dict[str, object]]:
        """All episodes, oldest first."""
        with self._transaction() as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM episodes ORDER BY opened_at, key")]

    def _abandoned(self, host: str, pid: int, claimed_at: float, now: float) -> bool:
        if now - claimed_at > self.lease_seconds:
            return True
        return host == socket.gethostname() and not _alive(pid)

    def _update(self, claim: Claim, assignments: str, *values: object) -> None:
        # A claim that was taken over changes nothing any more: the token fences it off.
        with self._transaction() as db:
            db.execute(
                f"UPDATE episodes SET {assignments} WHERE key = ? AND token = ? AND state = 'claimed'",
                (*values, claim.key, claim.token),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=60.0, isolation_level=None)) as db:  # rolls back
                db.execute("PRAGMA synchronous = FULL")
                db.execute("BEGIN IMMEDIATE")  # reads and writes are one step: no second process between them
                yield db
                db.execute("COMMIT")
        except sqlite3.DatabaseError as e:
            step = "Pass another --state; on a volume with working locks."
            raise StartError(describe("episodes", str(self.path), f"cannot be used ({e})", step)) from e


@dataclass(frozen=True)
class Claim:
    """The answer to `Episodes.claim`: the episode, and whether the caller has to start its run."""

    key: str
    run_name: str
    token: str
    state: str
    mine: bool


def trigger(report: DriftReport, episodes: Episodes, starter: Starter, *, champion: str) -> TriggerResult:
    """Start retraining if the report alerts and its episode has not been started; close the episode if it is clean.

    Args:
        report: a finished drift run.
        episodes: the record.
        starter: starts the pipeline; must be idempotent by run name.
        champion: version or digest of the policy in production. An episode is an alert against one champion and one
            training window.

    Raises:
        Whatever the starter raises; the episode then stays claimed, free for the next run to take.
    """
    scope = digest(report.reference_digest, champion)
    if not report.alert:
        if not report.judged:
            return TriggerResult("not judged")
        key = episodes.close(scope, f"clean run {report.run_id}")
        return TriggerResult("closed", key) if key else TriggerResult("none")
    claim = episodes.claim(scope, report.current.first_at or "", report.drifted)
    if not claim.mine:
        action: Action = "already started" if claim.state == "started" else "claimed elsewhere"
        return TriggerResult(action, claim.key, claim.run_name)
    try:
        where = starter.start(claim.run_name)
    except BaseException as e:
        episodes.failed(claim, f"{type(e).__name__}: {e}")
        raise
    episodes.started(claim, where)
    return TriggerResult("started", claim.key, claim.run_name, where)


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
