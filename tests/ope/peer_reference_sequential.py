"""Computes peer_reference_sequential.json with SCOPE-RL, in an environment of its own (`pip install scope-rl==0.2.1`).

Run `python peer_reference_sequential.py peer_reference_sequential.json`. The test reads the inputs and the peer's
numbers from the JSON, so that neither the peer nor the random generator's version matters there.
"""

import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import numpy as np

USERS, STEPS, GAMMA = 20, 4, 0.9


def inputs() -> dict[str, np.ndarray]:
    """Trajectory by trajectory, as the peer wants them: all of one length."""
    rng = np.random.default_rng(20240502)
    n, k = USERS * STEPS, 3
    logging, target = (np.round(rng.dirichlet(np.full(k, 2.0), n), 6) for _ in range(2))
    for p in (logging, target):
        p[:, -1] = 1.0 - p[:, :-1].sum(axis=1)
    action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, k - 1)
    return {
        "target": target,
        "action": action,
        "propensity": logging[np.arange(n), action],
        "reward": np.round(rng.normal(0.4, 1.0, n), 6),
        "q": np.round(rng.normal(0.8, 0.5, (n, k)), 6),
    }


def main(path: str) -> None:
    from scope_rl.ope import discrete

    data = inputs()
    common = {
        "step_per_trajectory": STEPS,
        "action": data["action"],
        "reward": data["reward"],
        "pscore": data["propensity"],
        "evaluation_policy_action_dist": data["target"],
        "gamma": GAMMA,
    }
    modelled = {**common, "state_action_value_prediction": data["q"]}
    values = {
        "tis": discrete.TrajectoryWiseImportanceSampling().estimate_policy_value(**common),
        "sntis": discrete.SelfNormalizedTIS().estimate_policy_value(**common),
        "pdis": discrete.PerDecisionImportanceSampling().estimate_policy_value(**common),
        "snpdis": discrete.SelfNormalizedPDIS().estimate_policy_value(**common),
        "fqe": discrete.DirectMethod().estimate_policy_value(**modelled),
        "dr": discrete.DoublyRobust().estimate_policy_value(**modelled),
        "wdr": discrete.SelfNormalizedDR().estimate_policy_value(**modelled),
    }

    # Where it is wrong. Its "double reinforcement learning" is DR with marginal weights; given the product of ratios as
    # these weights it is DR with γ = 1, whatever γ is passed.
    ratio = data["target"][np.arange(USERS * STEPS), data["action"]] / data["propensity"]
    products = np.cumprod(ratio.reshape(USERS, STEPS), axis=1).reshape(-1)
    drl = {
        str(gamma): discrete.DoubleReinforcementLearning().estimate_policy_value(
            **{**modelled, "gamma": gamma}, state_action_marginal_importance_weight=products
        )
        for gamma in (1.0, GAMMA)
    }
    # Its marginal DR takes v̂ of the wrong step at the end: with all weights 1 and q̂ = v̂ the predictions must cancel.
    value = data["q"][:, 0]
    uniform = np.full((USERS * STEPS, 3), 1 / 3)
    on_policy = discrete.StateMarginalDR().estimate_policy_value(
        n_step_pdis=0,
        **{**common, "pscore": uniform[:, 0], "evaluation_policy_action_dist": uniform},
        state_action_value_prediction=np.repeat(value[:, None], 3, axis=1),
        initial_state_value_prediction=value.reshape(USERS, STEPS)[:, 0],
        state_marginal_importance_weight=np.ones(USERS * STEPS),
    )
    # Ratios of products of 1,200 probabilities.
    long = 1200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overflown = discrete.SelfNormalizedPDIS().estimate_policy_value(
            step_per_trajectory=long,
            action=np.zeros(2 * long, dtype=int),
            reward=np.ones(2 * long),
            pscore=np.full(2 * long, 0.5),
            evaluation_policy_action_dist=np.full((2 * long, 2), 0.5),
            gamma=1.0,
        )
    out = {
        "peer": f"scope-rl {importlib.metadata.version('scope-rl')}",
        "users": USERS,
        "steps": STEPS,
        "gamma": GAMMA,
        "values": {name: float(value) for name, value in values.items()},
        "wrong": {
            "drl": {gamma: float(value) for gamma, value in drl.items()},
            "marginal_dr_on_policy": float(on_policy),
            "snpdis_after_1200_decisions": str(float(overflown)),
        },
        "inputs": {name: array.tolist() for name, array in data.items()},
    }
    Path(path).write_text(json.dumps(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
