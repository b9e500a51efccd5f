"""Doubt: how certain effects are by channel, and how much is given up for how often the log sent through each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.learners.doubts import Offered, distances, given_up, steadied
from homing.learners.shrinkage import Shrunk
from homing.log import LoggedDataset
from homing.policies import Effects, LinearRewardModel, StructuredAdvantage


def log(x: np.ndarray, silence: float, *, probs: bool = True) -> LoggedDataset:
    """One message, which is always eligible and carries one column, 1 in every other decision."""
    n = len(x)
    candidates = np.zeros((n, 2, 1), dtype=np.float32)
    candidates[::2, 1, 0] = 1.0
    action = (np.arange(n) >= silence * n).astype(int)
    each = np.tile([silence, 1.0 - silence], (n, 1))
    return LoggedDataset(
        context=x[:, None], candidates=candidates, eligible=np.ones((n, 2), dtype=bool), action=action,
        propensity=each[np.arange(n), action], reward=np.zeros((n, 1)), objectives=("paid",), user=np.arange(n),
        time=np.zeros(n, dtype=np.int64), probs=each if probs else None,
    )  # fmt: skip


def response() -> LinearRewardModel:
    """Half of all messages are answered."""
    return LinearRewardModel(
        np.zeros((1, 1, 1), dtype=np.float32), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1), ("logit",), np.ones(1),
        np.zeros(1), np.ones(1),
    )  # fmt: skip


def advantage() -> StructuredAdvantage:
    """x at once, ± 1."""
    now = Effects(np.zeros((2, 1)), np.array([[[1.0]], [[0.0]]]), np.zeros((2, 1, 1)))
    none = Effects(np.zeros((2, 1)), np.zeros((2, 1, 1)), np.zeros((2, 1, 1)))
    doubt = np.array([[[1.0, 0.0]], [[0.0, 0.0]]])
    return StructuredAdvantage(
        response(), now, none, np.zeros((0, 1, 2)), np.zeros(0, dtype=np.int64), np.zeros(2), np.ones(1), doubt=doubt
    )


@pytest.mark.parametrize("probs", [True, False])
def test_the_distance_is_how_many_errors_lead_to_how_often_the_log_sent(probs) -> None:
    """x = 0.01, 0.03 … 3.99: sent where x > q. The log sent in a quarter, x > 3; of which a part is given up."""
    x = np.arange(200) * 0.02 + 0.01
    quarter, rows, none = log(x, 0.75, probs=probs), np.arange(200), np.zeros(0, dtype=int)
    kept, q = steadied(advantage(), quarter, rows, none)
    np.testing.assert_allclose(q, [3.0 * given_up(np.array([3.0]))])
    np.testing.assert_allclose(kept.doubt, q * advantage().doubt)
    assert (kept.scores(quarter.context, quarter.candidates)[:, 1] > 0).sum() == (x > q).sum()
    # Where the effects look bad, and the log sent in three quarters, messages have the benefit of the doubt.
    seldom = log(x - 2.0, 0.25, probs=probs)
    np.testing.assert_allclose(steadied(advantage(), seldom, rows, none)[1], [-given_up(np.array([1.0]))])


def test_channels_have_doubts_of_their_own() -> None:
    """Every other message is of a channel, whose errors are twice those of the others. Half of each was sent: x > 2."""
    x = np.arange(200) * 0.02 + 0.01
    data, doubt = log(x, 0.5), np.array([[[1.0, 1.0]], [[0.0, 0.0]]])
    kept, q = steadied(replace(advantage(), doubt=doubt), data, np.arange(200), np.array([0]))
    share = given_up(np.array([2.0, 1.0]))
    np.testing.assert_allclose(q, np.array([2.0, 1.0]) * share, rtol=0.02)  # a row is 0.02 of x
    told = -kept.terms(data.context, data.candidates)["doubt"][:, 1]
    np.testing.assert_allclose(told, np.where(np.arange(200) % 2 == 0, 2.0 * q[1], q[0]))
    # A channel without a message has no distance, and changes nothing.
    empty = replace(data, candidates=np.zeros((200, 2, 1), dtype=np.float32))
    np.testing.assert_allclose(steadied(advantage(), empty, np.arange(200), np.array([0]))[1][1], 0.0)


def test_distances_give_each_channel_its_share_of_decisions(rng) -> None:
    """Whatever three channels' scores and errors are, and although some messages are not there, or must be sent."""
    best, error = rng.normal(size=(4000, 3)) * [1.0, 0.3, 2.0] + [0.5, -1.0, 2.0], rng.uniform(0.5, 2.0, (4000, 3))
    best[rng.random((4000, 3)) < 0.2] = -np.inf
    silence = np.where(rng.random(4000) < 0.1, -np.inf, 0.0)
    share = np.array([0.2, 0.1, 0.25])
    moved = np.column_stack([silence, best - distances(best, error, silence, share) * error])
    sent = np.bincount(moved.argmax(axis=1), minlength=4)[1:] / 4000
    np.testing.assert_allclose(sent, share, atol=2 / 4000)


