"""`gate_many`: several challengers on one log, at most one promoted; looking at many is paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from homing.errors import InvalidInputError, describe
from homing.ope import OPEReport
from homing.promotion.decision import GateDecision, Outcome
from homing.promotion.gate import gate
from homing.promotion.rules import PromotionRules


@dataclass(frozen=True)
class ManyDecision:
    """The gate's answer on several challengers.

    Attributes:
        promoted: the challenger that replaces the champion, None if it stays.
        decisions: one for each challenger in the order given; at most one says `promote`.
        level: as in the rules: of all intervals together.
        each_level: of each challenger's own rules, 1 - (1 - level) / number of challengers.
        reasons: sentences on the choice.
    """

    promoted: str | None
    decisions: tuple[GateDecision, ...]
    level: float
    each_level: float
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> Outcome:
        """`promote` if one is; `refuse` if the log can judge none of them; else `hold`."""
        if self.promoted is not None:
            return "promote"
        return "refuse" if all(item.verdict == "refuse" for item in self.decisions) else "hold"

    @property
    def leader(self) -> str:
        """The challenger that goes on: the promoted one, else the one with the highest lower bound on the first
        superiority objective of those that the log can judge, else the first."""
        if self.promoted is not None:
            return self.promoted
        objective = _first_superiority(self.decisions[0].rules["objectives"])
        judged = [item for item in self.decisions if item.verdict != "refuse"]
        return (
            max(judged, key=lambda item: _lower(item, objective)).challenger if judged else self.decisions[0].challenger
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "format": 2,
            "verdict": self.verdict,
            "promoted": self.promoted,
            "leader": self.leader,
            "level": self.level,
            "each_level": self.each_level,
            "reasons": list(self.reasons),
            "decisions": [item.to_dict() for item in self.decisions],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ManyDecision:
        """Read back what `to_dict` wrote."""
        return cls(
            promoted=data["promoted"],
            decisions=tuple(GateDecision.from_dict(item) for item in data["decisions"]),
            level=data["level"],
            each_level=data["each_level"],
            reasons=tuple(data["reasons"]),
        )

    def to_text(self) -> str:
        """The decisions for a terminal."""
        from homing.promotion.render import many_text

        return many_text(self)

    def to_html(self, *, evidence: str = "") -> str:
        """A self-contained page.

        Args:
            evidence: sections on what the log can say, from `homing.ope.html.evidence`.
        """
        from homing.promotion.render import many_page

        return many_page(self, evidence)


def gate_many(challengers: Sequence[OPEReport], champion: OPEReport, rules: PromotionRules) -> ManyDecision:
    """Judge several challengers on one log, and promote at most one.

    Every interval is made at the level 1 - (1 - level) / K for K challengers (Bonferroni), whatever they share. A
    challenger that is no better, or breaks a non-inferiority rule or a guardrail, passes its own gate with probability
    of at most (1 - level) / (2 K), so that the probability of promoting *any* such challenger is at most
    (1 - level) / 2, however many are tried and whichever of those that pass is taken. Of those the one with the highest
    lower bound on the first superiority objective is promoted; the others are held.

    Why not the level of `simultaneous_level`, which knows how challengers depend on each other: it is a normal's, and
    what decides is often a rare harm, a sequence or a bound, that is none; which of its rules a bad challenger breaks
    is not known, so that all pairs of challenger and rule would have to hold at once; and this level is known before
    the log is read, so that pages show the intervals that decide. The price is data: ten challengers that differ from
    the champion in only two directions need 1.4 times as much (normal quantiles 2.81 and 2.24, power 0.85). Compare
    those with `compare_many` on one log, and bring the best to the gate on another.

    Wrong to use on a log on which the challengers were chosen or trained: give it all that were tried, on other users.

    Args:
        challengers: reports with different names on the champion's log.
        champion: report on the policy in production.
        rules: what must hold, as for one challenger.

    Returns:
        A `ManyDecision`.

    Raises:
        InvalidInputError: if there is no challenger, two have one name, or logs differ.
        UnknownNameError: if the rules name what the reports lack.

    References:
        Dunnett (1955), "A Multiple Comparison Procedure for Comparing Several Treatments with a Control", for the
        problem; Berger (1982), "Multiparameter Hypothesis Testing and Acceptance Sampling", for rules that must all
        hold.

    Example:
        >>> import numpy as np
        >>> from homing.log import LoggedDataset
        >>> from homing.ope import evaluate_policy
        >>> rng = np.random.default_rng(0)
        >>> n = 6000
        >>> action = rng.integers(0, 3, n)
        >>> log = LoggedDataset(
        ...     context=np.zeros((n, 1)), candidates=np.zeros((n, 3, 1)), eligible=np.ones((n, 3), bool), action=action,
        ...     propensity=np.full(n, 1 / 3), reward=(rng.random(n) < 0.1 + 0.05 * action)[:, None],
        ...     objectives=("clicked",), user=np.arange(n), time=np.arange(n))
        >>> def report(arm):
        ...     return evaluate_policy(log, np.tile(np.eye(3)[arm], (n, 1)), policy=f"arm {arm}", estimators=("snips",))
        >>> rules = PromotionRules.from_dict({"estimator": "snips", "objectives": {"clicked": {"rule": "superiority"}}})
        >>> found = gate_many([report(1), report(2)], report(0), rules)
        >>> found.promoted, [item.verdict for item in found.decisions]
        ('arm 2', ['hold', 'promote'])
    """
    names = [report.policy for report in challengers]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(
            describe("challengers", names, "must have different names, at least one", "Name each policy's report.")
        )
    shared = rules.shared(len(names))
    each = shared.level
    decisions = [gate(report, champion, shared) for report in challengers]
    passed = [i for i, item in enumerate(decisions) if item.verdict == "promote"]
    paid: tuple[str, ...] = ()
    if len(names) > 1:
        said = f"{len(names)} challengers share the error rate of one: each interval is at the level {each:.4g}"
        paid = (f"{said} instead of {rules.level:g}.",)
    if not passed:
        stays = "No challenger passes: the champion stays."
        return ManyDecision(None, tuple(decisions), rules.level, each, (stays, *paid))
    objective = _first_superiority(shared.to_dict()["objectives"])
    best = max(passed, key=lambda i: _lower(decisions[i], objective))
    for i in passed:
        if i != best:
            reason = f"It passes, but {names[best]!r} is promoted: its gain in {objective} has the higher lower bound."
            decisions[i] = replace(decisions[i], verdict="hold", reasons=(reason, *decisions[i].reasons))
    others = f" of {len(passed)} that pass" if len(passed) > 1 else ""
    chosen = f"{names[best]!r} is promoted{others}."
    return ManyDecision(names[best], tuple(decisions), rules.level, each, (chosen, *paid))


def _first_superiority(objectives: Mapping[str, Mapping[str, Any]]) -> str:
    return next(name for name, rule in objectives.items() if rule["rule"] == "superiority")


def _lower(decision: GateDecision, objective: str) -> float:
    """The lower bound of a decision's gain in one superiority objective."""
    return next(
        item.bound.lower for item in decision.comparisons if item.objective == objective and item.rule == "superiority"
    )
