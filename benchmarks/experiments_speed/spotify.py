"""spotify-confidence's side: one z-test frame with every metric and look, from sums. In the peers' environment."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from spotify_confidence import ZTest

from benchmarks.experiments_speed.inputs import DAYS, LEVEL, METRICS, VARIANTS
from benchmarks.measure import report

warnings.filterwarnings("ignore")
data = np.load(Path(sys.argv[1]) / "sums.npz")
frame = pd.DataFrame(
    [
        (name, look, variant, data["sums"][v, look, m], data["squares"][v, look, m], data["n"][v, look])
        for m, name in enumerate(METRICS)
        for look in range(DAYS)
        for v, variant in enumerate(VARIANTS)
    ],
    columns=["metric", "look", "variant", "sum", "squares", "n"],
)


def work() -> dict[str, list[list[float]]]:
    test = ZTest(
        frame,
        numerator_column="sum",
        numerator_sum_squares_column="squares",
        denominator_column="n",
        categorical_group_columns=["variant", "metric"],
        ordinal_group_column="look",
        interval_size=LEVEL,
        correction_method="bonferroni",
        metric_column="metric",
        treatment_column="variant",
    )
    found = test.multiple_difference("control", level_as_reference=True, groupby=["metric", "look"])
    last = found[found["look"] == DAYS - 1].sort_values("level_2")
    out: dict[str, list[list[float]]] = {}
    for row in last.to_dict("records"):
        out.setdefault(row["metric"], []).append(
            [float(row[name]) for name in ("difference", "ci_lower", "ci_upper", "p-value")]
        )
    return out


report(work, repeats=1)
