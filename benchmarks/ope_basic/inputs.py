"""The log that both sides evaluate: logging and target policies at random, rewards rare, a rough reward model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: Both sides use these, so that the five estimators are the same functions of the same arrays.
TAU, LAM = 3.0, 5.0


def write(path: Path, *, rows: int, actions: int, seed: int = 0) -> int:
    """Write the arrays; returns their size in bytes."""
    rng = np.random.default_rng(seed)
    logging = rng.dirichlet(np.full(actions, 2.0), rows)
    target = rng.dirichlet(np.full(actions, 1.0), rows)
    action = (logging.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(0, actions - 1)
    chance = 0.02 + 0.06 * rng.random((rows, actions))
    arrays = {
        "target": target,
        "action": action,
        "propensity": logging[np.arange(rows), action],
        "reward": (rng.random(rows) < chance[np.arange(rows), action]).astype(float),
        "q_hat": chance + rng.normal(0.0, 0.01, chance.shape),
    }
    np.savez(path, **arrays)
    return sum(array.nbytes for array in arrays.values())
