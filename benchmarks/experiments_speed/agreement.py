"""Peers' numbers for one small experiment, definition by definition. In the peers' environment; prints JSON."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import tea_tasting as tt
from gbstats.frequentist import tests as gb
from gbstats.models import statistics as gs
from spotify_confidence import ZTest
from spotify_confidence.analysis.frequentist.sequential_bound_solver import bounds

warnings.filterwarnings("ignore")
data = np.load(Path(sys.argv[1]))
arms = {name: data[name] for name in ("control", "treatment")}  # (n, 4): spend, orders, spend before, bought
out: dict[str, object] = {}


def mean(rows: np.ndarray, at: int) -> gs.SampleMeanStatistic:
    x = rows[:, at]
    return gs.SampleMeanStatistic(n=len(x), sum=float(x.sum()), sum_squares=float((x * x).sum()))


def test(kind: type, one: gs.Statistic, two: gs.Statistic, difference: str = "absolute", alpha: float = 0.05) -> list:
    found = kind(one, two, gb.FrequentistConfig(alpha=alpha, difference_type=difference)).compute_result()
    return [float(found.expected), *map(float, found.ci), float(found.p_value)]


def ratio(rows: np.ndarray) -> gs.RatioStatistic:
    products = float((rows[:, 0] * rows[:, 1]).sum())
    return gs.RatioStatistic(
        n=len(rows), m_statistic=mean(rows, 0), d_statistic=mean(rows, 1), m_d_sum_of_products=products
    )


def adjusted(theta: float) -> list[gs.RegressionAdjustedStatistic]:
    return [
        gs.RegressionAdjustedStatistic(
            n=len(rows),
            post_statistic=mean(rows, 0),
            pre_statistic=mean(rows, 2),
            post_pre_sum_of_products=float((rows[:, 0] * rows[:, 2]).sum()),
            theta=theta,
        )
        for rows in arms.values()
    ]


control, treatment = arms["control"], arms["treatment"]
out["gbstats mean"] = test(gb.TwoSidedTTest, mean(control, 0), mean(treatment, 0))
out["gbstats relative"] = test(gb.TwoSidedTTest, mean(control, 0), mean(treatment, 0), "relative")
out["gbstats ratio"] = test(gb.TwoSidedTTest, ratio(control), ratio(treatment))
shares = [gs.ProportionStatistic(n=len(rows), sum=float(rows[:, 3].sum())) for rows in arms.values()]
out["gbstats proportion"] = test(gb.TwoSidedTTest, *shares)
out["gbstats lesser"] = test(gb.OneSidedTreatmentLesserTTest, mean(control, 0), mean(treatment, 0))
theta = gs.compute_theta(*adjusted(0.0))
out["gbstats CUPED"] = test(gb.TwoSidedTTest, *adjusted(theta))
out["theta"] = float(theta)

frame = pd.concat(
    pd.DataFrame(rows, columns=["spend", "orders", "before", "bought"]).assign(variant=at)
    for at, rows in enumerate(arms.values())
)
found = tt.Experiment(
    {
        "mean": tt.Mean("spend"),
        "ratio": tt.RatioOfMeans("spend", "orders"),
        "CUPED": tt.Mean("spend", "before"),
        "proportion": tt.Mean("bought"),
    }
).analyze(frame)
for name in ("mean", "ratio", "CUPED", "proportion"):
    one = found[name]
    out[f"tea-tasting {name}"] = [
        float(x) for x in (one.effect_size, one.effect_size_ci_lower, one.effect_size_ci_upper, one.pvalue)
    ]
    out[f"tea-tasting {name} relative"] = [
        float(x) for x in (one.rel_effect_size, one.rel_effect_size_ci_lower, one.rel_effect_size_ci_upper)
    ]

sums = pd.DataFrame(
    [(name, rows[:, 0].sum(), (rows[:, 0] ** 2).sum(), len(rows)) for name, rows in arms.items()],
    columns=["variant", "sum", "squares", "n"],
)
z = ZTest(sums, "sum", "squares", "n", "variant", interval_size=0.95, correction_method="bonferroni")
for name, absolute in (("mean", True), ("relative", False)):
    row = z.difference("control", "treatment", absolute=absolute).iloc[0]
    out[f"spotify-confidence {name}"] = [float(row[key]) for key in ("difference", "ci_lower", "ci_upper", "p-value")]

# Power that cannot be solved for: on a grid of ordinary designs, how often the size asked for is no number.
failed = tried = 0
for p in (0.01, 0.05, 0.1, 0.3, 0.5, 0.9):
    rows = pd.DataFrame({"bought": (np.arange(1000) < 1000 * p).astype(float)})
    for effect in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        for power in (0.5, 0.8, 0.9, 0.95):
            tried += 1
            try:
                solved = tt.Mean("bought", rel_effect_size=effect, power=power).solve_power(rows, "n_obs")
                failed += not np.isfinite(float(solved[0].n_obs))
            except (RuntimeError, ValueError):
                failed += 1
out["tea-tasting solve_power"] = [failed, tried]

# One-sided bounds of ten planned looks that went on to twenty: each look's bound as it is told at that look, with the
# information counted over the larger of what was planned and what there is.
n = np.arange(1, 21) / 10
out["spotify-confidence bounds"] = [
    float(bounds(n[: at + 1] / max(n[at], 1.0), 0.05, rho=2, ztrun=8, sides=1).df.zb.iloc[-1]) for at in range(len(n))
]
print(json.dumps(out))
