"""Homing's side: sums over batches, users as clusters."""

from __future__ import annotations

import sys

from benchmarks.measure import report
from benchmarks.ope_streaming.inputs import batches
from homing.ope import PolicySums


def work() -> dict[str, list[float]]:
    sums = PolicySums(("clicked",), estimators=("ips", "snips", "dr"), cluster="whole-users")
    for batch in batches(int(sys.argv[1])):
        sums.add(
            user=batch["user"],
            weight={"policy": batch["weight"]},
            reward=batch["reward"][:, None],
            q_logged=batch["q_logged"][:, None],
            q_policy={"policy": batch["q_policy"][:, None]},
        )
    found = sums.report()
    estimates = {name: found.estimate("clicked", name) for name in ("ips", "snips", "dr")}
    return {name: [item.value, item.lower, item.upper] for name, item in estimates.items()}


report(work, repeats=1)
