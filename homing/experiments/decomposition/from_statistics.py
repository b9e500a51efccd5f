"""Mix and rate of a plan's strata, from sums: the same numbers as from rows, of data that are no longer at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.experiments.days import Day, day_number
from homing.experiments.decomposition.means import PairedMeans
from homing.experiments.decomposition.mix_rate import mix_rate_of
from homing.experiments.decomposition.result import Decomposition
from homing.experiments.decomposition.rows import Movement
from homing.experiments.metrics import Metric
from homing.experiments.plan import ExperimentPlan
from homing.experiments.statistics import SufficientStatistics, layout
from homing.experiments.statistics.looks import cumulated

FloatArray = NDArray[np.float64]


def mix_rate_of_statistics(
    statistics: SufficientStatistics,
    plan: ExperimentPlan,
    metric: Metric,
    *,
    baseline: str,
    comparison: str,
    as_of: Day | None,
    level: float,
) -> Decomposition:
    """What other shares of strata, and what other rates within them, contributed; of units that have matured."""
    if statistics.plan_digest != plan.digest:
        raise InvalidInputError(
            describe("plan digest of the statistics", statistics.plan_digest[:12], f"must be {plan.digest[:12]}")
        )
    if plan.strata is None or plan.cluster is not None:
        raise InvalidInputError(
            describe(
                "(strata, cluster) of the plan",
                (plan.strata, plan.cluster),
                "must be a column and None: sums tell segments apart by strata only, of units",
                "Decompose the rows.",
            )
        )
    for name in (baseline, comparison):
        if name not in statistics.variants:
            raise unknown_name("variant", name, statistics.variants)
    day = int(statistics.days[-1]) if as_of is None else day_number(as_of, dated=statistics.dated)
    seen = cumulated(statistics, np.array([day]), 0 if metric.window is None else metric.window.matures_after)
    made = layout(plan)
    columns = made.metrics[metric.name][: len(metric.outcomes)]
    places = [statistics.variants.index(name) for name in (baseline, comparison)]
    n = seen.n[places, 0].astype(np.float64)
    if n.sum(axis=1).min() < 2:
        raise SupportError(
            describe("matured units in a variant", int(n.sum(axis=1).min()), "must be >= 2", "Pass a later as_of=.")
        )
    mean = seen.offset[places, 0][..., list(columns)] + statistics.shift[list(columns)]
    products = seen.products[places, 0][..., made.product_of(columns)]
    if metric.denominator is None:  # a mean over units: each counts 1
        mean = np.concatenate([mean, np.ones_like(mean)], axis=-1)
        products = np.pad(products, [(0, 0), (0, 0), (0, 1), (0, 1)])
    present = n.sum(axis=0) > 0
    n, mean, products = n[:, present], mean[:, present], products[:, present]
    sums = (n[..., None] * mean).sum(axis=1)
    pooled = float(sums[:, 0].sum() / sums[:, 1].sum())
    turn = np.array([[1.0, -pooled], [0.0, 1.0]])  # numerators about the pooled rate
    means = _paired(n, mean @ turn.T, turn @ products @ turn.T)
    before, after = (float(x) for x in sums[:, 0] / sums[:, 1])
    names = [name for name, here in zip(statistics.strata, present, strict=True) if here]
    return mix_rate_of(means, Movement(metric.name, baseline, comparison, before, after), names, level)


def _paired(n: FloatArray, mean: FloatArray, products: FloatArray) -> PairedMeans:
    """Means over all units of what is a stratum's own, from n (2, S), means (2, S, 2) and products (2, S, 2, 2)."""
    size = n.shape[1]
    total = n.sum(axis=1)
    whole = (n[..., None] * mean / total[:, None, None]).transpose(0, 2, 1).reshape(2, -1)
    covariance = np.zeros((4 * size, 4 * size))
    for g in (0, 1):
        second = products[g] + n[g][:, None, None] * mean[g][:, :, None] * mean[g][:, None, :]
        block = -total[g] * np.outer(whole[g], whole[g])
        for i in (0, 1):
            for j in (0, 1):
                block[i * size : (i + 1) * size, j * size : (j + 1) * size] += np.diag(second[:, i, j])
        at = slice(2 * size * g, 2 * size * (g + 1))
        covariance[at, at] = block / (total[g] * (total[g] - 1.0))
    return PairedMeans(whole, covariance, (int(total[0]), int(total[1])), int(total.sum()) - 2)
