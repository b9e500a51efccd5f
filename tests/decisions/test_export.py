"""From the ledger to the log: exactly once whatever dies in between, and readable by the training pipeline as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from homing.decisions import ConsentGuard, ExportCounts, SqliteLedger, export
from homing.log import Objectives, build_dataset, read_log
from homing.log.features import FeatureEncoder, Field

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

ENCODER = FeatureEncoder(
    context=(Field("recency", "number"), Field("city", "category", ("Bern",)), Field("new", "flag")),
    candidate=(Field("message_id", "category", ("m0", "m1")), Field("affinity", "number")),
)


def fill(make_service, artifact, users=6, **options):
    """Decisions with all kinds of features, missing ones too, on two days, and clicks on the messages."""
    times = iter([NOW + timedelta(hours=3 * i) for i in range(100 * users)])
    service = make_service(policy=artifact(features=ENCODER.to_dict()), clock=lambda: next(times), **options)
    decisions = []
    for i in range(users):
        request = {
            "user_id": f"u{i}",
            "context": {"recency": i, "city": "Bern" if i % 2 else None} | ({"new": True} if i % 3 else {}),
            "candidates": [
                {
                    "message_id": "m0",
                    "channel": "push",
                    "features": {"affinity": 0.5},
                    "expires_at": "2030-01-01T00:00:00Z",
                },
                {"message_id": "m1", "channel": "email"},
            ],
        }
        decisions.append(service.decide(request))
    clicks = [
        {"outcome_id": f"o-{d.decision_id}", "decision_id": d.decision_id, "user_id": d.user_id, "kind": "clicked",
         "occurred_at": (d.decided_at + timedelta(minutes=5)).isoformat()}
        for d in decisions if not d.is_silence
    ]  # fmt: skip
    if clicks:
        service.record_outcomes(clicks)
    return decisions, clicks


def test_the_log_is_what_was_decided(make_service, artifact, ledger, tmp_path):
    decisions, clicks = fill(make_service, artifact, uniform_share=0.5)
    assert export(ledger, tmp_path / "log") == ExportCounts(6, len(clicks), 1)
    rows = read_log(tmp_path / "log").decisions().sort_by("decision_id").to_pylist()
    for row, made in zip(rows, sorted(decisions, key=lambda d: d.decision_id), strict=True):
        assert row["decision_id"] == made.decision_id
        assert (row["user_id"], row["decided_at"], row["policy"]) == (made.user_id, made.decided_at, made.policy)
        assert (row["action"], row["propensity"], row["slice"]) == (made.action, made.propensity, made.slice)
        assert row["propensities"] == list(made.propensities)
        assert row["eligible"] == list(made.eligible)
        assert row["candidates"][0]["message_id"] == "silence"
        assert [c["affinity"] for c in row["candidates"]] == [None, 0.5, None]
        assert row["candidates"][1]["expires_at"] == datetime(2030, 1, 1, tzinfo=UTC)
        assert row["context"] == {"recency": None, "city": None, "new": None} | dict(made.context)


def test_the_log_is_valid_and_becomes_a_dataset_with_no_conversion(make_service, artifact, ledger, tmp_path):
    from homing.log import validate

    decisions, clicks = fill(make_service, artifact, users=20)
    export(ledger, tmp_path / "log")
    log = read_log(tmp_path / "log")
    report = validate(log)
    assert report.ok, str(report)
    objectives = Objectives.from_dict(
        {"version": 1, "objectives": {"clicks": {"kinds": ["clicked"], "window_hours": 1, "aggregate": "any"}}}
    )
    dataset = build_dataset(log, objectives, encoder=ENCODER)
    assert dataset.n == 20
    assert dataset.reward.sum() == len(clicks) == sum(not d.is_silence for d in decisions)
    by_time = sorted(decisions, key=lambda d: d.decided_at)
    assert dataset.action.tolist() == [d.action for d in by_time]
    assert dataset.propensity.tolist() == [d.propensity for d in by_time]
    # What the service fed its policy is what training sees.
    service = make_service(policy=artifact(features=ENCODER.to_dict()))
    from homing.decisions import DecideRequest

    requests = [
        DecideRequest(user_id=d.user_id, context=dict(d.context), candidates=d.candidates[1:], decided_at=d.decided_at)
        for d in by_time
    ]
    features = service.model.encode(requests, [d.decided_at for d in by_time])
    assert (features.context == dataset.context).all()
    assert (features.candidates == dataset.candidates[:]).all()


def test_what_was_exported_is_not_exported_again(make_service, request_of, ledger, tmp_path):
    service = make_service()
    service.decide_many([request_of(f"u{i}") for i in range(5)])
    assert export(ledger, tmp_path / "log", max_rows=2) == ExportCounts(5, 0, 3)
    assert export(ledger, tmp_path / "log") == ExportCounts(0, 0, 0)
    service.decide(request_of())
    assert export(ledger, tmp_path / "log") == ExportCounts(1, 0, 1)
    assert read_log(tmp_path / "log").n_decisions == 6


def test_decisions_without_features_can_be_exported(make_service, request_of, ledger, tmp_path):
    make_service().decide(request_of(context={}))
    export(ledger, tmp_path / "log")
    assert read_log(tmp_path / "log").n_decisions == 1


def test_features_that_come_later_do_not_disturb_what_is_there(make_service, request_of, ledger, tmp_path):
    service = make_service()
    service.decide(request_of(context={"a": 1.0}))
    export(ledger, tmp_path / "log")
    service.decide(request_of(context={"b": "x"}))
    export(ledger, tmp_path / "log")
    rows = read_log(tmp_path / "log").decisions().sort_by("decided_at")  # ids of one millisecond have no order
    contexts = rows.column("context").to_pylist()
    assert contexts == [{"a": 1.0, "b": None}, {"a": None, "b": "x"}]


def test_pages_carry_checksums(make_service, request_of, ledger, tmp_path):
    make_service().decide(request_of())
    export(ledger, tmp_path / "log")
    (file,) = (tmp_path / "log").rglob("*.parquet")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3] ^= 1
    file.write_bytes(raw)
    with pytest.raises(OSError):
        pq.read_table(file, page_checksum_verification=True)


def test_two_exporters_at_once_write_each_row_once(make_service, request_of, ledger, tmp_path):
    service = make_service()
    service.decide_many([request_of(f"u{i}") for i in range(40)])
    other = SqliteLedger(ledger.path)
    threads = [
        threading.Thread(target=export, args=(one, tmp_path / "log"), kwargs={"max_rows": 3}) for one in (ledger, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    ids = read_log(tmp_path / "log").decisions().column("decision_id").to_pylist()
    assert len(ids) == len(set(ids)) == 40


KILLED = """
import os, signal, sys
from homing.decisions import SqliteLedger, export
from homing.log.writing import TableWriter

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

