"""Promotion: whether a challenger may replace the champion, decided on intervals by rules, explained in sentences."""

from __future__ import annotations

from homing.promotion.artifacts import gate_reports
from homing.promotion.decision import Comparison, GateDecision, Requirement
from homing.promotion.gate import gate
from homing.promotion.many import ManyDecision, gate_many
from homing.promotion.rules import Guardrail, ObjectiveRule, PromotionRules

__all__ = [
    "Comparison",
    "GateDecision",
    "Guardrail",
    "ManyDecision",
    "ObjectiveRule",
    "PromotionRules",
    "Requirement",
    "gate",
    "gate_many",
    "gate_reports",
]
