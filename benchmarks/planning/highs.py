"""A peer: HiGHS's interior point through SciPy, on the whole linear program."""

from __future__ import annotations

import sys

import numpy as np
import scipy.sparse
from scipy.optimize import linprog

from benchmarks.measure import report
from benchmarks.planning.instances import make
from benchmarks.planning.program import caps_of, rows_of

problem = make(sys.argv[1], int(sys.argv[2]), seed=int(sys.argv[3]))
rows, limits = rows_of(problem)
matrix = scipy.sparse.vstack([rows, caps_of(problem)], format="csc")
bound = np.concatenate([limits, np.ones(problem.n_users)])


def work() -> dict[str, float]:
    found = linprog(-problem.value.astype(np.float64), A_ub=matrix, b_ub=bound, bounds=(0, 1), method="highs-ipm")
    return {"value": -float(found.fun)}


report(work, repeats=1)
