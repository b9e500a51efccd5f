"""What the gate answers: each comparison, each demand on the log, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from homing.ope import Estimate

Outcome = Literal["promote", "hold", "refuse"]


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
        times_needed: about how many times this log would decide all of a hold at once, if effects are as estimated, in
            four of five logs; 1 where this one does; None where nothing is open, or where no size is known.
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
    times_needed: float | None = None

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
        values = {key: value for key, value in data.items() if key != "format"}
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
