"""Homing's side: from users' rows, or from statistics that are there already; a scorecard with every look."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from benchmarks.experiments_speed.inputs import LEVEL, MEANS, METRICS, VARIANTS
from benchmarks.measure import report
from homing.experiments import ExperimentPlan, Metric, SufficientStatistics, analyze

frame = pl.read_parquet(Path(sys.argv[1]) / "rows.parquet")
plan = ExperimentPlan(
    "speed",
    success=[Metric(name, "mean" if name in MEANS else "proportion", name) for name in METRICS],
    variants=dict.fromkeys(VARIANTS, 0.2),
)
known = SufficientStatistics.from_frame(frame, plan)


def work() -> dict[str, list[list[float]]]:
    """At the last look, by metric: difference, lower, upper and two-sided p-value of each treatment."""
    statistics = SufficientStatistics.from_frame(frame, plan) if sys.argv[2] == "rows" else known
    card = analyze(statistics, plan)
    out: dict[str, list[list[float]]] = {}
    for one in card.comparisons:
        p = 2.0 * min(one.inferior.p_value, 1.0 - one.inferior.p_value)
        out.setdefault(one.metric.name, []).append(
            [one.difference.value, one.difference.lower, one.difference.upper, p]
        )
    assert abs(card.comparisons[0].difference.level - LEVEL) < 1e-12
    assert len(card.looks) == 30
    return out


work()  # imports
report(work, repeats=5)
