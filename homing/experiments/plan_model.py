"""A plan's tests on simulated z-paths: where its effects and margins lie, and what its bounds are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.experiments.corrections import Corrections
from homing.experiments.power import inflation_of, planned_end
from homing.experiments.rule import Paths, last_look_bounds
from homing.experiments.sample_size import SampleSize

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

FloatArray = NDArray[np.float64]


class PlanModel:
    """A plan's tests as the rule sees them, for z-paths (n, looks, treatments, metrics).

    Args:
        plan: the plan.
        rates: error rate of each test.
        information: (looks,), share of the planned size.
        effects: by metric, as in `simulate_power`.
        treated: treatments that have them.
        size: what each metric asks for; None where each has just that.
    """

    def __init__(
        self,
        plan: ExperimentPlan,
        rates: Corrections,
        information: FloatArray,
        effects: Mapping[str, float],
        treated: Collection[str],
        size: SampleSize | None,
    ) -> None:
        self.successes, self.guardrails = len(plan.success), len(plan.guardrail)
        self.root = np.sqrt(information)[:, None, None]
        self.information = information[:, None, None]
        end = _end(plan, size)
        self.design = _design(plan, rates, information, size)  # (treatments, metrics), z at t = 1 of MDE or NIM
        has = np.array([name in treated for name in plan.treatments])[:, None]
        unit = np.where(np.isfinite(self.design), self.design, 1.0)
        self.drift = has * unit * np.array([effects.get(metric.name, 0.0) for metric in plan.metrics])
        watch = plan.monitoring
        nothing = np.full(len(information), np.inf)

        def bounds(alpha: float | None) -> tuple[FloatArray, FloatArray]:
            if alpha is None:
                return nothing[:, None, None], nothing[:, None, None]
            found = np.asarray(watch.critical(information * end, alpha))
            return found[:, None, None], last_look_bounds(watch, information * end, alpha, end)[:, None, None]

        self.bounds = [bounds(rates.alpha_success), bounds(rates.alpha_guardrail), bounds(rates.alpha_deterioration)]

    def paths(self, z: FloatArray) -> tuple[Paths, Paths, Paths]:
        """Superiority, non-inferiority and inferiority tests of z-paths without effect."""
        s, g = self.successes, self.guardrails
        moved = z + self.drift * self.root
        guarded = moved[..., s : s + g] + self.design[:, s : s + g] * self.root
        return (
            self._paths(0, moved[..., :s], self.design[:, :s]),
            self._paths(1, guarded, self.design[:, s : s + g]),
            self._paths(2, -moved, np.full(1, -np.inf)),
        )

    def _paths(self, kind: int, z: FloatArray, design: FloatArray) -> Paths:
        bounds, last = self.bounds[kind]
        return Paths(z, bounds, self.information, last, design)


def _end(plan: ExperimentPlan, size: SampleSize | None) -> float:
    """Information at the planned end."""
    end = planned_end(plan.monitoring, plan.planned_size if size is None else _planned(plan, size))
    if np.isinf(end):
        raise InvalidInputError(
            describe("size", None, "must be given where bounds count units", "Pass size=plan.sample_size(baseline).")
        )
    return end


def _design(plan: ExperimentPlan, rates: Corrections, information: FloatArray, size: SampleSize | None) -> FloatArray:
    """(treatments, metrics): mean of z at the planned size under each metric's MDE or NIM; minus infinity without."""
    from scipy.special import ndtri

    looks = max(int((information <= 1.0).sum()), 1)
    # Units over those that one look would ask for.
    times = (
        {}
        if size is None
        else {
            (item.metric, item.treatment): _planned(plan, size) * item.inflation / item.n_total
            for item in size.per_metric
        }
    )
    out = np.full((len(plan.treatments), len(plan.metrics)), -np.inf)
    at = {metric.name: column for column, metric in enumerate(plan.metrics)}
    for pairs, alpha in ((plan.success, rates.alpha_success), (plan.guardrail, rates.alpha_guardrail)):
        powered = [metric.name for metric, margin in pairs if margin is not None]
        if alpha is None or not powered:
            continue
        drift = float(ndtri(rates.power) - ndtri(alpha))
        usual = 1.0 if size is not None else inflation_of(plan.monitoring, alpha, rates.power, looks)
        for name in powered:
            out[:, at[name]] = [drift * np.sqrt(times.get((name, row), usual)) for row in plan.treatments]
    return out


def _planned(plan: ExperimentPlan, size: SampleSize) -> int:
    return size.n_total if plan.planned_size is None else int(plan.planned_size)
