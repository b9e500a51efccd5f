"""What one read of the candidates' columns costs, row group by row group, with nothing done to them."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measure import report
from homing.planning import ProblemFile

path = Path(sys.argv[1])
file = ProblemFile.from_yaml(path)


def work() -> int:
    rows = 0
    for one in sorted((path.parent / file.candidates).glob("*.parquet")):
        found = pq.ParquetFile(one)
        for group in range(found.num_row_groups):
            rows += found.read_row_group(group, columns=file.columns.wanted, use_threads=False).num_rows
    return rows


report(work, repeats=1)
