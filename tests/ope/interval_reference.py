"""Computes interval_reference.json with vw-estimators in an environment of its own (`vw-estimators==0.2.2`).

Run `python interval_reference.py interval_reference.json`. The test reads the inputs and the peer's numbers from the
JSON, so that neither the peer nor the random generator's version matters there.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np


def cases() -> list[dict]:
    """Logs whose mean weight is below, near and above 1; rare, common and frequent rewards; rewards beside [0, 1]."""
    rng = np.random.default_rng(20240502)
    out = []
    for chance, taken, rate, scale, shift, n in (
        (0.1, 0.1, 0.03, 1.0, 0.0, 80),
        (0.02, 0.1, 0.3, 1.0, 0.0, 60),
        (0.2, 0.15, 0.3, 1.0, 0.0, 300),
        (0.1, 0.2, 0.9, 1.0, 0.0, 300),
        (0.1, 0.1, 0.5, 5.0, -2.0, 300),
    ):
        # The policy takes with 1 - chance what the log took with about 0.1: weights near two values.
        weight = np.round(
            np.where(rng.random(n) < taken, (1.0 - chance) / 0.1, chance / 0.9) * rng.uniform(0.5, 1.0, n), 4
        )
        reward = np.round(scale * (rng.random(n) < rate) * np.where(rng.random(n) < 0.8, 1.0, 0.5) + shift, 6)
        out.append(
            {
                "weight": [float(w) for w in weight],
                "reward": reward.tolist(),
                "weight_range": [0.0, (1.0 - chance) / 0.1],
                "reward_range": [shift, shift + scale],
                "level": 0.9 if shift else 0.95,
            }
        )
    return out


def main(path: str) -> None:
    from estimators.bandits import cressieread

    data = cases()
    for case in data:
        (low_w, high_w), (low_r, high_r) = case["weight_range"], case["reward_range"]
        value = cressieread.Estimator(wmin=low_w, wmax=high_w)
        interval = cressieread.Interval(wmin=low_w, wmax=high_w, rmin=low_r, rmax=high_r)
        for w, r in zip(case["weight"], case["reward"], strict=True):
            value.add_example(1.0, r, w)
            interval.add_example(1.0, r, w)
        case["value"] = float(value.get())
        case["interval"] = [float(end) for end in interval.get(alpha=1.0 - case["level"])]
    out = {"peer": f"vw-estimators {importlib.metadata.version('vw-estimators')}", "cases": data}
    Path(path).write_text(json.dumps(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
