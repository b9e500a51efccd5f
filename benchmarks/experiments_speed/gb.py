"""gbstats' side: one test object per comparison and look, from sums. In the peers' environment."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic

from benchmarks.experiments_speed.inputs import DAYS, LEVEL, MEANS, METRICS, VARIANTS
from benchmarks.measure import report

data = np.load(Path(sys.argv[1]) / "sums.npz")
n, sums, squares = (data[name].tolist() for name in ("n", "sums", "squares"))
config = FrequentistConfig(alpha=1.0 - LEVEL, difference_type="absolute")


def statistic(v: int, look: int, at: int) -> SampleMeanStatistic | ProportionStatistic:
    count = int(n[v][look])
    if METRICS[at] in MEANS:
        return SampleMeanStatistic(n=count, sum=sums[v][look][at], sum_squares=squares[v][look][at])
    return ProportionStatistic(n=count, sum=sums[v][look][at])


def work() -> dict[str, list[list[float]]]:
    out: dict[str, list[list[float]]] = {}
    for at, name in enumerate(METRICS):
        for look in range(DAYS):
            control = statistic(0, look, at)
            rows = []
            for v in range(1, len(VARIANTS)):
                found = TwoSidedTTest(control, statistic(v, look, at), config).compute_result()
                rows.append([float(found.expected), *map(float, found.ci), float(found.p_value)])
        out[name] = rows
    return out


report(work)
