"""Every test of a plan at every look, as arrays: metrics by treatments by looks (M, T, L)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.experiments.arms import MetricValues
from homing.experiments.estimators import Effect, difference, t_bound, t_to_z
from homing.experiments.metrics import MDE, NIM, Metric
from homing.experiments.monitoring import FixedPower
from homing.experiments.plan import ExperimentPlan

FloatArray = NDArray[np.float64]
#: Which roles have which test.
TESTS = {
    "superior": ("success",),
    "non_inferior": ("guardrail",),
    "inferior": ("success", "guardrail", "deterioration"),
}


@dataclass(frozen=True)
class Judged:
    """One kind of test for all metrics.

    Attributes:
        alpha: (M,), NaN for metrics that have no such test.
        z: (M, T, L), large for what the test is named after; NaN where there is none.
        critical: (M, T, L), what z must reach.
        sequential_p: (M, T, L), smallest level that some look so far has reached.
    """

    alpha: FloatArray
    z: FloatArray
    critical: FloatArray
    sequential_p: FloatArray

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """(M, T, L), whether this or an earlier look reached its bound."""
        return np.asarray(np.logical_or.accumulate(self.z >= self.critical, axis=-1))


@dataclass(frozen=True)
class Compared:
    """All comparisons of a plan.

    Attributes:
        effect: differences as measured.
        information: (M, T, L) share of the information.
        margins: (M, L), non-inferiority margins in each metric's unit; NaN for metrics without.
        tests: by name.
    """

    effect: Effect
    information: FloatArray
    margins: FloatArray
    tests: dict[str, Judged]

    def bounds(self, signs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(M, T, L) each: what the looks' bounds allow the difference to be, below and above.

        In the good direction by the metric's inferiority test, in the bad direction by its superiority or
        non-inferiority test; infinite where there is none, or no look.
        """
        half = {}
        for name, test in self.tests.items():
            looked = np.isfinite(test.critical)
            half[name] = np.full(looked.shape, np.inf)
            bound = t_bound(test.critical[looked], self.effect.df[looked]) * self.effect.std_error[looked]
            half[name][looked] = np.where(np.isnan(bound), np.inf, bound)
        none = np.full(self.effect.value.shape, np.inf)
        bad = np.fmin(half.get("superior", none), half.get("non_inferior", none))
        rising = signs[:, None, None] > 0
        return (
            self.effect.value - np.where(rising, bad, half["inferior"]),
            self.effect.value + np.where(rising, half["inferior"], bad),
        )


def compare(values: MetricValues, plan: ExperimentPlan) -> Compared:
    """Effects, information, and every test against its bounds."""
    control = list(plan.variants).index(plan.control)
    effect = difference(values.arms, control)
    information = information_of(values, effect, plan, control)
    rates = plan.corrections
    alphas = {
        "superior": rates.alpha_success,
        "non_inferior": rates.alpha_guardrail,
        "inferior": rates.alpha_deterioration,
    }
    signs = np.array([metric.sign for metric in plan.metrics], dtype=np.float64)[:, None, None]
    kept, margins = effect, np.full((len(plan.metrics), effect.value.shape[-1]), np.nan)
    if plan.guardrail:
        kept, margins = _kept(values, plan, control)
    # The first few units may all be alike: without a spread there is no test yet.
    better = signs * np.where(effect.std_error > 0, t_to_z(effect.t, effect.df), np.nan)
    tests = {}
    for name, roles in TESTS.items():
        asked = [plan.roles[metric.name] in roles for metric in plan.metrics]
        if not any(asked):
            continue
        if name == "non_inferior":
            z = np.where(kept.std_error > 0, t_to_z(signs * kept.t, kept.df), np.nan)[asked]
        else:
            z = (better if name == "superior" else -better)[asked]
        here = information[asked]
        if (here == here[:1, :1]).all():  # metrics with one window have their looks in common
            here = here[:1, :1]
        level = np.full(here.shape[:-1], alphas[name])
        made = (
            np.where(asked, float(alphas[name] or np.nan), np.nan),
            z,
            np.broadcast_to(plan.monitoring.critical(here, level), z.shape),
            plan.monitoring.p_value(z, here, level),
        )
        tests[name] = Judged(made[0], *(_spread(part, asked, fill) for part, fill in zip(made[1:], _NONE, strict=True)))
    return Compared(effect, np.broadcast_to(information, effect.value.shape), margins, tests)


