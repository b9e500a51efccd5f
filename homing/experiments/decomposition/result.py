"""What a decomposition says: terms that add up to the movement, each beside its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import unknown_name
from homing.estimates import Estimate
from homing.experiments.decomposition.rows import Movement
from homing.experiments.intervals import with_t

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """One part of a movement.

    Attributes:
        name: what it is, for people.
        part: `step`, `mix`, `rate`, `segment` or `rest`.
        segment: of which segment; None for the step of a funnel.
        estimate: the contribution, in the metric's unit.
        share: of the movement; it can be negative or above 1; None where the movement is 0.
        p_value: of a contribution of 0 (for `segment`: of an effect like that of all other units), adjusted for all
            terms of this decomposition (Holm, 1979); None for `rest`.
    """

    name: str
    part: str
    segment: str | None
    estimate: Estimate
    share: float | None
    p_value: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "name": self.name,
            "part": self.part,
            "segment": self.segment,
            "estimate": self.estimate.to_dict(),
            "share": self.share,
            "p_value": self.p_value,
        }


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Why a metric moved.

    Attributes:
        metric: its name.
        how: `funnel`, `mix_rate`, `parts` or `segments`.
        baseline: name of the group that it moved from.
        comparison: name of the group that it moved to.
        before: the metric in the baseline.
        after: the metric in the comparison group.
        movement: after - before.
        terms: they add up to the movement's value.
        covariance: float64 (K, K), of the terms, so that any of them can be added up with an interval.
        notes: what to know when reading it.
    """

    metric: str
    how: str
    baseline: str
    comparison: str
    before: float
    after: float
    movement: Estimate
    terms: tuple[Term, ...]
    covariance: FloatArray
    notes: tuple[str, ...] = ()

    def total(self, *, part: str | None = None, segment: str | None = None) -> Estimate:
        """The sum of the terms of a part, of a segment, or of both, with its own interval.

        Raises:
            UnknownNameError: there is no such term.
        """
        parts = {item.part for item in self.terms}
        segments = {item.segment for item in self.terms if item.segment is not None}
        if part is not None and part not in parts:
            raise unknown_name("part", part, parts)
        if segment is not None and segment not in segments:
            raise unknown_name("segment", segment, segments)
        chosen = np.array(
            [
                float((part is None or item.part == part) and (segment is None or item.segment == segment))
                for item in self.terms
            ]
        )
        value = float(chosen @ np.array([item.estimate.value for item in self.terms]))
        return with_t(value, float(chosen @ self.covariance @ chosen), self.movement.df, self.movement.level)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "format": 1,
            "metric": self.metric,
            "how": self.how,
            "baseline": self.baseline,
            "comparison": self.comparison,
            "before": self.before,
            "after": self.after,
            "movement": self.movement.to_dict(),
            "terms": [item.to_dict() for item in self.terms],
            "covariance": self.covariance.tolist(),
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """A table for a terminal, the largest terms first."""
        width = max(len("movement"), *(len(item.name) for item in self.terms))
        lines = [f"{self.metric}: {self.before:.4g} ({self.baseline}) → {self.after:.4g} ({self.comparison})"]
        for item in sorted(self.terms, key=lambda item: -abs(item.estimate.value)):
            share = "" if item.share is None else f"{item.share:7.0%}"
            tested = "" if item.p_value is None else f"  p = {item.p_value:.3f}"
            lines.append(f"  {item.name:<{width}}  {item.estimate}{share}{tested}")
        lines.append(f"  {'movement':<{width}}  {self.movement}")
        return "\n".join([*lines, *self.notes])

    def to_svg(self) -> str:
        """A waterfall from before to after, each term with its interval, as SVG."""
        from homing.experiments.decomposition.waterfall import waterfall_svg

        return waterfall_svg(self)


def assemble(
    of: Movement,
    how: str,
    found: tuple[FloatArray, FloatArray],
    df: int,
    *,
    names: Sequence[str],
    parts: Sequence[str],
    segments: Sequence[str | None],
    level: float,
    tests: Sequence[float | None] | None = None,
    notes: tuple[str, ...] = (),
) -> Decomposition:
    """A decomposition from its terms' values (K,) and covariance (K, K); by default each is tested against 0."""
    values, covariance = found
    variances = np.diag(covariance)
    movement = with_t(float(values.sum()), float(covariance.sum()), df, level)
    if tests is None:
        tests = holm(p_values(values, variances, df)).tolist()
    terms = tuple(
        Term(
            name,
            part,
            segment,
            with_t(float(value), float(variance), df, level),
            float(value) / movement.value if movement.value else None,
            test,
        )
        for name, part, segment, value, variance, test in zip(
            names, parts, segments, values, variances, tests, strict=True
        )
    )
    return Decomposition(
        of.metric, how, of.baseline, of.comparison, of.before, of.after, movement, terms, covariance, notes
    )


def p_values(values: FloatArray, variances: FloatArray, df: int) -> FloatArray:
    """Two-sided p-values of 0, (K,); 1 where a value is 0 and cannot vary."""
    from scipy.special import stdtr

    scale = np.sqrt(np.maximum(variances, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(values == 0.0, 0.0, np.abs(values) / scale)
    return np.asarray(2.0 * stdtr(df, -t), dtype=np.float64)


def holm(p: FloatArray) -> FloatArray:
    """Step-down adjusted p-values (Holm, 1979, Scandinavian Journal of Statistics 6): their family-wise error is kept.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.minimum(stepped, 1.0)
    return out
