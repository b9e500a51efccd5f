"""Small logs from plain rows: a decision, an outcome, a candidate with one's own fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema, silence_candidate

Row = Mapping[str, Any]
CONTEXT = {"age": pa.float64(), "visits": pa.int64(), "city": pa.string(), "vip": pa.bool_()}
EXTRA = {"affinity": pa.float64(), "tone": pa.string()}
SILENCE = silence_candidate(EXTRA)


def candidate(message: str, **fields: Any) -> dict[str, Any]:
    """A candidate that is not silence."""
    base = {"message_id": message, "campaign": "c", "domain": "d", "channel": "push", "slot": "now", "value": 1.0}
    return {**base, "expires_at": None, **dict.fromkeys(EXTRA, None), **fields}


def decision(decision_id: str, user_id: str, decided_at: int, **fields: Any) -> dict[str, Any]:
    """A decision at a time in microseconds, drawn uniformly."""
    candidates = fields.pop("candidates", [SILENCE, candidate("hello")])
    base = {
        "decision_id": decision_id,
        "user_id": user_id,
        "decided_at": decided_at,
        "policy": "coin@1",
        "context": dict.fromkeys(CONTEXT, None),
        "candidates": candidates,
        "eligible": [True] * len(candidates),
        "action": 0,
        "propensity": 1.0 / len(candidates),
        "propensities": [1.0 / len(candidates)] * len(candidates),
        "explored": True,
        "slice": "uniform",
    }
    return {**base, **fields}


def outcome(outcome_id: str | None, decision_id: str | None, user_id: str, occurred_at: int, **fields: Any) -> Row:
    """A click at a time in microseconds."""
    base = {"outcome_id": outcome_id, "decision_id": decision_id, "user_id": user_id, "kind": "clicked"}
    return {**base, "occurred_at": occurred_at, "value": 1.0, **fields}


def log_of(decisions: Sequence[Row], outcomes: Sequence[Row] = ()) -> DecisionLog:
    """A log in memory."""
    return DecisionLog.from_tables(
        pa.Table.from_pylist([dict(row) for row in decisions], schema=decisions_schema(CONTEXT, EXTRA)),
        pa.Table.from_pylist([dict(row) for row in outcomes], schema=OUTCOMES_SCHEMA),
    )
