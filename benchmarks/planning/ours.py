"""Homing's side: a plan from the columns, everything included but reading them; and one from yesterday's prices.

With `warm` as the last word, cold and warm plans take turns, so that both meet the machine in the same state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measure import report
from benchmarks.planning.instances import columns
from homing.planning import Plan, PlanningProblem, solve

family, users, seed, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
given = columns(family, users, seed=seed)
ROUNDS = 15


def cold() -> Plan:
    return solve(PlanningProblem(**given), threads=threads)


def told(plan: Plan, walls: list[float], cpus: list[float]) -> dict[str, float]:
    return {
        "wall_s": min(walls),
        "cpu_s": min(cpus),
        "value": plan.value,
        "upper_bound": plan.upper_bound,
        "gap": plan.gap,
        "broken": sum(item.missing > 0 for item in plan.usage),
        "binding": len(plan.binding),
    }


def timed(plan: Callable[[], Plan], walls: list[float], cpus: list[float]) -> Plan:
    wall, cpu = time.perf_counter(), time.process_time()
    out = plan()
    walls.append(time.perf_counter() - wall)
    cpus.append(time.process_time() - cpu)
    return out


def in_turn() -> dict[str, dict[str, float]]:
    yesterday = PlanningProblem(**given)
    start = solve(yesterday, threads=threads).prices
    moved = np.random.default_rng(seed + 1).normal(1.0, 0.05, yesterday.n_candidates).astype(np.float32)
    value = given["value"] * moved

    def warm() -> Plan:
        return solve(yesterday.revalued(value), threads=threads, warm_start=start)

    warm()
    spent: dict[str, tuple[list[float], list[float]]] = {"cold": ([], []), "warm": ([], [])}
    for _ in range(ROUNDS):
        plans = {"cold": timed(cold, *spent["cold"]), "warm": timed(warm, *spent["warm"])}
    return {name: told(plan, *spent[name]) for name, plan in plans.items()}


cold()  # compiled, or read from disk
if sys.argv[5:] == ["warm"]:
    report(in_turn, repeats=1)
else:
    spent: tuple[list[float], list[float]] = ([], [])
    report(lambda: told(timed(cold, *spent), *spent), repeats=9)
