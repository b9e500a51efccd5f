"""One network with random weights, for both sides: sizes as a serving policy has them."""

from __future__ import annotations

import numpy as np

CONTEXT, CANDIDATE, SIZES, OBJECTIVES = 64, 32, (64, 32), 3


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = SIZES
    shapes = {
        "context": (CONTEXT, first),
        "candidate": (CANDIDATE, first),
        "trunk_bias": (first,),
        "hidden": (first, second),
        "hidden_bias": (second,),
        "heads": (second, OBJECTIVES),
        "direct": (CANDIDATE, OBJECTIVES),
        "heads_bias": (OBJECTIVES,),
    }
    return {name: (rng.normal(size=shape) * 0.1).astype(np.float32) for name, shape in shapes.items()}


def features(decisions: int, candidates: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    context = rng.normal(size=(decisions, CONTEXT)).astype(np.float32)
    return context, rng.normal(size=(decisions, candidates, CANDIDATE)).astype(np.float32)
