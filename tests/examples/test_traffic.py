"""Traffic of the closed loop: requests are the held-back rows, outcomes are donors' outcomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from examples.timeline import page, table
from examples.traffic import NEAREST, HeldBack, TrafficError
from homing.decisions import DecideRequest, Outcome
from homing.log import OUTCOMES_SCHEMA, SILENCE, DecisionLog, FeatureEncoder, decisions_schema

NAMES = ("message_id", "campaign", "domain", "channel", "slot")
START = datetime(2026, 1, 1, tzinfo=UTC)


def held_back_log() -> DecisionLog:
    """60 decisions: the even ones received "a", the odd ones "b"; who received "a" at age x clicked with value x."""
    rows, outcomes = [], []
    for i in range(60):
        items: list[dict[str, Any]] = [
            {**dict.fromkeys(NAMES, SILENCE), "value": 0.0, "expires_at": None, "taste": None}
        ]
        for name in ("a", "b", "c"):
            labels = dict(zip(NAMES, (name, "camp", "team", "push" if name != "c" else "email", "now"), strict=True))
            ends = START + timedelta(minutes=i, hours=5) if (name, i) == ("a", 2) else None
            items.append({**labels, "value": 2.0, "expires_at": ends, "taste": 0.5})
        rows.append({
            "decision_id": f"d{i}", "user_id": f"u{i}", "decided_at": START + timedelta(minutes=i), "policy": "old@1",
            "context": {"age": float(i), "plan": "pro" if i % 3 else None}, "candidates": items,
            "eligible": [True, True, i != 7, False], "action": 1 if i % 2 == 0 else 2, "propensity": 0.5,
            "propensities": None, "explored": True, "slice": "policy"})  # fmt: skip
        if i % 2 == 0:
            at = START + timedelta(minutes=i, days=3)
            for kind in ("clicked", "unsubscribed"):
                outcomes.append({"outcome_id": f"{kind}{i}", "decision_id": f"d{i}", "user_id": f"u{i}", "kind": kind,
                                 "occurred_at": at, "value": float(i)})  # fmt: skip
    rows[7]["action"] = 1
    schema = decisions_schema({"age": pa.float64(), "plan": pa.string()}, {"taste": pa.float64()})
    tables = pa.Table.from_pylist(rows, schema=schema), pa.Table.from_pylist(outcomes, schema=OUTCOMES_SCHEMA)
    return DecisionLog.from_tables(*tables)


@pytest.fixture
def held_back() -> HeldBack:
    log = held_back_log()
    return HeldBack(log, FeatureEncoder.fit(log))


def test_a_request_is_the_row_without_silence(held_back: HeldBack) -> None:
    body = held_back.request(3)
    assert body["context"] == {"age": 3.0}  # a missing feature is left out
    assert [item["message_id"] for item in body["candidates"]] == ["a", "b", "c"]
    assert body["candidates"][0] == {
        "message_id": "a", "campaign": "camp", "domain": "team", "channel": "push", "slot": "now", "value": 2.0,
        "features": {"taste": 0.5}}  # fmt: skip
    assert body["consent"] == {"push": True, "email": False}  # what was not eligible may not be sent now
    assert held_back.request(3, value_added=1.0)["candidates"][0]["value"] == 3.0
    DecideRequest.from_dict(body)


def test_one_message_that_was_not_eligible_is_expired(held_back: HeldBack) -> None:
    a, b, _ = held_back.request(7)["candidates"]
    assert "expires_at" not in a and b["expires_at"] < "2026"
    DecideRequest.from_dict(held_back.request(7))


def test_outcomes_come_from_a_near_donor_of_the_same_message(held_back: HeldBack, rng: np.random.Generator) -> None:
    decision = {"decision_id": "new", "user_id": "u31", "decided_at": "2026-06-01T00:00:00+00:00"}
    donors = set()
    for _ in range(200):
        [outcome] = held_back.outcomes(31, "a", decision, rng) or [None]
        Outcome.from_dict(outcome)
        assert (outcome["decision_id"], outcome["user_id"], outcome["kind"]) == ("new", "u31", "clicked")
        assert outcome["occurred_at"] > decision["decided_at"]
        donors.add(outcome["value"])
    # Ten nearest to 31 among those who received "a" and stand in the same plan or not: the value is the donor's age.
    assert len(donors) <= NEAREST and all(value % 2 == 0 for value in donors)
    assert held_back.outcomes(31, "b", decision, rng) == []  # donors of "b" did nothing
    assert held_back.outcomes(31, "c", decision, rng) is None  # nobody ever received "c"


def test_every_row_is_asked_before_one_is_asked_again(held_back: HeldBack, rng: np.random.Generator) -> None:
    counts = np.bincount(held_back.sample(150, rng), minlength=60)
    assert counts.sum() == 150 and counts.min() == 2 and counts.max() == 3


def test_the_shift_changes_one_feature(held_back: HeldBack, rng: np.random.Generator) -> None:
    rows, said = held_back.shifted(2000, rng)
    assert said.startswith("age > 29.5 for 50% → 6")
    # Half the rows get (1 + 2 * 0.5) / 3 = 2/3 of the draws; the standard deviation over 2,000 is 0.0105.
    assert np.mean(rows >= 30) == pytest.approx(2 / 3, abs=0.05)


def test_nobody_held_back_is_an_error() -> None:
    log = held_back_log()
    empty = DecisionLog.from_tables(log.schema.empty_table())
    with pytest.raises(TrafficError, match=r"held-back decisions == 0, must be at least 1. Hold back a larger share"):
        HeldBack(empty, FeatureEncoder.fit(log))


def facts() -> dict[str, Any]:
    run = {"alert": False, "rows": 5, "columns": [], "trigger": "Nothing to do."}
    loud = {"alert": True, "rows": 5, "columns": ["context.age"], "trigger": "Started <it>."}
    return {
        "dataset": "tiny", "held_back": {"users": 3, "decisions": 9}, "shift": "age > 3",
        "trained": {"champion_version": "1"},
        "retrained": {"version": "3", "champion_version": "1", "runs": 1, "run_name": "retrain-x"},
        "counts": {"decided": 1234, "logged": 1234, "prepared": 1230, "rejected": 4, "outcomes": 7,
                   "outcomes_sent_twice": 2, "outcomes_logged": 7},
        "drift_quiet": run, "drift_shifted": loud, "drift_again": loud,
        "steps": [{"title": "One", "started_at": "2026-11-25T16:06:27+00:00", "said": ["a < b"],
                   "seconds": 2.0}]}  # fmt: skip


def test_the_table_and_the_page_show_the_counts() -> None:
    assert "decided = logged = prepared + rejected  1,234 = 1,234 = 1,230 + 4" in table(facts())
    shown = page(facts())
    assert "1,234 = 1,234 = 1,230 + 4" in shown and "a &lt; b" in shown
    assert "ALERT: context.age. Started &lt;it&gt;." in shown and "16:06:27 UTC" in shown
    assert "http" not in shown  # nothing is fetched


def test_what_expires_has_as_much_time_left_as_it_had(held_back: HeldBack) -> None:
    a, b, _ = held_back.request(2)["candidates"]
    left = datetime.fromisoformat(a["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=5, minutes=-1) < left <= timedelta(hours=5) and "expires_at" not in b
