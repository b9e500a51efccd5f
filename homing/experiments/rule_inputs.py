"""A scorecard as the arrays that the decision rule works on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from homing.experiments.metrics import Metric
from homing.experiments.power import planned_end
from homing.experiments.rule import CodeArray, Paths, judge_looks, last_look_bounds
from homing.experiments.scorecard import Scorecard

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

FloatArray = NDArray[np.float64]


def scorecard_paths(scorecard: Scorecard, plan: ExperimentPlan) -> tuple[Paths, Paths, Paths]:
    """Superiority, non-inferiority and inferiority tests at every look so far: (looks, treatments, their metrics).

    The z that an effect as designed for would have at the planned end is MDE / (SE √t), or NIM / (SE √t): the standard
    error there is taken from the one now.
    """
    success = [metric for metric, _ in plan.success]
    guardrails = [metric for metric, _ in plan.guardrail]
    rates = plan.corrections
    return (
        _paths(scorecard, plan, "superior", success, rates.alpha_success),
        _paths(scorecard, plan, "non_inferior", guardrails, rates.alpha_guardrail),
        _paths(scorecard, plan, "inferior", list(plan.metrics), None),
    )


def judge_scorecard(scorecard: Scorecard, plan: ExperimentPlan) -> CodeArray:
    """What the rule says of every treatment at every look so far: (looks, treatments), codes of `VERDICTS`."""
    ends = math.isfinite(planned_end(plan.monitoring, plan.planned_size))  # nothing is out of reach where nothing ends
    return judge_looks(*scorecard_paths(scorecard, plan), invalid_looks(scorecard), futility=ends)


def invalid_looks(scorecard: Scorecard) -> NDArray[np.bool_]:
    """(looks,), whether a quality test rejects."""
    out = np.zeros(len(scorecard.looks), dtype=bool)
    for result in scorecard.quality:
        out |= result.path <= result.threshold
    return out


def _paths(scorecard: Scorecard, plan: ExperimentPlan, test: str, metrics: list[Metric], alpha: float | None) -> Paths:
    """Of one kind; without a level (tests that may only veto) neither the planned end nor an effect plays a part."""
    shape = (len(scorecard.looks), len(plan.treatments), len(metrics))
    z, bounds, information = (np.empty(shape) for _ in range(3))
    last, design = np.full(shape, np.inf), np.full(shape, -np.inf)
    end = planned_end(plan.monitoring, plan.planned_size)
    known: dict[bytes, FloatArray] = {}
    for column, metric in enumerate(metrics):
        for row, treatment in enumerate(plan.treatments):
            one = scorecard.comparison(metric.name, treatment)
            t = one.path.information
            z[:, row, column], bounds[:, row, column] = one.path.z[test], one.path.critical[test]
            information[:, row, column] = t / end
            if alpha is None or np.isinf(end):
                continue
            key = t.tobytes()
            if key not in known:
                known[key] = last_look_bounds(plan.monitoring, t, alpha, end)
            last[:, row, column] = known[key]
            margin = plan.margins.get(metric.name)
            if margin is not None:
                effect = margin.absolute(one.values[plan.control].value)
                with np.errstate(divide="ignore", invalid="ignore"):
                    design[:, row, column] = effect / (one.path.std_error * np.sqrt(t / end))
    return Paths(z, bounds, information, last, design)
