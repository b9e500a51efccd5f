"""`SufficientStatistics`: everything that an analysis needs of the data, in sums that can be added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engines import Engine
from homing.errors import InvalidInputError, describe
from homing.experiments.days import day_text
from homing.experiments.plan import ExperimentPlan
from homing.experiments.statistics.histogram import Histogram

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SufficientStatistics:
    """Counts, means and centred cross-products by variant, exposure day and stratum, for one plan.

    `a + b` is what the data of both together give, to rounding (1e-12): every product is centred about its own cell's
    mean, and means are kept as offsets from a common shift, so that a large mean does not cancel a small spread
    (Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance", The American Statistician 37).
    Cumulated over exposure days they give every look.

    A metric's window is measured from each unit's own exposure, and units are kept by exposure day, so that a look can
    count just those that have matured. Data of a day may be added when that day's windows have ended.

    With a plan's `cluster`, the cells count clusters, and columns are the clusters' sums; a cluster belongs to the day
    on which its last unit was exposed.

    Attributes:
        plan_digest: of the plan that they were made for.
        variants: (V,) names.
        strata: (S,) names, one where the plan has none.
        first_day: number of the first exposure day.
        dated: whether days are dates.
        columns: (k,) names.
        left: (p,) first column of each product.
        right: (p,) second column.
        shift: (k,) what `offset` counts from.
        n: (V, D, S) randomised units.
        offset: (V, D, S, k) means less the shift; 0 where there are no units.
        products: (V, D, S, p) Σ (x - mean x)(y - mean y).
        missing: (V, D, S, k) units without a value: what has not matured need not be there.
        histograms: of each quantile metric.
        thresholds: where each winsorised metric was bounded.

    Example:
        >>> import polars as pl
        >>> from homing.experiments import Metric
        >>> plan = ExperimentPlan("e", success=[Metric("m", "mean", "x")], variants={"a": 0.5, "b": 0.5})
        >>> frame = pl.DataFrame({"user_id": [1, 2, 3, 4], "variant": ["a", "a", "b", "b"], "x": [1.0, 3.0, 2.0, 6.0]})
        >>> both = SufficientStatistics.from_frame(frame, plan)
        >>> halves = SufficientStatistics.from_frame(frame[:1], plan) + SufficientStatistics.from_frame(frame[1:], plan)
        >>> both.n.ravel().tolist(), both.products.ravel().tolist() == halves.products.ravel().tolist()
        ([2, 2], True)
    """

    plan_digest: str
    variants: tuple[str, ...]
    strata: tuple[str, ...]
    first_day: int
    dated: bool
    columns: tuple[str, ...]
    left: IntArray
    right: IntArray
    shift: FloatArray
    n: IntArray
    offset: FloatArray
    products: FloatArray
    missing: IntArray
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        plan: ExperimentPlan,
        *,
        exposures: Any = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> SufficientStatistics:
        """One pass over user-level data.

        Columns: the plan's unit, `variant`, `exposed_at` (a date, a time or a day number; not needed where nothing has
        a window and there is one look), what the metrics name, and the plan's strata and cluster.

        Args:
            frame: Polars (lazy too), Arrow, pandas, a mapping of columns, or the path of Parquet files; a row per unit.
            plan: says which columns are needed.
            exposures: the exposure log as a table of its own with unit, `variant` and `exposed_at`; `frame` then holds
                the outcomes of exactly these units.
            thresholds: where to bound winsorised metrics; by default their quantile in these data. Statistics that are
                to be added need the same. Under monitoring with several looks pass the first look's to every later one:
                a bound read off again from more data moves the values of looks that were judged before.

        Raises:
            InvalidInputError: if a column that the plan names is missing or no number, a unit is there twice or in two
                variants, exposures and outcomes have different units or variants, a variant is unknown, a proportion
                is neither 0 nor 1, a denominator is negative, or a covariate was not measured before exposure: its
                time is missing, cannot be compared, is later, or is a day that is not an earlier one.
        """
        from homing.experiments.statistics.frames import statistics_of_frame

        return statistics_of_frame(frame, plan, exposures=exposures, thresholds=thresholds)

    @classmethod
    def from_parts(
        cls,
        parts: Sequence[Any],
        plan: ExperimentPlan,
        *,
        engine: str | Engine = "process",
        thresholds: Mapping[str, float] | None = None,
    ) -> SufficientStatistics:
        """The same from many parts, each read where it is processed: memory is that of one part.

        Units, clusters and thresholds are those of all parts together: a unit in two parts is found. Thresholds of
        winsorised metrics are read off a histogram in a pass of its own, within 0.2 % of the quantile.

        Args:
            parts: paths of Parquet files or frames, as `from_frame` takes.
            plan: as there.
            engine: "process", or "ray" for a cluster.
            thresholds: as there.

        Raises:
            InvalidInputError: as `from_frame`.
        """
        from homing.experiments.statistics.parts import statistics_of_parts

        return statistics_of_parts(parts, plan, engine=engine, thresholds=thresholds)

    @classmethod
    def from_aggregates(cls, frame: Any, plan: ExperimentPlan) -> SufficientStatistics:
        """From sums that a warehouse has: one row per variant, exposure day and stratum.

        Columns: `variant`, `exposed_at` (optional), the plan's strata, `n`, and for each column and product of
        `aggregates_needed(plan)` a sum: `sum(orders)`, `sum(orders*orders_pre28)`. Plain sums lose about as many digits
        as the mean squared exceeds the variance: sum what is centred already, or use `from_frame`, where that matters.

        Raises:
            InvalidInputError: if a column is missing or no number, or the plan has a quantile metric, which sums cannot
                give; if in any row something is missing, a count is negative or no whole number, a proportion or a
                denominator is out of bounds, or sums break the Cauchy-Schwarz inequality.
        """
        from homing.experiments.statistics.aggregates import statistics_of_aggregates

        return statistics_of_aggregates(frame, plan)

    @property
    def days(self) -> IntArray:
        """(D,) numbers of the exposure days."""
        return self.first_day + np.arange(self.n.shape[1])

    @property
    def exposed(self) -> IntArray:
        """(V, D) units exposed on each day."""
        return np.asarray(self.n.sum(axis=2))

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        """The statistics of both data together.

        Raises:
            InvalidInputError: if they were made for different plans, or bounded at different thresholds.
        """
        self._check_fits(other)
        strata = tuple(sorted({*self.strata, *other.strata}))
        first = min(self.first_day, other.first_day)
        count = max(int(self.days[-1]), int(other.days[-1])) - first + 1
        one, two = (each._placed(strata, first, count, self.shift) for each in (self, other))
        n = one.n + two.n
        share = two.n / np.maximum(n, 1)
        gap = two.offset - one.offset
        between = (one.n * share)[..., None] * gap[..., self.left] * gap[..., self.right]
        return SufficientStatistics(
            self.plan_digest,
            self.variants,
            strata,
            first,
            self.dated,
            self.columns,
            self.left,
            self.right,
            self.shift,
            n,
            one.offset + share[..., None] * gap,
            one.products + two.products + between,
            one.missing + two.missing,
            {name: self.histograms[name] + other.histograms[name] for name in self.histograms},
            self.thresholds,
        )

    def __radd__(self, other: int) -> SufficientStatistics:
        """So that `sum(statistics)` works."""
        if other != 0:
            return NotImplemented
        return self

    def _check_fits(self, other: SufficientStatistics) -> None:
        if self.plan_digest != other.plan_digest:
            raise InvalidInputError(
                describe(
                    "plan digests",
                    (self.plan_digest[:12], other.plan_digest[:12]),
                    "must be the same to add statistics",
                    "Make both with one plan.",
                )
            )
        for name in ("variants", "columns"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                bound = "must be the same, in the same order, to add statistics"
                raise InvalidInputError(describe(name, (ours, theirs), bound, "Make both with one plan."))
        if dict(self.thresholds) != dict(other.thresholds):
            raise InvalidInputError(
                describe(
                    "thresholds",
                    (dict(self.thresholds), dict(other.thresholds)),
                    "must be the same to add statistics of winsorised metrics",
                    "Pass thresholds= of the first to the others, or use from_parts.",
                )
            )
        if self.dated != other.dated:
            raise InvalidInputError(
                describe("dated", (self.dated, other.dated), "must be the same to add statistics", "Give both dates.")
            )

    def _placed(self, strata: tuple[str, ...], first: int, count: int, shift: FloatArray) -> SufficientStatistics:
        """The same cells among more days and strata, about another shift."""
        places = np.array([strata.index(name) for name in self.strata])
        at = np.ix_(np.arange(len(self.variants)), self.days - first, places)
        shape = (len(self.variants), count, len(strata))

        def spread(cells: NDArray[Any]) -> NDArray[Any]:
            out = np.zeros(shape + cells.shape[3:], dtype=cells.dtype)
            out[at] = cells
            return out

        moved = np.where(self.n[..., None] > 0, self.offset + (self.shift - shift), 0.0)
        return SufficientStatistics(
            self.plan_digest,
            self.variants,
            strata,
            first,
            self.dated,
            self.columns,
            self.left,
            self.right,
            shift,
            spread(self.n),
            spread(moved),
            spread(self.products),
            spread(self.missing),
        )

    def day_text(self, number: int) -> str:
        """A day as people write it."""
        return day_text(number, dated=self.dated)


def total(statistics: Iterable[SufficientStatistics]) -> SufficientStatistics:
    """The sum of several statistics.

    Raises:
        InvalidInputError: if there are none, or they do not fit together.
    """
    found = list(statistics)
    if not found:
        raise InvalidInputError(describe("statistics", [], "must be at least one"))
    while len(found) > 1:  # pairwise: rounding grows with the logarithm of their number
        found = [sum(found[at : at + 2]) for at in range(0, len(found), 2)]  # type: ignore[misc]
    return found[0]
