"""`decide`: from a scorecard to one answer (ship, continue, stop for harm or futility, invalid), with reasons."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.experiments.corrections import Adjustment
from homing.experiments.explain import adjustment_reasons, experiment_reasons, treatment_reasons
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.plan_checks import check_made
from homing.experiments.power import planned_end
from homing.experiments.rule import VERDICTS, chance_to_ship
from homing.experiments.rule_inputs import judge_scorecard, scorecard_paths
from homing.experiments.scorecard import Scorecard


@dataclass(frozen=True)
class TreatmentDecision:
    """What the rule says of one treatment.

    Attributes:
        treatment: its name.
        verdict: `ship`, `continue`, `stop-harm`, `stop-futility` or `invalid`.
        reasons: sentences, the decisive ones first.
        chance: at most the probability that it still ships by the planned end, if effects are as designed for or as
            estimated, whichever is better.
    """

    treatment: str
    verdict: str
    reasons: tuple[str, ...]
    chance: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self) | {"reasons": list(self.reasons)}


@dataclass(frozen=True)
class ShipDecision:
    """The answer.

    Attributes:
        verdict: of the experiment: `invalid` if a quality test rejects; else `ship` if a treatment may ship; else
            `continue` if one is still open; else `stop-harm` if one did harm, or `stop-futility`.
        treatment: which ships: of those that may, the one with most superior success metrics, then with the largest z
            on the plan's first metric. None where none ships.
        reasons: sentences: why, what to do next, and every adjustment that was applied.
        treatments: each treatment's own verdict; of several, some may go on or be turned off before others.
        adjustments: how each error rate was divided, as data.
        more_units: units that have still to be exposed for the planned size; None where there is no such size.
        plan_digest: of the plan.
        as_of: of the scorecard.
        look: of the scorecard.
    """

    verdict: str
    treatment: str | None
    reasons: tuple[str, ...]
    treatments: tuple[TreatmentDecision, ...]
    adjustments: tuple[Adjustment, ...]
    more_units: int | None
    plan_digest: str
    as_of: str
    look: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self) | {
            "reasons": list(self.reasons),
            "treatments": [item.to_dict() for item in self.treatments],
            "adjustments": [item.to_dict() for item in self.adjustments],
        }

    def __str__(self) -> str:
        return "\n".join(
            [self.verdict if self.treatment is None else f"{self.verdict}: {self.treatment}", *self.reasons]
        )


def decide(scorecard: Scorecard, plan: ExperimentPlan) -> ShipDecision:
    """Apply the risk-aware decision rule to a scorecard.

    A treatment ships if at least one success metric is superior (where the plan has any), all guardrails are
    non-inferior, no metric is inferior and no quality test rejects (Schultzberg, Ankargren, Frånberg 2024, Decision
    Rule 2), at the levels of `plan.corrections`. A test counts from the look at which it first reached its bound. Ship,
    harm and invalid may come at any look at which the plan's monitoring looks; guardrails that have not passed are open
    until the planned information is reached, and fail there. What comes after that look does not count: who runs an
    experiment over does not get more chances. With several treatments each is judged by itself, and α was divided so
    that some treatment that should not ship does so with probability of at most α. `FixedHorizon` has one look, for
    harm too: to stop harm early, plan several.

    Stopping for futility (hardly a chance left, whether effects are as designed or as estimated) is advice: going on
    does not raise the error rate. Following it raises β to at most β / 0.95 (Lan, Simon, Halperin 1982).

    Wrong to use for choosing among looks: decide at every look of the plan, and act on the first that says so.

    Args:
        scorecard: of this plan.
        plan: unchanged since the start.

    Raises:
        InvalidInputError: if the scorecard is of another plan, or of this one before it was changed; or if the plan has
            neither success metric nor guardrail.

    Example:
        >>> import polars as pl
        >>> from homing.experiments import MDE, NIM, ExperimentPlan, Metric, SufficientStatistics, analyze
        >>> rng = np.random.default_rng(0)
        >>> treated = rng.random(8000) < 0.5
        >>> frame = pl.DataFrame({
        ...     "user_id": np.arange(8000), "variant": np.where(treated, "warm", "control"),
        ...     "orders": rng.poisson(np.where(treated, 1.2, 1.0)), "reached": rng.random(8000) < 0.9})
        >>> plan = ExperimentPlan(
        ...     "greeting", success=[(Metric("orders", "mean", "orders"), MDE(rel=0.1))],
        ...     guardrail=[(Metric("reached", "proportion", "reached"), NIM(rel=0.03))],
        ...     variants={"control": 0.5, "warm": 0.5})
        >>> decision = decide(analyze(SufficientStatistics.from_frame(frame, plan), plan), plan)
        >>> decision.verdict, decision.treatment
        ('ship', 'warm')
        >>> print(decision.reasons[0])
        warm ships: orders is superior (z 9.21 >= 1.645 at look 1, information 1.00); 1 guardrail non-inferior; none of
        2 metrics is inferior.
    """
    check_plan(plan)
    check_made("scorecard", scorecard, Scorecard, "Make it with analyze(statistics, plan).")
    if scorecard.plan_digest != plan.digest:
        raise InvalidInputError(
            describe(
                "plan digest of the scorecard",
                scorecard.plan_digest[:12],
                f"must be the plan's, {plan.digest[:12]}: it is of another plan, or the plan was changed since",
                "Decide under the plan that the experiment was started with.",
            )
        )
    rates = plan.corrections
    codes = judge_scorecard(scorecard, plan)[-1]
    chances = _chances(scorecard, plan)
    more = _more_units(scorecard, plan)
    treatments = []
    for number, treatment in enumerate(plan.treatments):
        verdict, chance = VERDICTS[codes[number]], float(chances[number])
        own = [item for item in scorecard.comparisons if item.treatment == treatment]
        reasons = treatment_reasons(verdict, own, scorecard, chance=chance, more_units=more)
        treatments.append(TreatmentDecision(treatment, verdict, reasons, chance))
    verdict = _overall([item.verdict for item in treatments])
    winner = _winner(scorecard, [item.treatment for item in treatments if item.verdict == "ship"])
    return ShipDecision(
        verdict=verdict,
        treatment=winner,
        reasons=(
            *experiment_reasons(verdict, winner, treatments, scorecard),
            *adjustment_reasons(scorecard, plan),
        ),
        treatments=tuple(treatments),
        adjustments=rates.adjustments,
        more_units=more,
        plan_digest=plan.digest,
        as_of=scorecard.as_of,
        look=scorecard.look,
    )


def _chances(scorecard: Scorecard, plan: ExperimentPlan) -> NDArray[np.float64]:
    """(treatments,), of still shipping; 1 where nothing ends the experiment."""
    if math.isinf(planned_end(plan.monitoring, plan.planned_size)):
        return np.ones(len(plan.treatments))
    superior, non_inferior, _ = scorecard_paths(scorecard, plan)
    return np.asarray(np.nan_to_num(chance_to_ship(superior.chance, non_inferior.chance)[-1], nan=1.0))


def _overall(verdicts: list[str]) -> str:
    """Of the experiment, from its treatments'."""
    return next(item for item in ("invalid", "ship", "continue", "stop-harm", "stop-futility") if item in verdicts)


def _winner(scorecard: Scorecard, ships: list[str]) -> str | None:
    """Of the treatments that may ship: most superior metrics, then the largest z on the first metric of the plan."""

    def rank(treatment: str) -> tuple[int, float]:
        own = [item for item in scorecard.comparisons if item.treatment == treatment]
        superior = sum(item.superior is not None and item.superior.rejected for item in own)
        first = next(iter(own[0].tests.values()))
        return superior, first.z

    return max(ships, key=rank) if ships else None


def _more_units(scorecard: Scorecard, plan: ExperimentPlan) -> int | None:
    """Units that have still to be exposed, of all variants."""
    return None if plan.planned_size is None else max(plan.planned_size - sum(scorecard.n.values()), 0)
