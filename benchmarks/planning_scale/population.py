"""A population of any size as Parquet, made block by block: users of `planning.instances` and their limits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.measure import report
from benchmarks.planning.instances import columns

#: Users of a block, which is a row group of a million candidates; and of a file.
BLOCK, FILE = 50_000, 1_000_000
PER_USER = 20


def write(folder: Path, users: int, seed: int) -> None:
    """Candidates of so many users, as files of a million users each."""
    folder.mkdir(parents=True, exist_ok=True)
    for begin in range(0, users, FILE):
        path = folder / f"{begin // FILE:05d}.parquet"
        writer = None
        for first in range(begin, min(users, begin + FILE), BLOCK):
            size = min(BLOCK, users - first)
            one = _block(first // BLOCK, size, seed)
            user = np.repeat(np.arange(first, first + size), PER_USER)
            table = pa.table({"user_id": user, "value": one["value"], **one["codes"], **one["costs"]})
            if writer is None:
                # Random numbers hardly shrink; users stand in rows, so that their differences do.
                writer = pq.ParquetWriter(
                    path, table.schema, compression="lz4", use_dictionary=["channel", "campaign"],
                    column_encoding={"user_id": "DELTA_BINARY_PACKED"},
                )  # fmt: skip
            writer.write_table(table, row_group_size=table.num_rows)
        if writer is not None:
            writer.close()


def problem(population: Path, folder: Path, users: int, seed: int) -> Path:
    """The problem of the first users of a population, in whole files; limits are the first block's, in proportion."""
    candidates = folder / "candidates"
    candidates.mkdir(parents=True, exist_ok=True)
    for file in sorted(population.glob("*.parquet"))[: -(-users // FILE)]:
        link = candidates / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    size = min(BLOCK, users)
    limits: list[dict[str, Any]] = [
        {"limit": float(int(item.limit * users / size)), "where": dict(item.where), "cost": item.cost}
        for item in _block(0, size, seed)["budgets"]
    ]
    names = {"codes": ["channel", "campaign"], "costs": ["opt_outs"]}
    document = {"candidates": "candidates", "columns": names, "budgets": limits}
    (folder / "problem.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder / "problem.yaml"


def _block(number: int, size: int, seed: int) -> dict[str, Any]:
    return columns("base", size, seed=10_000 * seed + number, per_user=PER_USER)


if __name__ == "__main__":
    report(lambda: write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), repeats=1)
