"""What one read of the candidate columns costs at the memory's bandwidth: the fastest sum over them, in threads."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from benchmarks.measure import report
from benchmarks.planning.instances import make

problem = make(sys.argv[1], int(sys.argv[2]), seed=int(sys.argv[3]))
threads = int(sys.argv[4])
columns = [problem.offsets, problem.value, *problem.codes.values(), *problem.costs.values()]
words = [column.view(np.uint64) for column in columns if column.nbytes % 8 == 0]


@numba.njit(nogil=True)
def total(array):
    out = np.uint64(0)
    for i in range(array.shape[0]):
        out += array[i]
    return out


parts = [part for column in words for part in np.array_split(column, threads)]


def work() -> dict[str, float]:
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(8):
            began = time.perf_counter()
            list(pool.map(total, parts))
            best = min(best, time.perf_counter() - began)
    return {"bytes": float(problem.nbytes), "wall_s": best}


total(np.zeros(1, np.uint64))
report(work, repeats=1)
