"""Homing's side: the saved artifact's own scoring, in NumPy."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import report
from benchmarks.scoring.inputs import OBJECTIVES, features, weights
from homing.policies.neural import NeuralRewardModel

decisions, candidates, calls = (int(word) for word in sys.argv[1:4])
model = NeuralRewardModel(
    **weights(),
    links=("logit",) * OBJECTIVES,
    slope=np.ones(OBJECTIVES),
    offset=np.zeros(OBJECTIVES),
    weights=np.ones(OBJECTIVES),
)
context, offered = features(decisions, candidates)
model.scores(context, offered)


def work() -> float:
    for _ in range(calls):
        scores = model.scores(context, offered)
    return float(scores.sum())


report(work)
