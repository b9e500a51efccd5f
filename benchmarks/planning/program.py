"""The same plan as a linear program in sparse columns: what general solvers and DuaLip's algorithm take."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from homing.planning import PlanningProblem


def rows_of(problem: PlanningProblem) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Budgets as rows (m, N) with their limits; for instances without floors."""
    parts = []
    for limit in problem.limits:
        units = np.ones(problem.n_candidates) if limit.cost is None else problem.costs[limit.cost].astype(np.float64)
        for column, codes in problem.selected(limit).items():
            units = np.where(np.isin(problem.codes[column], codes), units, 0.0)
        parts.append(scipy.sparse.csr_matrix(units))
    return scipy.sparse.vstack(parts, format="csr"), np.array([float(limit.limit) for limit in problem.limits])


def caps_of(problem: PlanningProblem) -> scipy.sparse.csr_matrix:
    """Users as rows (users, N): each gets at most one."""
    n = problem.n_candidates
    return scipy.sparse.csr_matrix((np.ones(n), np.arange(n), problem.offsets), shape=(problem.n_users, n))
