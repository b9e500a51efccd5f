"""Homing's side: five estimators, their intervals and the diagnostics of support, from the log's arrays."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import report
from benchmarks.ope_basic.inputs import LAM, TAU
from homing.log import LoggedDataset
from homing.ope import evaluate_policy
from homing.ope.estimators import DR, IPS, SNIPS, DRos, SwitchDR
from homing.ope.intervals.bootstrap import Bootstrap

data = dict(np.load(sys.argv[1]))
rows, actions = data["target"].shape
log = LoggedDataset(
    context=np.zeros((rows, 1)),
    candidates=np.zeros((rows, actions, 1)),
    eligible=np.ones((rows, actions), bool),
    action=data["action"],
    propensity=data["propensity"],
    reward=data["reward"][:, None],
    objectives=("clicked",),
    user=np.arange(rows),
    time=np.arange(rows),
)
chosen = (IPS(), SNIPS(), DR(), SwitchDR(tau=TAU), DRos(lam=LAM))


replicates = int(sys.argv[2])
interval = Bootstrap(replicates=replicates) if replicates else "cluster-t"


def work() -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    found = evaluate_policy(
        log, data["target"], q_hat=data["q_hat"], estimators=chosen, interval=interval, rng=rng
    )  # fmt: skip
    return {
        item.name: [getattr(found.estimates[item.name, "clicked"], part) for part in ("value", "lower", "upper")]
        for item in chosen
    }


report(work)
