"""Doubt: how certain effects are by channel, and as much of it as keeps to how often the log sent."""

from __future__ import annotations

import numpy as np
import pytest

from homing.learners.doubts import Offered, steadied
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
def test_as_much_doubt_as_keeps_to_how_often_the_log_sent(probs) -> None:
    """x = 0.01, 0.03 … 3.99: sent where x > q. The log sent in a quarter, x > 3; or in nearly all."""
    x = np.arange(200) * 0.02 + 0.01
    quarter, rows = log(x, 0.75, probs=probs), np.arange(200)
    kept, q = steadied(advantage(), quarter, rows, 5.0)
    assert 2.99 <= q < 3.01
    assert (kept.scores(quarter.context, quarter.candidates)[:, 1] > 0).sum() == 50
    np.testing.assert_allclose(kept.doubt, q * advantage().doubt)
    assert steadied(advantage(), quarter, rows, 1.0)[1] == 1.0  # as near as that comes
    assert steadied(advantage(), quarter, rows, 0.0)[1] == 0.0
    # Where the effects look bad, and the log sent nearly always, messages have the benefit of the doubt.
    seldom = log(x - 2.0, 0.25, probs=probs)
    assert -1.01 < steadied(advantage(), seldom, rows, 2.0)[1] <= -0.99
    assert steadied(advantage(), seldom, rows, 0.5)[1] == -0.5


def test_what_cannot_be_silent_counts_as_sent() -> None:
    """A quarter of the decisions must send, and the log sends in half: the other quarter is the best of the rest."""
    x = np.arange(200) * 0.02 + 0.01
    data = log(x, 0.5)
    eligible = data.eligible.copy()
    eligible[:50, 0] = False
    probs = np.where(eligible, data.probs, 0.0)
    probs[:50, 1], probs[50:, 0], probs[50:, 1] = 1.0, 2 / 3, 1 / 3
    action = np.where(np.arange(200) < 100, 1, 0)
    must = LoggedDataset(
        context=data.context, candidates=data.candidates, eligible=eligible, action=action,
        propensity=probs[np.arange(200), action], reward=data.reward, objectives=data.objectives, user=data.user,
        time=data.time, probs=probs,
    )  # fmt: skip
    assert 2.99 <= steadied(advantage(), must, np.arange(200), 5.0)[1] < 3.01


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
