"""The ledger: where decisions, outcomes and consents are kept until they are exported to the log.

A decision is not made until the ledger has committed it. Everything that guards count is counted in the same
transaction as the decision is written, so that caps hold however many deciders run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from homing.decisions.decision import Decision
from homing.decisions.requests import Consent, Outcome

#: How a feature is kept in the log: float64, string or bool.
FeatureKind = Literal["number", "category", "flag"]


@dataclass(frozen=True)
class ConsentState:
    """What is on record for one channel of a user (`*` for every channel)."""

    allowed: bool
    changed_at: datetime
    source: str


class LedgerView(Protocol):
    """What guards may ask, inside the transaction of the decision."""

    def sends(self, user_id: str, *, since: datetime, channels: frozenset[str] | None = None) -> int:
        """Messages (not silences) decided for the user after `since`, however far ahead; `channels` None for all."""
        ...

    def consents(self, user_id: str) -> Mapping[str, ConsentState]:
        """What is on record, by channel; empty for an unknown user."""
        ...

    def used(self, period: str) -> Mapping[str, float]:
        """Units of each budget that decisions of the period used, by the budget's name; empty for a new period."""
        ...


class LedgerTransaction(LedgerView, Protocol):
    """A view that can also write; all of it is committed on leaving, or nothing."""

    def add(self, decision: Decision) -> None:
        """Append one decision."""
        ...

    def use(self, period: str, units: Mapping[str, float]) -> None:
        """Count units (>= 0) against budgets of the period."""
        ...


@dataclass(frozen=True)
class OutcomeCounts:
    """What became of a batch of outcomes.

    Attributes:
        accepted: new ones.
        duplicates: ids that were there already, with the same content.
        conflicts: ids that were there already with another content; the first one stands.
        revoked: consents that unsubscribed and disabled outcomes took back.
    """

    accepted: int
    duplicates: int
    conflicts: tuple[str, ...]
    revoked: int

    def to_dict(self) -> dict[str, object]:
        """As JSON types."""
        return {**self.__dict__, "conflicts": list(self.conflicts)}


@dataclass(frozen=True)
class ExportBatch:
    """Rows that go into the log together, under a name that never changes: writing them twice is writing them once."""

    number: int
    name: str
    decisions: int
    outcomes: int


class Ledger(Protocol):
    """Keeps decisions, outcomes and consents, safely for many threads and processes.

    Example:
        >>> import tempfile
        >>> from datetime import UTC, datetime, timedelta
        >>> from homing.decisions import SqliteLedger
        >>> ledger = SqliteLedger(tempfile.mkdtemp() + "/ledger.sqlite")
        >>> now = datetime(2026, 11, 23, tzinfo=UTC)
        >>> _ = ledger.record_consents([Consent(user_id="u1", channel="push", allowed=True, changed_at=now)])
        >>> with ledger.transaction() as tx:
        ...     tx.sends("u1", since=now - timedelta(hours=24)), tx.consents("u1")["push"].allowed
        (0, True)
    """

    def transaction(self) -> AbstractContextManager[LedgerTransaction]:
        """One serialised read-and-write transaction; an exception inside rolls it back."""
        ...

    def get(self, decision_id: str) -> Decision | None:
        """A decision by id."""
        ...

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> OutcomeCounts:
        """Append outcomes, each once by its id; opt-outs among them revoke consent in the same transaction.

        Raises:
            InvalidInputError: if an outcome names a decision of another user; nothing of the batch is kept.
        """
        ...

    def record_consents(self, consents: Sequence[Consent], *, source: str = "consents") -> int:
        """Record consents given and withdrawn; returns how many changed what is on record."""
        ...

    def declare_features(self, scope: Literal["context", "candidate"], kinds: Mapping[str, FeatureKind]) -> None:
        """Fix the kind of features, so that every file of the log has the same columns.

        Raises:
            InvalidInputError: if a feature was declared with another kind before.
        """
        ...

    def features(self, scope: Literal["context", "candidate"]) -> Mapping[str, FeatureKind]:
        """The features declared so far, in order of declaration."""
        ...

    def claim(self, max_rows: int) -> ExportBatch | None:
        """The oldest batch claimed and not yet marked, else a new one of the oldest rows; None if there are no rows."""
        ...

    def batch_decisions(self, batch: ExportBatch) -> Iterable[Mapping[str, Any]]:
        """The receipts (`Decision.to_dict`) of a batch, always in the same order."""
        ...

    def batch_outcomes(self, batch: ExportBatch) -> Iterable[Outcome]:
        """The outcomes of a batch, always in the same order."""
        ...

    def mark(self, batch: ExportBatch) -> None:
        """Say that the batch's files are safely written; saying it twice is saying it once."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Rows: decisions, outcomes, exported_decisions, exported_outcomes, consents."""
        ...

    def check(self) -> None:
        """Raise unless the ledger can be written now (readiness)."""
        ...
