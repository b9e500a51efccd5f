"""A plan's operating characteristics before its start: how often it ships what it should not, and what it should.

Experiments are drawn as z-paths (Brownian motions with the plan's correlations) and go through the same bounds and the
same rule as a real scorecard. That a metric's z is normal is taken for granted here; `simulate_aa_on` does not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.errors import InvalidInputError, describe, unknown_name
from homing.estimates import Estimate
from homing.experiments.corrections import Corrections
from homing.experiments.draws import correlations, schedule, shared_control, z_paths
from homing.experiments.rule import SHIP, VERDICTS, Paths, first_verdict, judge_looks, last_look_bounds
from homing.experiments.sample_size import SampleSize, inflation_of, planned_end

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

FloatArray = NDArray[np.float64]
#: Elements of the z-paths that are held at once.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Certificate:
    """What a plan did in simulated experiments.

    Attributes:
        n: experiments.
        ship: share in which some treatment shipped.
        ship_each: by treatment.
        verdicts: mean share of treatments by verdict; all sum to 1.
        superior: by success metric, share in which any treatment was found superior before the stop or at it.
        information: mean share of the planned information at which a treatment was decided.
    """

    n: int
    ship: Estimate
    ship_each: Mapping[str, Estimate]
    verdicts: Mapping[str, float]
    superior: Mapping[str, Estimate]
    information: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "n": self.n,
            "ship": self.ship.to_dict(),
            "ship_each": {name: item.to_dict() for name, item in self.ship_each.items()},
            "verdicts": dict(self.verdicts),
            "superior": {name: item.to_dict() for name, item in self.superior.items()},
            "information": self.information,
        }

    def __str__(self) -> str:
        told = ", ".join(f"{name} {share:.1%}" for name, share in self.verdicts.items() if share)
        return f"ships in {self.ship.value:.1%} [{self.ship.lower:.1%}, {self.ship.upper:.1%}] of {self.n:,} ({told})"


def simulate_aa(
    plan: ExperimentPlan,
    *,
    rng: np.random.Generator,
    n: int = 10_000,
    information: int | ArrayLike = 30,
    correlation: ArrayLike = 0.0,
    size: SampleSize | None = None,
) -> Certificate:
    """Experiments in which no treatment changes anything: whatever ships, ships falsely.

    Args:
        plan: to certify.
        rng: source of randomness.
        n: experiments.
        information: number of looks in equal steps up to the planned size, or the shares of it at each look, which may
            run past 1.
        correlation: between metrics: one number for every pair, or a matrix in the order of `plan.metrics`. Treatments
            are correlated through their common control, which the plan's shares say.
        size: what each metric asks for: a metric that needs less than the whole has more power. None: each has just
            what it asks for.

    Raises:
        InvalidInputError: if the correlations are none, or information does not grow.

    Example:
        >>> from homing.experiments import MDE, NIM, ExperimentPlan, Metric
        >>> plan = ExperimentPlan(
        ...     "greeting",
        ...     success=[(Metric("ordered", "proportion", "ordered"), MDE(rel=0.05))],
        ...     guardrail=[(Metric("reachable", "proportion", "reachable"), NIM(rel=0.01))],
        ... )
        >>> simulate_aa(plan, rng=np.random.default_rng(0)).ship.value < 0.055
        True
        >>> 0.8 < simulate_power(plan, rng=np.random.default_rng(0)).ship.value < 0.82
        True
    """
    return _simulate(plan, {}, plan.treatments, rng, n, information, correlation, size, None)


def simulate_power(
    plan: ExperimentPlan,
    *,
    rng: np.random.Generator,
    effects: Mapping[str, float] | None = None,
    treatments: Collection[str] | None = None,
    n: int = 10_000,
    information: int | ArrayLike = 30,
    correlation: ArrayLike = 0.0,
    size: SampleSize | None = None,
    corrections: Corrections | None = None,
) -> Certificate:
    """Experiments with effects: how often what should ship does, and what should not.

    Args:
        plan: to certify.
        rng: source of randomness.
        effects: by metric, positive is good: as a multiple of its MDE or NIM, so that 1 is a success metric as designed
            for and -1 a guardrail at its margin; of a metric without either in standard errors at the planned size.
            Others have none. None: every success metric at its MDE.
        treatments: that have these effects; all when None.
        n: see `simulate_aa`, as the next three.
        information: see there.
        correlation: see there.
        size: see there.
        corrections: error rates to use in place of the plan's, to see what they are good for.

    Raises:
        UnknownNameError: for a metric or treatment that the plan does not have.
        InvalidInputError: as `simulate_aa`.
    """
    if effects is None:
        effects = {metric.name: 1.0 for metric, margin in plan.success if margin is not None}
    for name in effects:
        plan.metric(name)
    for name in treatments or ():
        if name not in plan.treatments:
            raise unknown_name("treatment", name, plan.treatments)
    return _simulate(plan, effects, treatments or plan.treatments, rng, n, information, correlation, size, corrections)


def _simulate(
    plan: ExperimentPlan,
    effects: Mapping[str, float],
    treated: Collection[str],
    rng: np.random.Generator,
    n: int,
    information: int | ArrayLike,
    correlation: ArrayLike,
    size: SampleSize | None,
    corrections: Corrections | None,
) -> Certificate:
    rates = plan.corrections if corrections is None else corrections
    t = schedule(information)
    between, among = correlations(correlation, len(plan.metrics)), shared_control(plan)
    model = _Model(plan, rates, t, effects, treated, size)
    verdicts = np.zeros((len(VERDICTS), len(plan.treatments)))
    ships, decided = 0, 0.0
    ship_each, superior = np.zeros(len(plan.treatments)), np.zeros(len(plan.success))
    chunk = max(1, _AT_ONCE // (len(t) * len(plan.treatments) * len(plan.metrics)))
    for start in range(0, n, chunk):
        count = min(chunk, n - start)
        z = z_paths(count, t, rng, metrics=between, treatments=among)
        found = model.judge(z, _vetoes(count, len(t), len(plan.quality), rates.alpha_quality or 0.0, rng))
        verdict, look = first_verdict(found)
        verdicts += [(verdict == code).sum(axis=0) for code in range(len(VERDICTS))]
        ships += int((verdict == SHIP).any(axis=1).sum())
        ship_each += (verdict == SHIP).sum(axis=0)
        superior += model.superior_by(z, look)
        decided += float(t[look].mean(axis=1).sum())
    names = [metric.name for metric, _ in plan.success]
    return Certificate(
        n=n,
        ship=share(ships, n),
        ship_each={name: share(int(k), n) for name, k in zip(plan.treatments, ship_each, strict=True)},
        verdicts={name: float(verdicts[code].mean() / n) for code, name in enumerate(VERDICTS)},
        superior={name: share(int(k), n) for name, k in zip(names, superior, strict=True)},
        information=decided / n,
    )


class _Model:
    """A plan's tests as the rule sees them, for z-paths without effect (n, looks, treatments, metrics)."""

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

    def judge(self, z: FloatArray, invalid: NDArray[np.bool_]) -> NDArray[np.int8]:
        """(n, looks, treatments), codes of `VERDICTS`."""
        s, g = self.successes, self.guardrails
        moved = z + self.drift * self.root
        guarded = moved[..., s : s + g] + self.design[:, s : s + g] * self.root
        return judge_looks(
            self._paths(0, moved[..., :s], self.design[:, :s]),
            self._paths(1, guarded, self.design[:, s : s + g]),
            self._paths(2, -moved, np.full(1, -np.inf)),
            invalid,
        )

    def superior_by(self, z: FloatArray, look: NDArray[np.int64]) -> NDArray[np.int64]:
        """(success metrics,), experiments with a superior treatment at its decision or before."""
        s = self.successes
        paths = self._paths(0, (z + self.drift * self.root)[..., :s], self.design[:, :s])
        at = np.take_along_axis(paths.rejected, look[:, None, :, None], axis=1)
        return np.asarray(at.any(axis=(1, 2)).sum(axis=0))

    def _paths(self, kind: int, z: FloatArray, design: FloatArray) -> Paths:
        bounds, last = self.bounds[kind]
        return Paths(z, bounds, self.information, last, design)


def share(count: int, n: int, level: float = 0.95) -> Estimate:
    """A share of n trials with its exact interval (Clopper and Pearson 1934).

    Example:
        >>> print(share(5, 100))
        0.05 [0.01643, 0.1128]
    """
    from scipy.special import betaincinv

    tail = (1.0 - level) / 2.0
    value = count / n
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1.0 - tail))
    return Estimate(value, float(np.sqrt(value * (1.0 - value) / n)), low, high, level, n - 1, "clopper-pearson")


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


def _vetoes(n: int, looks: int, tests: int, alpha: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n, looks): quality tests that reject though nothing is wrong, each at its level, from a random look on."""
    out = np.zeros((n, looks), dtype=bool)
    for _ in range(tests):
        rows = np.flatnonzero(rng.random(n) < alpha)
        out[rows, rng.integers(0, looks, len(rows))] = True
    return np.logical_or.accumulate(out, axis=1)
