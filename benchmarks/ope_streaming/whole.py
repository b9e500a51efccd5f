"""The same log in memory as a whole, through `evaluate_policy`: what sums must reproduce."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import report
from benchmarks.ope_streaming.inputs import batches
from homing.log import LoggedDataset
from homing.ope import evaluate_policy

parts = list(batches(int(sys.argv[1])))
data = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
order = np.argsort(data["user"], kind="stable")
data = {name: array[order] for name, array in data.items()}
n = len(order)
# Two candidates of which the first was done: its probabilities are what gives the weights, the second takes the rest.
propensity = 1.0 / (1.0 + data["weight"])
probs = np.column_stack([data["weight"] * propensity, 1.0 - data["weight"] * propensity])
other = (data["q_policy"] - probs[:, 0] * data["q_logged"]) / probs[:, 1]
log = LoggedDataset(
    context=np.zeros((n, 1)),
    candidates=np.zeros((n, 2, 1)),
    eligible=np.ones((n, 2), bool),
    action=np.zeros(n, int),
    propensity=propensity,
    reward=data["reward"][:, None],
    objectives=("clicked",),
    user=data["user"],
    time=np.arange(n),
)


def work() -> dict[str, list[float]]:
    q_hat = np.column_stack([data["q_logged"], other])
    found = evaluate_policy(log, probs, q_hat=q_hat, estimators=("ips", "snips", "dr"))
    estimates = {name: found.estimate("clicked", name) for name in found.estimators}
    return {name: [item.value, item.lower, item.upper] for name, item in estimates.items()}


report(work, repeats=1)
