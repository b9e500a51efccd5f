"""Reports and logs made by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from homing.log import OUTCOMES_SCHEMA, SILENCE, DecisionLog, decisions_schema
from monitoring.report import ColumnDrift, DriftReport, WindowSummary

NAMES = ("message_id", "campaign", "domain", "channel", "slot")


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
    start = datetime(2026, 1, day, tzinfo=UTC)
    decisions, outcomes = [], []
    for i in range(n):
        names = ["welcome", "tips", "offer"] if rng.random() >= new_share else ["launch", "tips", "offer"]
        at = start + timedelta(seconds=60 * i)
        items = [{**dict.fromkeys(NAMES, SILENCE), "value": 0.0, "expires_at": None}]
        for name in names:
            channel = "email" if name == "offer" else "push"
            expires = at + timedelta(hours=float(rng.uniform(10, 50)))
            items.append({"message_id": name, "campaign": name, "domain": "growth", "channel": channel,
                          "slot": "now", "value": float(rng.gamma(2.0, value)), "expires_at": expires})  # fmt: skip
        eligible = [True, *(bool(allowed[user[i]]) or item["channel"] == "email" for item in items[1:])]
        choices = np.flatnonzero(eligible)
        action = int(rng.choice(choices))
        decision_id, user_id = f"d{day}-{i:06d}", f"u{day}-{user[i]}"
        decisions.append({
            "decision_id": decision_id, "user_id": user_id, "decided_at": at, "policy": policy,
            "context": {"age": float(ages[user[i]]), "plan": str(plan[user[i]])}, "candidates": items,
            "eligible": eligible, "action": action, "propensity": wrong_propensity / len(choices),
            "propensities": None, "explored": True, "slice": "policy"})  # fmt: skip
        if action and rng.random() < rate * (0.5 + ages[user[i]] / 80):
            outcomes.append({"outcome_id": f"o{day}-{i}", "decision_id": decision_id, "user_id": user_id,
                             "kind": "clicked", "occurred_at": at + timedelta(minutes=5), "value": 1.0})  # fmt: skip
    schema = decisions_schema({"age": pa.float64(), "plan": pa.string()})
    tables = pa.Table.from_pylist(decisions, schema=schema), pa.Table.from_pylist(outcomes, schema=OUTCOMES_SCHEMA)
    return DecisionLog.from_tables(*tables)


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
