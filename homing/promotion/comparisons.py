"""Objectives and guardrails held against their rules, on the paired intervals that the rules name."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from homing.ope import Estimate, OPEReport, compare
from homing.promotion.decision import Comparison
from homing.promotion.rules import Guardrail, ObjectiveRule, PromotionRules

#: Probability with which the sizes named by `Comparison.times_needed` would have shown the estimated effect.
POWER = 0.8


def compare_all(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[Comparison, ...]:
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
) -> Comparison:
    """One objective on the paired interval of challenger minus champion, less or plus its margin."""
    from homing.promotion.render import comparison_sentence

    sign = 1.0 if rule.direction == "maximize" else -1.0
    base = champion.estimate_at(name, estimator, level=level, interval=interval)
    mine = challenger.estimate_at(name, estimator, level=level, interval=interval)
    difference = compare(challenger, champion, name, estimator, level=level, interval=interval)
    # gain - m > 0 for superiority, gain + m > 0 for non-inferiority. With a relative margin m = margin · |champion|,
    # whose own error enters through the factor on the champion's influence.
    room = {"superiority": -rule.margin, "non_inferiority": rule.margin, "report": 0.0}[rule.rule]
    if rule.margin_kind == "relative":
        # sign · (θ_c - θ_b) + room · |θ_b| = sign · (θ_c - (1 - sign · room · sgn θ_b) · θ_b)
        factor = 1.0 - sign * room * math.copysign(1.0, base.value)
        bound = compare(challenger, champion, name, estimator, level=level, champion_factor=factor, interval=interval)
        bound = _signed(bound, sign)
    else:
        bound = _signed(difference, sign).shifted(room)
    passed = None if rule.rule == "report" else bound.lower > 0.0
    needed = None if passed is not False else times_needed(bound)
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
        "times_needed": needed,
        "times_to_rule_out": None if passed is not False else times_needed(bound.negated()),
    }
    return Comparison(**fields, sentence=comparison_sentence(**fields))


def check_guardrail(
    challenger: OPEReport,
    champion: OPEReport,
    name: str,
    item: Guardrail,
    estimator: str,
    level: float,
    interval: str = "cressie-read",
) -> Comparison:
    """One guardrail on the interval of the challenger\'s own value."""
    from homing.promotion.render import comparison_sentence

    mine = challenger.estimate_at(name, estimator, level=level, interval=interval)
    bound = _signed(mine, 1.0 if item.direction == "maximize" else -1.0)
    bound = bound.shifted(-item.limit if item.direction == "maximize" else item.limit)
    passed = bound.lower >= 0.0
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
        "times_needed": None if passed else times_needed(bound),
        "times_to_rule_out": None if passed else times_needed(bound.negated()),
    }
    return Comparison(**fields, sentence=comparison_sentence(**fields))


def _signed(item: Estimate, sign: float) -> Estimate:
    """The estimate of sign · quantity."""
    return item if sign > 0 else item.negated()


def times_needed(bound: Estimate) -> float | None:
    """How many times this log would put the lower end above 0 with probability `POWER`, if the estimate were true."""
    if bound.value <= 0.0 or bound.std_error == 0.0:
        return None
    # The half width is z · s, which falls with the root of the size, and for some intervals a rest for what was not
    # seen, which falls with the size: value = (z + z_power) s x + rest x² for x = 1 / √times.
    sampled = NormalDist().inv_cdf(0.5 + bound.level / 2.0) * bound.std_error
    rest = max(bound.value - bound.lower - sampled, 0.0)
    spread = sampled + NormalDist().inv_cdf(POWER) * bound.std_error
    root = (spread + math.sqrt(spread**2 + 4.0 * rest * bound.value)) / (2.0 * bound.value)
    return max(1.0, root**2)
