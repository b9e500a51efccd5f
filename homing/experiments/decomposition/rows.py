"""The rows of two groups, read once for every way to decompose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.experiments.columns import Columns
from homing.experiments.metrics import Metric

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Movement:
    """A metric in two groups.

    Attributes:
        metric: its name.
        baseline: name of the group that it moved from.
        comparison: name of the group that it moved to.
        before: the metric in the baseline.
        after: the metric in the comparison group.
    """

    metric: str
    baseline: str
    comparison: str
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Rows:
    """The n rows of a baseline and a comparison group.

    Attributes:
        metric: what is decomposed.
        baseline: name of the group.
        comparison: name of the group.
        compared: (n,), whether a row belongs to the comparison group.
        units: (n,) from 0; None where every row is a unit of its own.
        top: the metric's numerator, (n,).
        bottom: its denominator; for means 1 on the first row of each unit and group, 0 on its others: (n,).
        by: columns of segments.
        codes: of each of them, (n,).
        labels: names of their codes.
    """

    metric: Metric
    baseline: str
    comparison: str
    compared: NDArray[np.bool_]
    units: IntArray | None
    top: FloatArray
    bottom: FloatArray
    by: tuple[str, ...]
    codes: tuple[IntArray, ...]
    labels: tuple[tuple[str, ...], ...]

    @classmethod
    def read(
        cls,
        columns: Columns,
        metric: Metric,
        groups: tuple[str, str, str],
        unit: str | None,
        by: tuple[str, ...],
    ) -> tuple[Rows, NDArray[np.bool_]]:
        """The rows of both groups, and which of the table's rows they are; `groups` is column, baseline, comparison."""
        column, baseline, comparison = groups
        if baseline == comparison:
            raise InvalidInputError(describe("comparison", comparison, "must differ from the baseline"))
        after = columns.is_group(column, comparison)
        kept = after | columns.is_group(column, baseline)
        compared = after[kept]
        units = None if unit is None else columns.codes(unit)[0][kept]
        coded = [columns.codes(name) for name in by]
        rows = cls(
            metric,
            baseline,
            comparison,
            compared,
            units,
            columns.numbers(metric.numerator)[kept],
            _once_each(units, compared) if metric.denominator is None else columns.numbers(metric.denominator)[kept],
            by,
            tuple(codes[kept] for codes, _ in coded),
            tuple(labels for _, labels in coded),
        )
        return rows, kept

    @property
    def pooled(self) -> float:
        """The metric over the rows of both groups."""
        return float(self.top.sum() / self.bottom.sum())

    @property
    def movement(self) -> Movement:
        """What is decomposed."""
        top = np.bincount(self.compared, weights=self.top, minlength=2)
        bottom = np.bincount(self.compared, weights=self.bottom, minlength=2)
        for name, value in zip((self.baseline, self.comparison), bottom.tolist(), strict=True):
            if value <= 0:
                raise InvalidInputError(describe(f"sum of the denominator in group {name!r}", value, "must be > 0"))
        before, after = float(top[0] / bottom[0]), float(top[1] / bottom[1])
        return Movement(self.metric.name, self.baseline, self.comparison, before, after)

    def crossed(self) -> tuple[IntArray, list[str]]:
        """The segment of each row, (n,), one for each combination of the columns of `by` that occurs, and names."""
        joint = self.codes[0]
        for codes, labels in zip(self.codes[1:], self.labels[1:], strict=True):
            joint = joint * len(labels) + codes
        seen, segment = np.unique(joint, return_inverse=True)
        values = np.unravel_index(seen, [len(labels) for labels in self.labels])
        names = [
            " / ".join(labels[i] for labels, i in zip(self.labels, row, strict=True))
            for row in zip(*(item.tolist() for item in values), strict=True)
        ]
        return segment.astype(np.int64), names

    def check_one_row_each(self) -> None:
        """Refuse several rows a unit where the metric is a mean over units, of which each is in one segment."""
        if self.metric.denominator is None and not self.bottom.all():
            raise InvalidInputError(
                describe(
                    "rows of a unit in a group",
                    "several",
                    "must be one for a mean over units",
                    "Use how='parts', or a ratio metric whose denominator is counted by row.",
                )
            )

    def of(self, rows: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(
            self.metric,
            self.baseline,
            self.comparison,
            self.compared[rows],
            None if self.units is None else self.units[rows],
            self.top[rows],
            self.bottom[rows],
            self.by,
            tuple(codes[rows] for codes in self.codes),
            self.labels,
        )


def _once_each(units: IntArray | None, compared: NDArray[np.bool_]) -> FloatArray:
    """1 on the first row of each unit and group, 0 on its others."""
    if units is None:
        return np.ones(len(compared))
    out = np.zeros(len(units))
    out[np.unique(2 * units + compared, return_index=True)[1]] = 1.0
    return out
