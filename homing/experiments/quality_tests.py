"""The tests that a plan's quality metrics stand for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.experiments.arms import moments
from homing.experiments.estimators import Means, per_cluster
from homing.experiments.plan import ExperimentPlan
from homing.experiments.quality import PreExposureBias, SampleRatio
from homing.experiments.scorecard import QualityResult
from homing.experiments.sequential import sequential_ratio_p_value
from homing.experiments.statistics import layout
from homing.experiments.statistics.layout import UNITS
from homing.experiments.statistics.looks import Looks

FloatArray = NDArray[np.float64]
#: Units for which the pre-exposure test is most sensitive where the plan has no size.
_UNSIZED = 10_000


def quality_results(looks: Looks, plan: ExperimentPlan) -> tuple[QualityResult, ...]:
    """The plan's quality tests at every look, on all units exposed until then."""
    if not plan.quality:
        return ()
    threshold = float(plan.corrections.alpha_quality or plan.alpha_quality)
    seen = looks.matured()
    made = layout(plan) if any(isinstance(test, PreExposureBias) for test in plan.quality) else None
    bias = iter(made.bias if made is not None else ())
    results = []
    for test in plan.quality:
        if isinstance(test, SampleRatio):
            counts = seen.n.sum(axis=2).T.astype(np.float64)
            results.append(_sample_ratio(test, counts, plan, threshold))
        if made is None or isinstance(test, SampleRatio):
            continue
        columns = next(bias)
        means = moments(seen, made, columns, looks.statistics.shift[list(columns)])
        if plan.cluster is not None:
            means = _per_unit(means)
        names = [made.columns[at].source for at in columns if made.columns[at].source != UNITS]
        results.append(_pre_exposure(test, means, names, plan, threshold))
    return tuple(results)


def _sample_ratio(test: SampleRatio, counts: FloatArray, plan: ExperimentPlan, threshold: float) -> QualityResult:
    shares = np.array(list(plan.variants.values()))
    path = sequential_ratio_p_value(counts, shares) if test.sequential else ratio_p_value(counts, shares)
    last = counts[-1]
    arrived = ", ".join(
        f"{name} {int(n):,} ({n / last.sum():.2%}, planned {share:.2%})"
        for (name, share), n in zip(plan.variants.items(), last, strict=True)
    )
    return _result(test.name, path, threshold, f"units by variant: {arrived}")


def ratio_p_value(counts: FloatArray, shares: FloatArray) -> FloatArray:
    """Pearson's chi-square test of planned shares at one look each; sound for one look only.

    Args:
        counts: (…, variants) units.
        shares: (variants,) planned, summing to 1.

    Example:
        >>> ratio_p_value(np.array([520.0, 480.0]), np.array([0.5, 0.5])).round(4).item()
        0.2059
    """
    from scipy.special import chdtrc

    n = counts.sum(axis=-1, keepdims=True)
    expected = n * shares
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = ((counts - expected) ** 2 / expected).sum(axis=-1)
    return np.where(n[..., 0] > 0, np.asarray(chdtrc(len(shares) - 1, statistic)), 1.0)


def _pre_exposure(
    test: PreExposureBias, means: Means, names: list[str], plan: ExperimentPlan, threshold: float
) -> QualityResult:
    statistic, df, n = wald(means)
    if test.sequential:
        path = mixture_p_value(statistic, df, n, plan.planned_size or _UNSIZED, threshold)
    else:
        from scipy.special import chdtrc

        path = np.where(np.isnan(statistic), 1.0, np.asarray(chdtrc(df, np.nan_to_num(statistic))))
    detail = f"joint test of {', '.join(names)} between variants: chi-square {statistic[-1]:.2f}, df {df}"
    return _result(test.name, path, threshold, detail)


def wald(means: Means) -> tuple[FloatArray, int, FloatArray]:
    """Chi-square statistic of equal means in all variants, its degrees of freedom, and the units at each look.

    W = Σ_v (m_v - m)' C_v⁻¹ (m_v - m), with m the precision-weighted mean of the variants' means; chi-square with
    p (V - 1) degrees of freedom under H0. Columns that do not vary, or that repeat others, count once or not at all.
    """
    from homing.experiments.estimators.adjust import pseudo_inverse

    known = np.asarray(np.isfinite(means.cov).all(axis=(0, -1, -2)))
    precision = pseudo_inverse(np.where(known[:, None, None], means.cov, 0.0))
    mean = np.where(known[:, None], means.mean, 0.0)
    total = pseudo_inverse(precision.sum(axis=0))
    centre = (total @ (precision @ mean[..., None]).sum(axis=0))[..., 0]
    gap = mean - centre
    statistic = np.einsum("vli,vlij,vlj->l", gap, precision, gap)
    rank = int(np.linalg.matrix_rank(precision[0, -1], hermitian=True))
    return np.where(known, statistic, np.nan), max(rank, 1) * (len(means.n) - 1), means.n.sum(axis=0)


def mixture_p_value(statistic: FloatArray, df: int, n: FloatArray, n_star: float, alpha: float) -> FloatArray:
    """Anytime-valid p-value of a chi-square statistic that is looked at as units arrive.

    Under H0 effects are 0; mixed over effects N(0, ρ² Σ), with Σ / n their estimates' covariance, the likelihood ratio
    is (1 + n ρ²)^(-df / 2) exp(W / 2 · n ρ² / (1 + n ρ²)), a martingale whose inverse is a p-value at any time (Robbins
    1970, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41).
    ρ² makes it most sensitive at `n_star` units, by the rule for df = 1.

    Args:
        statistic: (…, looks), NaN where there is none yet.
        df: of the chi-square statistic.
        n: (…, looks) units so far.
        n_star: units at which it is most sensitive.
        alpha: level that it is tuned to; it is valid at every level.
    """
    tuned = (-2.0 * np.log(alpha) + np.log(-2.0 * np.log(alpha) + 1.0)) / n_star
    growth = 1.0 + n * tuned
    log_ratio = -0.5 * df * np.log(growth) + 0.5 * np.nan_to_num(statistic) * (growth - 1.0) / growth
    return np.minimum.accumulate(np.exp(-np.maximum(log_ratio, 0.0)), axis=-1)


def _per_unit(means: Means) -> Means:
    """Covariates per unit from clusters' sums, whose last column counts units."""
    last = means.mean.shape[-1] - 1
    order = [0, last, *range(1, last)]
    moved = Means(means.n, means.mean[..., order], means.cov[..., order, :][..., order])
    return per_cluster(moved, 1)


def _result(name: str, path: FloatArray, threshold: float, detail: str) -> QualityResult:
    p = float(path[-1])
    return QualityResult(name, p, threshold, p <= threshold, f"{detail}; p = {p:.3g}", path)
