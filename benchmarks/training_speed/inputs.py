"""One log for all sides: users whose decisions follow each other, ten actions that are always eligible."""

from __future__ import annotations

from typing import Any

import numpy as np

USERS, LENGTH, FEATURES, ACTIONS = 1_000, 50, 64, 10
BATCH, SIZES, LEARNING_RATE, GAMMA, TARGET_STEPS = 256, (256, 256), 1e-3, 0.95, 100
#: The conservative term's weight.
CONSERVATISM = {"double-dqn": 0.0, "cql": 1.0}


def log(seed: int = 0) -> dict[str, Any]:
    """Context (n, d), action (n,), reward (n,), user (n,), in the order of users and time."""
    rng = np.random.default_rng(seed)
    n = USERS * LENGTH
    return {
        "context": rng.normal(size=(n, FEATURES)).astype(np.float32),
        "action": rng.integers(0, ACTIONS, n),
        "reward": rng.normal(size=n).astype(np.float32),
        "user": np.repeat(np.arange(USERS), LENGTH),
    }
