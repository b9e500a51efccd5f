"""What the rules ask of the log itself, and what is refused or held where it falls short."""

from __future__ import annotations

from collections.abc import Sequence

from homing.ope import OPEReport
from homing.promotion.decision import Comparison, Requirement
from homing.promotion.rules import PromotionRules


def requirements(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[Requirement, ...]:
    """Each demand of the rules beside what the log has."""
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


def refusals(challenger: OPEReport, champion: OPEReport, rules: PromotionRules) -> tuple[str, ...]:
    """Sentences on why the log cannot judge the challenger; empty where it can."""
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


def rare_events(
    passed: Sequence[Comparison], challenger: OPEReport, champion: OPEReport, rules: PromotionRules
) -> dict[str, str]:
    """Sentences by objective: passed, but on fewer events than the rules ask for."""
    out = {}
    why = (
        "t intervals are too narrow on rare events"
        if rules.interval == "cluster-t"
        else "a decision for all users should not rest on a few"
    )
    for name in dict.fromkeys(item.objective for item in passed):
        policies = (challenger,) if name not in rules.objectives else (challenger, champion)
        events = min(report.support.events[name].effective_events for report in policies)
        if events < rules.min_events:
            # No event in a log is consistent with up to three expected (95 %).
            factor = f"about {rules.min_events / events:.1f}" if events > 0 else f"at least {rules.min_events / 3:.1f}"
            factor = f" ({factor}× this log)"
            out[name] = (
                f"{name}: its interval passes, but rests on effectively {events:.1f} users with an event, and the "
                f"rules ask for at least {rules.min_events:g}{factor}: {why}."
            )
    return out
