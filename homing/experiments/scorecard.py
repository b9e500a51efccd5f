"""`Scorecard`: what an experiment shows at a look: every comparison with its tests, and how it came there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import unknown_name
from homing.estimates import Estimate
from homing.experiments.metrics import Metric

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan
    from homing.experiments.statistics import SufficientStatistics

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class OneSidedTest:
    """A one-sided test of one comparison at one look.

    Attributes:
        p_value: of this look alone.
        sequential_p_value: smallest level at which some look so far crosses its bound; what to report under monitoring.
        alpha: the level after every correction.
        critical: what z had to reach at the design's last look so far; infinite where it has not looked yet.
        z: normal quantile of the t statistic's p-value; large speaks for what the test is named after.
        rejected: whether this or an earlier look crossed its bound.
    """

    p_value: float
    sequential_p_value: float
    alpha: float
    critical: float
    z: float
    rejected: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values; infinite bounds and undefined numbers are None."""
        return {
            "p_value": number(self.p_value),
            "sequential_p_value": number(self.sequential_p_value),
            "alpha": self.alpha,
            "critical": number(self.critical),
            "z": number(self.z),
            "rejected": self.rejected,
        }


@dataclass(frozen=True)
class ComparisonPath:
    """A comparison's numbers at every look, in the order of `Scorecard.looks`.

    Attributes:
        n: (looks,), units of both variants that counted.
        information: (looks,), share of the planned information.
        value: (looks,), the difference as measured.
        std_error: (looks,), its standard error.
        lower: (looks,), what the look's bounds leave below: of a metric that should rise, from its superiority or
            non-inferiority test (which rejects when this passes 0 or minus the margin); -inf where none.
        upper: (looks,), what they leave above: of a metric that should rise, from its inferiority test. For a metric
            that should fall, the other way round.
        z: (looks,) by test name.
        critical: (looks,) by test name.
    """

    n: NDArray[np.int64]
    information: FloatArray
    value: FloatArray
    std_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    z: Mapping[str, FloatArray]
    critical: Mapping[str, FloatArray]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists; infinite and undefined numbers are None."""
        lists: dict[str, Any] = {"n": self.n.tolist()}
        for name in ("information", "value", "std_error", "lower", "upper"):
            lists[name] = [number(x) for x in getattr(self, name).tolist()]
        for name in ("z", "critical"):
            lists[name] = {test: [number(x) for x in row.tolist()] for test, row in getattr(self, name).items()}
        return lists


@dataclass(frozen=True)
class Comparison:
    """One metric of one treatment against the control.

    Attributes:
        metric: the metric.
        role: `success`, `guardrail` or `deterioration`.
        treatment: name of the treatment.
        control: name of the control.
        difference: treatment minus control, as measured (not flipped where a decrease is good), two-sided at
            1 - 2 · alpha of its role, for this look alone.
        relative: the same as a share of the control's value; None where the control's interval holds 0.
        values: the estimate of each of the two variants.
        sign: +1 where an increase is good.
        n: units that counted, by variant.
        information_fraction: share of the planned information at this look.
        margin: of non-inferiority, in the metric's unit; None where there is none.
        superior: success metrics: better by more than 0.
        non_inferior: guardrails: worse by less than the margin.
        inferior: every metric: worse than 0.
        path: the same at every look.
    """

    metric: Metric
    role: str
    treatment: str
    control: str
    difference: Estimate
    relative: Estimate | None
    values: Mapping[str, Estimate]
    sign: int
    n: Mapping[str, int]
    information_fraction: float
    margin: float | None
    superior: OneSidedTest | None
    non_inferior: OneSidedTest | None
    inferior: OneSidedTest
    path: ComparisonPath

    @property
    def tests(self) -> dict[str, OneSidedTest]:
        """The tests that this comparison has, by name."""
        found = {"superior": self.superior, "non_inferior": self.non_inferior, "inferior": self.inferior}
        return {name: test for name, test in found.items() if test is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "metric": self.metric.name,
            "role": self.role,
            "treatment": self.treatment,
            "control": self.control,
            "difference": self.difference.to_dict(),
            "relative": None if self.relative is None else self.relative.to_dict(),
            "values": {name: value.to_dict() for name, value in self.values.items()},
            "sign": self.sign,
            "n": dict(self.n),
            "information_fraction": self.information_fraction,
            "margin": self.margin,
            "tests": {name: test.to_dict() for name, test in self.tests.items()},
            "path": self.path.to_dict(),
        }


@dataclass(frozen=True)
class QualityResult:
    """A test of the experiment itself.

    Attributes:
        name: `sample_ratio` or `pre_exposure_bias`.
        p_value: at this look (sequential where the test is).
        threshold: below which it rejects.
        rejected: whether it does.
        detail: the numbers in a sentence.
        path: (looks,), the p-value at every look.
    """

    name: str
    p_value: float
    threshold: float
    rejected: bool
    detail: str
    path: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "name": self.name,
            "p_value": self.p_value,
            "threshold": self.threshold,
            "rejected": self.rejected,
            "detail": self.detail,
            "path": [number(x) for x in self.path.tolist()],
        }


@dataclass(frozen=True, eq=False)
class Source:
    """What a scorecard was analysed from."""

    statistics: SufficientStatistics
    plan: ExperimentPlan


@dataclass(frozen=True)
class Scorecard:
    """An experiment as of a day.

    Attributes:
        plan_digest: of the plan that it was analysed under.
        as_of: ISO date (or day number, as text) of the look.
        look: its number, from 1.
        looks: (looks,), as_of of every look so far.
        n: units exposed so far, by variant.
        comparisons: every metric × treatment.
        quality: every quality test.
        warnings: sentences that a reader must see.
        source: what it was analysed from, for `decompose`; not part of what it says.
    """

    plan_digest: str
    as_of: str
    look: int
    looks: tuple[str, ...]
    n: Mapping[str, int]
    comparisons: tuple[Comparison, ...]
    quality: tuple[QualityResult, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    source: Source | None = field(default=None, repr=False, compare=False)

    def comparison(self, metric: str, treatment: str | None = None) -> Comparison:
        """The comparison of a metric (and a treatment, where there are several).

        Raises:
            UnknownNameError: if there is none.
        """
        found = [item for item in self.comparisons if item.metric.name == metric]
        if not found:
            raise unknown_name("metric", metric, {item.metric.name for item in self.comparisons})
        for item in found:
            if treatment is None or item.treatment == treatment:
                return item
        raise unknown_name("treatment", str(treatment), {item.treatment for item in found})

    @property
    def path(self) -> dict[tuple[str, str], ComparisonPath]:
        """Every comparison's path, by metric and treatment."""
        return {(item.metric.name, item.treatment): item.path for item in self.comparisons}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "plan_digest": self.plan_digest,
            "as_of": self.as_of,
            "look": self.look,
            "looks": list(self.looks),
            "n": dict(self.n),
            "comparisons": [item.to_dict() for item in self.comparisons],
            "quality": [item.to_dict() for item in self.quality],
            "warnings": list(self.warnings),
        }


def number(value: float) -> float | None:
    """None for what is no finite number: strict JSON has no other way to say it."""
    return value if math.isfinite(value) else None
