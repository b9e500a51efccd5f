"""Objectives and guardrails held against their rules, on the paired intervals that the rules name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from homing.ope import OPEReport, compare
from homing.promotion.decision import Comparison
from homing.promotion.rules import Guardrail, ObjectiveRule, PromotionRules
from homing.promotion.size import Demand, times_needed

#: What was found, and what it must show here or on a larger log.
Judged = tuple[Comparison, Demand]


def compare_all(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[Judged, ...]:
    """Every objective and guardrail of the rules, in their order."""
    out = [
        compare_objective(challenger, champion, name, rule, rules.estimator, rules.level_of(name), rules.interval)
        for name, rule in rules.objectives.items()
    ]
    out += [
        check_guardrail(challenger, champion, name, item, rules.estimator, rules.level, rules.interval)
        for name, item in rules.guardrails.items()
    ]
    return tuple(out)


def compare_objective(
    challenger: OPEReport,
    champion: OPEReport,
    name: str,
    rule: ObjectiveRule,
    estimator: str,
    level: float,
    interval: str = "cressie-read",
) -> Judged:
    """One objective on the paired interval of challenger minus champion, less or plus its margin."""
    from homing.promotion.render import comparison_sentence

    sign = 1.0 if rule.direction == "maximize" else -1.0
    base = champion.estimate_at(name, estimator, level=level, interval=interval)
    mine = challenger.estimate_at(name, estimator, level=level, interval=interval)
    difference = compare(challenger, champion, name, estimator, level=level, interval=interval)
    # gain - m > 0 for superiority, gain + m > 0 for non-inferiority. With a relative margin m = margin · |champion|,
    # whose own error enters through the factor on the champion's influence.
    room = {"superiority": -rule.margin, "non_inferiority": rule.margin, "report": 0.0}[rule.rule]
    factor = 1.0
    if rule.margin_kind == "relative":
        # sign · (θ_c - θ_b) + room · |θ_b| = sign · (θ_c - (1 - sign · room · sgn θ_b) · θ_b)
        factor = 1.0 - sign * room * math.copysign(1.0, base.value)
        bound = compare(challenger, champion, name, estimator, level=level, champion_factor=factor, interval=interval)
        room = 0.0  # it is in the factor
    else:
        bound = difference
    bound = (bound if sign > 0.0 else bound.negated()).shifted(room)
    passed = None if rule.rule == "report" else bound.lower > 0.0
    psi = sign * (challenger.influence[estimator, name] - factor * champion.influence[estimator, name])
    demand = Demand.of(bound, psi)
    fields: dict[str, Any] = {
        "objective": name,
        "rule": rule.rule,
        "direction": rule.direction,
        "champion": base,
        "challenger": mine,
        "difference": difference,
        "bound": bound,
        "margin": rule.margin,
        "margin_kind": rule.margin_kind,
        "passed": passed,
        "times_needed": times_needed([[demand]]) if passed is False else None,
        "times_to_rule_out": times_needed([[demand.negated()]]) if passed is False else None,
    }
    return Comparison(**fields, sentence=comparison_sentence(**fields)), demand


def check_guardrail(
    challenger: OPEReport,
    champion: OPEReport,
    name: str,
    item: Guardrail,
    estimator: str,
    level: float,
    interval: str = "cressie-read",
) -> Judged:
    """One guardrail on the interval of the challenger's own value."""
    from homing.promotion.render import comparison_sentence

    mine = challenger.estimate_at(name, estimator, level=level, interval=interval)
    sign = 1.0 if item.direction == "maximize" else -1.0
    bound = (mine if sign > 0.0 else mine.negated()).shifted(-sign * item.limit)
    passed = bound.lower >= 0.0
    demand = Demand.of(bound, sign * challenger.influence[estimator, name])
    fields: dict[str, Any] = {
        "objective": name,
        "rule": "guardrail",
        "direction": item.direction,
        "champion": champion.estimate_at(name, estimator, level=level, interval=interval),
        "challenger": mine,
        "difference": compare(challenger, champion, name, estimator, level=level, interval=interval),
        "bound": bound,
        "margin": item.limit,
        "margin_kind": "absolute",
        "passed": passed,
        "times_needed": None if passed else times_needed([[demand]]),
        "times_to_rule_out": None if passed else times_needed([[demand.negated()]]),
    }
    return Comparison(**fields, sentence=comparison_sentence(**fields)), demand


def times_to_decide(judged: Sequence[Judged]) -> float | None:
    """How many times this log would decide all that the rules ask for, if effects are as estimated.

    Every non-inferiority objective and guardrail, on whichever side of its limit the estimate lies; and one superiority
    objective, or all of them where none is estimated to be better. What holds already counts, as it must hold then too.
    None if nothing is open.
    """
    superior = [(item.passed, demand) for item, demand in judged if item.rule == "superiority"]
    must = [(item.passed, demand) for item, demand in judged if item.rule in ("non_inferiority", "guardrail")]
    if any(passed for passed, _ in superior) and all(passed for passed, _ in must):
        return None
    better = [demand for _, demand in superior if demand.bound.value > 0.0]
    groups = [better] if better else [[demand.negated()] for _, demand in superior]
    groups += [[demand if demand.bound.value > 0.0 else demand.negated()] for _, demand in must]
    return times_needed(groups)
