"""Computes peer_reference.json with Open Bandit Pipeline, in an environment of its own (`pip install sb-obp==0.5.10`).

Run `python peer_reference.py peer_reference.json`. The test reads the inputs and the peer's numbers from the JSON, so
that neither the peer nor the random generator's version matters there.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np


def inputs() -> dict[str, list]:
    rng = np.random.default_rng(20240501)
    n, k = 60, 4
    logging = rng.dirichlet(np.ones(k), n)
    target = rng.dirichlet(np.ones(k), n)
    logging, target = (np.round(p, 6) for p in (logging, target))
    for p in (logging, target):
        p[:, -1] = 1.0 - p[:, :-1].sum(axis=1)
    action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, k - 1)
    reward = np.round(rng.normal(0.4, 1.0, n), 6)
    q_hat = np.round(rng.normal(0.3, 0.5, (n, k)), 6)
    return {
        "target": target.tolist(),
        "action": action.tolist(),
        "propensity": logging[np.arange(n), action].tolist(),
        "reward": reward.tolist(),
        "q_hat": q_hat.tolist(),
    }


def main(path: str) -> None:
    from obp.ope import (
        DoublyRobust,
        DoublyRobustWithShrinkage,
        InverseProbabilityWeighting,
        SelfNormalizedInverseProbabilityWeighting,
        SwitchDoublyRobust,
    )

    data = inputs()
    target = np.array(data["target"])
    common = {
        "reward": np.array(data["reward"]),
        "action": np.array(data["action"]),
        "pscore": np.array(data["propensity"]),
        "action_dist": target[:, :, None],
        "position": np.zeros(len(target), dtype=int),
    }
    modelled = {**common, "estimated_rewards_by_reg_model": np.array(data["q_hat"])[:, :, None]}
    values = {
        "ips": InverseProbabilityWeighting().estimate_policy_value(**common),
        "snips": SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**common),
        "dr": DoublyRobust().estimate_policy_value(**modelled),
        "switch-dr": SwitchDoublyRobust(lambda_=3.0).estimate_policy_value(**modelled),
        "dros": DoublyRobustWithShrinkage(lambda_=5.0).estimate_policy_value(**modelled),
    }
    out = {
        "peer": f"sb-obp {importlib.metadata.version('sb-obp')}",
        "settings": {"switch-dr": {"tau": 3.0}, "dros": {"lam": 5.0}},
        "values": {name: float(value) for name, value in values.items()},
        "inputs": data,
    }
    Path(path).write_text(json.dumps(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
