"""Homing's side: a plan from the columns, everything included but reading them."""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks.measure import report
from benchmarks.planning.instances import columns
from homing.planning import PlanningProblem, solve

family, users, seed, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
given = columns(family, users, seed=seed)
warm = sys.argv[5:] == ["warm"]
start = None
walls: list[float] = []
value = given["value"]
if warm:
    yesterday = PlanningProblem(**given)
    start = solve(yesterday, threads=threads).prices
    value = value * np.random.default_rng(seed + 1).normal(1.0, 0.05, len(value)).astype(np.float32)


def work() -> dict[str, float]:
    began = time.perf_counter()
    problem = yesterday.revalued(value) if warm else PlanningProblem(**given)
    plan = solve(problem, threads=threads, warm_start=start)
    walls.append(time.perf_counter() - began)
    return {
        "wall_s": min(walls),
        "value": plan.value,
        "upper_bound": plan.upper_bound,
        "gap": plan.gap,
        "broken": sum(item.missing > 0 for item in plan.usage),
        "binding": len(plan.binding),
    }


work()  # compiled, or read from disk
report(work, repeats=9)
