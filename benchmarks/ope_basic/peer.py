"""Open Bandit Pipeline's side: the same estimators with its bootstrap intervals, in the peers' environment."""

from __future__ import annotations

import sys

import numpy as np
from obp.ope import (
    DoublyRobust,
    DoublyRobustWithShrinkage,
    InverseProbabilityWeighting,
    SelfNormalizedInverseProbabilityWeighting,
    SwitchDoublyRobust,
)

from benchmarks.measure import report
from benchmarks.ope_basic.inputs import LAM, TAU

data = dict(np.load(sys.argv[1]))
replicates = int(sys.argv[2])
common = {
    "reward": data["reward"],
    "action": data["action"],
    "pscore": data["propensity"],
    "action_dist": data["target"][:, :, None],
    "position": np.zeros(len(data["action"]), dtype=int),
}
modelled = {**common, "estimated_rewards_by_reg_model": data["q_hat"][:, :, None]}
chosen = {
    "ips": (InverseProbabilityWeighting(), common),
    "snips": (SelfNormalizedInverseProbabilityWeighting(), common),
    "dr": (DoublyRobust(), modelled),
    "switch-dr": (SwitchDoublyRobust(lambda_=TAU), modelled),
    "dros": (DoublyRobustWithShrinkage(lambda_=LAM), modelled),
}


def work() -> dict[str, list[float]]:
    out = {}
    for name, (estimator, inputs) in chosen.items():
        out[name] = [float(estimator.estimate_policy_value(**inputs))]
        if replicates:
            ends = estimator.estimate_interval(**inputs, n_bootstrap_samples=replicates, random_state=0)
            out[name] += [float(ends["95.0% CI (lower)"]), float(ends["95.0% CI (upper)"])]
    return out


report(work, repeats=1 if replicates else 3)
