"""`gate`: may the challenger replace the champion? A verdict, and the sentences behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

from homing.errors import unknown_name
from homing.ope import Estimate, OPEReport, compare
from homing.promotion.rules import Guardrail, ObjectiveRule, PromotionRules

Outcome = Literal["promote", "hold", "refuse"]
#: Probability with which the sizes named by `Comparison.times_needed` would have shown the estimated effect.
POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """One objective or guardrail, judged.

    Attributes:
        objective: its name.
        rule: `superiority`, `non_inferiority`, `report` or `guardrail`.
        direction: `maximize` or `minimize`.
        champion: the champion's estimate.
        challenger: the challenger's estimate.
        difference: challenger minus champion, paired by user, in the objective's own unit and sign; its level is that
            of the decision.
        bound: what was compared with 0 (the gain beyond the margin, positive is good), as an interval.
        margin: as in the rules; a guardrail's limit.
        margin_kind: `relative` or `absolute`.
        passed: whether the bound's lower end lies above 0; None for `report`.
        times_needed: about how many times this log would show a gain of the estimated size; None if passed, or if the
            estimate itself is on the wrong side.
        times_to_rule_out: where it is, about how many times this log would show that much; 1 where this log does.
        sentence: what happened, for people.
    """

    objective: str
    rule: str
    direction: str
    champion: Estimate
    challenger: Estimate
    difference: Estimate
    bound: Estimate
    margin: float
    margin_kind: str
    passed: bool | None
    times_needed: float | None
    sentence: str
    times_to_rule_out: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Requirement:
    """One demand of the rules on the log itself, beside what was found.

    Attributes:
        name: what was measured.
        value: what was found, of the challenger (of the worse of both policies for events).
        limit: what the rules ask for.
        direction: `at least` or `at most`.
        met: whether it holds.
    """

    name: str
    value: float
    limit: float
    direction: Literal["at least", "at most"]
    met: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class GateDecision:
    """The gate's answer.

    Attributes:
        verdict: `promote`; `hold` (not shown to be better: the champion stays, more data may tell); `refuse` (this log
            cannot judge this challenger).
        reasons: sentences, the decisive ones first.
        comparisons: one for each objective and guardrail; empty when refused before comparing.
        estimator: whose intervals decided.
        level: two-sided level of the intervals.
        challenger: the challenger's name.
        champion: the champion's name.
        n: decisions in the evaluation log.
        n_users: users in it.
        fingerprint: of the evaluation log.
        rules: the rules that were applied.
        requirements: what the rules ask of the log, and what it has.
    """

    verdict: Outcome
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    estimator: str
    level: float
    challenger: str
    champion: str
    n: int
    n_users: int
    fingerprint: str
    rules: Mapping[str, Any]
    requirements: tuple[Requirement, ...] = ()

    @property
    def times_needed(self) -> float | None:
        """About how many times this log would decide, if effects are as estimated; None where the gate has decided.

        Every non-inferiority objective and guardrail must be decided, and one superiority objective.
        """
        if self.verdict != "hold":
            return None
        open_ones = [item for item in self.comparisons if item.passed is False]
        times = [_decides(item) for item in open_ones if item.rule != "superiority"]
        superior = [item for item in self.comparisons if item.rule == "superiority"]
        if superior and not any(item.passed for item in superior):
            times.append(min((_decides(item) for item in superior), default=math.inf))
        known = [value for value in times if math.isfinite(value)]
        return max(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "format": 1,
            "verdict": self.verdict,
            "times_needed": self.times_needed,
            "reasons": list(self.reasons),
            "comparisons": [item.to_dict() for item in self.comparisons],
            "estimator": self.estimator,
            "level": self.level,
            "challenger": self.challenger,
            "champion": self.champion,
            "n": self.n,
            "n_users": self.n_users,
            "fingerprint": self.fingerprint,
            "rules": dict(self.rules),
            "requirements": [item.to_dict() for item in self.requirements],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GateDecision:
        """Read back what `to_dict` wrote."""
        estimates = ("champion", "challenger", "difference", "bound")
        comparisons = tuple(
            Comparison(**{**item, **{name: Estimate.from_dict(item[name]) for name in estimates}})
            for item in data["comparisons"]
        )
        values = {key: value for key, value in data.items() if key not in ("format", "times_needed")}
        requirements = tuple(Requirement(**item) for item in data.get("requirements", ()))
        return cls(
            **{**values, "reasons": tuple(data["reasons"]), "comparisons": comparisons, "requirements": requirements}
        )

    @property
    def interval(self) -> str:
        """How the intervals were made; rules of earlier versions do not say, and meant t intervals."""
        return str(self.rules.get("interval", "cluster-t"))

    def to_text(self) -> str:
        """The decision for a terminal."""
        from homing.promotion.render import decision_text

        return decision_text(self)

    def to_html(self) -> str:
        """A self-contained page."""
        from homing.promotion.render import decision_page

        return decision_page(self)


def gate(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> GateDecision:
    """Decide on intervals, per objective, whether the challenger may replace the champion.

    Refuse, if the log cannot judge the challenger (verdict on support, effective sample size, users, weights,
    unsupported choices). Otherwise promote, if at least one superiority objective's gain lies above its margin with its
    whole interval, no superiority objective is clearly worse, and every non-inferiority objective and guardrail holds;
    else hold. Passing on few events is held: normal intervals are too narrow there.

    Args:
        challenger: report on the policy up for promotion.
        champion: report on the one in production, on the same log.
        rules: what must hold.

    Raises:
        InvalidInputError: if the reports are on different logs.
        UnknownNameError: if the rules name an objective or estimator that the reports lack.
    """
    for name in (*rules.objectives, *rules.guardrails):
        if name not in challenger.objectives:
            raise unknown_name("rules: objective", name, challenger.objectives, "The rules and the log must agree.")
    if rules.estimator not in challenger.estimators:
        raise unknown_name("rules: estimator", rules.estimator, challenger.estimators)
    refusals = _refusals(challenger, champion, rules)
    comparisons: tuple[Comparison, ...] = ()
    if all(
        (rules.estimator, name) in report.estimates
        for report in (challenger, champion)
        for name in (*rules.objectives, *rules.guardrails)
    ):
        comparisons = _compare_all(challenger, champion, rules)
    verdict: Outcome
    if refusals:
        verdict, reasons = (
            "refuse",
            (*refusals, "The champion stays. Nothing is concluded about the challenger's value."),
        )
    else:
        verdict, reasons = _judge(comparisons, challenger, champion, rules)
        if verdict == "hold":  # what was left out, or what its exploration costs, may be why
            reasons = (*reasons, *(f"About the challenger: {note}" for note in challenger.notes))
    decision = GateDecision(
        verdict=verdict,
        reasons=reasons,
        comparisons=comparisons,
        estimator=rules.estimator,
        level=rules.level,
        challenger=challenger.policy,
        champion=champion.policy,
        n=challenger.n,
        n_users=challenger.n_users,
        fingerprint=challenger.fingerprint,
        rules=rules.to_dict(),
        requirements=_requirements(challenger, champion, rules),
    )
    if decision.times_needed is None:
        return decision
    from homing.promotion.render import data_sentence

    at = len(reasons) - (len(challenger.notes) if verdict == "hold" else 0)
    said = (*reasons[:at], data_sentence(decision.times_needed), *reasons[at:])
    return replace(decision, reasons=said)


def _requirements(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[Requirement, ...]:
    support = challenger.support
    least = [("users", float(challenger.n_users), float(rules.min_users)),
             ("effective sample size", support.ess, rules.min_ess)]  # fmt: skip
    most = [
        ("share of choices never made in the log", support.share_of_mass_on_unsupported, rules.max_unsupported_share)
    ]
    if rules.max_weight is not None:
        most.append(("largest importance weight", support.max_weight, rules.max_weight))
    for name in dict.fromkeys((*rules.objectives, *rules.guardrails)):
        policies = (challenger,) if name not in rules.objectives else (challenger, champion)
        events = min(report.support.events[name].effective_events for report in policies)
        least.append((f"effective users with an event of {name}", events, rules.min_events))
    out = [Requirement(name, value, limit, "at least", value >= limit) for name, value, limit in least]
    return (*out, *(Requirement(name, value, limit, "at most", value <= limit) for name, value, limit in most))


def _refusals(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[str, ...]:
    out: list[str] = []
    support = challenger.support
    if challenger.n_users < rules.min_users:
        out.append(
            f"The log has {challenger.n_users:,} users; the rules ask for at least {rules.min_users:,} "
            f"(about {rules.min_users / challenger.n_users:.1f}× this log)."
        )
    if support.ess < rules.min_ess:
        factor = f" (about {rules.min_ess / support.ess:.1f}× this log)" if support.ess > 0 else ""
        out.append(
            f"The challenger's effective sample size is {support.ess:,.1f} of {challenger.n:,} decisions; "
            f"the rules ask for at least {rules.min_ess:g}{factor}."
        )
    if rules.max_weight is not None and support.max_weight > rules.max_weight:
        out.append(
            f"The challenger's largest importance weight is {support.max_weight:,.1f}; "
            f"the rules allow {rules.max_weight:g}. Keep it closer to what the log did."
        )
    if support.share_of_mass_on_unsupported > rules.max_unsupported_share:
        out.append(
            f"{support.share_of_mass_on_unsupported:.1%} of the challenger's choices were never made in the log; "
            f"the rules allow {rules.max_unsupported_share:.1%}. Explore them first, on a small random slice."
        )
    if support.verdict == "refuse":
        out += [reason for reason in support.reasons if reason not in out]
    if champion.support.verdict == "refuse":
        out += [f"About the champion: {reason}" for reason in champion.support.reasons]
    return tuple(out)


def _compare_all(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[Comparison, ...]:
    trials = sum(rule.rule == "superiority" for rule in rules.objectives.values())
    out = []
    for name, rule in rules.objectives.items():
        # Any one superiority objective suffices, so their error rates add up: each gets its share (Bonferroni).
        level = 1.0 - (1.0 - rules.level) / trials if rule.rule == "superiority" else rules.level
        out.append(_compare_objective(challenger, champion, name, rule, rules.estimator, level, rules.interval))
    out += [
        _check_guardrail(challenger, champion, name, item, rules.estimator, rules.level, rules.interval)
        for name, item in rules.guardrails.items()
    ]
    return tuple(out)


def _compare_objective(
    challenger: OPEReport,
    champion: OPEReport,
    name: str,
    rule: ObjectiveRule,
    estimator: str,
    level: float,
    interval: str = "cressie-read",
) -> Comparison:
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
    needed = None if passed is not False else _times_needed(bound)
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
        "times_to_rule_out": None if passed is not False else _times_needed(bound.negated()),
    }
    return Comparison(**fields, sentence=comparison_sentence(**fields))


def _check_guardrail(
    challenger: OPEReport,
    champion: OPEReport,
    name: str,
    item: Guardrail,
    estimator: str,
    level: float,
    interval: str = "cressie-read",
) -> Comparison:
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
        "times_needed": None if passed else _times_needed(bound),
        "times_to_rule_out": None if passed else _times_needed(bound.negated()),
    }
    return Comparison(**fields, sentence=comparison_sentence(**fields))


def _signed(item: Estimate, sign: float) -> Estimate:
    """The estimate of sign · quantity."""
    return item if sign > 0 else item.negated()


def _times_needed(bound: Estimate) -> float | None:
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


def _decides(item: Comparison) -> float:
    """How many times this log would decide one comparison either way; infinite where there is no difference."""
    return item.times_needed or item.times_to_rule_out or math.inf


def _judge(
    comparisons: tuple[Comparison, ...], challenger: OPEReport, champion: OPEReport, rules: PromotionRules
) -> tuple[Outcome, tuple[str, ...]]:
    superior = [item for item in comparisons if item.rule == "superiority"]
    must = [item for item in comparisons if item.rule in ("non_inferiority", "guardrail")]
    blocking = [item.sentence for item in must if not item.passed]
    blocking += [item.sentence for item in superior if item.bound.upper < 0.0 and _clearly_worse(item)]
    rare = _rare_events([item for item in comparisons if item.passed], challenger, champion, rules)
    won = [item.sentence for item in superior if item.passed]
    others = [item.sentence for item in comparisons if item.sentence not in (*blocking, *won)]
    judged = {item.objective for item in comparisons if item.rule != "report"}
    warnings = [*challenger.support.reasons]
    warnings += [
        reason
        for name in challenger.objectives
        if name in judged and name not in rare
        for reason in challenger.support.events[name].reasons
    ]
    cautions = [f"Caution: {reason}" for reason in warnings]
    if won and not blocking and not rare:
        return "promote", (*won, *others, *cautions)
    if not won:
        blocking += [item.sentence for item in superior if item.sentence not in blocking]
    others = [sentence for sentence in others if sentence not in blocking]
    return "hold", (*blocking, *rare.values(), *won, *others, *cautions)


def _clearly_worse(item: Comparison) -> bool:
    """Whether the whole interval of the difference lies on the wrong side of 0."""
    return item.difference.upper < 0.0 if item.direction == "maximize" else item.difference.lower > 0.0


def _rare_events(
    passed: list[Comparison], challenger: OPEReport, champion: OPEReport, rules: PromotionRules
) -> dict[str, str]:
    """Sentences by objective: passed, but on too few events to trust the interval."""
    out = {}
    for name in dict.fromkeys(item.objective for item in passed):
        policies = (challenger,) if name not in rules.objectives else (challenger, champion)
        events = min(report.support.events[name].effective_events for report in policies)
        if events < rules.min_events:
            # No event in a log is consistent with up to three expected (95 %).
            factor = f"about {rules.min_events / events:.1f}" if events > 0 else f"at least {rules.min_events / 3:.1f}"
            factor = f" ({factor}× this log)"
            out[name] = (
                f"{name}: its interval passes, but rests on effectively {events:.1f} users with an event, and the "
                f"rules ask for at least {rules.min_events:g}{factor}: on rare events such intervals are too narrow."
            )
    return out
