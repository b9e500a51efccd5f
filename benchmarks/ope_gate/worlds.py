"""Logs with a known truth, on which policies that do not look at the context are all equally good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.log import LoggedDataset

FloatArray = NDArray[np.float64]
ACTIONS = 3
#: The logging policy's probabilities in either context.
LOGGING = np.array([0.6, 0.2, 0.2])
CHAMPION = np.array([0.8, 0.1, 0.1])
#: Users' own factors on every rate, of mean 1.
KEEN = (0.5, 1.5)
CONVERSION = 0.1
OPT_OUT = (0.004, 0.008, 0.008)
OBJECTIVES = ("conversion", "opt_out")
#: Decisions per user, geometric.
PER_USER = 3


@dataclass(frozen=True)
class World:
    """Two contexts, equally likely, in which messages 1 and 2 change places.

    Attributes:
        lift: what the right one of both messages adds to the rate of conversion, and the wrong one takes away.
    """

    lift: float

    @property
    def conversion(self) -> FloatArray:
        """Rates by context and action (2, 3)."""
        moved = np.array([[0.0, 1.0, -1.0], [0.0, -1.0, 1.0]])
        return CONVERSION + self.lift * moved

    def truth(self, policy: FloatArray) -> dict[str, float]:
        """A policy's value per decision from its probabilities (2, 3)."""
        rates = {"conversion": self.conversion, "opt_out": np.tile(OPT_OUT, (2, 1))}
        return {name: float((policy * rate).sum(axis=1).mean()) for name, rate in rates.items()}

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[LoggedDataset, NDArray[np.int64]]:
        """A log of about so many rows, and the context of each."""
        user = np.repeat(np.arange(rows // PER_USER), rng.geometric(1 / PER_USER, rows // PER_USER))
        n = len(user)
        context = rng.integers(0, 2, n)
        action = rng.choice(ACTIONS, n, p=LOGGING)
        keen = rng.choice(KEEN, int(user[-1]) + 1)[user]
        rates = np.stack([self.conversion[context, action], np.array(OPT_OUT)[action]], axis=1) * keen[:, None]
        log = LoggedDataset(
            context=context[:, None].astype(np.float32),
            candidates=np.zeros((n, ACTIONS, 1), np.float32),
            eligible=np.ones((n, ACTIONS), bool),
            action=action,
            propensity=LOGGING[action],
            reward=(rng.random((n, 2)) < rates).astype(float),
            objectives=OBJECTIVES,
            user=user,
            time=np.arange(n),
        )
        return log, context


def blind(*probs: float) -> FloatArray:
    """A policy that does the same in both contexts (2, 3)."""
    return np.tile(np.array(probs), (2, 1))


def aware(right: float, moved: float = 0.1) -> FloatArray:
    """One that gives the right message `right`, the wrong one `moved`, and silence the rest."""
    silence = 1.0 - right - moved
    return np.array([[silence, right, moved], [silence, moved, right]])
