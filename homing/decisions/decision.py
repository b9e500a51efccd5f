"""`Decision`: what was decided for one user, with its receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from homing.decisions.requests import CANDIDATE_COLUMNS, Candidate, FeatureValue

Slice = Literal["policy", "uniform", "holdout"]


@dataclass(frozen=True)
class GuardHit:
    """Why a candidate may not be sent: the guard's name and a sentence."""

    guard: str
    reason: str


@dataclass(frozen=True)
class Decision:
    """One decision: one row of the decision log, and the receipt that explains it.

    Attributes:
        decision_id: UUIDv7; outcomes refer to it.
        user_id: as in the request.
        decided_at: UTC.
        policy: `name@version` of what drew the action; `fallback@version` when the policy could not answer.
        slice: `policy`, `uniform` or `holdout`; a fixed property of the user (see `Slices`).
        action: index into `candidates`; 0 is silence.
        candidates: (k,) silence first, then those of the request in its order.
        eligible: (k,) what was left by the guards.
        propensities: (k,) the probabilities from which the action was drawn; 0 where not eligible.
        explored: whether another candidate was more probable, or the uniform slice had a choice.
        guards: (k,) the guards that hit each candidate.
        context: the features of the user as sent.
        scores: (k,) the policy's score of each candidate, when it has a scorer.
        values: objective → (k,), what the scorer expects of each candidate.
        prices: budget → its price at this decision, for the budgets that some candidate would use; None without prices.
        costs: (k,) what those prices took off each candidate's score.
        notes: sentences for people: what is missing, what to do next.
    """

    decision_id: str
    user_id: str
    decided_at: datetime
    policy: str
    slice: Slice
    action: int
    candidates: tuple[Candidate, ...]
    eligible: tuple[bool, ...]
    propensities: tuple[float, ...]
    explored: bool
    guards: tuple[tuple[GuardHit, ...], ...]
    context: Mapping[str, FeatureValue] = field(default_factory=dict)
    scores: tuple[float, ...] | None = None
    values: Mapping[str, tuple[float, ...]] | None = None
    prices: Mapping[str, float] | None = None
    costs: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """The chosen candidate."""
        return self.candidates[self.action]

    @property
    def propensity(self) -> float:
        """The probability with which the action was drawn, in (0, 1]."""
        return self.propensities[self.action]

    @property
    def is_silence(self) -> bool:
        """Whether nothing is to be sent."""
        return self.action == 0

    def to_dict(self) -> dict[str, Any]:
        """The receipt, as JSON types; `from_dict` gives an equal decision back."""
        values = self.values or {}
        return {
            "decision_id": self.decision_id,
            "user_id": self.user_id,
            "decided_at": self.decided_at.isoformat(),
            "policy": self.policy,
            "slice": self.slice,
            "action": self.action,
            "candidate": _candidate_dict(self.candidate),
            "propensity": self.propensity,
            "explored": self.explored,
            "notes": list(self.notes),
            "prices": None if self.prices is None else dict(self.prices),
            "candidates": [
                {
                    **_candidate_dict(item),
                    "eligible": self.eligible[i],
                    "propensity": self.propensities[i],
                    "guards": [{"guard": hit.guard, "reason": hit.reason} for hit in self.guards[i]],
                    "score": None if self.scores is None else self.scores[i],
                    "cost": None if self.costs is None else self.costs[i],
                    "values": None if self.values is None else {name: values[name][i] for name in values},
                }
                for i, item in enumerate(self.candidates)
            ],
            "context": dict(self.context),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Rebuild from `to_dict`; for receipts of the ledger, not for untrusted input."""
        rows = data["candidates"]
        values = rows[0]["values"]
        return cls(
            decision_id=data["decision_id"],
            user_id=data["user_id"],
            decided_at=datetime.fromisoformat(data["decided_at"]),
            policy=data["policy"],
            slice=data["slice"],
            action=data["action"],
            candidates=tuple(
                Candidate(**{name: row[name] for name in (*CANDIDATE_COLUMNS, "features")}) for row in rows
            ),
            eligible=tuple(row["eligible"] for row in rows),
            propensities=tuple(row["propensity"] for row in rows),
            explored=data["explored"],
            guards=tuple(tuple(GuardHit(**hit) for hit in row["guards"]) for row in rows),
            context=data["context"],
            scores=None if rows[0]["score"] is None else tuple(row["score"] for row in rows),
            values=None if values is None else {name: tuple(row["values"][name] for row in rows) for name in values},
            # Receipts of ledgers from before there were prices have neither.
            prices=data.get("prices"),
            costs=None if rows[0].get("cost") is None else tuple(row["cost"] for row in rows),
            notes=tuple(data["notes"]),
        )


def _candidate_dict(item: Candidate) -> dict[str, Any]:
    row = {name: getattr(item, name) for name in CANDIDATE_COLUMNS}
    row["expires_at"] = None if item.expires_at is None else item.expires_at.isoformat()
    return {**row, "features": dict(item.features)}
