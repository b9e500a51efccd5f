"""A plan's rows held against the candidates' files, block by block: what is broken, counted from the columns."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import report
from homing.planning import ProblemFile

path, out = Path(sys.argv[1]), Path(sys.argv[2])


def work() -> int:
    """Rows that are not the candidates', users with more than one, budgets that all rows together exceed."""
    file = ProblemFile.from_yaml(path)
    columns = ["user", "candidate", "value"]
    rows = pa.concat_tables([pq.read_table(one, columns=columns) for one in sorted(out.glob("plan-*.parquet"))])
    user, candidate, value = (rows[name].to_numpy() for name in columns)
    wrong = int((np.diff(user) <= 0).sum() + (np.diff(candidate) <= 0).sum())
    used = np.zeros(len(file.budgets))
    begin = 0
    for one in sorted((path.parent / file.candidates).glob("*.parquet")):
        found = pq.ParquetFile(one)
        for group in range(found.num_row_groups):
            table = found.read_row_group(group, use_threads=False)
            low, high = np.searchsorted(candidate, [begin, begin + table.num_rows])
            mine = {name: table[name].to_numpy()[candidate[low:high] - begin] for name in table.column_names}
            wrong += int((mine["user_id"] != user[low:high]).sum() + (mine["value"] != value[low:high]).sum())
            for b, item in enumerate(file.budgets):
                counts = np.ones(high - low, dtype=bool)
                for column, code in item.where.items():
                    counts &= mine[column] == code
                used[b] += counts.sum() if item.cost is None else mine[item.cost][counts].sum(dtype=np.float64)
            begin += table.num_rows
    return wrong + int((candidate >= begin).sum()) + int((used > [item.limit for item in file.budgets]).sum())


report(work, repeats=1)
