"""A log that is made up batch by batch, and never stands anywhere as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BATCH_ROWS = 2**17


def batches(rows: int, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Importance weights, rare rewards and a rough model's predictions; ten rows a user on average."""
    rng = np.random.default_rng(seed)
    for begin in range(0, rows, BATCH_ROWS):
        b = min(BATCH_ROWS, rows - begin)
        weight = rng.exponential(size=b)
        yield {
            # A log partitioned by user: all rows of a user stand in one batch.
            "user": begin + rng.integers(0, max(b // 10, 1), b),
            "weight": weight,
            "reward": (rng.random(b) < 0.02 + 0.01 * weight).astype(float),
            "q_logged": np.full(b, 0.03),
            "q_policy": np.full(b, 0.04),
        }
