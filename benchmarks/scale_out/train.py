"""Homing's second step: Double DQN on the parts, or on the same parts put together in memory."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.measure import report
from benchmarks.scale_out.inputs import peak_mib
from homing.learners import make
from homing.log import PartedDataset


def work() -> dict[str, Any]:
    folder, how, steps = sys.argv[1:]
    parts = PartedDataset.load(folder)
    learner: Any = make("double-dqn", steps=int(steps), patience=int(steps), sizes=(64, 64))
    learner.fit(parts if how == "parts" else parts.sample(parts.n), rng=np.random.default_rng(0))
    settings, history = learner.report["settings"], learner.report["history"]
    found = {"transitions": settings["transitions"] + settings["held-out transitions"], "steps": settings["steps"]}
    quality = history["held-out quality"]
    return found | {"first": quality[0], "last": quality[-1], "peak_mib": peak_mib()}


report(work, repeats=1)
