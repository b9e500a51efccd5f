"""Write an instance as plain arrays, for a peer in another environment."""

from __future__ import annotations

import sys

import numpy as np
import scipy.sparse

from benchmarks.planning.instances import make
from benchmarks.planning.program import caps_of, rows_of

problem = make(sys.argv[1], int(sys.argv[2]), seed=int(sys.argv[3]))
rows, limits = rows_of(problem)
matrix = scipy.sparse.vstack([rows, caps_of(problem)], format="csr")
np.savez(
    sys.argv[4],
    value=problem.value.astype(np.float64),
    data=matrix.data,
    indices=matrix.indices,
    indptr=matrix.indptr,
    bound=np.concatenate([limits, np.ones(problem.n_users)]),
)
print('{"cpu_s": [0.0], "added_mib": 0.0, "answer": null}')
