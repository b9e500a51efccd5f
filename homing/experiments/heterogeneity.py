"""Effects by segment, with the multiplicity of asking many segments in the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of, check_probability
from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.estimates import Estimate
from homing.experiments.arms import segment_values
from homing.experiments.days import Day, day_number
from homing.experiments.estimators import difference, t_bound, t_to_z
from homing.experiments.plan import ExperimentPlan
from homing.experiments.statistics import SufficientStatistics

FloatArray = NDArray[np.float64]
CORRECTIONS = ("holm", "bh", "none")


@dataclass(frozen=True)
class SegmentEffect:
    """A treatment's effect in one segment.

    Attributes:
        segment: name of the stratum.
        n: units of treatment and control.
        difference: as measured, at the level asked for, of this segment alone.
        p_value: two-sided, of no effect, of this segment alone.
        adjusted_p_value: after the correction for all segments.
    """

    segment: str
    n: int
    difference: Estimate
    p_value: float
    adjusted_p_value: float


@dataclass(frozen=True)
class SegmentEffects:
    """One metric's effects of one treatment in all segments.

    Attributes:
        metric: its name.
        treatment: its name.
        correction: `holm` (family-wise error), `bh` (false discovery rate) or `none`.
        segments: by the data's order of strata.
        heterogeneity: Cochran's Q of equal effects in all segments.
        heterogeneity_df: its degrees of freedom.
        heterogeneity_p_value: of the hypothesis that all segments have one effect: the question to ask first.
    """

    metric: str
    treatment: str
    correction: str
    segments: tuple[SegmentEffect, ...]
    heterogeneity: float
    heterogeneity_df: int
    heterogeneity_p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "metric": self.metric,
            "treatment": self.treatment,
            "correction": self.correction,
            "segments": [vars(item) | {"difference": item.difference.to_dict()} for item in self.segments],
            "heterogeneity": self.heterogeneity,
            "heterogeneity_df": self.heterogeneity_df,
            "heterogeneity_p_value": self.heterogeneity_p_value,
        }


def segment_effects(
    statistics: SufficientStatistics,
    plan: ExperimentPlan,
    metric: str,
    treatment: str | None = None,
    *,
    as_of: Day | None = None,
    correction: str = "holm",
    level: float = 0.95,
) -> SegmentEffects:
    """A metric's effect in each of the plan's strata at one look.

    Two segments whose effects differ in significance need not differ in effect: whether effects differ at all is said
    by the test of heterogeneity, Q = Σ (d_s - d)² / SE_s² with d the precision-weighted mean (Cochran 1954, "The
    Combination of Estimates from Different Experiments", Biometrics 10), chi-square with one degree of freedom less
    than there are segments. p-values of segments are corrected by Holm (1979) or Benjamini and Hochberg (1995).

    Wrong to use for segments that the treatment can have changed, for choosing segments by their result (search with
    `decompose(how="segments")`, which confirms on other units), and daily: it is a test of one look.

    Args:
        statistics: made for the plan.
        plan: has `strata`, which are the segments.
        metric: its name.
        treatment: its name; needed where there are several.
        as_of: as in `analyze`.
        correction: `holm`, `bh` or `none`.
        level: of the intervals of each segment alone.

    Raises:
        InvalidInputError: if the plan has no strata, or the statistics are of another plan.
        SupportError: if a segment has fewer than two units in a variant.
    """
    check_one_of("correction", correction, CORRECTIONS)
    check_probability("level", level)
    if plan.strata is None:
        raise InvalidInputError(describe("strata of the plan", None, "must name the segments' column"))
    if statistics.plan_digest != plan.digest:
        raise InvalidInputError(
            describe("plan digest of the statistics", statistics.plan_digest[:12], f"must be {plan.digest[:12]}")
        )
    if treatment is None and len(plan.treatments) > 1:
        raise InvalidInputError(describe("treatment", None, f"must be one of {', '.join(plan.treatments)}"))
    chosen = treatment or plan.treatments[0]
    if chosen not in plan.treatments:
        raise unknown_name("treatment", chosen, plan.treatments)
    day = statistics.days[-1] if as_of is None else day_number(as_of, dated=statistics.dated)
    values = segment_values(statistics, plan, plan.metric(metric), int(day))
    control = list(plan.variants).index(plan.control)
    place = plan.treatments.index(chosen)
    effect = difference(values, control)
    d, se, df = (part[..., place, 0] for part in (effect.value, effect.std_error, effect.df))
    n = (values.n[:, control, 0] + values.n[:, list(plan.variants).index(chosen), 0]).astype(int)
    for name, spread in zip(statistics.strata, se, strict=True):
        if not spread > 0:
            raise SupportError(
                describe(f"standard error in segment {name!r}", float(spread), "must be > 0", "Join small segments.")
            )
    from scipy.special import chdtrc, ndtr, ndtri

    p = 2.0 * np.asarray(ndtr(-np.abs(t_to_z(d / se, df))))
    adjusted = adjust_p_values(p, correction)
    half = t_bound(np.full(d.shape, ndtri(0.5 + level / 2.0)), df) * se
    weight = 1.0 / se**2
    q = float((weight * (d - (weight * d).sum() / weight.sum()) ** 2).sum())
    return SegmentEffects(
        metric=metric,
        treatment=chosen,
        correction=correction,
        segments=tuple(
            SegmentEffect(
                name,
                int(n[s]),
                Estimate(
                    float(d[s]),
                    float(se[s]),
                    float(d[s] - half[s]),
                    float(d[s] + half[s]),
                    level,
                    int(df[s]),
                    "welch-t",
                ),
                float(p[s]),
                float(adjusted[s]),
            )
            for s, name in enumerate(statistics.strata)
        ),
        heterogeneity=q,
        heterogeneity_df=len(d) - 1,
        heterogeneity_p_value=float(chdtrc(len(d) - 1, q)) if len(d) > 1 else 1.0,
    )


def adjust_p_values(p: FloatArray, correction: str) -> FloatArray:
    """p-values for all of several hypotheses together.

    Holm: the i-th smallest is multiplied by m - i + 1; Benjamini and Hochberg: by m / i; both kept in order.

    Example:
        >>> p = np.array([0.01, 0.04, 0.03])
        >>> adjust_p_values(p, "holm").round(3).tolist(), adjust_p_values(p, "bh").round(3).tolist()
        ([0.03, 0.06, 0.06], [0.03, 0.04, 0.04])
    """
    if correction == "none":
        return p
    order = np.argsort(p)
    rank = np.arange(1, len(p) + 1)
    if correction == "holm":
        kept = np.maximum.accumulate(p[order] * (len(p) - rank + 1))
    else:
        kept = np.minimum.accumulate((p[order] * len(p) / rank)[::-1])[::-1]
    out = np.empty_like(p)
    out[order] = np.minimum(kept, 1.0)
    return out
