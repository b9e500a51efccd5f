"""Surrogate rewards against a chain whose advantages are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import make
from homing.learners.surrogate import surrogate_rewards
from homing.log import LoggedDataset
from homing.policies import dataset_probs

DAY = 86_400_000_000
#: P(state 1 next | state, action), and the reward of each (state, action): a message brings a click and cools users.
WARM = np.array([[0.4, 0.1], [0.9, 0.5]])
REWARD = np.array([[0.0, 0.2], [1.0, 1.2]])
GAMMA, SENT = 0.8, 0.5


def advantages() -> np.ndarray:
    """Q(s, a) − V(s) of the policy that sends at random, by solving Bellman's equation of two states."""
    to_warm = (1 - SENT) * WARM[:, 0] + SENT * WARM[:, 1]
    kernel = np.column_stack([1 - to_warm, to_warm])
    mean = (1 - SENT) * REWARD[:, 0] + SENT * REWARD[:, 1]
    value = np.linalg.solve(np.eye(2) - GAMMA * kernel, mean)
    return REWARD + GAMMA * (value[0] + WARM * (value[1] - value[0])) - value[:, None]


def chain(users: int, steps: int, rng: np.random.Generator) -> LoggedDataset:
    state = (rng.random(users) < 0.5).astype(int)
    states, actions = [], []
    for _ in range(steps):
        action = (rng.random(users) < SENT).astype(int)
        states.append(state)
        actions.append(action)
        state = (rng.random(users) < WARM[state, action]).astype(int)
    s, a = np.array(states).T.ravel(), np.array(actions).T.ravel()
    n = users * steps
    return LoggedDataset(
        context=np.where(s, 1.0, -1.0)[:, None], candidates=np.tile([[0.0], [1.0]], (n, 1, 1)),
        eligible=np.ones((n, 2), bool), action=a, propensity=np.full(n, 0.5), reward=REWARD[s, a][:, None],
        objectives=("worth",), user=np.repeat(np.arange(users), steps), time=np.tile(np.arange(steps) * DAY, users),
    )  # fmt: skip


def test_they_average_to_the_advantage(rng: np.random.Generator) -> None:
    data = chain(2000, 20, rng)
    told = surrogate_rewards(data, gamma=GAMMA, rng=rng)
    assert told.n == data.n - 2000  # users' last decisions have no sequel
    want = advantages()
    assert (want[:, 1] < 0).all() and (REWARD[:, 1] > REWARD[:, 0]).all()  # a click now, and less later
    for s in (0, 1):
        for a in (0, 1):
            found = told.reward[(told.context[:, 0] > 0) == s][:, 0]
            found = found[told.action[(told.context[:, 0] > 0) == s] == a]
            # Values are told from 20,000 decisions: their error is of the order of that of the mean itself.
            assert found.mean() == pytest.approx(want[s, a], abs=8 * found.std() / np.sqrt(len(found)))


def test_a_learner_of_single_decisions_becomes_patient(rng: np.random.Generator) -> None:
    data = chain(300, 20, rng)
    hasty = dataset_probs(make("linear", epsilon=0.0).fit(data, rng=rng), data)[:, 1].mean()
    learner = make("surrogate", base="linear", params={"epsilon": 0.0}, gamma=GAMMA)
    patient = dataset_probs(learner.fit(data, rng=rng), data)[:, 1].mean()
    assert hasty > 0.99 and patient < 0.01
    assert learner.report["settings"]["base"] == "linear"
    assert learner.report["settings"]["decisions left out"] == 300


def test_mistakes(rng: np.random.Generator) -> None:
    once = chain(50, 1, rng)
    with pytest.raises(InvalidInputError, match="decisions of a user == 1, must be >= 2 for some"):
        surrogate_rewards(once, rng=rng)
    with pytest.raises(InvalidInputError, match=r"gamma == 1.0, must be in \(0, 1\)"):
        surrogate_rewards(chain(50, 2, rng), gamma=1.0, rng=rng)
    with pytest.raises(InvalidInputError, match="folds == 1, must be a whole number >= 2"):
        surrogate_rewards(chain(50, 2, rng), folds=1, rng=rng)  # values would be told from nobody, and be 0
    with pytest.raises(InvalidInputError, match="gone_after_days == 'x', must be a number >= 0"):
        surrogate_rewards(chain(50, 2, rng), gone_after_days="x", rng=rng)
    with pytest.raises(InvalidInputError, match="base == 'surrogate', must be another learner"):
        make("surrogate", base="surrogate")
    with pytest.raises(UnknownNameError, match="parameter of linear == 'nope'"):
        make("surrogate", base="linear", params={"nope": 1})
