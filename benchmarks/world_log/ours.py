"""Homing's side: whole columns."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import report
from benchmarks.world_log import inputs
from homing.simulation import ObservationEncoder, plain_encoder
from homing.simulation.arrow import LogRows

task, n_users = sys.argv[1], int(sys.argv[2])
world, steps = inputs.steps(n_users)
codes = np.zeros(n_users, dtype=np.int64)
encode = ObservationEncoder(plain_encoder(world), world)


def log() -> float:
    rows = LogRows(world, n_users=n_users, seed=inputs.SEED, policy="behaviour@1")
    return float(sum(rows.decisions(step, codes).num_rows for step in steps))


def features() -> float:
    return sum(
        inputs.total(encode.context(step.observation), encode.candidates(step.observation)) for step in steps
    )  # fmt: skip


work = {"log": log, "encode": features}[task]
work()
report(work)
