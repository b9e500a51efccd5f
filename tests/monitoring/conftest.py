"""Reports and logs made by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from homing.log import OUTCOMES_SCHEMA, SILENCE, DecisionLog, decisions_schema
from monitoring.report import ColumnDrift, DriftReport, WindowSummary

MESSAGES = ("welcome", "tips", "offer")


def build_report(
    *, alert: bool, judged: bool = True, reference: str = "ref", first_at: str = "2026-01-01"
) -> DriftReport:
    then = WindowSummary(1000, 1000, 900, "2025-12-01", "2025-12-31", ("uniform@1",), {}, {}, None)
    now = WindowSummary(1000, 1000, 900, first_at, "2026-01-08", ("homing@1",), {}, {}, None)
    status = ("drift" if alert else "ok") if judged else "unjudged"
    column = ColumnDrift("context.age", "context", status, alert, 0.3 if alert else 0.0, 0.1, "PSI", 1e-9, "")
    return DriftReport("r", "2026-01-08T00:00:00+00:00", "homing (ab)", then, now, reference, "rules", (column,),
                       alert, (), 1.0)  # fmt: skip


@pytest.fixture
def drift_report() -> Callable[..., DriftReport]:
    """Builds a report: `drift_report(alert=True)`."""
    return build_report


def build_log(
    rng: np.random.Generator,
    n: int,
    *,
    users: int | None = None,
    age: float = 40.0,
    new_share: float = 0.0,
    value: float = 1.0,
    rate: float = 0.3,
    consent: float = 0.9,
    wrong_propensity: float = 1.0,
    policy: str = "uniform@1",
    day: int = 1,
) -> DecisionLog:
    """A log of a uniform policy over silence and eligible messages; the reward is a click with known probability.

    Age and consent belong to the user, so rows of one user are not independent. Clicks have probability
    rate * (0.5 + age / 80) for messages, 0 for silence.
    """
    people = users or n
    user = rng.integers(0, people, n) if users else np.arange(n)
    ages = rng.normal(age, 10, people)
    plan = rng.choice(["free", "pro", "team"], people, p=[0.6, 0.3, 0.1])
    allowed = rng.random(people) < consent
    at = np.datetime64(f"2026-01-{day:02}", "us") + np.arange(n) * np.timedelta64(60, "s")
    ids = [f"d{day}-{i:06d}" for i in range(n)]
    user_ids = [f"u{day}-{i}" for i in user]
    # Silence, then three messages: k = 4 candidates a decision, flat in the order of the decisions.
    k = 1 + len(MESSAGES)
    names = np.tile(np.array([SILENCE, *MESSAGES]), (n, 1))
    names[rng.random(n) < new_share, 1] = "launch"
    channel = np.tile(np.array([SILENCE, "push", "push", "email"]), (n, 1))
    value = np.hstack([np.zeros((n, 1)), rng.gamma(2.0, value, (n, k - 1))])
    expires = at[:, None] + (rng.uniform(10, 50, (n, k)) * 3.6e9).astype("timedelta64[us]")
    silent = np.tile(np.arange(k) == 0, (n, 1))

    def said(word: str) -> list[str]:
        return np.where(silent, SILENCE, word).ravel().tolist()

    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
    schema = decisions_schema({"age": pa.float64(), "plan": pa.string()})
    item = schema.field("candidates").type.value_type
    closing = pa.array(expires.ravel(), mask=silent.ravel()).cast(item.field("expires_at").type)
    name, where = names.ravel().tolist(), channel.ravel().tolist()
    parts = {"message_id": name, "campaign": name, "domain": said("growth"), "channel": where, "slot": said("now"),
             "value": value.ravel(), "expires_at": closing}  # fmt: skip
    candidates = pa.StructArray.from_arrays(
        [pa.array(parts[field.name], field.type) for field in item], fields=list(item)
    )
    eligible = allowed[user][:, None] | (channel != "push")
    # One of the eligible candidates, uniformly: the largest of independent uniform numbers.
    action = np.where(eligible, rng.random((n, k)), -1.0).argmax(axis=1)
    columns = {
        "decision_id": ids, "user_id": user_ids, "decided_at": at, "policy": [policy] * n,
        "context": pa.StructArray.from_arrays(
            [pa.array(ages[user]), pa.array(plan[user].tolist(), pa.string())],
            fields=list(schema.field("context").type)),
        "candidates": pa.ListArray.from_arrays(offsets, candidates).cast(schema.field("candidates").type),
        "eligible": pa.ListArray.from_arrays(offsets, pa.array(eligible.ravel())).cast(schema.field("eligible").type),
        "action": action, "propensity": wrong_propensity / eligible.sum(axis=1),
        "propensities": pa.nulls(n, schema.field("propensities").type), "explored": [True] * n,
        "slice": ["policy"] * n}  # fmt: skip
    arrays = [_column(columns[field.name], field.type) for field in schema]
    clicked = np.flatnonzero((action > 0) & (rng.random(n) < rate * (0.5 + ages[user] / 80)))
    outcomes = {
        "outcome_id": [f"o{day}-{i}" for i in clicked], "decision_id": [ids[i] for i in clicked],
        "user_id": [user_ids[i] for i in clicked], "kind": ["clicked"] * len(clicked),
        "occurred_at": at[clicked] + np.timedelta64(5, "m"), "value": np.ones(len(clicked))}  # fmt: skip
    happened = [_column(outcomes[field.name], field.type) for field in OUTCOMES_SCHEMA]
    return DecisionLog.from_tables(
        pa.Table.from_arrays(arrays, schema=schema), pa.Table.from_arrays(happened, schema=OUTCOMES_SCHEMA)
    )


def _column(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values).cast(kind)


@pytest.fixture(scope="session")
def make_log() -> Callable[..., DecisionLog]:
    """Builds a log: see `build_log`."""
    return build_log


@pytest.fixture
def free_port() -> int:
    """A port on the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
