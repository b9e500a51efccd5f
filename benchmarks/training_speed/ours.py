"""Homing's side: the learner's own loop over its own tensors, with looks at held-out users as in every fit."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import report
from benchmarks.training_speed import inputs
from homing.learners import make
from homing.log import LoggedDataset

algorithm, steps = sys.argv[1], int(sys.argv[2])
data = inputs.log()
n = len(data["action"])
dataset = LoggedDataset(
    context=data["context"],
    candidates=np.broadcast_to(np.eye(inputs.ACTIONS, dtype=np.float32), (n, inputs.ACTIONS, inputs.ACTIONS)),
    eligible=np.ones((n, inputs.ACTIONS), bool),
    action=data["action"],
    propensity=np.full(n, 1 / inputs.ACTIONS),
    reward=data["reward"][:, None],
    objectives=("session",),
    user=data["user"],
    time=np.tile(np.arange(inputs.LENGTH), inputs.USERS) * 86_400_000_000,
)


def fit(steps: int) -> int:
    more = {"conservatism": inputs.CONSERVATISM[algorithm]} if algorithm == "cql" else {}
    learner = make(
        algorithm,
        sizes=inputs.SIZES,
        candidate_units=0,
        batch_rows=inputs.BATCH,
        learning_rate=inputs.LEARNING_RATE,
        weight_decay=0.0,
        gamma=inputs.GAMMA,
        target_steps=inputs.TARGET_STEPS,
        steps=steps,
        patience=steps,
        validation_share=0.02,
        **more,
    )
    learner.fit(dataset, weights={"session": 1.0}, rng=np.random.default_rng(0))
    return int(learner.report["settings"]["steps"])


fit(20)
report(lambda: fit(steps), repeats=1)
