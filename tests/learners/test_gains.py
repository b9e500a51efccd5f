"""What a policy adds to the log's: by hand, and the worth of a channel in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from homing.learners.gains import added_values, gains
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset
from homing.policies import Effects, LinearRewardModel, StructuredAdvantage

DAY_US = 86_400_000_000
GAMMA = 0.8


def scorer() -> StructuredAdvantage:
    """Half respond to any message, one in ten leaves. What it does: 0.9 (−1 + x / 2 + 0.5 · 4), and by its columns
    0.9 · 0.5 · (2 or 6) more, on the first objective; the second is nothing to it."""
    response = LinearRewardModel(
        np.zeros((2, 2, 1), dtype=np.float32), np.zeros((2, 2)), np.zeros((2, 1)), np.array([0.0, np.log(1 / 9)]),
        ("logit", "logit"), np.ones(2), np.zeros(2), np.ones(2),
    )  # fmt: skip
    columns = np.zeros((2, 2, 2))
    columns[1, 0] = 2.0, 6.0
    return StructuredAdvantage(
        response=response,
        now=Effects(np.array([[-1.0, 0.0], [4.0, 0.0]]), np.array([[[0.5], [0.0]], [[0.0], [0.0]]]), columns * 0.0),
        sticks=Effects(np.zeros((2, 2)), np.zeros((2, 2, 1)), columns),
        reach=np.array([[[3.0, 1.0], [0.0, 0.0]]]), reach_columns=np.array([1]), cost=np.zeros(3),
        weights=np.array([1.0, 0.0]),
    )  # fmt: skip


def log(x: np.ndarray, action: np.ndarray, eligible: np.ndarray, n_users: int) -> LoggedDataset:
    """A decision a day; silence, and a message for each of the two columns."""
    n = len(x)
    return LoggedDataset(
        context=x[:, None], candidates=np.tile([[0, 0], [1, 0], [0, 1]], (n, 1, 1)), eligible=eligible, action=action,
        propensity=np.full(n, 1 / 3), reward=np.zeros((n, 2)), objectives=("paid", "nothing"),
        user=np.repeat(np.arange(n_users), n // n_users), time=np.tile(np.arange(n // n_users) * DAY_US, n_users),
    )  # fmt: skip


def test_the_best_eligible_message_less_the_logged_one_by_hand() -> None:
    """At x = 2 the messages do 2.7 and 4.5; the second one is best, where it may be sent."""
    eligible = np.ones((4, 3), bool)
    eligible[2, 2] = False
    data = log(np.full(4, 2.0), np.array([0, 1, 0, 2]), eligible, 4)
    np.testing.assert_allclose(scorer().effects(data.context, data.candidates[np.arange(4)])[0, :, 0], [0.0, 2.7, 4.5])
    np.testing.assert_allclose(gains(scorer(), data, np.arange(4)), [[4.5, 0], [1.8, 0], [2.7, 0], [0, 0]])
    np.testing.assert_allclose(gains(scorer(), data, np.array([2, 3])), [[2.7, 0], [0, 0]])


@pytest.mark.parametrize("share", [1.0, 0.5], ids=["of all rows", "of half of them"])
def test_a_channel_is_worth_what_will_come_by_it(share: float, rng: np.random.Generator) -> None:
    """Who keeps it open (x = 1) gets 0.9 (−1 + 0.5 + 2 + 3) = 4.05 a day by it, where the log was silent."""
    n_users, days = 300, 12
    n = n_users * days
    x = np.repeat(rng.integers(0, 2, n_users), days).astype(float)
    eligible = np.column_stack([np.ones(n), np.zeros(n), x]).astype(bool)
    data = log(x, np.zeros(n, dtype=int), eligible, n_users)
    gaps = Gaps.of(data)
    rows = rng.choice(n, int(share * n), replace=False)
    flags = np.array([0])
    told = added_values(scorer(), data, rows, gaps, np.where(gaps.terminal, 0.0, GAMMA**gaps.days), flags, 1e-6)
    np.testing.assert_allclose(told.of(np.array([[0.0], [1.0]])), [[0, 0], [4.05 / (1 - GAMMA), 0]], atol=1e-3)
    worth = told.of_permission()[0]
    np.testing.assert_allclose(worth[:, 0] + worth[:, 1], [4.05 / (1 - GAMMA), 0.0], atol=1e-3)
