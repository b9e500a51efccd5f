"""Small logs in format 1, built row by row: another route than the code under test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema

SCHEMA = decisions_schema({"age": pa.int64(), "score": pa.float64(), "city": pa.string()}, {"price": pa.float64()})
START = datetime(2024, 5, 1, 22, 0, tzinfo=UTC)
NAMES = ("message_id", "campaign", "domain", "channel", "slot")

Row = dict[str, Any]


def candidate(name: str, **changes: Any) -> Row:
    row = {key: f"{key}-{name}" for key in NAMES} | {"value": 1.5, "expires_at": None, "price": 9.0}
    return row | changes


def silence(**changes: Any) -> Row:
    return dict.fromkeys(NAMES, "silence") | {"value": 0.0, "expires_at": None, "price": None} | changes


def decision(i: int) -> Row:
    return {
        "decision_id": f"d{i}",
        "user_id": f"u{i % 3}",
        "decided_at": START + timedelta(hours=i),
        "policy": "rules@1",
        "context": {"age": 30 + i, "score": None if i == 1 else 0.5, "city": "Oslo"},
        "candidates": [silence(), candidate("a"), candidate("b")],
        "eligible": [True, True, False],
        "action": i % 2,
        "propensity": 0.75 if i % 2 else 0.25,
        "propensities": [0.25, 0.75, 0.0],
        "explored": False,
        "slice": "policy",
    }


def outcome(i: int) -> Row:
    return {
        "outcome_id": f"o{i}",
        "decision_id": f"d{i}",
        "user_id": f"u{i % 3}",
        "kind": "clicked",
        "occurred_at": START + timedelta(hours=i, minutes=5),
        "value": 1.0,
    }


def table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def make_log(
    n: int = 6,
    decisions: Mapping[int, Row] | None = None,
    outcomes: Mapping[int, Row] | None = None,
    schema: pa.Schema = SCHEMA,
) -> DecisionLog:
    """A log in memory of n good rows, some of them changed: `make_log(6, {2: {"propensity": 0.0}})`."""
    rows = [decision(i) | (decisions or {}).get(i, {}) for i in range(n)]
    events = [outcome(i) | (outcomes or {}).get(i, {}) for i in range(n)]
    return DecisionLog.from_tables(table(rows, schema), table(events, OUTCOMES_SCHEMA))
