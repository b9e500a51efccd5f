"""Does a log still speak of today? Hand-worked shifts, a ratio with a closed form, coverage of the reweighted value."""

import json
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics import Today, log_drift
from homing.ope.diagnostics.density_ratio import density_ratio
from homing.ope.diagnostics.shifts import feature_shifts, stability_index
from homing.ope.estimate import Clusters
from homing.ope.today import evaluate_today


def log_at(x, rng, *, user=None, eligible=None, reward=None, k=2):
    """A log of coin flips between k candidates at contexts x (n, d)."""
    n = len(x)
    eligible = np.ones((n, k), bool) if eligible is None else eligible
    probs = eligible / eligible.sum(axis=1, keepdims=True)
    action = (probs.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)
    return LoggedDataset(
        context=x, candidates=np.zeros((n, k, 1)), eligible=eligible, action=action,
        propensity=probs[np.arange(n), action], reward=(np.zeros(n) if reward is None else reward(action))[:, None],
        objectives=("spend",), user=np.arange(n) if user is None else user, time=np.arange(n),
    )  # fmt: skip


def now_at(x, *, user=None, eligible=None, k=2):
    n = len(x)
    return Today(x, np.zeros((n, k, 1)), np.ones((n, k), bool) if eligible is None else eligible, user)


def test_shifts_by_hand(rng):
    """Then 0 and 2 in turn, now 1 and 3: one up, of standard deviation 1 in both; errors are 1 / √100 and 1 / √200."""
    log = log_at(np.tile([0.0, 2.0], 50)[:, None], rng)
    found = log_drift(log, now_at(np.tile([1.0, 3.0], 100)[:, None]), rng=rng)
    (shift,) = found.features
    assert (shift.log_mean, shift.today_mean, shift.difference.value) == (1.0, 2.0, 1.0)
    # 300 users, each one's error squared: 1 / 100² and 1 / 200², corrected by 300 / 299.
    assert shift.difference.std_error == pytest.approx(np.sqrt((1 / 100 + 1 / 200) * 300 / 299), rel=1e-12)
    assert (
        shift.clear and found.verdict == "caution" and found.reasons[0].startswith("context[0] went from 1 to 2, 1.00")
    )


def test_the_stability_index_by_hand():
    """Half of the log's rows in each of two bins, three quarters of today's in one: ¼ ln 1.5 - ¼ ln 0.5 = ¼ ln 3."""
    before, after = np.repeat([0.0, 1.0], 50_000), np.repeat([0.0, 1.0], [25_000, 75_000])
    assert stability_index(before, after) == pytest.approx(0.25 * np.log(3.0), rel=1e-4)
    assert stability_index(before, before) == 0.0


def test_users_in_both_are_one_cluster(rng):
    """The same users with the same contexts, then and now: nothing can have moved by chance."""
    user = np.arange(200) // 2
    x = rng.normal(size=(200, 1))
    log = replace(log_at(x, rng, user=user), user_ids=np.array([f"u{i}" for i in range(100)]))
    found = log_drift(log, now_at(x, user=[f"u{i}" for i in user]), rng=rng)
    assert found.features[0].difference.std_error == pytest.approx(0.0, abs=1e-12)
    assert found.clusters.count == 100
    apart = log_drift(log, now_at(x), rng=rng)
    assert apart.features[0].difference.std_error > 0.05 and apart.clusters.count == 300


def test_the_ratio_of_two_normals(rng):
    """N(½, 1) over N(0, 1) is exp(x / 2 - 1/8); of 20,000 rows a fraction exp(-1/4) is left."""
    x, now = rng.normal(0.0, 1.0, 20_000), rng.normal(0.5, 1.0, 20_000)
    clusters = Clusters(np.arange(40_000), 40_000)
    ratio = density_ratio(x[:, None], now[:, None], clusters, folds=5, rng=rng)
    # Both coefficients have an error of about √(4 / 40,000) = 0.01, at x = 2 so 0.02: five of them.
    assert np.abs(np.log(ratio) - (x / 2 - 1 / 8))[np.abs(x) < 2].max() < 0.12
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)
    drift = log_drift(log_at(x[:, None], rng), now_at(now[:, None]), rng=rng)
    assert drift.ess_share == pytest.approx(np.exp(-0.25), abs=0.03)


