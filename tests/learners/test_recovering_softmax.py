"""Duolingo's algorithm: by hand, against its reasons to be, and in its own world."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import make
from homing.log import FeatureEncoder, LoggedDataset
from homing.log.features import Field
from homing.policies import Recency, dataset_probs


def logged(eligible, action, reward, probs=None, encoder=None, candidates=None, context=None) -> LoggedDataset:
    eligible = np.asarray(eligible, dtype=bool)
    n, k = eligible.shape
    shared = eligible / eligible.sum(axis=1, keepdims=True) if probs is None else np.asarray(probs, dtype=float)
    return LoggedDataset(
        context=np.zeros((n, 0)) if context is None else context,
        candidates=np.zeros((n, k, 0)) if candidates is None else candidates, eligible=eligible, action=action,
        propensity=shared[np.arange(n), action], reward=np.asarray(reward, dtype=float)[:, None],
        objectives=("lesson",), user=np.arange(n), time=np.arange(n), probs=shared, encoder=encoder,
    )  # fmt: skip


def test_scores_by_hand(rng: np.random.Generator) -> None:
    """Two messages and silence; b is not the same in all rounds."""
    probs = [[0.0, 0.5, 0.5], [0.0, 0.2, 0.8], [0.0, 0.5, 0.5], [0.0, 0.2, 0.8], [0.0, 1.0, 0.0]]
    data = logged([[1, 1, 1]] * 4 + [[1, 1, 0]], action=[1, 1, 2, 2, 1], reward=[1.0, 0.5, 1.0, 0.5, 40.0], probs=probs)
    for prior in (0.0, 3.0):
        learner = make("recovering-softmax", prior_rounds=prior)
        policy = learner.fit(data, rng=rng)
        # Message 1: sent with weights 2 and 5, not sent with 2 and 1.25; the last round says nothing, b being 1.
        plus, minus = (2 * 1.0 + 5 * 0.5) / 7, (2 * 1.0 + 1.25 * 0.5) / 3.25
        pooled = (7 * plus + 3.25 * minus) / 10.25
        n_plus, n_minus = 49 / 29, 3.25**2 / (4 + 1.25**2)
        plus = (n_plus * plus + prior * pooled) / (n_plus + prior)
        minus = (n_minus * minus + prior * pooled) / (n_minus + prior)
        scores = policy.scorer.by_group[0]
        assert scores[1] == pytest.approx((plus - minus) / minus)
        assert scores[0] == -1e6  # the log could have been silent and never was
        assert scores[3] == 0.0
    assert learner.report["settings"]["messages"] == 2


def test_who_gets_a_message_does_not_make_it_good(rng: np.random.Generator) -> None:
    """Message 1 can be sent to people who come anyway alone; it adds nothing, and message 2 does."""
    n = 40_000
    keen = rng.random(n) < 0.3
    eligible = np.column_stack([np.ones(n), keen, np.ones(n), np.ones(n)]).astype(bool)
    mass = np.where(eligible, rng.random((n, 4)), 0.0) * [0, 1, 1, 1]
    action = mass.argmax(axis=1)
    probs = eligible * [0.0, 1.0, 1.0, 1.0]
    probs /= probs.sum(axis=1, keepdims=True)
    chance = np.where(keen, 0.5, 0.1) * (1 + 0.3 * (action == 2))
    data = logged(eligible, action, rng.random(n) < chance, probs)
    naive = [data.reward[action == a, 0].mean() for a in (1, 2, 3)]
    assert naive[0] > naive[1] > naive[2]
    policy = make("recovering-softmax", temperature=0.05).fit(data, rng=rng)
    _, first, second, third, _ = policy.scorer.by_group[0]
    # Message 2 against the mean of the other one or two: 0.3 relative. Standard errors are about 0.03.
    assert second == pytest.approx(0.3, abs=0.12)
    assert first < 0.0
    assert third < 0.0
    assert (dataset_probs(policy, data)[:, 2] > 0.9).all()


ENCODER = FeatureEncoder(
    context=(Field("language", "category", ("de", "en")),),
    candidate=(
        Field("message_id", "category", ("a", "b")),
        Field("days_since_sent", "number", mean=10.0, scale=5.0, missing=True),
    ),
)


def encoded(n: int, rng: np.random.Generator) -> LoggedDataset:
    """Message a is better in German, b in English; both lose 0.4 · 0.5^(d / 2)."""
    context = np.eye(2)[rng.integers(0, 2, n)]
    days = rng.integers(1, 9, (n, 2)).astype(float)
    never = rng.random((n, 2)) < 0.3
    candidates = np.zeros((n, 3, 5))
    candidates[:, 0, 2] = 1.0
    candidates[:, 1, 0] = candidates[:, 2, 1] = 1.0
    candidates[:, 1:, 3] = np.where(never, 0.0, (days - 10.0) / 5.0)
    candidates[:, 1:, 4] = never
    action = 1 + rng.integers(0, 2, n)
    good = context[np.arange(n), action - 1] == 1.0
    lost = np.where(never, 0.0, 0.4 * 0.5 ** (days / 2.0))[np.arange(n), action - 1]
    reward = rng.random(n) < 0.4 * (1.0 + 0.5 * good - lost)
    probs = np.tile([0.0, 0.5, 0.5], (n, 1))
    return logged(np.ones((n, 3)), action, reward, probs, ENCODER, candidates, context)


def test_groups_and_recency_come_from_the_encoder(rng: np.random.Generator) -> None:
    data = encoded(20_000, rng)
    learner = make("recovering-softmax", group="language", novelty=0.4, half_life_days=2.0, temperature=0.05)
    policy = learner.fit(data, rng=rng)
    scorer = policy.scorer
    assert scorer.recency == Recency(column=3, mean=10.0, scale=5.0, missing=4)
    everyone, german, english = scorer.by_group[:, 1:3]
    assert abs(everyone).max() < 0.1 < 0.3 < min(german[0], english[1])
    assert max(german[1], english[0]) < -0.2
    scores = scorer.scores(data.context, data.candidates[: data.n])
    days = np.where(data.candidates[: data.n][:, 1, 4] > 0, np.inf, data.candidates[: data.n][:, 1, 3] * 5 + 10)
    own = np.where(data.context[:, 0] > 0, german[0], english[0])
    np.testing.assert_allclose(scores[:, 1], own - 0.4 * 0.5 ** (days / 2), atol=1e-6)
    unknown = scorer.scores(np.zeros((1, 2)), data.candidates[:1])
    assert unknown[0, 1] == pytest.approx(everyone[0] - 0.4 * 0.5 ** (days[0] / 2), abs=1e-6)


def test_a_recency_that_is_not_in_the_log_is_named(rng: np.random.Generator) -> None:
    """A name with a letter missing would make reminders that never recover from having been sent."""
    data = encoded(500, rng)
    for params, named in (
        ({"recency": "days_sinse_sent"}, True),
        ({"recency": "x", "novelty": 0.0}, False),
        ({}, False),
    ):
        learner = make("recovering-softmax", **params)
        learner.fit(data, rng=rng)
        assert ("no-recency" in learner.report["warnings"]) is named


def test_a_log_in_parts_gives_the_same_policy(rng: np.random.Generator) -> None:
    data = encoded(900, rng)
    learner = make("recovering-softmax", group="language")
    pieces = [data.take(np.arange(begin, begin + 300)) for begin in (0, 300, 600)]
    found = learner.fit_parts(iter(pieces)).scorer.by_group
    np.testing.assert_allclose(found, learner.fit(data, rng=rng).scorer.by_group, rtol=1e-12)
    with pytest.raises(InvalidInputError, match="parts == 0, must be at least 1"):
        learner.fit_parts([])
    with pytest.raises(InvalidInputError, match="must have the encoder and the objectives of the first"):
        learner.fit_parts([data, logged([[1, 1, 1]], [1], [1.0])])


def test_without_logged_distributions_they_are_modelled(rng: np.random.Generator) -> None:
    data = encoded(8_000, rng)
    bare = LoggedDataset(
        context=data.context, candidates=data.candidates, eligible=data.eligible, action=data.action,
        propensity=data.propensity, reward=data.reward, objectives=data.objectives, user=data.user, time=data.time,
        encoder=data.encoder,
    )  # fmt: skip
    learner = make("recovering-softmax", group="language")
    found = learner.fit(bare, rng=rng).scorer.by_group
    assert learner.report["settings"]["probabilities of what was not sent"] == "modelled"
    assert np.abs(found - make("recovering-softmax", group="language").fit(data, rng=rng).scorer.by_group).max() < 0.02


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"novelty": -1.0}, "novelty == -1.0, must be >= 0"),
        ({"prior_rounds": float("inf")}, "prior_rounds == inf, must be >= 0"),
        ({"temperature": 0.0}, "temperature == 0.0"),
        ({"half_life_days": -1}, "half_life_days == -1"),
    ],
)
def test_wrong_settings_are_refused(params: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make("recovering-softmax", **params)


def test_what_cannot_be_learnt_from_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidInputError, match=r"mean reward without message 1 == -0\.\d+, must be > 0"):
        make("recovering-softmax").fit(
            logged([[1, 1, 1]] * 4, [1, 2, 1, 2], [-1.0, 0.0, 0.0, 0.0], [[0.0, 0.5, 0.5]] * 4),
            weights={"lesson": 1.0},
            rng=rng,
        )
    with pytest.raises(UnknownNameError, match=r"group == 'langauge', .* Did you mean 'language'"):
        make("recovering-softmax", group="langauge").fit(encoded(50, rng), rng=rng)
