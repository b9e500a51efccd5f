"""Messages judged by their first days: beliefs against shows whose long-term worth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import make
from homing.learners.progressive import Progressive
from homing.learners.traces import Traces, one_each
from homing.log import LoggedDataset
from homing.policies import dataset_probs
from homing.simulation.impatient import TRACE_DAYS, Shows

DAY = 86_400_000_000
OLD, NEW, PER_MESSAGE, AGE = 60, 20, 40, 7


def shows_log(shows: Shows, rng: np.random.Generator) -> LoggedDataset:
    """Old shows are recommended on day 0, new ones so late that AGE days have passed; who is active is decided for.

    Everybody is decided for once more when the log ends.
    """
    arms = OLD + NEW
    show = np.repeat(np.arange(arms), PER_MESSAGE)
    begin = np.where(show < OLD, 0, TRACE_DAYS + 1 - AGE)
    trace = np.column_stack([np.ones(len(show)), shows.traces(show, rng)])  # the day of the recommendation counts
    user, age = np.nonzero(trace * (begin[:, None] + np.arange(TRACE_DAYS + 1) <= TRACE_DAYS))
    reward = np.append(np.ones(len(user)), np.zeros(len(show)))
    time = np.append((begin[user] + age) * DAY, np.full(len(show), TRACE_DAYS * DAY + DAY // 2))
    first = np.append(age == 0, np.zeros(len(show), bool))
    user, n = np.append(user, np.arange(len(show))), len(time)
    old = show[user] < OLD
    eligible = np.zeros((n, arms + 1), bool)
    eligible[:, 0] = True
    eligible[np.ix_(first & old, np.arange(1, OLD + 1))] = True
    eligible[np.ix_(first & ~old, np.arange(OLD + 1, arms + 1))] = True
    return LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, arms + 1, 1)), eligible=eligible,
        action=np.where(first, 1 + show[user], 0),
        propensity=np.where(first, np.where(old, 1 / OLD, 1 / NEW), 1.0), reward=reward[:, None],
        objectives=("active_days",), user=user, time=time,
    )  # fmt: skip


def test_a_week_tells_of_sixty_days_with_the_doubt_that_it_deserves() -> None:
    """Over new shows (truth − belief) / deviation has mean square 1, as far as the prior is known.

    Five logs of 20 shows leave a deviation of √(2/100) = 0.14; the prior's variance is told from 60 shows of 40 users
    each, which adds about √(2/59) · (1 + noise / variance) / √5 ≈ 0.16: 0.22 together, and the bounds are 2.5 of these.
    """
    rng = np.random.default_rng(0)
    z, corr = [], []
    for _ in range(5):
        shows = Shows.draw(OLD + NEW, rng)
        learner = make("progressive", draws=200)
        policy = learner.fit(shows_log(shows, rng), rng=rng)
        lines = [line for line in learner.report["beliefs"] if line["message"] != "silence"]
        assert [line["users"] for line in lines] == [PER_MESSAGE] * (OLD + NEW)
        worth, std = (np.array([line[name] for line in lines]) for name in ("worth", "std"))
        # States promise the same to everyone: what is left is the worth less a constant.
        offset = (shows.stickiness - worth)[:OLD].mean()
        off = shows.stickiness - worth - offset
        z.append(off[OLD:] / std[OLD:])
        corr.append(np.corrcoef(worth[OLD:], shows.stickiness[OLD:])[0, 1])
        assert std[OLD:].mean() > 1.1 * std[:OLD].mean()  # who was seen for a week is doubted more
    assert 0.45 < np.mean(np.concatenate(z) ** 2) < 1.55
    assert np.mean(corr) > 0.15  # of 0 without the first week; 0.3 over many logs, ± 0.1
    best = 1 + int(np.argmax(worth))
    probs = policy.action_probs(np.zeros((1, 1)), np.zeros((1, OLD + NEW + 1, 1)), np.ones((1, OLD + NEW + 1), bool))
    assert probs[0].argmax() == best


def test_traces_by_hand() -> None:
    """Two days of 12 hours each; user 1's last row lies beyond them."""
    hour = DAY // 24
    data = LoggedDataset(
        context=np.zeros((5, 1)), candidates=np.zeros((5, 2, 1)), eligible=np.ones((5, 2), bool), action=np.ones(5),
        propensity=np.full(5, 0.5), reward=[[1.0], [2.0], [4.0], [8.0], [16.0]], objectives=("visits",),
        user=[0, 1, 1, 1, 1], time=np.array([36, 0, 12, 13, 24]) * hour,
    )  # fmt: skip
    found = Traces.after(data, np.array([0, 1, 2]), days=2, day_hours=12.0)
    # The log ends a step (1, 11 or 12 hours; the median 11.5) after hour 36.
    assert found.observed.tolist() == [0, 2, 2]
    whole = found.values[:, :, 0] + 0.0
    assert whole[1, 0] - whole[1, 1] == pytest.approx(2.0 - 12.0)
    assert whole[2, 0] - whole[2, 1] == pytest.approx(12.0 - 16.0)


def test_each_user_counts_once_for_a_message_and_rare_chances_more(rng: np.random.Generator) -> None:
    """Of two sends with propensities 0.1 and 0.9, the first is kept nine times in ten."""
    n = 4000
    user, propensity = np.repeat(np.arange(n), 2), np.tile([0.1, 0.9], n)
    data = LoggedDataset(
        context=np.zeros((2 * n, 1)), candidates=np.zeros((2 * n, 2, 1)), eligible=np.ones((2 * n, 2), bool),
        action=np.ones(2 * n), propensity=propensity, reward=np.zeros((2 * n, 1)), objectives=("visits",), user=user,
        time=np.tile([0, 1], n),
    )  # fmt: skip
    rows = one_each(data, np.ones(2 * n, int), rng)
    assert np.array_equal(user[rows], np.arange(n))
    assert np.mean(propensity[rows] == 0.1) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / n))


def test_what_cannot_be_told_is_refused(rng: np.random.Generator) -> None:
    data = shows_log(Shows.draw(OLD + NEW, rng), rng)
    with pytest.raises(
        InvalidInputError, match="days == 90, must leave two messages with two whole traces; the longest"
    ):
        Progressive(days=90).fit(data, rng=rng)
    once = replace(data, user=np.arange(data.n), next=None)
    with pytest.raises(InvalidInputError, match="decisions of a user == 1, must be >= 2 for some"):
        Progressive().fit(once, rng=rng)
    with pytest.raises(UnknownNameError, match="group == 'plan'"):
        Progressive(group="plan").fit(data, rng=rng)
    learner = Progressive(epsilon=0.2, draws=50)
    probs = dataset_probs(learner.fit(data, rng=rng), data)
    assert (probs[data.eligible] >= 0.2 / data.eligible.sum(axis=1).max() - 1e-12).all()
