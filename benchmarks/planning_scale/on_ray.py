"""The same plan in this process and on a Ray cluster of one and of two workers: how far apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from benchmarks.measure import report
from homing.engines.ray import OnRay
from homing.planning import StreamedPlan, solve_parquet

path, out, part_rows, sample_rows = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


def rows(plan: StreamedPlan) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in plan.files])


def work() -> dict[str, float]:
    options = {"part_rows": part_rows, "sample_rows": sample_rows, "threads": 1}
    here = solve_parquet(path, out / "here", engine="process", **options)  # type: ignore[arg-type]
    found = {}
    for workers in (1, 2):
        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
        try:
            there = solve_parquet(path, out / f"ray{workers}", engine=OnRay(), **options)  # type: ignore[arg-type]
        finally:
            ray.shutdown()
        same = rows(here).equals(rows(there)) and (here.prices == there.prices).all()
        apart = [abs(a / b - 1) for a, b in ((here.value, there.value), (here.upper_bound, there.upper_bound))]
        found[str(workers)] = max(apart) if same else float("inf")  # not equal is infinitely far
    return found


report(work, repeats=1)
