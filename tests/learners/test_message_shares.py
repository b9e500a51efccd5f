"""The baseline reproduces logs whose policy does not look at the context."""

from __future__ import annotations

import numpy as np
import pytest

from homing.learners import make
from homing.learners.message_shares import luce_shares
from homing.log import CandidateStore, FeatureEncoder, LoggedDataset
from homing.log.features import Field
from homing.policies import dataset_probs

SHARES = np.array([0.4, 0.3, 0.2, 0.1])  # silence, a, b, c


def log(rng, n: int, *, masked: bool, encoder: bool, probs: bool) -> tuple[LoggedDataset, np.ndarray]:
    """Luce choices with SHARES; messages stand in another order in each decision where an encoder tells them apart."""
    order = np.tile(np.arange(4), (n, 1))
    if encoder:
        order[:, 1:] = rng.permuted(order[:, 1:], axis=1)
    eligible = rng.random((n, 4)) < 0.6 if masked else np.ones((n, 4), bool)
    eligible[:, 0] |= ~eligible.any(axis=1)
    mass = SHARES[order] * eligible
    truth = mass / mass.sum(axis=1, keepdims=True)
    action = (rng.random((n, 1)) > truth.cumsum(axis=1)[:, :-1]).sum(axis=1)
    codes = order.reshape(-1, 1).astype(np.int32) - 1
    silence = (codes < 0).astype(np.float32)
    store = CandidateStore(codes, (3,), silence, np.arange(0, 4 * n + 1, 4))
    fields = (Field("message_id", "category", ("a", "b", "c")),)
    data = LoggedDataset(
        context=np.zeros((n, 1)), candidates=store, eligible=eligible, action=action,
        propensity=truth[np.arange(n), action], reward=np.zeros((n, 1)), objectives=("clicked",), user=np.arange(n),
        time=np.arange(n), encoder=FeatureEncoder((), fields) if encoder else None, probs=truth if probs else None,
    )  # fmt: skip
    return data, truth


@pytest.mark.parametrize("encoder", [True, False], ids=["by message", "by position"])
@pytest.mark.parametrize("masked", [False, True], ids=["all eligible", "masked"])
def test_logged_probabilities_are_reproduced_exactly(masked, encoder, rng) -> None:
    data, truth = log(rng, 500, masked=masked, encoder=encoder, probs=True)
    np.testing.assert_allclose(dataset_probs(make("message-shares").fit(data, rng=rng), data), truth, atol=1e-6)


def test_propensities_alone_are_enough_where_all_is_eligible(rng) -> None:
    """1/propensity tells a message's probability without the noise of how often chance drew it."""
    data, truth = log(rng, 300, masked=False, encoder=True, probs=False)
    np.testing.assert_allclose(dataset_probs(make("message-shares").fit(data, rng=rng), data), truth, atol=1e-9)


def test_propensities_alone_come_close_with_masks(rng) -> None:
    data, truth = log(rng, 4000, masked=True, encoder=True, probs=False)
    found = dataset_probs(make("message-shares").fit(data, rng=rng), data)
    assert np.abs(found - truth).max() < 0.05  # 3 standard errors of a share over about 400 draws and its set


def test_a_message_that_was_never_sent_has_no_share(rng) -> None:
    data, _ = log(rng, 300, masked=False, encoder=True, probs=False)
    other = data.take(np.flatnonzero(data.action != 0))
    policy = make("message-shares").fit(other, rng=rng)
    assert policy.silence == 0.0
    assert policy.other == pytest.approx(policy.shares.min())


def test_strengths_solve_the_likelihood_equations(rng) -> None:
    """At Luce's maximum likelihood the expected number of wins of each message is the observed one."""
    sets = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1]], dtype=float)
    times, wins = np.array([10.0, 20.0, 30.0, 5.0]), np.array([20.0, 25.0, 20.0])
    shares = luce_shares(wins, sets, times, 5000)
    expected = (times[:, None] * sets * shares / (sets @ shares)[:, None]).sum(axis=0)
    np.testing.assert_allclose(expected, wins, rtol=1e-8)
