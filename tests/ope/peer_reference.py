"""Computes peer_reference.json with two peers, each in an environment of its own.

Run `python peer_reference.py obp peer_reference.json` (`pip install sb-obp==0.5.10`) and the same with `vw`
(`vw-estimators==0.2.2`); each fills its part. The tests read the inputs and the peers' numbers from the JSON, so that
neither the peers nor the random generator's version matters there.
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
        "logging": logging.tolist(),
        "embedding": [0, 1, 1, 2],  # of each action: the second and third share theirs
        "classifier_ratio": np.round(rng.gamma(2.0, 0.5, n), 6).tolist(),
        "context": np.round(rng.normal(0.0, 1.0, (n, 2)), 6).tolist(),
        "chosen": target.argmax(axis=1).tolist(),  # by a policy that leaves nothing to chance
    }


def columns(data: dict[str, list], probs: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "reward": np.array(data["reward"]),
        "action": np.array(data["action"]),
        "pscore": np.array(data["propensity"]),
        "action_dist": probs[:, :, None],
        "position": np.zeros(len(probs), dtype=int),
    }


def basic(data: dict[str, list]) -> dict[str, float]:
    """Every estimator that the peer has, on the same inputs."""
    from obp import ope

    common = columns(data, np.array(data["target"]))
    modelled = {**common, "estimated_rewards_by_reg_model": np.array(data["q_hat"])[:, :, None]}
    embedding = np.array(data["embedding"])
    embedded = {
        **common,
        "context": np.array(data["context"]),
        "action_embed": embedding[common["action"]][:, None],
        "pi_b": np.array(data["logging"])[:, :, None],
        "p_e_a": np.eye(embedding.max() + 1)[embedding][:, :, None],
    }
    classified = {**common, "estimated_importance_weights": np.array(data["classifier_ratio"])}
    k = len(embedding)
    values = {
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**common),
        "clipped-ips": ope.InverseProbabilityWeighting(lambda_=1.5).estimate_policy_value(**common),
        "sg-ips": ope.SubGaussianInverseProbabilityWeighting(lambda_=0.2).estimate_policy_value(**common),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**common),
        "dm": ope.DirectMethod().estimate_policy_value(**modelled),
        "dr": ope.DoublyRobust().estimate_policy_value(**modelled),
        "drps": ope.DoublyRobust(lambda_=1.5).estimate_policy_value(**modelled),
        "sndr": ope.SelfNormalizedDoublyRobust().estimate_policy_value(**modelled),
        "switch-dr": ope.SwitchDoublyRobust(lambda_=3.0).estimate_policy_value(**modelled),
        "dros": ope.DoublyRobustWithShrinkage(lambda_=5.0).estimate_policy_value(**modelled),
        "sg-dr": ope.SubGaussianDoublyRobust(lambda_=0.2).estimate_policy_value(**modelled),
        "mips-message": ope.MarginalizedInverseProbabilityWeighting(n_actions=k).estimate_policy_value(**embedded),
        "snmips-message": ope.SelfNormalizedMarginalizedInverseProbabilityWeighting(n_actions=k).estimate_policy_value(
            **embedded
        ),
        "balanced-ips": ope.BalancedInverseProbabilityWeighting(lambda_=np.inf).estimate_policy_value(**classified),
    }
    return {name: float(value) for name, value in values.items()}


def model_for_variance(data: dict[str, list]) -> dict[str, list | float]:
    """A linear reward model fitted with the peer's MRDR weights for a deterministic policy, and DR with it."""
    from obp import ope
    from sklearn.linear_model import LinearRegression

    probs = np.eye(len(data["embedding"]))[np.array(data["chosen"])]
    common = columns(data, probs)
    model = ope.RegressionModel(base_model=LinearRegression(), n_actions=probs.shape[1], fitting_method="mrdr")
    q_hat = model.fit_predict(context=np.array(data["context"]), **common)
    value = ope.DoublyRobust().estimate_policy_value(**common, estimated_rewards_by_reg_model=q_hat)
    return {"q_hat": q_hat[:, :, 0].tolist(), "value": float(value)}


