"""Sufficient statistics from many parts: each is read where it is processed, and only sums and unit hashes travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe
from homing.experiments.plan import ExperimentPlan, check_plan
from homing.experiments.statistics.checking import check_columns, checks, refuse
from homing.experiments.statistics.frames import (
    CLUSTER,
    as_lazy,
    assembled,
    cells,
    checked_thresholds,
    clusters,
    histogram_of,
    histogram_rows,
    provisional_means,
    statistics_of_frame,
    unit_rows,
)
from homing.experiments.statistics.histogram import Histogram
from homing.experiments.statistics.layout import layout
from homing.experiments.statistics.sufficient import SufficientStatistics, total


@dataclass
class Piece:
    """What a share knows of a part.

    Attributes:
        statistics: of the part's units; in one share, where units are not clustered.
        units: hashes of its units that belong to the share.
        clusters: its clusters that belong to the share, one row each.
        dated: whether days are dates.
    """

    statistics: SufficientStatistics | None
    units: NDArray[np.uint64]
    clusters: Any
    dated: bool


def statistics_of_parts(
    parts: Sequence[Any],
    plan: ExperimentPlan,
    *,
    engine: str | Engine = "process",
    thresholds: Mapping[str, float] | None = None,
) -> SufficientStatistics:
    """See `SufficientStatistics.from_parts`."""
    check_plan(plan)
    runner = get_engine(engine)
    bounds = _thresholds(parts, plan, runner) if thresholds is None else checked_thresholds(thresholds, plan)
    found = runner.map_reduce(
        parts, partial(_split, plan=plan, thresholds=bounds), _merge, partial(_finish, plan=plan, thresholds=bounds)
    )
    return total(item for item in found if item is not None)


def _split(part: Any, shares: int, *, plan: ExperimentPlan, thresholds: Mapping[str, float]) -> list[Piece]:
    import polars as pl

    rows = as_lazy(part)
    dated = check_columns(rows, plan, layout(plan))
    units = rows.select(pl.col(plan.unit).hash().alias("hash")).collect()["hash"].to_numpy()
    owner = units % np.uint64(shares)
    if plan.cluster is None:
        whole = statistics_of_frame(rows, plan, thresholds=thresholds)
        return [Piece(whole if share == 0 else None, units[owner == share], None, dated) for share in range(shares)]
    refuse(checks(rows, plan, layout(plan)).collect().row(0, named=True), rows, plan)
    one = clusters(unit_rows(rows, plan, layout(plan), thresholds, dated)).collect()
    place = one[CLUSTER].hash().to_numpy() % np.uint64(shares)
    return [Piece(None, units[owner == share], one.filter(pl.Series(place == share)), dated) for share in range(shares)]


def _merge(one: Piece, two: Piece) -> Piece:
    import polars as pl

    if one.dated != two.dated:
        raise InvalidInputError(describe("exposed_at of parts", "dates and numbers", "must be of one kind"))
    held = [item.statistics for item in (one, two) if item.statistics is not None]
    rows = None if one.clusters is None else clusters(pl.concat([one.clusters, two.clusters]).lazy()).collect()
    return Piece(total(held) if held else None, np.concatenate([one.units, two.units]), rows, one.dated)


def _finish(piece: Piece, *, plan: ExperimentPlan, thresholds: Mapping[str, float]) -> SufficientStatistics | None:
    twice = len(piece.units) - len(np.unique(piece.units))
    if twice:
        raise InvalidInputError(
            describe(
                "units in several parts",
                twice,
                "must be 0",
                f"Each {plan.unit} has one row in one part: sum its outcomes before, or divide parts by {plan.unit}.",
            )
        )
    if piece.clusters is None or not piece.clusters.height:
        return piece.statistics
    made, rows = layout(plan), piece.clusters.lazy()
    shift = provisional_means(rows, made)
    return assembled(cells(rows, made, shift).collect(), [], plan, made, shift, piece.dated, thresholds)


def _thresholds(parts: Sequence[Any], plan: ExperimentPlan, engine: Engine) -> dict[str, float]:
    """The pooled quantile of each winsorised metric, from histograms of all parts."""
    asked = [metric for metric in plan.metrics if metric.winsorize is not None]
    if not asked:
        return {}
    shares = engine.map_reduce(parts, partial(_values, plan=plan), _add, _whole)
    whole = shares[0]
    for share in shares[1:]:
        whole = _add(whole, share)
    found = {metric.name: whole[metric.name].quantile(float(metric.winsorize or 0.0)) for metric in asked}
    return checked_thresholds(found, plan)


def _values(part: Any, shares: int, *, plan: ExperimentPlan) -> list[dict[str, Histogram]]:
    """Histograms of one part over all its variants and days, in the first share; the others hold none."""
    rows = as_lazy(part)
    dated = check_columns(rows, plan, layout(plan))
    pieces: list[dict[str, Histogram]] = [{} for _ in range(shares)]
    for metric in plan.metrics:
        if metric.winsorize is not None:
            held = histogram_of(histogram_rows(rows, metric.numerator, plan, dated).collect(), tuple(plan.variants))
            pieces[0][metric.name] = replace(held, variant=held.variant * 0, day=held.day * 0)
    return pieces


def _add(one: dict[str, Histogram], two: dict[str, Histogram]) -> dict[str, Histogram]:
    names = {*one, *two}
    return {
        name: one[name] + two[name] if name in one and name in two else one.get(name) or two[name] for name in names
    }


def _whole(share: dict[str, Histogram]) -> dict[str, Histogram]:
    return share