def test_no_drift_raises_no_alarm_more_often_than_it_may():
    """150 pairs drawn alike, ten features: 5 % with an interval beyond 0. Three standard errors are 5.3 points."""
    moved = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(150), 2)
        mine = rng.normal(size=(150, 10))[user] + rng.normal(size=(300, 10))
        now = rng.normal(size=(200, 10)) * np.sqrt(2.0)
        users = Clusters(np.concatenate([user, 150 + np.arange(200)]), 350)
        found = feature_shifts([f"x{j}" for j in range(10)], mine, now, users, 0.95, rng)
        moved += any(not item.difference.lower <= 0.0 <= item.difference.upper for item in found)
    assert abs(moved / 150 - 0.05) < 0.053


def test_contexts_that_the_log_does_not_know_refuse(rng):
    found = log_drift(log_at(rng.normal(0, 1, (2000, 1)), rng), now_at(rng.normal(4, 1, (2000, 1))), rng=rng)
    assert found.verdict == "refuse" and "hardly any of them is like today's" in found.reasons[-1]


def test_decisions_that_the_log_never_met(rng):
    """Candidate 1 was always eligible then, today in three of ten decisions: the others are unheard of."""
    now = np.ones((1000, 2), bool)
    now[:, 1] = np.arange(1000) % 10 < 3
    found = log_drift(log_at(np.zeros((2000, 1)), rng), now_at(np.zeros((1000, 1)), eligible=now), rng=rng)
    assert found.covered.value == pytest.approx(0.3, abs=0.02) and found.verdict == "refuse"
    assert "Only 30% of today's decisions are like any in the log" in " ".join(found.reasons)


def test_messages_that_are_new_or_gone(rng):
    """Candidate 1 is no longer eligible, candidate 2 was never in the log."""
    n = 1000
    then, now = np.tile([True, True, False], (n, 1)), np.tile([True, False, True], (n, 1))
    x = np.zeros((n, 1))
    log, today = log_at(x, rng, eligible=then, k=3), now_at(x, eligible=now, k=3)
    found = log_drift(log, today, rng=rng)
    assert [(item.message, item.state) for item in found.messages] == [
        ("candidate 2", "new"), ("candidate 1", "gone"), ("silence", "kept"),
    ]  # fmt: skip
    assert found.reasons[0] == "Messages are eligible today that the log never sent: candidate 2."
    assert "of the log's choices were of messages that are gone: candidate 1." in found.reasons[1]
    asked = log_drift(log, today, rng=rng, action_probs=np.tile([0.9, 0.0, 0.1], (n, 1)))
    assert asked.verdict == "refuse"
    assert (
        asked.reasons[0] == "10.0% of the policy's choices today are of messages that the log never sent: candidate 2."
    )
    silent = log_drift(log, today, rng=rng, action_probs=np.tile([1.0, 0.0, 0.0], (n, 1)))
    assert not any("never sent" in reason for reason in silent.reasons)


def test_renderings(rng):
    x = rng.normal(size=(400, 30))
    x[:, 1] = rng.random(400) < 0.5
    found = log_drift(log_at(x, rng), now_at(x + 1.0), rng=rng)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["verdict"] == found.verdict and len(data["features"]) == 30 and "ratio" not in data
    assert found.to_text().count("\n") > 20 and "context[" in found.to_text()
    page = found.to_html()
    assert "<svg" in page and "Does the log speak of today?" in page and "20 of 30" in page


