"""tea-tasting's side: the rows exposed by each look, filtered and aggregated by Polars. In the peers' environment."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import tea_tasting as tt

from benchmarks.experiments_speed.inputs import DAYS, LEVEL, METRICS
from benchmarks.measure import report

frame = pl.read_parquet(Path(sys.argv[1]) / "rows.parquet")
experiment = tt.Experiment({name: tt.Mean(name, confidence_level=LEVEL) for name in METRICS}, variant="variant")
looks = int(sys.argv[2])


def work() -> dict[str, list[list[float]]]:
    for look in range(DAYS - looks, DAYS):
        found = experiment.analyze(frame.filter(pl.col("exposed_at") <= look), "control", all_variants=True)
    out: dict[str, list[list[float]]] = {}
    for _, result in sorted(found.items()):
        for name in METRICS:
            one = result[name]
            row = [one.effect_size, one.effect_size_ci_lower, one.effect_size_ci_upper, one.pvalue]
            out.setdefault(name, []).append([float(value) for value in row])
    return out


report(work, repeats=1)