#: What stands for z, its bound and the p-value where a metric has no such test.
_NONE = (np.nan, np.inf, 1.0)


def _spread(part: FloatArray, asked: list[bool], fill: float) -> FloatArray:
    out = np.full((len(asked), *part.shape[1:]), fill)
    out[asked] = part
    return out


def _kept(values: MetricValues, plan: ExperimentPlan, control: int) -> tuple[Effect, FloatArray]:
    """By how much each treatment is better than its non-inferiority margin (as measured), and the margins (M, L).

    With a relative margin r this is treatment - (1 - s r) control, for a metric of direction s and a positive control:
    the control's own error is in the margin too.
    """
    looks = values.arms.value.shape[-1]
    weight, moved = np.ones((len(plan.metrics), 1, looks)), np.zeros((len(plan.metrics), 1, looks))
    margins = np.full((len(plan.metrics), looks), np.nan)
    bases = values.absolute.value[:, control]
    for number, (metric, margin) in enumerate(plan.guardrail, start=len(plan.success)):
        margins[number] = _sizes(margin, bases[number])
        if margin.abs is not None:
            moved[number] = -metric.sign * margin.abs
        else:
            weight[number, 0] = 1.0 - metric.sign * float(margin.rel or 0.0) * np.sign(bases[number])
    # Values are offsets from a base: what the base contributes where the weight is not 1.
    moved -= values.base[:, None, None] * (1.0 - weight)
    return difference(values.arms, control, control_weight=weight, shift=moved), margins


def information_of(values: MetricValues, effect: Effect, plan: ExperimentPlan, control: int) -> FloatArray:
    """(M, T, L) share of the information that each comparison has; (M, 1, L) where treatments have the same.

    A look's share rests on what was known by that look alone, so that later data never move an earlier one.
    """
    if not isinstance(plan.monitoring, FixedPower):
        units = values.arms.n.sum(axis=1, keepdims=True)
        return plan.monitoring.information(units, plan.planned_size)
    out, bases = np.full(effect.value.shape, np.inf), values.absolute.value[:, control]
    for number, metric in enumerate(plan.metrics):
        margin = plan.margins.get(metric.name)
        if margin is not None:
            n, sizes = values.arms.n[number], _sizes(margin, bases[number])
            known = sizes > 0  # a share of nothing is no effect to be found: no information yet
            out[number] = plan.monitoring.information(
                n[[control]] + np.delete(n, control, axis=0),
                std_error=np.where(known, effect.std_error[number], np.nan),
                effect=np.where(known, sizes, 1.0),
                alpha=_alpha_of(metric, plan),
                power=plan.corrections.power,
            )
    # A metric without an effect to be found is looked at when all others have their information.
    least = out.min(axis=0)
    if np.isinf(least).any():
        step = "Give a metric an MDE or a NIM."
        raise InvalidInputError(describe("margins", (), f"are needed by {plan.monitoring.name!r} monitoring", step))
    return np.where(np.isinf(out), least, out)


def _sizes(margin: MDE | NIM, bases: FloatArray) -> FloatArray:
    """(L,) a margin in its metric's unit at each look, for the control's value at that look."""
    share = float(margin.rel or 0.0)
    return share * np.abs(bases) if margin.abs is None else np.full(bases.shape, float(margin.abs))


def _alpha_of(metric: Metric, plan: ExperimentPlan) -> float | None:
    rates = plan.corrections
    alpha: float | None = rates.alpha_success if plan.roles[metric.name] == "success" else rates.alpha_guardrail
    return alpha