def test_reweighting_by_hand(rng):
    """Two contexts, half and half then, one in five today: the value is 0.8 · 1 + 0.2 · 3 in place of 2."""
    n = 1000
    x = np.tile([0.0, 1.0], n // 2)
    log = log_at(x[:, None], rng, reward=lambda action: np.where(x == 1, 3.0, 1.0))
    now = np.tile([0.0, 0.0, 0.0, 0.0, 1.0], 200)
    drift = log_drift(log, now_at(now[:, None]), rng=rng)
    always = np.tile([0.0, 1.0], (n, 1))
    exact = replace(drift, ratio=np.where(x == 1, 0.2 / 0.5, 0.8 / 0.5))
    plain = evaluate_today(log, always, exact)["spend"]
    chosen = log.action == 1
    weights = exact.ratio * chosen
    assert plain.value == pytest.approx((weights * np.where(x == 1, 3.0, 1.0)).sum() / weights.sum())
    q = np.repeat(np.where(x == 1, 3.0, 1.0)[:, None], 2, axis=1)
    modelled = evaluate_today(log, always, exact, q_hat=q, q_today=np.where(now == 1, 3.0, 1.0))["spend"]
    assert modelled.value == pytest.approx(1.4, rel=1e-12)
    # What is left is today's own spread: 2 · √(0.2 · 0.8 / 1,000).
    assert modelled.std_error == pytest.approx(2.0 * np.sqrt(0.16 / 1000), rel=1e-3)


def test_reweighted_intervals_cover_the_value_of_today():
    """Reward x · a + noise at N(½, 1) from a log at N(0, 1), users in pairs: 0.5 today and 0 in the log.

    100 logs; three standard errors of 95 % are 6.5 points. With the model that knows x · a to a factor, doubly robust.
    """
    held = {"plain": 0, "modelled": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(300), 2)
        x, now = rng.normal(0.0, 1.0, (600, 1)), rng.normal(0.5, 1.0, (400, 1))
        keen = rng.normal(0.0, 0.5, 300)[user]
        log = log_at(
            x, rng, user=user, reward=lambda a, x=x, keen=keen, rng=rng: x[:, 0] * a + keen + rng.normal(size=600)
        )
        drift = log_drift(log, now_at(now), rng=rng, folds=2)
        always = np.tile([0.0, 1.0], (600, 1))
        plain = evaluate_today(log, always, drift)["spend"]
        q = 0.7 * np.column_stack([np.zeros(600), x[:, 0]])
        modelled = evaluate_today(log, always, drift, q_hat=q, q_today=0.7 * now[:, 0])["spend"]
        held["plain"] += plain.lower <= 0.5 <= plain.upper
        held["modelled"] += modelled.lower <= 0.5 <= modelled.upper
    assert min(held.values()) / 100 > 0.885


def test_wrong_input(rng):
    log = log_at(np.zeros((100, 1)) + np.arange(100)[:, None], rng)
    with pytest.raises(InvalidInputError, match=r"today\.context\.shape == \(50, 2\), must be \(50, 1\)"):
        log_drift(log, now_at(np.zeros((50, 2))), rng=rng)
    with pytest.raises(InvalidInputError, match=r"today\.eligible\[0\] == 'none', must hold a candidate"):
        log_drift(log, now_at(np.zeros((50, 1)), eligible=np.zeros((50, 2), bool)), rng=rng)
    with pytest.raises(InvalidInputError, match=r"action_probs\.shape"):
        log_drift(log, now_at(np.ones((50, 1))), rng=rng, action_probs=np.ones((3, 2)))
    with pytest.raises(InvalidInputError, match=r"action_probs\[0, 0\] == nan, must be finite"):
        log_drift(log, now_at(np.ones((50, 1))), rng=rng, action_probs=np.full((50, 2), np.nan))
    with pytest.raises(SupportError, match=r"rows of today from other users == 0, .* Give more of its users"):
        log_drift(log, now_at(np.ones((1, 1))), rng=rng)
    alone = log_at(np.arange(100.0)[:, None], rng, user=np.zeros(100, int))
    with pytest.raises(SupportError, match="rows of log from other users == 0"):
        log_drift(alone, now_at(np.ones((50, 1))), rng=rng)
    drift = log_drift(log, now_at(np.arange(50.0)[:, None]), rng=rng)
    with pytest.raises(InvalidInputError, match=r"q_today == None, must be given with the other"):
        evaluate_today(log, log.eligible / 2, drift, q_hat=np.zeros((100, 2)))
