"""The framework-free heart of serving: mask → probabilities → draw → log → answer.

`DecisionService` decides; `Guard`s say what may be sent; a `Ledger` commits every decision before it is answered and
takes outcomes and consents; `export` turns the ledger into the decision log that the training pipeline reads.
"""

from homing.decisions.budgets import Budgets
from homing.decisions.decision import Decision, GuardHit
from homing.decisions.export import ExportCounts, export
from homing.decisions.guards import (
    ConsentGuard,
    ExpiryGuard,
    FrequencyCapGuard,
    Guard,
    HoldoutGuard,
    QuietHoursGuard,
)
from homing.decisions.ledger import ConsentState, Ledger, LedgerTransaction, LedgerView, OutcomeCounts
from homing.decisions.requests import Candidate, Consent, DecideRequest, Outcome
from homing.decisions.rules import GuardRules
from homing.decisions.service import DecisionService
from homing.decisions.slices import Slices
from homing.decisions.sqlite import SqliteLedger

__all__ = [
    "Budgets",
    "Candidate",
    "Consent",
    "ConsentGuard",
    "ConsentState",
    "DecideRequest",
    "Decision",
    "DecisionService",
    "ExpiryGuard",
    "ExportCounts",
    "FrequencyCapGuard",
    "Guard",
    "GuardHit",
    "GuardRules",
    "HoldoutGuard",
    "Ledger",
    "LedgerTransaction",
    "LedgerView",
    "Outcome",
    "OutcomeCounts",
    "QuietHoursGuard",
    "Slices",
    "SqliteLedger",
    "export",
]
