"""`gate`: may the challenger replace the champion? A verdict, and the sentences behind it."""

from __future__ import annotations

from dataclasses import replace

from homing.errors import unknown_name
from homing.ope import OPEReport
from homing.promotion.comparisons import Judged, compare_all, times_to_decide
from homing.promotion.decision import Comparison, GateDecision, Outcome
from homing.promotion.demands import rare_events, refusals, requirements
from homing.promotion.rules import PromotionRules


def gate(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> GateDecision:
    """Decide on intervals, per objective, whether the challenger may replace the champion.

    Refuse, if the log cannot judge the challenger (verdict on support, effective sample size, users, weights,
    unsupported choices). Otherwise promote, if at least one superiority objective's gain lies above its margin with its
    whole interval, no superiority objective is clearly worse, and every non-inferiority objective and guardrail holds;
    else hold. Passing on few events is held, whatever the interval.

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
        step = "Reports have dr and its kin where a reward model is given."
        raise unknown_name("rules: estimator", rules.estimator, challenger.estimators, step)
    refused = refusals(challenger, champion, rules)
    judged: tuple[Judged, ...] = ()
    if all(
        (rules.estimator, name) in report.estimates
        for report in (challenger, champion)
        for name in (*rules.objectives, *rules.guardrails)
    ):
        judged = compare_all(challenger, champion, rules)
    comparisons = tuple(item for item, _ in judged)
    verdict: Outcome
    if refused:
        verdict, reasons = (
            "refuse",
            (*refused, "The champion stays. Nothing is concluded about the challenger's value."),
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
        requirements=requirements(challenger, champion, rules),
        times_needed=times_to_decide(judged) if verdict == "hold" else None,
    )
    if decision.times_needed is None:
        return decision
    from homing.promotion.render import data_sentence

    at = len(reasons) - (len(challenger.notes) if verdict == "hold" else 0)
    said = (*reasons[:at], data_sentence(decision.times_needed, decision.n, decision.n_users), *reasons[at:])
    return replace(decision, reasons=said)


def _judge(
    comparisons: tuple[Comparison, ...], challenger: OPEReport, champion: OPEReport, rules: PromotionRules
) -> tuple[Outcome, tuple[str, ...]]:
    superior = [item for item in comparisons if item.rule == "superiority"]
    must = [item for item in comparisons if item.rule in ("non_inferiority", "guardrail")]
    blocking = [item.sentence for item in must if not item.passed]
    blocking += [item.sentence for item in superior if item.bound.upper < 0.0 and _clearly_worse(item)]
    rare = rare_events([item for item in comparisons if item.passed], challenger, champion, rules)
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
