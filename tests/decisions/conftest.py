"""A policy of known probabilities, a clock that stands still, a service on a fresh SQLite ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homing.decisions import DecisionService, SqliteLedger

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class KnownPolicy:
    """Probabilities in fixed ratios over what is eligible: candidate i weighs i + 1."""

    def action_probs(self, context: Any, candidates: Any, eligible: Any, weights: Any = None) -> Any:
        raw = eligible * np.arange(1.0, eligible.shape[1] + 1)
        return raw / raw.sum(axis=1, keepdims=True)


@dataclass
class Artifact:
    """The part of `PolicyArtifact` that the service uses."""

    policy: Any = field(default_factory=KnownPolicy)
    name: str = "known"
    features: dict[str, Any] | None = None
    objectives: tuple[str, ...] = ("clicks",)
    weights: Any = None
    digest: str = "0" * 64

    def action_probs(self, *arrays: Any) -> Any:
        return self.policy.action_probs(*arrays)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def artifact() -> type[Artifact]:
    return Artifact


@pytest.fixture
def known_policy() -> type[KnownPolicy]:
    return KnownPolicy


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def make_service(ledger: SqliteLedger) -> Callable[..., DecisionService]:
    def make(guards: Any = (), policy: Any = None, **options: Any) -> DecisionService:
        options = {"version": "7", "rng": np.random.default_rng(0), "clock": lambda: NOW, **options}
        return DecisionService(Artifact() if policy is None else policy, guards, ledger, **options)

    return make


@pytest.fixture
def request_of() -> Callable[..., dict[str, Any]]:
    def make(user: str = "u1", n: int = 2, channel: str = "push", **keys: Any) -> dict[str, Any]:
        candidates = [{"message_id": f"m{i}", "channel": channel} for i in range(n)]
        return {"user_id": user, "context": {"recency": 3.0}, "candidates": candidates, **keys}

    return make
