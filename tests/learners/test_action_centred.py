"""Action-centred regression: effects do not move with what the state does to rewards, only with the randomisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.learners import make
from homing.learners.action_centred import CentredSums
from homing.log import LoggedDataset
from homing.policies import dataset_probs

#: Effect of a message: 0.5 + 0.3 x − 0.4 · [second message]; nothing else in the log's rewards depends on the action.
TRUE = np.array([0.5, 0.3, -0.4])
#: Standard errors of these from 40,000 decisions, with the whole distribution logged, and with propensities alone.
ERRORS = np.array([0.022, 0.037, 0.029])
WEIGHTED_ERRORS = np.array([0.029, 0.059, 0.039])


def log(n: int, rng: np.random.Generator, *, silent: bool = True) -> LoggedDataset:
    """Rewards rise with the state by 1.5 x, and the log sends the more, the larger x is."""
    x = rng.normal(size=n)
    send = 1 / (1 + np.exp(-x))
    probs = np.column_stack([1 - send, 0.7 * send, 0.3 * send]) if silent else np.tile([0.0, 0.5, 0.5], (n, 1))
    action = (rng.random((n, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    effect = (action > 0) * (0.5 + 0.3 * x) - 0.4 * (action == 2)
    candidates = np.zeros((n, 3, 2), dtype=np.float32)
    candidates[:, 1, 0] = candidates[:, 2, 1] = 1
    return LoggedDataset(
        context=x[:, None], candidates=candidates, eligible=probs > 0, action=action,
        propensity=probs[np.arange(n), action], reward=(1.5 * x + effect + rng.normal(size=n))[:, None],
        objectives=("r",), user=np.arange(n), time=np.zeros(n), probs=probs,
    )  # fmt: skip


def theta(data: LoggedDataset) -> np.ndarray:
    fold = np.arange(data.n) % 3
    outcome = data.reward - data.reward.mean(axis=0)
    found = CentredSums.of(data, outcome, fold, 3).ridge([1e-3], np.ones(1))[0][:, 0]
    # The two messages' columns sum to the constant: told as the first message's effect, and the second's difference.
    return np.array([found[0] + found[2], found[1], found[3] - found[2]])


@pytest.mark.parametrize("whole", [True, False], ids=["whole distribution", "propensities alone"])
def test_effects_are_found_behind_a_confounded_state(whole, rng) -> None:
    """A regression without centring sees 1.5 x in who was sent a message.

    Four standard errors, which are those over sixty other logs.
    """
    data = log(40_000, rng)
    found = theta(data if whole else replace(data, probs=None))
    assert (np.abs(found - TRUE) <= 4 * (ERRORS if whole else WEIGHTED_ERRORS)).all()
    naive = data.reward[data.action > 0].mean() - data.reward[data.action == 0].mean()
    assert naive > 1.0  # the truth is about 0.5


def test_silence_that_was_never_left_to_chance_is_refused(rng) -> None:
    data = log(500, rng, silent=False)
    with pytest.raises(
        InvalidInputError, match=r"variance of sending .* must be > 0\. Effects need decisions in which"
    ):
        theta(data)


def test_noise_is_told_from_effects_on_other_users(rng) -> None:
    """Where no message does anything, shrinking effects away tells left-out users' rewards better, in the mean."""
    losses = np.zeros(2)
    for _ in range(30):
        data = log(600, rng)
        noise = rng.normal(size=(data.n, 1))
        losses += CentredSums.of(data, noise, np.arange(data.n) % 3, 3).ridge([1.0, 1e6], np.ones(1))[1]
    assert losses[0] < losses[1]  # from the strongest penalty


def test_the_learner_sends_to_those_who_gain(rng) -> None:
    data = log(8000, rng)
    policy = make("r-learner", epsilon=0.0, threshold=0.0, penalties=[1.0]).fit(data, rng=rng)
    choice = dataset_probs(policy, data).argmax(axis=1)
    x = data.context[:, 0]
    # The first message is better by 0.4 always, and worth sending above x = −5/3.
    assert (choice[x > -1.2] == 1).mean() > 0.99
    assert (choice[x < -2.4] == 0).all()
