"""Numbers worked by hand, and formulas by another route."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.policies import (
    BilinearScorer,
    EpsilonGreedyPolicy,
    FixedCandidatePolicy,
    GreedyPolicy,
    LinearRewardModel,
    MessageSharesPolicy,
    NeuralRewardModel,
    SilencePolicy,
    SoftmaxPolicy,
    UniformPolicy,
    dataset_probs,
    dataset_values,
    masked_softmax,
    sample_actions,
)
from homing.policies.numerics import sigmoid


class Given:
    """A scorer with known scores."""

    def __init__(self, *scores: float) -> None:
        self.given = np.array([scores])

    def scores(self, context, candidates, weights=None):
        return np.repeat(self.given, len(context), axis=0)


def probs(policy, eligible=(True, True, True), candidates=None):
    mask = np.array([eligible])
    given = np.zeros((1, len(eligible), 2)) if candidates is None else np.array([candidates])
    return policy.action_probs(np.zeros((1, 1)), given, mask)[0].tolist()


def test_greedy_takes_the_best_and_shares_ties() -> None:
    assert probs(GreedyPolicy(Given(1.0, 3.0, 2.0))) == [0.0, 1.0, 0.0]
    assert probs(GreedyPolicy(Given(1.0, 3.0, 2.0)), (True, False, True)) == [0.0, 0.0, 1.0]
    assert probs(GreedyPolicy(Given(3.0, 1.0, 3.0))) == [0.5, 0.0, 0.5]


def test_epsilon_greedy_by_hand() -> None:
    policy = EpsilonGreedyPolicy(GreedyPolicy(Given(1.0, 3.0, 2.0)), 0.25)
    assert probs(policy, (True, True, False)) == [0.125, 0.875, 0.0]


def test_softmax_by_hand() -> None:
    policy = SoftmaxPolicy(Given(math.log(1.0), math.log(2.0), math.log(9.0)), 1.0)
    np.testing.assert_allclose(probs(policy, (True, True, False)), [1 / 3, 2 / 3, 0.0], atol=1e-15)
    policy = SoftmaxPolicy(Given(math.log(1.0), math.log(2.0), math.log(3.0)), 0.5)  # squares
    np.testing.assert_allclose(probs(policy), [1 / 14, 4 / 14, 9 / 14], atol=1e-15)


def test_softmax_around_a_reference() -> None:
    reference = MessageSharesPolicy(np.array([1.0, 0.0, 3.0]))
    policy = SoftmaxPolicy(Given(math.log(3.0), 50.0, 0.0), 1.0, reference)
    np.testing.assert_allclose(probs(policy), [0.5, 0.0, 0.5], atol=1e-15)  # never what the reference never does
    assert probs(policy, (False, True, False)) == [0.0, 1.0, 0.0]  # unless there is nothing else


def test_softmax_is_the_best_trade_of_score_and_divergence(rng) -> None:
    # The definition: π maximises Σ π·score − τ KL(π ‖ reference) over the simplex.
    score, shares, tau = np.array([0.3, -1.0, 0.8]), np.array([0.2, 0.5, 0.3]), 0.7
    best = np.array(probs(SoftmaxPolicy(Given(*score), tau, MessageSharesPolicy(shares))))

    def objective(p):
        return p @ score - tau * (p * np.log(p / shares)).sum()

    others = rng.dirichlet(np.ones(3), size=2000)
    assert objective(best) >= max(objective(p) for p in others)
    assert objective(best) >= objective((best + 1e-3 * others[0]) / (1 + 1e-3))


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=8), st.data())
def test_softmax_never_breaks(logits, data) -> None:
    mask = np.array([data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)))])
    mask[0, 0] |= not mask.any()
    out = masked_softmax(np.array([logits]), mask)
    assert np.isfinite(out).all()
    assert abs(out.sum() - 1) < 1e-12
    assert (out[~mask] == 0).all()


def test_scores_that_are_not_finite_are_refused_where_they_matter() -> None:
    with pytest.raises(InvalidInputError, match=r"scores\[0, 1\] == nan, must be finite"):
        probs(GreedyPolicy(Given(0.0, np.nan)), (True, True))
    assert probs(SoftmaxPolicy(Given(0.0, np.nan)), (True, False)) == [1.0, 0.0]


def test_fixed_candidate_by_column_and_its_fallbacks() -> None:
    candidates = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    policy = FixedCandidatePolicy(column=1)
    assert probs(policy, candidates=candidates) == [0.0, 0.0, 1.0]
    assert probs(policy, (True, True, False), candidates) == [1.0, 0.0, 0.0]
    assert probs(policy, (False, True, False), candidates) == [0.0, 1.0, 0.0]
    with pytest.raises(InvalidInputError, match="column == 2, must be < 2"):
        probs(FixedCandidatePolicy(column=2), candidates=candidates)


def test_shares_by_hand() -> None:
    policy = MessageSharesPolicy(np.array([6.0, 2.0]), np.array([0, 1]), silence=4.0, other=0.0)
    candidates = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert probs(policy, (True,) * 4, candidates) == [4 / 12, 6 / 12, 2 / 12, 0.0]
    assert probs(policy, (False, True, True, True), candidates) == [0.0, 0.75, 0.25, 0.0]
    assert probs(policy, (False, False, False, True), candidates) == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedCandidatePolicy(), "exactly one must be given"),
        (lambda: FixedCandidatePolicy(index=1, column=1), "exactly one must be given"),
        (lambda: FixedCandidatePolicy(index=-1), "index == -1, must be an integer >= 0"),
        (lambda: EpsilonGreedyPolicy(UniformPolicy(), 1.5), r"epsilon == 1.5, must be in \[0, 1\]"),
        (lambda: EpsilonGreedyPolicy(Given(1.0), 0.5), "base == 'Given', must have a method action_probs"),
        (lambda: SoftmaxPolicy(Given(1.0), 0.0), "temperature == 0.0, .* use GreedyPolicy"),
        (lambda: GreedyPolicy(UniformPolicy()), "scorer == 'UniformPolicy', must have a method scores"),
        (lambda: MessageSharesPolicy(np.array([1.0, -1.0])), "shares == .* must be finite and >= 0"),
        (lambda: MessageSharesPolicy(np.array([1.0]), np.array([0, 1])), "columns == .* one per share"),
        (lambda: BilinearScorer(np.zeros((1, 2, 3)), np.zeros((1, 2)), np.zeros(1), np.ones(1)), "must not all be 0"),
    ],
)
def test_wrong_policies_cannot_be_built(make, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"candidates.shape == \(2, 3, 1\), must be \(2, 4\)"):
        UniformPolicy().action_probs(np.zeros((2, 1)), np.zeros((2, 3, 1)), np.ones((2, 4), bool))
    with pytest.raises(InvalidInputError, match=r"context.shape == \(2,\), must be \(n, d\)"):
        UniformPolicy().action_probs(np.zeros(2), np.zeros((2, 3, 1)), np.ones((2, 3), bool))
    with pytest.raises(InvalidInputError, match=r"context\.dtype == '<U1', must be numbers"):
        UniformPolicy().action_probs([["a"]], np.zeros((1, 3, 1)), np.ones((1, 3), bool))


def test_bilinear_scores_by_loops(rng) -> None:
    m, c, d = 2, 3, 4
    cross, own = rng.normal(size=(m, c, d)), rng.normal(size=(m, c))
    scorer = BilinearScorer(cross, own, np.array([1.0, 1.0]), np.array([3.0, 4.0]))
    x, features = rng.normal(size=(5, d)), rng.normal(size=(5, 6, c))
    v = [0.6, 0.8]  # (1·3, 1·4) / 5
    expected = [
        [
            sum(v[j] * sum(features[i, a, f] * (own[j, f] + sum(cross[j, f, g] * x[i, g] for g in range(d)))
                           for f in range(c)) for j in range(m))
            for a in range(6)
        ]
        for i in range(5)
    ]  # fmt: skip
    np.testing.assert_allclose(scorer.scores(x, features), expected, atol=2e-5)
    np.testing.assert_array_equal(scorer.scores(x, features), scorer.scores(x, features, np.array([7.0, 7.0])))
    assert (scorer.scores(x, features, np.zeros(2)) == 0).all()


def test_linear_model_by_loops(rng) -> None:
    m, c, d = 2, 3, 4
    cross, own, level, intercept = (rng.normal(size=s) for s in ((m, c, d), (m, c), (m, d), m))
    model = LinearRewardModel(
        cross,
        own,
        level,
        intercept,
        ("logit", "identity"),
        np.array([0.5, 2.0]),
        np.array([0.1, -3.0]),
        np.array([1.0, 10.0]),
    )
    x, features = rng.normal(size=(2, d)), rng.normal(size=(2, 3, c))
    for i in range(2):
        for a in range(3):
            z = [
                features[i, a] @ cross[j] @ x[i] + own[j] @ features[i, a] + level[j] @ x[i] + intercept[j]
                for j in (0, 1)
            ]
            want = [1 / (1 + math.exp(-(0.5 * z[0] + 0.1))), 2 * z[1] - 3.0]
            np.testing.assert_allclose(model.predict(x, features)[i, a], want, atol=2e-5)
            np.testing.assert_allclose(model.scores(x, features)[i, a], want[0] + 10 * want[1], atol=2e-4)
            np.testing.assert_allclose(model.scores(x, features, np.array([0.0, 1.0]))[i, a], want[1], atol=2e-5)


def test_neural_model_by_the_naive_network(rng) -> None:
    d, c, h1, h2, m = 4, 3, 8, 5, 2
    parts = [rng.normal(size=s) for s in ((d, h1), (c, h1), h1, (h1, h2), h2, (h2, m), (c, m), m)]
    model = NeuralRewardModel(*parts, ("identity", "identity"), np.ones(m), np.zeros(m), np.ones(m))
    x, features = rng.normal(size=(2, d)), rng.normal(size=(2, 3, c))
    first, bias1, hidden, bias2, heads, direct, bias3 = np.vstack(parts[:2]), *parts[2:]
    for i in range(2):
        for a in range(3):
            joint = np.concatenate([x[i], features[i, a]])
            z = (
                np.maximum(np.maximum(joint @ first + bias1, 0) @ hidden + bias2, 0) @ heads
                + features[i, a] @ direct
                + bias3
            )
            np.testing.assert_allclose(model.predict(x, features)[i, a], z, atol=1e-4)


def test_sigmoid_agrees_with_the_standard_library() -> None:
    z = np.linspace(-30, 30, 61)
    np.testing.assert_allclose(sigmoid(z), [1 / (1 + math.exp(-v)) for v in z], rtol=1e-14)


def test_data_sets_are_scored_in_batches(instances, decisions) -> None:
    def batches(size):
        for begin in range(0, 40, size):
            rows = np.arange(begin, min(begin + size, 40))
            yield SimpleNamespace(
                rows=rows, context=decisions.context[rows], candidates=decisions.candidates[rows],
                eligible=decisions.eligible[rows],
            )  # fmt: skip

    data = SimpleNamespace(n=40, k=6, batches=batches)
    policy = instances["linear-reward"]
    np.testing.assert_allclose(dataset_probs(policy, data, batch_size=7), decisions.probs(policy), atol=1e-5)
    values = dataset_values(policy.scorer, data, batch_size=7)
    np.testing.assert_allclose(values, policy.scorer.predict(decisions.context, decisions.candidates), atol=1e-5)
    other = dataset_probs(policy, data, weights=[0.0, 1.0])
    np.testing.assert_allclose(other, decisions.probs(policy, np.array([0.0, 1.0])), atol=1e-5)
    with pytest.raises(InvalidInputError, match="must predict rewards"):
        dataset_values(UniformPolicy(), data)


def test_draws_follow_the_probabilities(rng) -> None:
    row = np.array([0.0, 0.2, 0.5, 0.3, 0.0])
    n = 40_000
    action, propensity = sample_actions(np.repeat(row[None], n, axis=0), rng)
    np.testing.assert_array_equal(propensity, row[action])
    share = np.bincount(action, minlength=5) / n
    # 5 standard errors of a share of 0.5: 5 * sqrt(0.25 / 40000) = 0.0125.
    np.testing.assert_allclose(share, row, atol=0.0125)
    assert share[0] == share[4] == 0.0


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]], ids=["sum", "negative", "nan"])
def test_what_is_no_distribution_is_not_drawn_from(row, rng) -> None:
    with pytest.raises(InvalidInputError, match=r"probs\[1\] == .*, must be >= 0 and sum to 1"):
        sample_actions(np.array([[0.5, 0.5], row]), rng)


@pytest.mark.parametrize("given", [np.array([0.5, 0.5]), np.zeros((2, 0)), np.ones((1, 1, 1))])
def test_draws_need_a_table(given, rng) -> None:
    with pytest.raises(InvalidInputError, match=r"probs.shape == \(.*\), must be \(n, k\)"):
        sample_actions(given, rng)


def test_silence_where_it_may_not_be() -> None:
    assert probs(SilencePolicy(), (False, True, True)) == [0.0, 0.5, 0.5]
