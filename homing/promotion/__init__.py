"""Promotion: whether a challenger may replace the champion, decided on intervals by rules, explained in sentences."""

from __future__ import annotations

from homing.promotion.artifacts import gate_reports
from homing.promotion.gate import Comparison, GateDecision, gate
from homing.promotion.rules import Guardrail, ObjectiveRule, PromotionRules

__all__ = ["Comparison", "GateDecision", "Guardrail", "ObjectiveRule", "PromotionRules", "gate", "gate_reports"]
