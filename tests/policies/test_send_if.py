"""Threshold rules and the time-to-visit model, worked by hand and by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError
from homing.policies import SendIfPolicy, TwoModelScorer, WeibullVisitModel


class Given:
    """A scorer with known scores for each position."""

    def __init__(self, *scores: float) -> None:
        self.given = np.array([scores])

    def scores(self, context, candidates, weights=None):
        return np.repeat(self.given[:, : candidates.shape[1]], len(context), axis=0)


def probs(policy, eligible=(True, True, True)) -> list[float]:
    return policy.action_probs(np.zeros((1, 1)), np.zeros((1, len(eligible), 1)), np.array([eligible]))[0].tolist()


@pytest.mark.parametrize(
    ("threshold", "lift", "eligible", "expected"),
    [
        (0.15, "absolute", (True, True, True), [0.0, 0.0, 1.0]),  # 0.4 − 0.2 = 0.2
        (0.25, "absolute", (True, True, True), [1.0, 0.0, 0.0]),
        (0.9, "relative", (True, True, True), [0.0, 0.0, 1.0]),  # 0.4 / 0.2 − 1 = 1
        (1.1, "relative", (True, True, True), [1.0, 0.0, 0.0]),
        (0.05, "absolute", (True, True, False), [0.0, 1.0, 0.0]),  # 0.3 − 0.2 = 0.1
        (-1.0, "absolute", (True, False, False), [1.0, 0.0, 0.0]),
        (9.0, "absolute", (False, True, True), [0.0, 0.0, 1.0]),  # silence may not be chosen
    ],
    ids=["sent", "silent", "relative lift", "relative lift too small", "second best", "nothing to send", "no silence"],
)
def test_sends_where_the_lift_exceeds_the_threshold(threshold, lift, eligible, expected) -> None:
    assert probs(SendIfPolicy(Given(0.2, 0.3, 0.4), threshold, lift), eligible) == expected


def test_equal_lifts_share_and_are_not_above_their_own_size() -> None:
    assert probs(SendIfPolicy(Given(0.0, 0.5, 0.5), 0.25)) == [0.0, 0.5, 0.5]
    assert probs(SendIfPolicy(Given(0.0, 0.5, 0.5), 0.5)) == [1.0, 0.0, 0.0]


def test_relative_lifts_need_a_chance_without_a_message() -> None:
    with pytest.raises(InvalidInputError, match=r"scores\[0, 0\] == 0.0, must be > 0 for a relative lift"):
        probs(SendIfPolicy(Given(0.0, 0.5, 0.5), 0.5, "relative"))
    with pytest.raises(InvalidInputError, match="threshold == nan, must be a finite number"):
        SendIfPolicy(Given(0.0), float("nan"))


def test_two_models_score_silence_and_messages_apart() -> None:
    scorer = TwoModelScorer(Given(0.1), Given(0.7, 0.2))
    assert scorer.scores(np.zeros((1, 1)), np.zeros((1, 3, 1))).tolist() == [[0.1, 0.7, 0.2]]


def test_chance_of_a_visit_is_the_weibull_distribution(rng) -> None:
    d, c = 3, 2
    interaction, candidate, context = (rng.normal(size=size) for size in ((c, d), c, d))
    model = WeibullVisitModel(interaction, candidate, context, 1.5, 0.7, 12.0)
    x, features = rng.normal(size=(20, d)), rng.normal(size=(20, 4, c))
    scale = np.exp(
        1.5 + (x @ context)[:, None] + features @ candidate + np.einsum("nkc,cd,nd->nk", features, interaction, x)
    )
    expected = stats.weibull_min(0.7, scale=scale).cdf(12.0)
    np.testing.assert_allclose(model.scores(x, features), expected, rtol=1e-5)  # float32 features
