"""Open Bandit Pipeline (sb-obp 0.5.10): its fitted model, equalled, and three documented cases where it is wrong.

Its numbers stand in peer_reference.json; peer_reference.py computes them.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from homing.ope import Rows, evaluate_policy
from homing.ope.estimators import MRDR, ClippedIPS, mrdr_weights

PEER = json.loads((Path(__file__).parent / "peer_reference.json").read_text(encoding="utf-8"))


def least_squares(features, reward, weight):
    """Weighted, with an intercept, on one-hot actions: of smallest norm, as there is one column too many."""
    root = np.sqrt(weight)
    return np.linalg.lstsq(root[:, None] * features, root * reward, rcond=None)[0]


def test_mrdr_model_of_a_deterministic_policy_equals_the_peers(make_log):
    data = {key: np.array(value) for key, value in PEER["inputs"].items()}
    n, k = data["target"].shape
    log = make_log(action=data["action"], propensity=data["propensity"], reward=data["reward"], k=k)
    target = np.eye(k)[data["chosen"]]

    def columns(action):
        return np.column_stack([data["context"], np.eye(k)[action], np.ones(n)])

    fitted = least_squares(columns(data["action"]), data["reward"], mrdr_weights(log, target))
    q_hat = np.stack([columns(np.full(n, a)) @ fitted for a in range(k)], axis=1)
    # Rows that do not follow the policy have no weight: only predictions for its own choices are determined.
    chosen = (np.arange(n), data["chosen"])
    np.testing.assert_allclose(q_hat[chosen], np.array(PEER["mrdr"]["q_hat"])[chosen], rtol=1e-9, atol=1e-12)
    found = evaluate_policy(log, target, q_hat=q_hat, estimators=("dr",)).estimate("clicked", "dr")
    assert found.value == pytest.approx(PEER["mrdr"]["value"], rel=1e-9)


def test_mrdr_weights_of_the_peer_do_not_fit_random_policies(make_log):
    """It puts π where the derivation for deterministic policies has an indicator; in the variance π stands squared.

    Two contexts, equally likely, two actions, rewards without noise, a model that knows the action alone. The log holds
    each pair exactly in proportion, so everything is exact: with the peer's fit the variance of DR is four times that
    with `mrdr_weights`, and MRDR's recalibration of either is no worse than both.
    """
    case = {key: np.array(value) for key, value in PEER["mrdr_random"].items()}
    logging, target, reward = case["logging"], case["target"], case["reward"]
    x, action = case["context"], case["action"]
    log = make_log(action=action, propensity=logging[x, action], reward=reward[x, action])

    def variance(q):
        """Of w (r - q) + Σ π q over contexts and logged actions, by enumeration."""
        terms = target / logging * (reward - q) + (target * q).sum(axis=1, keepdims=True)
        mean = (logging * terms).sum() / 2
        assert mean == pytest.approx((target * reward).sum() / 2)  # unbiased with any model
        return (logging * terms**2).sum() / 2 - mean**2

    weight = mrdr_weights(log, target[x])
    ours = np.array([np.average(reward[x, action][action == a], weights=weight[action == a]) for a in range(2)])
    peers = case["q_hat"]
    assert variance(ours) < 0.3 * variance(peers)

    w = (target / logging)[x, action]
    for q in (ours, peers):
        found = MRDR()(Rows(w, reward[x, action], q[action], target[x] @ q))
        recalibrated = found.details["intercept"] + found.details["slope"] * q
        assert variance(recalibrated) <= variance(ours) * (1 + 1e-12)
        assert found.value == pytest.approx((target * reward).sum() / 2, rel=1e-12)


def test_self_normalised_interval_of_the_peer_holds_the_normaliser_fixed(make_log):
    """Nine of ten rewards are 1, so a weighted mean hardly moves; the peer's bootstrap of w r / mean(w) misses that.

    The jackknife recomputes the ratio without each row and knows no influence function. Our interval is its, up to
    O(1/n); the peer's is more than twice as wide.
    """
    case = PEER["self_normalised"]
    action, reward = np.array(case["action"]), np.array(case["reward"], dtype=float)
    n = len(action)
    log = make_log(action=action, propensity=0.5, reward=reward)
    found = evaluate_policy(log, np.tile([0.1, 0.9], (n, 1)), estimators=("snips",)).estimate("clicked", "snips")
    w = np.where(action == 1, 1.8, 0.2)
    left_out = ((w * reward).sum() - w * reward) / (w.sum() - w)
    jackknife = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    half = (found.upper - found.lower) / 2
    assert half == pytest.approx(1.96 * jackknife, rel=0.02)
    assert (case["upper"] - case["lower"]) / 2 > 2.0 * half


def test_tuned_threshold_of_the_peer_stays_with_the_object(make_log):
    """The peer's tuned estimator keeps the first log's threshold for every later one: the second value is another's."""
    case = PEER["tuned"]
    assert case["second"]["tau"] == case["first"]["tau"] != case["second_alone"]["tau"]
    probs = np.tile([0.5, 0.5], (200, 1))

    def judge(log, estimator):
        columns = {key: np.array(value) for key, value in log.items()}
        found = evaluate_policy(make_log(**columns), probs, estimators=(estimator,))
        return found.estimate("clicked", "clipped-ips").value

    first, second = case["logs"]
    stale, fresh = (ClippedIPS(tau=case[key]["tau"]) for key in ("second", "second_alone"))
    assert judge(second, stale) == pytest.approx(case["second"]["value"], rel=1e-9)
    assert judge(second, fresh) == pytest.approx(case["second_alone"]["value"], rel=1e-9)
    assert abs(case["second"]["value"] / case["second_alone"]["value"] - 1.0) > 0.1
    # Ours hold nothing: one object on two logs in turn gives what it gives on the second alone.
    ours = ClippedIPS()
    judge(first, ours)
    assert judge(second, ours) == judge(second, ClippedIPS())