path, log, where = sys.argv[1:]
if where == "before the files":
    sys.modules["homing.decisions.export"].write_batch = die
elif where == "between the files' writing and their names":
    TableWriter.commit = die
elif where == "between the files and the mark":
    SqliteLedger.mark = die
elif where == "after the first of three batches":
    mark = SqliteLedger.mark
    SqliteLedger.mark = lambda self, batch: die() if batch.number == 2 else mark(self, batch)
export(SqliteLedger(path), log, max_rows=4)
"""


@pytest.mark.parametrize(
    "where",
    [
        "before the files",
        "between the files' writing and their names",
        "between the files and the mark",
        "after the first of three batches",
    ],
)
def test_a_kill_loses_and_doubles_nothing(where, make_service, artifact, ledger, tmp_path):
    decisions, clicks = fill(make_service, artifact, users=10)
    command = [sys.executable, "-c", KILLED, str(ledger.path), str(tmp_path / "log"), where]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    make_service([ConsentGuard()]).decide({"user_id": "late", "candidates": [{"message_id": "m", "channel": "push"}]})
    export(ledger, tmp_path / "log")
    log = read_log(tmp_path / "log")
    ids = log.decisions().column("decision_id").to_pylist()
    assert len(ids) == len(set(ids)) == 11
    assert {d.decision_id for d in decisions} < set(ids)
    assert sorted(log.outcomes().column("outcome_id").to_pylist()) == sorted(c["outcome_id"] for c in clicks)
    counts = ledger.counts()
    assert (counts["exported_decisions"], counts["exported_outcomes"]) == (11, len(clicks))