def test_what_is_not_in_doubt_has_no_distance() -> None:
    best, silence = np.array([[1.0, -np.inf], [-1.0, -np.inf]]), np.zeros(2)
    assert distances(best, np.zeros((2, 2)), silence, np.array([0.0, 0.5])).tolist() == [0.0, 0.0]
    # All or none is as much as it takes.
    one = best[:, :1]
    assert distances(one, np.ones((2, 1)), silence, np.array([0.0])).tolist() == [1.0]
    assert distances(one, np.ones((2, 1)), silence, np.array([1.0]))[0] == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize("q", [[0.3], [1.0, -1.0, 0.5], [4.0, 2.0, 0.0]])
def test_what_is_given_up_is_the_mean_under_the_prior(q) -> None:
    """v uniform, q ~ N(0, 1/v), distances of 0 left out: by quadrature."""
    v, told = np.linspace(0.0, 1.0, 20_001), np.array(q)[np.array(q) != 0]
    density = np.prod(np.sqrt(v)[:, None] * np.exp(-v[:, None] * told**2 / 2), axis=1)
    assert given_up(np.array(q)) == pytest.approx((v * density).sum() / density.sum(), abs=1e-4)


def test_the_farther_the_less_is_given_up() -> None:
    near, far, none = (given_up(np.full(3, size)) for size in (1e-6, 30.0, 0.0))
    assert near == pytest.approx(5 / 7) and none == 1.0  # E v under v^1.5; nothing to give up
    assert far == pytest.approx(5 / 2700)  # 2 (1.5 + 1) / |q|²


def test_what_cannot_be_silent_counts_as_sent() -> None:
    """A quarter of the decisions must send, and the log sends in half: the other quarter is the best of the rest."""
    x = np.arange(200) * 0.02 + 0.01
    silence = np.where(np.arange(200) < 50, -np.inf, 0.0)
    assert 2.99 <= distances(x[:, None], np.ones((200, 1)), silence, np.array([0.5]))[0] < 3.01


def test_errors_are_those_of_what_is_offered(rng) -> None:
    """θ is of (1, x, c, ρ, ρ x, ρ c) with ρ = 1/2; two terms are looked at: 1 with variance 4, c with variance 5."""
    data = log(rng.normal(size=40), 0.5)
    terms = np.zeros((6, 2))
    terms[0, 0] = terms[2, 1] = 1.0
    offered = Offered.of(data, np.array([0]), response(), terms, rng)
    assert offered.rows.tolist() == list(range(40))
    told = Shrunk(np.zeros(2), np.diag([4.0, 5.0]), np.zeros(0))
    np.testing.assert_allclose(offered.errors(told), [2.0, 1.0])  # 2, and in the channel √(4 + 5)
    responses = np.zeros((6, 1))
    responses[3, 0] = 1.0
    half = Offered.of(data, np.array([0]), response(), responses, rng)
    np.testing.assert_allclose(half.errors(Shrunk(np.zeros(1), np.array([[4.0]]), np.zeros(0))), [1.0, 0.0], atol=1e-12)