def random_policy_model() -> dict[str, list]:
    """The same fit for a random policy, on a log that holds each of two contexts and two actions exactly in proportion.

    Rewards depend on both, the model on the action alone; so the weights decide which context it serves.
    """
    from obp import ope
    from sklearn.linear_model import LinearRegression

    logging = np.array([[0.9, 0.1], [0.5, 0.5]])
    target = np.array([[0.9, 0.1], [0.3, 0.7]])
    reward = np.array([[1.0, 3.0], [0.0, 2.0]])
    rows = [(x, a) for x in range(2) for a in range(2) for _ in range(round(10 * logging[x, a]))]
    x, a = np.array(rows).T
    model = ope.RegressionModel(base_model=LinearRegression(), n_actions=2, fitting_method="mrdr")
    q_hat = model.fit_predict(
        context=np.zeros((len(x), 1)), action=a, reward=reward[x, a], pscore=logging[x, a],
        action_dist=target[x][:, :, None],
    )  # fmt: skip
    return {
        "context": x.tolist(), "action": a.tolist(), "reward": reward.tolist(), "logging": logging.tolist(),
        "target": target.tolist(), "q_hat": q_hat[0, :, 0].tolist(),
    }  # fmt: skip


def self_normalised_interval() -> dict[str, list | float]:
    """The peer's bootstrap interval of SNIPS where nine of ten rewards are 1."""
    from obp import ope

    rng = np.random.default_rng(7)
    n = 500
    data = {
        "action": rng.integers(0, 2, n).tolist(),
        "reward": (rng.random(n) < 0.9).astype(int).tolist(),
        "propensity": [0.5] * n,
    }
    common = columns(data, np.tile([0.1, 0.9], (n, 1)))
    found = ope.SelfNormalizedInverseProbabilityWeighting().estimate_interval(
        **common, alpha=0.05, n_bootstrap_samples=2000, random_state=0
    )
    lower, upper = (float(found[f"95.0% CI ({end})"]) for end in ("lower", "upper"))
    return {"action": data["action"], "reward": data["reward"], "lower": lower, "upper": upper}


def tuned_twice() -> dict:
    """One tuned estimator of the peer on two logs in turn, and a new one on the second."""
    from obp import ope

    rng = np.random.default_rng(3)
    logs = []
    for rate in (0.5, 0.2):  # how often the logging policy took the second action
        n = 200
        action = (rng.random(n) < rate).astype(int)
        propensity = np.where(action == 1, rate, 1.0 - rate)
        reward = np.round(rng.normal(5.0, 1.0, n), 6)
        logs.append({"action": action.tolist(), "propensity": propensity.tolist(), "reward": reward.tolist()})
    probs = np.tile([0.5, 0.5], (200, 1))
    settings = {"lambdas": [1.0, 2.0, 100.0], "tuning_method": "slope"}

    def judge(estimator: object, log: dict[str, list]) -> dict[str, float]:
        value = estimator.estimate_policy_value_with_tuning(**columns(log, probs))
        return {"tau": float(estimator.best_hyperparam), "value": float(value)}

    shared = ope.InverseProbabilityWeightingTuning(**settings)
    first, second = (judge(shared, log) for log in logs)
    return {
        "logs": logs,
        "first": first,
        "second": second,
        "second_alone": judge(ope.InverseProbabilityWeightingTuning(**settings), logs[1]),
    }


def vw_values(data: dict[str, list]) -> dict[str, float]:
    """The two estimators that vw-estimators shares with us, example by example."""
    from estimators.bandits import ips, snips

    out = {}
    for name, estimator in (("ips", ips.Estimator()), ("snips", snips.Estimator())):
        for row, (action, propensity, reward) in enumerate(
            zip(data["action"], data["propensity"], data["reward"], strict=True)
        ):
            estimator.add_example(propensity, reward, data["target"][row][action])
        out[name] = float(estimator.get())
    return out


def obp_values(data: dict[str, list]) -> dict:
    return {
        "peer": f"sb-obp {importlib.metadata.version('sb-obp')}",
        "settings": {
            "switch-dr": {"tau": 3.0},
            "dros": {"lam": 5.0},
            "clipped-ips": {"tau": 1.5},
            "drps": {"tau": 1.5},
            "sg-ips": {"lam": 0.2},
            "sg-dr": {"lam": 0.2},
        },
        "values": basic(data),
        "mrdr": model_for_variance(data),
        "mrdr_random": random_policy_model(),
        "self_normalised": self_normalised_interval(),
        "tuned": tuned_twice(),
    }


def main(peer: str, path: str) -> None:
    file, data = Path(path), inputs()
    out = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    out |= {"inputs": data} | (obp_values(data) if peer == "obp" else {"vw": vw_values(data)})
    file.write_text(json.dumps(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
