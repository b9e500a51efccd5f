"""Homing's plans for every family: gap, CPU time, and what a count over the columns says of caps, budgets, floors."""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks.measure import report
from benchmarks.planning.instances import FAMILIES, columns
from homing.planning import Plan, PlanningProblem, solve

users, seeds = int(sys.argv[1]), int(sys.argv[2])
families = sys.argv[3:] or list(FAMILIES)


def broken(problem: PlanningProblem, plan: Plan) -> int:
    """Limits and users' caps that the plan breaks."""
    chosen = plan.chosen
    user = problem.user_of(chosen)
    out = int((np.bincount(user, minlength=1) > problem.max_per_user).sum())
    if problem.max_per_user == 2:
        pair = np.flatnonzero(user[1:] == user[:-1])
        hour, campaign = (problem.codes[key][chosen].astype(np.int64) for key in ("hour", "campaign"))
        out += int((np.abs(hour[pair] - hour[pair + 1]) < problem.min_gap_hours).sum())
        out += int((campaign[pair] == campaign[pair + 1]).sum())
    for position, limit in enumerate(problem.limits):
        counts = np.ones(len(chosen), dtype=bool)
        for column, codes in problem.selected(limit).items():
            counts &= np.isin(problem.codes[column][chosen], codes)
        used = counts.sum() if limit.cost is None else problem.costs[limit.cost][chosen][counts].sum(dtype=np.float64)
        out += bool(used < limit.limit if position >= len(problem.budgets) else used > limit.limit)
    return out


def work() -> dict[str, list[tuple[float, int, int, float]]]:
    found: dict[str, list[tuple[float, int, int, float]]] = {}
    for family in families:
        solve(PlanningProblem(**columns(family, 10_000)))  # compiled, or read from disk
        for seed in range(seeds):
            given = columns(family, users, seed=seed)
            began = time.process_time()
            problem = PlanningProblem(**given)
            plan = solve(problem)
            spent = time.process_time() - began
            found.setdefault(family, []).append((plan.gap, broken(problem, plan), len(plan.binding), spent))
    return found


report(work, repeats=1)
