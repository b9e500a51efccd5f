"""Which columns and which products of columns a plan needs: the axes of its sufficient statistics."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from homing.experiments.metrics import Metric
from homing.experiments.plan import ExperimentPlan
from homing.experiments.quality import PreExposureBias

IntArray = NDArray[np.int64]
#: The column that counts the units of a cluster.
UNITS = "__units__"


@dataclass(frozen=True)
class Column:
    """A column whose moments are kept.

    Attributes:
        source: the data's column.
        winsorized: the metric whose threshold bounds it from above; None for the values as they are.
    """

    source: str
    winsorized: str | None = None

    @property
    def name(self) -> str:
        """Unique among a plan's columns; in aggregates, what the sums are named after."""
        return self.source if self.winsorized is None else f"{self.source}@{self.winsorized}"


@dataclass(frozen=True)
class Layout:
    """Columns and products that a plan needs.

    Attributes:
        columns: (k,) columns.
        left: (p,), the first column of each product.
        right: (p,), the second; left <= right.
        metrics: columns of each metric that is estimated from moments: numerator, denominator if it has one (the
            number of units where they are clustered), covariates.
        bias: columns of each pre-exposure test, in the order of the plan's quality tests.
        quantiles: metrics that are estimated from histograms.
    """

    columns: tuple[Column, ...]
    left: IntArray
    right: IntArray
    metrics: dict[str, tuple[int, ...]]
    bias: tuple[tuple[int, ...], ...]
    quantiles: tuple[Metric, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def products(self) -> tuple[tuple[str, str], ...]:
        """Names of the two columns of each product."""
        return tuple((self.names[i], self.names[j]) for i, j in zip(self.left, self.right, strict=True))

    def product_of(self, columns: tuple[int, ...]) -> IntArray:
        """(q, q), where the product of each two of some columns is kept."""
        place = {pair: at for at, pair in enumerate(zip(self.left.tolist(), self.right.tolist(), strict=True))}
        return np.array([[place[min(i, j), max(i, j)] for j in columns] for i in columns], dtype=np.int64)


def layout(plan: ExperimentPlan) -> Layout:
    """The columns and products that a plan needs, each once.

    Example:
        >>> from homing.experiments import Metric
        >>> made = layout(ExperimentPlan("e", success=[Metric("m", "mean", "x", covariates=("x_pre7",))]))
        >>> made.names, made.products
        (('x', 'x_pre7'), (('x', 'x'), ('x', 'x_pre7'), ('x_pre7', 'x_pre7')))
    """
    places: dict[Column, int] = {}

    def place(source: str, winsorized: str | None = None) -> int:
        return places.setdefault(Column(source, winsorized), len(places))

    metrics, quantiles = {}, []
    for metric in plan.metrics:
        if metric.kind == "quantile":
            quantiles.append(metric)
            continue
        own = [place(metric.numerator, metric.name if metric.winsorize is not None else None)]
        if metric.denominator is not None:
            own.append(place(metric.denominator))
        elif plan.cluster is not None:
            own.append(place(UNITS))
        own += [place(item.column) for item in metric.covariates]
        # The covariates of clusters are means over units too, whatever the metric's denominator is.
        if plan.cluster is not None and metric.covariates and metric.kind == "ratio":
            own.append(place(UNITS))
        metrics[metric.name] = tuple(own)
    bias = []
    for test in plan.quality:
        if isinstance(test, PreExposureBias):
            own = [place(item.column) for item in test.covariates or plan.covariates]
            bias.append(tuple(own + ([place(UNITS)] if plan.cluster is not None and own else [])))
    pairs = sorted(
        {(min(pair), max(pair)) for own in (*metrics.values(), *bias) for pair in combinations_with_replacement(own, 2)}
    )
    left, right = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Layout(tuple(places), left, right, metrics, tuple(bias), tuple(quantiles))
