"""The ledger: idempotent events, consents by time, caps under many deciders, what survives a kill."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.decisions import Consent, Outcome, SqliteLedger
from homing.errors import CorruptFileError, InvalidInputError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


def outcome(outcome_id="o1", **keys):
    return Outcome(**{"outcome_id": outcome_id, "user_id": "u1", "kind": "clicked", "occurred_at": NOW, **keys})


def consent(allowed, minutes=0, channel="push"):
    return Consent(user_id="u1", channel=channel, allowed=allowed, changed_at=NOW + timedelta(minutes=minutes))


def test_the_file_is_durable_private_and_in_wal_mode(ledger):
    db = ledger._connection()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert ledger.path.stat().st_mode & 0o077 == 0


def test_an_outcome_counts_once(ledger):
    first = ledger.record_outcomes([outcome(), outcome("o2")])
    again = ledger.record_outcomes([outcome("o2"), outcome("o3"), outcome("o3"), outcome("o1", value=5.0)])
    assert (first.accepted, first.duplicates, first.conflicts) == (2, 0, ())
    assert (again.accepted, again.duplicates, again.conflicts) == (1, 2, ("o1",))
    assert ledger.counts()["outcomes"] == 3


def test_an_outcome_of_another_users_decision_is_refused_with_its_batch(ledger, make_service, request_of):
    decision = make_service().decide(request_of("someone-else"))
    with pytest.raises(InvalidInputError, match=r"outcomes\[1\].user_id == 'u1', must be the user of its decision"):
        ledger.record_outcomes([outcome(), outcome("o2", decision_id=decision.decision_id)])
    assert ledger.counts()["outcomes"] == 0


@pytest.mark.parametrize("kind", ["unsubscribed", "disabled"])
def test_an_opt_out_without_a_decision_holds_for_every_channel(ledger, kind):
    assert ledger.record_outcomes([outcome(kind=kind)]).revoked == 1
    with ledger.transaction() as tx:
        states = tx.consents("u1")
    assert (states["*"].allowed, states["*"].source, states["*"].changed_at) == (False, kind, NOW)


@settings(max_examples=30, deadline=None)
@given(st.permutations([(True, 0), (False, 1), (True, 2), (False, 2)]))
def test_consents_in_any_order_end_in_the_same_state(tmp_path_factory, order):
    ledger = SqliteLedger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    for allowed, minutes in order:
        ledger.record_consents([consent(allowed, minutes)])
    with ledger.transaction() as tx:
        state = tx.consents("u1")["push"]
    assert (state.allowed, state.changed_at) == (False, NOW + timedelta(minutes=2))
    ledger.close()


def test_an_exception_rolls_everything_back(ledger, make_service, request_of):
    decision = make_service().decide(request_of())
    with pytest.raises(sqlite3.IntegrityError), ledger.transaction() as tx:
        tx.add(decision)
    with pytest.raises(RuntimeError), ledger.transaction() as tx:
        raise RuntimeError
    assert ledger.counts()["decisions"] == 1
    ledger.check()


def test_features_keep_their_kind(ledger):
    ledger.declare_features("context", {"a": "number"})
    ledger.declare_features("context", {"b": "flag", "a": "number"})
    ledger.declare_features("candidate", {"a": "category"})
    assert ledger.features("context") == {"a": "number", "b": "flag"}
    with pytest.raises(InvalidInputError, match=r"kind of context.a == 'flag', must be a number"):
        ledger.declare_features("context", {"c": "number", "a": "flag"})
    assert "c" not in ledger.features("context")


def test_features_are_not_without_number(ledger):
    ledger.declare_features("context", {f"f{i}": "number" for i in range(1_000)})
    with pytest.raises(InvalidInputError, match="number of context features == 1001, must be at most 1000"):
        ledger.declare_features("context", {"one more": "number"})
    assert len(ledger.features("context")) == 1_000


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"ledger == .* cannot be opened \(Is a directory\)"):
        SqliteLedger(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"ledger == .* cannot be opened \("):
        SqliteLedger(tmp_path / "file" / "ledger.db")


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no SQLite file, whatever its name says" * 100)
    with pytest.raises(CorruptFileError, match="is not a readable SQLite file"):
        SqliteLedger(path)


def test_a_ledger_of_another_version_is_refused(tmp_path):
    SqliteLedger(tmp_path / "ledger.db").close()
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    with pytest.raises(CorruptFileError, match=r"== 99, must be 2\. Use the Homing version that wrote this ledger"):
        SqliteLedger(tmp_path / "ledger.db")


def test_many_may_open_a_new_ledger_at_once(tmp_path):
    """Replicas begin together: whoever finds the file's journal being set waits, and nobody fails."""
    together = threading.Barrier(8)

    def begin(_):
        try:
            for number in range(40):
                together.wait()
                SqliteLedger(tmp_path / f"{number}.db").close()
        except Exception:
            together.abort()  # or the others would wait for this one
            raise

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))


DECIDERS = """
import json, sys, threading
from homing.decisions import DecisionService, FrequencyCapGuard, SqliteLedger
from homing.policies import UniformPolicy, load_policy, save_policy

path, policy = sys.argv[1:]
service = DecisionService(load_policy(policy), [FrequencyCapGuard(3, 24)], SqliteLedger(path), version="1")
items = [{"message_id": f"m{i}", "channel": "push"} for i in range(9)]
errors = []

def decide(thread):
    try:
        for i in range(12):
            service.decide({"user_id": f"user-{(thread + i) % 6}", "candidates": items})
    except Exception as error:
        errors.append(repr(error))

threads = [threading.Thread(target=decide, args=(i,)) for i in range(16)]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps(errors))
"""


@pytest.mark.slow
def test_caps_hold_under_16_threads_in_2_processes(tmp_path):
    from homing.policies import UniformPolicy, save_policy

    save_policy(UniformPolicy(), tmp_path / "policy")
    path = tmp_path / "ledger.db"
    command = [sys.executable, "-c", DECIDERS, str(path), str(tmp_path / "policy")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [json.loads(process.communicate(timeout=120)[0]) for process in running] == [[], []]
    # Not through the ledger's own counting: straight from the table.
    db = sqlite3.connect(path)
    sends = dict(db.execute("SELECT user_id, sum(sent) FROM decisions GROUP BY user_id").fetchall())
    total = db.execute("SELECT count(*) FROM decisions").fetchone()[0]
    db.close()
    assert total == 2 * 16 * 12
    # 64 draws a user with 9 of 10 candidates messages: each user reaches the cap, none passes it.
    assert sends == {f"user-{i}": 3 for i in range(6)}
