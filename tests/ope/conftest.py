"""Synthetic logs."""

from collections.abc import Callable

import numpy as np
import pytest

from homing.log.dataset import LoggedDataset


def build_log(*, action, propensity, reward, user=None, eligible=None, k=2, probs=None, objectives=None):
    """A log from its essential columns; features are constant."""
    action = np.asarray(action)
    n = len(action)
    reward = np.asarray(reward, dtype=float).reshape(n, -1)
    return LoggedDataset(
        context=np.zeros((n, 1)),
        candidates=np.zeros((n, k, 1)),
        eligible=np.ones((n, k), bool) if eligible is None else eligible,
        action=action,
        propensity=np.broadcast_to(np.asarray(propensity, dtype=float), (n,)),
        reward=reward,
        objectives=objectives or ("clicked", "spend", "sessions")[: reward.shape[1]],
        user=np.arange(n) if user is None else np.asarray(user),
        time=np.arange(n),
        probs=probs,
    )


@pytest.fixture
def make_log() -> Callable[..., LoggedDataset]:
    return build_log


@pytest.fixture
def random_case(rng):
    """A log of 400 decisions of 90 users, its logging policy, another policy and predictions, all drawn."""

    def draw(n=400, users=90, k=4, m=2):
        logging, target = rng.dirichlet(np.full(k, 3.0), n), rng.dirichlet(np.full(k, 3.0), n)
        action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, k - 1)
        log = build_log(
            action=action,
            propensity=logging[np.arange(n), action],
            reward=rng.normal(1.0, 1.0, (n, m)),
            user=rng.integers(0, users, n),
            k=k,
        )
        return log, logging, target, rng.normal(1.0, 0.5, (n, k, m))

    return draw
