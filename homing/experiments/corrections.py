"""How the plan's error rates are divided among its tests, so that the decision keeps them: each step as data.

The decision rule (Schultzberg, Ankargren, Frånberg 2024, "Risk-aware product decisions in A/B tests with multiple
metrics", arXiv 2402.11609, Decision Rule 2): ship iff at least one of S success metrics is superior, all G guardrails
are non-inferior, none of the S + G + D metrics is inferior and none of the Q quality tests rejects. "At least one" is a
union-intersection test, which splits α; "all" is an intersection-union test, which splits β.

Read from the paper: the rule, α / S for success metrics, α undivided for guardrails, α₋ / (S + G + D + Q) for
everything that can only veto, and that β must be divided too. Derived here, because several treatments and the exact β
are not in what we could read:

*False ships, C treatments.* A treatment should not ship if (i) none of its success metrics gains, or (ii) one of its
guardrails lies at its margin or beyond. With α / (C S) for superiority, (i) ships with at most S α / (C S) = α / C;
with α / C for non-inferiority, (ii) ships with at most α / C, since that one guardrail must pass. Vetoes only lower it.
Over C treatments the sum is at most α, whatever the dependence (Boole). With C = 1 this is the paper's split.

*Missed ships.* Let one success metric gain its minimum detectable effect while nothing is harmed, and let K be G plus 1
(G without success metrics). The treatment is held back only if one of K tests fails, each with at most β*, or something
vetoes, in total at most α₋. So P(no ship) <= K β* + α₋, and β* = (β - α₋) / K keeps it at β; it needs α₋ < β.

*Missed ships, one look.* A guardrail's non-inferiority test fails on the lower tail of the same z on which its
deterioration test rejects, so that one event holds the other: together they hold back with max(β*, α₋*), not their sum;
and the success metric that gains cannot be superior and inferior at once. With β* = (β - (S - 1 + D) α₋* - Q α_q*) / K
only what the other metrics and the quality tests may veto is taken off; that α₋* <= β* then follows from α₋ < β, since
K (β* - α₋*) >= β - (S + G + D + Q) α₋* >= β - α₋. With several looks a metric can be inferior at one and non-inferior
at another, and the first form holds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe


@dataclass(frozen=True)
class Adjustment:
    """One error rate, as asked for and as each test gets it.

    Attributes:
        name: `alpha_success`, `alpha_guardrail`, `alpha_deterioration`, `alpha_quality` or `beta`.
        asked: the rate that the plan names, for the decision as a whole.
        applied: the rate at which each test is run (or, for β, planned).
        sentence: how the one became the other, for people.
    """

    name: str
    asked: float
    applied: float
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Corrections:
    """The error rate of each test of a plan.

    Attributes:
        alpha_success: one-sided, of each superiority test: α / (C S). None without success metrics.
        alpha_guardrail: one-sided, of each non-inferiority test: α / C. None without guardrails.
        alpha_deterioration: one-sided, of each inferiority test: α₋ / (C (S + G + D) + Q).
        alpha_quality: of each quality test: the plan's, but no more than a test's share of α₋. None without any.
        beta: of each success metric and guardrail, for the size: P(not passed) at its design effect.
        adjustments: the same with sentences, in this order.

    Example:
        >>> one = correct(success=2, guardrail=3, deterioration=1, quality=1, treatments=2)
        >>> print(round(one.alpha_success, 4), round(one.alpha_guardrail, 4), round(one.beta, 4))
        0.0125 0.025 0.0475
        >>> print(one.adjustments[0].sentence)
        alpha 0.05 is divided by 2 treatments x 2 success metrics: each superiority test is one-sided at 0.0125.
    """

    alpha_success: float | None
    alpha_guardrail: float | None
    alpha_deterioration: float
    alpha_quality: float | None
    beta: float
    adjustments: tuple[Adjustment, ...]

    @property
    def power(self) -> float:
        """Of each success metric and guardrail: 1 - β*."""
        return 1.0 - self.beta

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self) | {"adjustments": [item.to_dict() for item in self.adjustments]}


def correct(
    *,
    success: int,
    guardrail: int,
    deterioration: int = 0,
    quality: int = 0,
    treatments: int = 1,
    alpha: float = 0.05,
    alpha_deterioration: float = 0.01,
    alpha_quality: float = 0.001,
    power: float = 0.8,
    looks: int | None = None,
) -> Corrections:
    """Divide a plan's error rates among its tests.

    Wrong to use for metrics that are only reported: they take no part in the decision and cost nothing.

    Args:
        success: S, metrics of which one must be superior.
        guardrail: G, metrics that must all be non-inferior; one without a margin is a deterioration metric.
        deterioration: D, metrics beyond those that must not be inferior.
        quality: Q, tests of the experiment itself (sample ratio, pre-exposure bias).
        treatments: C, variants compared with the control.
        alpha: P(ship some treatment that should not ship), one-sided.
        alpha_deterioration: P(veto or stop for harm where nothing is wrong).
        alpha_quality: largest level of one quality test.
        power: P(ship a treatment as good as designed for).
        looks: how many looks the deterioration tests have; 1 allows the sharper β*, None (unknown, many) does not.

    Raises:
        InvalidInputError: if there is neither success metric nor guardrail, or if vetoes alone cost the power.
    """
    counts = {"success": success, "guardrail": guardrail, "deterioration": deterioration, "quality": quality}
    for name, count in counts.items():
        if count < 0:
            raise InvalidInputError(describe(name, count, "must be >= 0"))
    if treatments < 1:
        raise InvalidInputError(
            describe("treatments", treatments, "must be >= 1", "Name a variant beside the control.")
        )
    components = guardrail + min(success, 1)
    if components == 0:
        raise InvalidInputError(
            describe(
                "success + guardrail",
                0,
                "must be >= 1",
                "Name a success metric, or a guardrail with a margin for a roll-out that must only do no harm.",
            )
        )
    check_probability("alpha", alpha)
    check_probability("alpha_deterioration", alpha_deterioration)
    check_probability("alpha_quality", alpha_quality)
    beta = 1.0 - check_probability("power", power)
    if alpha_deterioration >= beta:
        raise InvalidInputError(
            describe(
                "alpha_deterioration",
                alpha_deterioration,
                f"must be < 1 - power == {beta:.4g}",
                "Vetoes where nothing is wrong would cost all the power: lower it.",
            )
        )
    tested = success + guardrail + deterioration
    vetoes = treatments * tested + quality
    each_veto = alpha_deterioration / vetoes
    each_quality = min(alpha_quality, each_veto)
    spent = (max(success - 1, 0) + deterioration) * each_veto + quality * each_quality
    if looks != 1:
        spent = alpha_deterioration
    each_beta = (beta - spent) / components
    arms, guarded = _count(treatments, "treatment"), _count(guardrail, "guardrail")
    found = []
    if success:
        each = alpha / (treatments * success)
        found.append(
            Adjustment(
                "alpha_success",
                alpha,
                each,
                f"alpha {alpha:.4g} is divided by {arms} x {_count(success, 'success metric')}: "
                f"each superiority test is one-sided at {each:.4g}.",
            )
        )
    if guardrail:
        each = alpha / treatments
        found.append(
            Adjustment(
                "alpha_guardrail",
                alpha,
                each,
                f"alpha {alpha:.4g} is divided by {arms}, not by {guarded}, which must all pass: "
                f"each non-inferiority test is one-sided at {each:.4g}.",
            )
        )
    found.append(
        Adjustment(
            "alpha_deterioration",
            alpha_deterioration,
            each_veto,
            f"alpha_deterioration {alpha_deterioration:.4g} is divided by {vetoes} tests that can veto "
            f"({arms} x {_count(tested, 'metric')}, {_count(quality, 'quality test')}): "
            f"each inferiority test is one-sided at {each_veto:.4g}.",
        )
    )
    if quality:
        found.append(
            Adjustment(
                "alpha_quality",
                alpha_quality,
                each_quality,
                f"each of {_count(quality, 'quality test')} is run at {each_quality:.4g}, the smaller of alpha_quality "
                f"{alpha_quality:.4g} and a test's share of alpha_deterioration.",
            )
        )
    parts = ([guarded] if guardrail else []) + (["1 for the success metrics"] if success else [])
    found.append(
        Adjustment(
            "beta",
            beta,
            each_beta,
            f"beta {beta:.4g}, less {spent:.4g} for vetoes, is divided by {components} ({' + '.join(parts)}): each "
            f"test is planned at a power of {1.0 - each_beta:.4g}.",
        )
    )
    applied = {item.name: item.applied for item in found}
    return Corrections(
        alpha_success=applied.get("alpha_success"),
        alpha_guardrail=applied.get("alpha_guardrail"),
        alpha_deterioration=each_veto,
        alpha_quality=applied.get("alpha_quality"),
        beta=each_beta,
        adjustments=tuple(found),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
