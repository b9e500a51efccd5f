"""A log in format 1 with rows made up at random, written by Homing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from homing.log import DecisionLog, decisions_schema, write_log

DAY = 86_400_000_000
START = 1_780_000_000_000_000  # microseconds


def write(path: Path, *, rows: int, candidates: int, seed: int = 0) -> int:
    """Write a log of seven days; returns its size in bytes."""
    rng = np.random.default_rng(seed)
    schema = decisions_schema({"age": pa.int64(), "recency": pa.float64()}, {"affinity": pa.float64()})
    for day in range(7):
        n = rows // 7
        action = rng.integers(0, candidates, n)
        flat = n * candidates
        is_silence = np.tile(np.arange(candidates) == 0, n)
        names = np.where(is_silence, "silence", np.char.add("m", rng.integers(0, 50, flat).astype(str)))
        same = pa.array(names)
        offered = pa.StructArray.from_arrays(
            [
                *[same] * 3,
                pa.array(np.where(is_silence, "silence", "push")),
                pa.array(np.where(is_silence, "silence", "main")),
                pa.array(np.where(is_silence, 0.0, rng.random(flat))),
                pa.nulls(flat, schema.field("candidates").type.value_type.field("expires_at").type),
                pa.array(rng.random(flat), mask=is_silence),
            ],
            fields=list(schema.field("candidates").type.value_type),
        )
        offsets = pa.array(np.arange(0, flat + 1, candidates, dtype=np.int32))
        columns = {
            "decision_id": pa.array([f"{day}-{i}" for i in range(n)]),
            "user_id": pa.array(np.char.add("u", rng.integers(0, rows // 5, n).astype(str))),
            "decided_at": pa.array(START + day * DAY + np.sort(rng.integers(0, DAY, n))),
            "policy": pa.array(["uniform@1"] * n),
            "context": pa.StructArray.from_arrays(
                [pa.array(rng.integers(18, 90, n)), pa.array(rng.random(n))], fields=list(schema.field("context").type)
            ),
            "candidates": pa.ListArray.from_arrays(offsets, offered),
            "eligible": pa.ListArray.from_arrays(offsets, pa.array(np.ones(flat, bool))),
            "action": pa.array(action),
            "propensity": pa.array(np.full(n, 1 / candidates)),
            "propensities": pa.ListArray.from_arrays(offsets, pa.array(np.full(flat, 1 / candidates))),
            "explored": pa.array(np.ones(n, bool)),
            "slice": pa.array(["policy"] * n),
        }
        table = pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)
        write_log(DecisionLog.from_tables(table), path, name=f"day-{day}")
    return sum(file.stat().st_size for file in path.rglob("*.parquet"))
