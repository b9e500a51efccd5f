"""One experiment for all sides: users' rows as Parquet, and their sums at every look. NumPy and Arrow only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

VARIANTS = ("control", "t1", "t2", "t3", "t4")
MEANS = tuple(f"spend_{at}" for at in range(16))
PROPORTIONS = tuple(f"bought_{at}" for at in range(4))
METRICS = MEANS + PROPORTIONS
DAYS = 30
#: Two-sided; what alpha .05 leaves of each of 4 treatments × 20 success metrics.
LEVEL = 1.0 - 2.0 * 0.05 / (4 * len(METRICS))


def write(folder: Path, rows: int) -> None:
    """`rows.parquet`, and `sums.npz`: n (V, L), sums and squares (V, L, M) of who was exposed by each look."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    variant = rng.integers(0, len(VARIANTS), rows)
    day = rng.integers(0, DAYS, rows)
    columns = {"user_id": np.arange(rows), "exposed_at": day}
    n = np.zeros((len(VARIANTS), DAYS))
    np.add.at(n, (variant, day), 1)
    sums, squares = (np.zeros((len(VARIANTS), DAYS, len(METRICS))) for _ in range(2))
    cell = variant * DAYS + day
    for at, name in enumerate(METRICS):
        if name in MEANS:
            values = np.round(rng.gamma(1.5, 10.0, rows) + 0.1 * variant * (at % 2), 2)
        else:
            values = (rng.random(rows) < 0.1 + 0.001 * variant * (at % 2)).astype(np.float64)
        columns[name] = values
        for total, part in ((sums, values), (squares, values**2)):
            total[..., at] = np.bincount(cell, part, len(VARIANTS) * DAYS).reshape(len(VARIANTS), DAYS)
    table = pa.table({"variant": pa.array(VARIANTS).take(pa.array(variant))} | columns)
    pq.write_table(table, folder / "rows.parquet")
    np.savez(folder / "sums.npz", n=n.cumsum(1), sums=sums.cumsum(1), squares=squares.cumsum(1))
