"""Policies that explore by what they do not know: their probabilities against closed forms and plain simulation."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.policies import ColumnScorer, CrossedFeatures, History, InverseGapPolicy, ThompsonPolicy


def test_thompson_probabilities_are_those_of_being_best(rng) -> None:
    # Two candidates with independent normal values: P(the first is better) = Φ((μ₁ − μ₂) / √(σ₁² + σ₂²)).
    mean, deviation, s = np.array([0.3, 0.0]), np.array([0.6, 0.8]), 40_000
    draws = (mean + deviation * rng.standard_normal((s, 2)))[:, None]
    policy = ThompsonPolicy(CrossedFeatures(np.zeros((0, 0)), 2), draws, np.ones(1))
    probs = policy.action_probs(np.zeros((1, 0)), np.eye(2)[None], np.ones((1, 2), bool))
    # Binomial standard error at most 0.5 / √40,000 = 0.0025: 4 of them.
    assert probs[0, 0] == pytest.approx(NormalDist().cdf(0.3), abs=0.01)


def test_thompson_draws_by_hand(rng) -> None:
    draws, projection = rng.normal(size=(7, 2, 6)), rng.normal(size=(2, 1))
    policy = ThompsonPolicy(CrossedFeatures(projection, 3), draws, np.array([1.0, -0.5]))
    x, c = rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=(5, 4, 3)).astype(np.float32)
    eligible = np.ones((5, 4), bool)
    eligible[2, 1:] = False
    shares = np.zeros((5, 4))
    for i in range(5):
        z = float(x[i] @ projection[:, 0])
        for draw in draws:
            theta = (draw[0] - 0.5 * draw[1]).reshape(3, 2)
            score = [float(c[i, a] @ (theta[:, 0] + z * theta[:, 1])) if eligible[i, a] else -9e9 for a in range(4)]
            shares[i, int(np.argmax(score))] += 1 / 7
    np.testing.assert_allclose(policy.action_probs(x, c, eligible), shares, atol=1e-12)


def test_candidates_alike_share_what_draws_give_them(rng) -> None:
    policy = ThompsonPolicy(CrossedFeatures(np.zeros((1, 0)), 2), rng.normal(size=(50, 1, 2)), np.ones(1))
    c = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    probs = policy.action_probs(np.zeros((1, 1)), c, np.ones((1, 3), bool))
    assert probs[0, 0] == pytest.approx(probs[0, 1])


@pytest.mark.parametrize("sharpness", [1e-9, 3.0, 1e9], ids=["uniform", "between", "greedy"])
def test_inverse_gap_by_hand(sharpness) -> None:
    # f = 0.9, 0.5, 0.5 and an ineligible 2.0; noise 0.25 under weight 2 → σ = 2 · 0.5 = 1, gaps of weighted scores.
    scorer = ColumnScorer(np.array([1.0]), 0)
    policy = InverseGapPolicy(scorer, sharpness, np.array([[0.25]]), np.array([2.0]))
    c = np.array([[[0.9], [0.5], [0.5], [2.0]]], dtype=np.float32)
    probs = policy.action_probs(np.zeros((1, 0)), c, np.array([[True, True, True, False]]))[0]
    other = 1 / (3 + sharpness * 0.4)
    np.testing.assert_allclose(probs, [1 - 2 * other, other, other, 0.0], atol=1e-7)  # features are float32


def test_inverse_gap_knows_ratios_of_weights_alone(instances, decisions) -> None:
    policy = instances["inverse-gap"]
    one, same = (decisions.probs(policy, np.array(w)) for w in ([1.0, 0.5], [10.0, 5.0]))
    np.testing.assert_allclose(one, same, rtol=1e-9)
    assert (one[decisions.eligible] > 0).all()


def test_returns_are_quantiles_between_levels(instances) -> None:
    policy = instances["decision-transformer"]
    # Where the hidden layer is 0, quantiles at levels 0.1, 0.5, 0.9 are the biases; unsorted on purpose.
    flat = replace(
        policy, hidden=np.zeros_like(policy.hidden), hidden_bias=np.zeros_like(policy.hidden_bias),
        heads_bias=np.array([2.0, 1.0, 5.0, 0.0, 1.0, 3.0]), prompt=0.7,
    )  # fmt: skip
    # Weights 1, −0.25 times units 0.5, 2: |0.5|, |0.5|: levels 0.7 and 0.3.
    asked = flat.returns(np.zeros((1, 3), np.float32), np.array([1.0, -0.25]))
    np.testing.assert_allclose(asked, [[2.0 + 0.5 * 3.0, 0.5]], rtol=1e-6)
    beyond = replace(flat, prompt=0.99).returns(np.zeros((1, 3), np.float32), np.array([1.0, 0.0]))
    np.testing.assert_allclose(beyond, [[5.0, 1.0]], rtol=1e-6)


def test_what_is_not_known_of_a_history_does_not_matter(instances, decisions, rng) -> None:
    policy = instances["decision-transformer"]
    n, d, c = len(decisions.context), 3, 5
    past = History(
        rng.normal(size=(n, 3, d)).astype(np.float32), rng.normal(size=(n, 3, c)).astype(np.float32),
        rng.random((n, 3)).astype(np.float32) * 9, np.zeros((n, 3), bool),
    )  # fmt: skip
    inputs = decisions.context, decisions.candidates, decisions.eligible
    np.testing.assert_allclose(policy.action_probs(*inputs, history=past), policy.action_probs(*inputs), atol=1e-6)
    known = replace(past, known=np.ones((n, 3), bool))
    assert np.abs(policy.action_probs(*inputs, history=known) - policy.action_probs(*inputs)).max() > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": 1.0}, "prompt"),
        ({"levels": np.array([0.5, 0.1, 0.9])}, "levels == .* must rise within"),
        ({"query": np.zeros((2, 2))}, r"query.shape == \(2, 2\), must be \(8, 8\)"),
    ],
    ids=["prompt", "levels", "shape"],
)
def test_a_transformer_that_cannot_be(change, message, instances) -> None:
    with pytest.raises(InvalidInputError, match=message):
        replace(instances["decision-transformer"], **change)
