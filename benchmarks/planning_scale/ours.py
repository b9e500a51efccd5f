"""Homing's side: a plan part by part from Parquet, in one process and thread."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.measure import report
from benchmarks.planning.instances import make
from homing.planning import solve, solve_parquet
from homing.planning.demand import demand_of

path, out, part_rows, sample_rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def work() -> dict[str, Any]:
    found = solve_parquet(path, out, part_rows=part_rows, sample_rows=sample_rows, threads=1).to_dict()
    del found["limits"]
    return found


small = make("base", 5000)
demand_of(small, solve(small, threads=1).prices, 1)  # compiled, or read from disk
report(work, repeats=1)
