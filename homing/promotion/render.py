"""Gate decisions in words, for a terminal and for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from homing.pages import number, parts, percent, table

if TYPE_CHECKING:
    from homing.ope import Estimate
    from homing.promotion.decision import Comparison, GateDecision
    from homing.promotion.many import ManyDecision

HEADLINES = {
    "promote": "Promote: the challenger is better, and harms nothing that the rules protect.",
    "hold": "Hold: the champion stays; the challenger is not shown to be good enough.",
    "refuse": "Refuse: this log cannot judge this challenger.",
}


#: Factors of data beyond which a number says no more, and beyond which waiting for it is no plan.
MOST_TIMES, WAITED_FOR = 1000, 10.0


def comparison_sentence(
    *,
    objective: str,
    rule: str,
    direction: str,
    champion: Estimate,
    challenger: Estimate,
    difference: Estimate,
    bound: Estimate,
    margin: float,
    margin_kind: str,
    passed: bool | None,
    times_needed: float | None,
    times_to_rule_out: float | None = None,
) -> str:
    """What one comparison found, in a sentence with its numbers and its direction."""
    if rule == "guardrail":
        side = "at most" if direction == "minimize" else "at least"
        found = f"{objective} must be {side} {number(margin)} and is {_spelled(challenger)}"
        return (
            f"{found}: it holds." if passed else f"{found}: not shown.{_more(times_needed)}{_clear(times_to_rule_out)}"
        )
    better = (difference.value > 0) == (direction == "maximize")
    if difference.value == 0.0 and difference.std_error == 0.0:
        found = f"{objective} is the same for both, {number(champion.value)}"
    else:
        share = f" ({difference.value / abs(champion.value):+.1%})" if champion.value else ""
        mine, its = parts(challenger)[0], parts(champion)[0]
        if difference.lower > 0 or difference.upper < 0:
            moved = f"goes {'up' if difference.value > 0 else 'down'} from {its} to {mine}{share}"
        else:
            moved = f"is {mine} against {its}{share}"
        found = f"{objective} {moved}, difference {_spelled(difference)}"
    wanted = "higher" if direction == "maximize" else "lower"
    if rule == "report":
        return f"{found}; {wanted} is better, not judged."
    shown = f"{margin:.1%}" if margin_kind == "relative" else number(margin)
    if rule == "superiority":
        beyond = f" by more than {shown}" if margin else ""
        if passed:
            return f"{found}: better{beyond}."
        if bound.value <= 0:
            why = f"not better{beyond}" if better else "not better"
            known = f"{found}: {why}; {wanted} is better, and more data alone would not change that."
            return f"{known}{_clear(times_to_rule_out)}"
        return f"{found}: not shown to be better{beyond}.{_more(times_needed)}"
    if passed:
        return f"{found}: not worse by {shown} or more."
    if margin_kind == "relative" and champion.value == 0:
        return f"{found}: a share of 0 is no margin: give an absolute one."
    if bound.value <= 0:
        return (
            f"{found}: worse by more than the {shown} that the rules allow ({wanted} is better)."
            f"{_clear(times_to_rule_out)}"
        )
    return f"{found}: a loss of {shown} cannot be ruled out ({wanted} is better).{_more(times_needed)}"


def _spelled(item: Estimate) -> str:
    value, lower, upper = parts(item)
    return f"{value}, {percent(item.level)} interval [{lower}, {upper}]"


def _more(times: float | None) -> str:
    if times is None:
        return ""
    return f" If the effect is as estimated, about {_times(times)} this log would show it."


def _clear(times: float | None) -> str:
    """How much data shows that an estimate on the wrong side is there; nothing where this log does."""
    return "" if times is None or times <= 1.0 else f" About {_times(times)} this log would show that it does not hold."


def data_sentence(times: float, n: int, n_users: int) -> str:
    """The data that a hold needs to be decided, and what to do where that is too much to wait for.

    Args:
        times: this log's size, in logs like it.
        n: decisions in it.
        n_users: of so many users.

    >>> print(data_sentence(2.96, 45_589, 1_585))
    About 3.0× this log would decide, if effects are as estimated: 130,000 decisions of 4,700 users like these.
    >>> print(data_sentence(141.2, 45_589, 1_585))  # doctest: +NORMALIZE_WHITESPACE
    About 141× this log would decide, if effects are as estimated: 6,400,000 decisions of 220,000 users like these. Do
    not wait for that many: let an A/B experiment give the challenger some of the users (`homing experiment plan` says
    how many), and count what happens to them.
    >>> data_sentence(1.0, 45_589, 1_585)
    'This log decides it: more of the same data would not change the answer.'
    """
    if times <= 1.0:
        return "This log decides it: more of the same data would not change the answer."
    needed = f"{_rounded(times * n)} decisions of {_rounded(times * n_users)} users like these"
    said = f"About {_times(times)} this log would decide, if effects are as estimated: {needed}."
    if times > MOST_TIMES:
        said = f"More than {MOST_TIMES:,}× this log would be needed to decide, if effects are as estimated."
    if times <= WAITED_FOR:
        return said
    return (
        f"{said} Do not wait for that many: let an A/B experiment give the challenger some of the users "
        "(`homing experiment plan` says how many), and count what happens to them."
    )


def _times(times: float) -> str:
    """A factor with a sensible number of digits.

    >>> _times(1.34), _times(37.2), _times(12345.0)
    ('1.3×', '37×', 'more than 1,000×')
    """
    if times > MOST_TIMES:
        return f"more than {MOST_TIMES:,}×"
    return f"{times:.1f}×" if times < 10 else f"{times:.0f}×"


def _rounded(count: float) -> str:
    """A count with two significant digits: it comes from estimates.

    >>> _rounded(6_437_166.8), _rounded(87.3)
    ('6,400,000', '87')
    """
    return f"{float(f'{count:.1e}'):,.0f}"


def rule_text(item: Comparison) -> str:
    """What the rules ask of one objective, in words.

    A superiority rule reads "must be higher", with a margin "must be higher by more than 1.0%".
    """
    shown = f"{item.margin:.1%}" if item.margin_kind == "relative" else number(item.margin)
    wanted, bad = ("higher", "lower") if item.direction == "maximize" else ("lower", "higher")
    if item.rule == "superiority":
        return f"must be {wanted}" + (f" by more than {shown}" if item.margin else "")
    if item.rule == "non_inferiority":
        return f"must not be {bad} by {shown} or more"
    if item.rule == "guardrail":
        return f"must be at {'most' if item.direction == 'minimize' else 'least'} {shown}"
    return f"for information ({wanted} is better)"


def decision_text(decision: GateDecision) -> str:
    """See `GateDecision.to_text`."""
    lines = [HEADLINES[decision.verdict]]
    lines += [f"  - {reason}" for reason in decision.reasons]
    if decision.comparisons:
        rows = [["objective", "asked", "champion", "challenger", "difference", "lower", "upper", "holds"]]
        for item in decision.comparisons:
            holds = {True: "yes", False: "no", None: "–"}[item.passed]
            values = (parts(item.champion)[0], parts(item.challenger)[0], *parts(item.difference))
            rows.append([item.objective, rule_text(item), *values, holds])
        lines += ["", table(rows)]
    lines.append(
        f"  {decision.estimator}, {decision.interval} intervals, on {decision.n:,} decisions of {decision.n_users:,} "
        f"users, {decision.challenger!r} against {decision.champion!r}"
    )
    return "\n".join(lines)


def headline(found: ManyDecision) -> str:
    """The verdict in a sentence."""
    said = HEADLINES[found.verdict].split(": ", 1)[1] if len(found.decisions) == 1 else found.reasons[0]
    return said[0].upper() + said[1:]


def decision_page(decision: GateDecision, evidence: str = "") -> str:
    """See `GateDecision.to_html`; `evidence` are finished sections on what the log can say."""
    from homing.pages import page

    figures = [_figure(item) for item in decision.comparisons]
    headline = HEADLINES[decision.verdict].split(": ", 1)[1]
    return page(
        "gate.html",
        folders=[Path(__file__).parent / "templates"],
        decision=decision,
        headline=headline[0].upper() + headline[1:],
        rule_text=rule_text,
        figures=figures,
        requirements=requirements_figure(decision),
        evidence=evidence,
        title=f"Gate: {decision.verdict}",
    )


def many_text(found: ManyDecision) -> str:
    """See `ManyDecision.to_text`; of one challenger, its own decision."""
    if len(found.decisions) == 1:
        return decision_text(found.decisions[0])
    lines = [f"{found.verdict.capitalize()}: {found.reasons[0]}", *(f"  - {reason}" for reason in found.reasons[1:])]
    for item in found.decisions:
        lines += ["", f"{item.challenger}", decision_text(item)]
    return "\n".join(lines)


def many_page(found: ManyDecision, evidence: str = "") -> str:
    """See `ManyDecision.to_html`; of one challenger, its own decision."""
    if len(found.decisions) == 1:
        return decision_page(found.decisions[0], evidence)
    from homing.pages import Bar, forest_svg, page

    figures = []
    for item in next((item.comparisons for item in found.decisions if item.comparisons), ()):
        if item.rule == "guardrail":
            continue
        bars = []
        for decision in found.decisions:
            role = "challenger" if decision.challenger == found.promoted else "logged"
            bars += [
                Bar(decision.challenger, other.difference, role, doubtful=decision.verdict == "refuse")
                for other in decision.comparisons
                if (other.objective, other.rule) == (item.objective, item.rule)
            ]
        label = f"challenger − champion in {item.objective} per decision"
        figures.append((item.objective, forest_svg(bars, label=label, reference=0.0, limit=_limit(item))))
    details = [
        (item, [_figure(comparison) for comparison in item.comparisons], requirements_figure(item))
        for item in found.decisions
    ]
    return page(
        "many.html",
        folders=[Path(__file__).parent / "templates"],
        found=found,
        figures=figures,
        details=details,
        rule_text=rule_text,
        evidence=evidence,
        title=f"Gate: {found.verdict}",
    )


def requirements_figure(decision: GateDecision) -> str:
    """What the rules ask of the log beside what it has."""
    from homing.ope.figures import Demand, demands_svg

    demands = [
        Demand(item.name, item.value, item.limit, item.direction == "at least", item.met)
        for item in decision.requirements
    ]
    return demands_svg(demands, label="share of what the rules ask for") if demands else ""


def _figure(item: Comparison) -> str:
    """Both policies' values, and the paired difference beside the line that it must clear."""
    from homing.pages import Bar, forest_svg

    bars = [Bar("challenger", item.challenger, "challenger"), Bar("champion", item.champion, "champion")]
    if item.rule == "guardrail":
        return forest_svg(bars, label=f"{item.objective} per decision", limit=item.margin)
    values = forest_svg(bars, label=f"{item.objective} per decision", reference=item.champion.value)
    bars = [Bar("challenger − champion", item.difference, "challenger")]
    label = f"difference in {item.objective} per decision"
    return values + forest_svg(bars, label=label, reference=0.0, limit=_limit(item))


def _limit(item: Comparison) -> float | None:
    """Where the margin of a rule stands on the axis of differences."""
    if item.rule == "report" or not item.margin:
        return None
    size = item.margin * (abs(item.champion.value) if item.margin_kind == "relative" else 1.0)
    sign = (1.0 if item.direction == "maximize" else -1.0) * (1.0 if item.rule == "superiority" else -1.0)
    return sign * size
