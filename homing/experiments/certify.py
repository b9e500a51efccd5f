"""A plan's operating characteristics before its start: how often it ships what it should not, and what it should.

Experiments are drawn as z-paths (Brownian motions with the plan's correlations), or made from units of a history, and
go through the same bounds and the same rule as a real scorecard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_positive
from homing.errors import SupportError, describe, unknown_name
from homing.experiments.analysis import analyze
from homing.experiments.certificate import Certificate, Tally
from homing.experiments.corrections import Corrections
from homing.experiments.draws import correlations, schedule, shared_control, z_paths
from homing.experiments.metrics import Metric
from homing.experiments.plan_model import PlanModel
from homing.experiments.rule import judge_looks
from homing.experiments.rule_inputs import judge_scorecard, scorecard_paths
from homing.experiments.sample_size import SampleSize
from homing.experiments.statistics import SufficientStatistics

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

#: Elements of the z-paths that are held at once.
_AT_ONCE = 4_000_000


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
    return simulate_power(plan, rng=rng, effects={}, n=n, information=information, correlation=correlation, size=size)


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
    rates = plan.corrections if corrections is None else corrections
    t = schedule(information)
    between, among = correlations(correlation, len(plan.metrics)), shared_control(plan)
    model = PlanModel(plan, rates, t, effects, treatments or plan.treatments, size)
    tally = Tally(plan)
    chunk = max(1, _AT_ONCE // (len(t) * len(plan.treatments) * len(plan.metrics)))
    for start in range(0, n, chunk):
        count = min(chunk, n - start)
        paths = model.paths(z_paths(count, t, rng, metrics=between, treatments=among))
        invalid = _vetoes(count, len(t), len(plan.quality), rates.alpha_quality or 0.0, rng)
        tally.add(judge_looks(*paths, invalid), paths[0].rejected, t)
    return tally.certificate()


def simulate_aa_on(
    plan: ExperimentPlan, history: Any, *, rng: np.random.Generator, n: int = 200, looks: int = 10
) -> Certificate:
    """A/A experiments on real units: variants and days are drawn, nothing else happens, the plan's analysis decides.

    What z-paths take for granted is tried here: that averages are near normal at the plan's size, that covariates and
    clusters are what their variances say. Each experiment has the plan's size, drawn with replacement where the history
    has fewer units, which arrive in equal numbers at every look. With clusters, whole clusters are assigned, and every
    experiment has all units of the history.

    Wrong to use for few experiments and small rates: 200 tell .05 from .10, not from .06.

    Args:
        plan: to certify. Values are taken as they are: windows have ended in a history.
        history: units without treatment, one row each, with the columns that the plan names.
        rng: source of randomness.
        n: experiments.
        looks: how many there are.

    Raises:
        InvalidInputError: as `analyze`.
        SupportError: if the history has fewer units than looks.

    Example:
        >>> import polars as pl
        >>> from homing.experiments import MDE, ExperimentPlan, Metric
        >>> plan = ExperimentPlan("spend", success=[(Metric("spent", "mean", "spent"), MDE(rel=0.1))], quality=())
        >>> rng = np.random.default_rng(0)
        >>> history = pl.DataFrame({"spent": rng.exponential(size=2000)})
        >>> simulate_aa_on(plan, history, rng=rng, n=40, looks=2).ship.value < 0.2
        True
    """
    import polars as pl

    frame = history if isinstance(history, pl.DataFrame) else pl.DataFrame(history)
    whole = plan.planned_size is None or plan.cluster is not None
    size = frame.height if whole else int(plan.planned_size or 0)
    if min(frame.height, size) < looks:
        raise SupportError(describe("units of the history", frame.height, f"must be >= {looks}, the looks"))
    ended = _without_windows(plan, size)
    t = schedule(looks)
    days = np.arange(size) * looks // size
    tally = Tally(ended)
    for _ in range(int(check_positive("n", n))):
        rows = rng.choice(frame.height, size, replace=size > frame.height)
        drawn = rng.choice(list(plan.variants), size, p=list(plan.variants.values()))
        units = frame[rows].with_columns(
            pl.Series(plan.unit, np.arange(size)), pl.Series("exposed_at", days), pl.Series("variant", drawn)
        )
        if plan.cluster is not None:
            units = units.with_columns(pl.col("variant").first().over(plan.cluster))
        card = analyze(SufficientStatistics.from_frame(units, ended), ended)
        superior = scorecard_paths(card, ended)[0].rejected
        tally.add(judge_scorecard(card, ended)[None], superior[None], t)
    return tally.certificate()


def _without_windows(plan: ExperimentPlan, size: int) -> ExperimentPlan:
    def ended(metric: Metric) -> Metric:
        return replace(metric, window=None)

    return replace(
        plan,
        success=tuple((ended(metric), margin) for metric, margin in plan.success),
        guardrail=tuple((ended(metric), margin) for metric, margin in plan.guardrail),
        deterioration=tuple(ended(metric) for metric in plan.deterioration),
        planned_size=size,
    )


def _vetoes(n: int, looks: int, tests: int, alpha: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n, looks): quality tests that reject though nothing is wrong, each at its level, from a random look on."""
    out = np.zeros((n, looks), dtype=bool)
    for _ in range(tests):
        rows = np.flatnonzero(rng.random(n) < alpha)
        out[rows, rng.integers(0, looks, len(rows))] = True
    return np.logical_or.accumulate(out, axis=1)
