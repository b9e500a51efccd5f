"""Reports with exactly known rates, without chance."""

from collections.abc import Callable

import numpy as np
import pytest

from homing.log.dataset import LoggedDataset
from homing.ope import OPEReport, evaluate_policy


def coin_flip_log(rates: dict[str, tuple[float, float]], n: int = 4000) -> LoggedDataset:
    """Half of the rows took action 0, half action 1; each objective's rate under each action is exactly as given."""
    action = np.arange(n) % 2
    rank = np.arange(n) // 2 / (n / 2)  # position among the rows of one action, in [0, 1)
    columns = [np.where(action == 1, rank < high, rank < low) for low, high in rates.values()]
    return LoggedDataset(
        context=np.zeros((n, 1)),
        candidates=np.zeros((n, 2, 1)),
        eligible=np.ones((n, 2), bool),
        action=action,
        propensity=np.full(n, 0.5),
        reward=np.stack(columns, axis=1).astype(float),
        objectives=tuple(rates),
        user=np.arange(n),
        time=np.arange(n),
    )


@pytest.fixture
def make_reports() -> Callable[..., tuple[OPEReport, OPEReport]]:
    """The challenger always takes action 1, the champion always action 0."""

    def make(rates: dict[str, tuple[float, float]], n: int = 4000) -> tuple[OPEReport, OPEReport]:
        log = coin_flip_log(rates, n)
        return tuple(
            evaluate_policy(log, np.tile(np.eye(2)[action], (n, 1)), policy=name)
            for action, name in ((1, "challenger"), (0, "champion"))
        )

    return make
