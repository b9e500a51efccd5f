"""What came of decisions: by hand, in closed form, and the same effect from logs of any length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.learners.lasting import Pace, first_place, pace_of, promise, sequel
from homing.learners.traces import Traces
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset

DAY_US = 86_400_000_000
NONE = np.zeros(0, dtype=np.int64)


def log(reward: np.ndarray, action: np.ndarray | None = None, x: np.ndarray | None = None) -> LoggedDataset:
    """A decision a day and user: reward (users, days)."""
    users, days = reward.shape
    n = users * days
    return LoggedDataset(
        context=np.zeros((n, 1)) if x is None else np.repeat(x, days)[:, None], candidates=np.zeros((n, 2, 1)),
        eligible=np.ones((n, 2), bool), action=np.zeros(n) if action is None else action.reshape(-1),
        propensity=np.full(n, 0.5), reward=reward.reshape(-1, 1), objectives=("visits",),
        user=np.repeat(np.arange(users), days), time=np.tile(np.arange(days) * DAY_US, users),
    )  # fmt: skip


def test_a_single_visit_by_hand() -> None:
    """Three days, a half-life of one: what comes after the first day, seen from the first decision."""
    data = log(np.array([[1.0, 2.0, 4.0]]))
    came = sequel(data, Gaps.of(data), NONE, fade_days=1.0)
    promised = came.promised[0, 0]
    # κ¹ · 2 + κ² · 4 = 2, less the promise times the integral of κ^t from day 1 to the log's end, day 3.
    rate = np.log(2.0)
    assert came.later[0, 0] == pytest.approx(2.0 - promised * (0.5 - 0.125) / rate)
    assert came.later[1:, 0] == pytest.approx([0.5 * 4.0 - promised * (0.5 - 0.25) / rate, 0.0])
    assert came.at_once[:, 0] == pytest.approx([1.0 - promised, 2.0 - promised, 4.0 - promised])
    exposure = [(0.25 - 1 / 64) / (2 * rate), (0.25 - 0.0625) / (2 * rate), 0.0]
    np.testing.assert_allclose(came.exposure, exposure, atol=1e-12)


def test_the_first_place_is_that_of_a_search_in_each_stretch(rng) -> None:
    """Against NumPy's search, one stretch after the other; times with ties, stretches of any length, none included."""
    bounds = np.cumsum([0, *rng.integers(0, 6, 40)])
    time = np.concatenate([np.sort(rng.integers(0, 8, size)) for size in np.diff(bounds)])
    which, wanted = rng.integers(0, 40, 300), rng.integers(-1, 10, 300)
    begin, end = bounds[which], bounds[which + 1]
    expected = [b + np.searchsorted(time[b:e], t) for b, e, t in zip(begin, end, wanted, strict=True)]
    np.testing.assert_array_equal(first_place(time, begin, end, wanted), expected)


def test_one_decision_dated_1970_moves_nothing_but_its_own() -> None:
    """With 7,000 users, users times microseconds since 1970 are beyond 64 bits: no number may grow like that."""
    users, start = 7_000, 1_770_000_000_000_000
    data = log(np.ones((users, 4)))
    dated = np.tile(np.arange(4) * DAY_US + start, users)
    odd = dated.copy()
    odd[0] = 0
    rows = np.arange(4, 4 * users)
    for first_days in (1.0, 3.0):
        came, expected = (
            sequel(each, Gaps.of(each), NONE, fade_days=28.0, first_days=first_days)
            for each in (replace(data, time=odd, next=None), replace(data, time=dated, next=None))
        )
        # The promise is fitted on all rows, user 0's too: what came is compared without it.
        sums = [one.at_once[rows] + one.promised[rows] * first_days for one in (came, expected)]
        np.testing.assert_allclose(sums[0], sums[1], atol=1e-2)
    found, wanted = (Traces.after(replace(data, time=t, next=None), rows, 3) for t in (odd, dated))
    np.testing.assert_array_equal(found.observed, wanted.observed)
    np.testing.assert_allclose(np.diff(found.values, axis=1), np.diff(wanted.values, axis=1), atol=1e-9)


def test_an_effect_is_the_same_from_logs_of_any_length(rng) -> None:
    """A message on day 0 adds 0.5 · κ^(t − 1) a day from day 1 on, to a pace of 1 with noise of 0.3."""
    fade, users = 10.0, 4_000
    for days in (4, 12, 30):
        action = np.zeros((users, days), dtype=int)
        action[:, 0] = rng.integers(0, 2, users)
        t = np.arange(days)
        reward = 1.0 + 0.3 * rng.normal(size=(users, days)) + 0.5 * action[:, :1] * 0.5 ** (t / fade) * (t > 0)
        data = log(reward, action)
        came = sequel(data, Gaps.of(data), NONE, fade)
        first = np.arange(0, users * days, days)
        told = came.later[first, 0] / came.exposure[first]
        sent = action[:, 0] == 1
        # A day's sum stands at its beginning: Σ κ^2t over days 1 … T−1 against the integral from 1 to T. The error of
        # the mean is 0.3 / sqrt(S · users / 4) < 0.01.
        kappa = 0.5 ** (t[1:] / fade)
        expected = 0.5 * (kappa**2).sum() / came.exposure[0]
        assert told[sent].mean() - told[~sent].mean() == pytest.approx(expected, abs=0.04)
        assert expected == pytest.approx(0.5, rel=0.08)


def test_where_nobody_comes_back_all_is_at_once(rng) -> None:
    data = log(rng.normal(size=(50, 1)))
    came = sequel(data, Gaps.of(data), NONE, 10.0)
    assert not came.later.any()
    assert not came.exposure.any()
    np.testing.assert_allclose(came.at_once, data.reward - data.reward.mean(), atol=1e-6)


def test_promises_are_a_weighted_regression(rng) -> None:
    x = rng.normal(size=(3_000, 1)).astype(np.float32)
    days = rng.uniform(1.0, 20.0, 3_000)
    total = (2.0 + 0.5 * x) * days[:, None]
    # Linear in x, so exact but for a ridge of 100 among 30,000 days.
    np.testing.assert_allclose(promise(x, total, days, NONE), 2.0 + 0.5 * x, atol=0.02)


def test_pace_is_linear_and_never_below_a_tenth_of_its_mean(rng) -> None:
    x = rng.normal(size=(5_000, 2)).astype(np.float32)
    pace = pace_of(x, (1.0 + 0.4 * x[:, 0]).astype(np.float64))
    np.testing.assert_allclose(pace.linear, [1.0, 0.4, 0.0], atol=0.02)
    assert pace.of(np.array([[-9.0, 0.0]]))[0] == pytest.approx(0.1, rel=0.02)
    assert Pace.constant(2).of(x[:3]).tolist() == [1.0, 1.0, 1.0]
