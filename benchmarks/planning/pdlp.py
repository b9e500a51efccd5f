"""A peer, in its own environment: OR-tools PDLP to a relative gap of 1e-4, one thread."""

from __future__ import annotations

import sys

import numpy as np
import scipy.sparse
from ortools.pdlp import solve_log_pb2, solvers_pb2
from ortools.pdlp.python import pdlp

from benchmarks.measure import report

given = np.load(sys.argv[1])
shape = (len(given["bound"]), len(given["value"]))
program = pdlp.QuadraticProgram()
program.objective_vector = -given["value"]
program.constraint_matrix = scipy.sparse.csr_matrix((given["data"], given["indices"], given["indptr"]), shape).tocsc()
program.constraint_lower_bounds = np.full(shape[0], -np.inf)
program.constraint_upper_bounds = given["bound"]
program.variable_lower_bounds = np.zeros(shape[1])
program.variable_upper_bounds = np.ones(shape[1])
settings = solvers_pb2.PrimalDualHybridGradientParams()
criteria = settings.termination_criteria.simple_optimality_criteria
criteria.eps_optimal_relative = 1e-4
criteria.eps_optimal_absolute = 0.0
settings.termination_criteria.time_sec_limit = 400.0


def work() -> dict[str, float | bool]:
    found = pdlp.primal_dual_hybrid_gradient(program, settings)
    done = found.solve_log.termination_reason == solve_log_pb2.TERMINATION_REASON_OPTIMAL
    return {"value": float(given["value"] @ found.primal_solution), "done": bool(done)}


report(work, repeats=1)
