"""Logs with a known truth: how random the logging policy was, what the rewards are like, how users come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.log import LoggedDataset
from homing.log.candidates import CandidateStore

FloatArray = NDArray[np.float64]
ACTIONS = 3
#: The logging policy prefers these actions in contexts 0 and 1, the target the other way round.
PREFERRED, TARGET = np.array([1, 2]), np.array([2, 1])
#: Mean reward by context and action, before a reward's own scale.
MEANS = np.array([[0.5, 0.8, 1.0], [0.8, 1.4, 1.5]])
#: Users' own factors, of mean 1.
KEEN = (0.25, 1.75)


@dataclass(frozen=True)
class World:
    """What logs are drawn from.

    Attributes:
        name: for the table.
        epsilon: share of decisions that the logging policy drew uniformly; the others go to what it prefers.
        reward: `common` (a click in 20 %), `rare` (an opt-out in 0.5 %) or `heavy` (10 % buy, a lognormal sum of shape
            1.5: kurtosis in the thousands).
        users: `single` (one decision each), `returning` (geometric, 3 on average) or `many` (geometric, 10).
    """

    name: str
    epsilon: float
    reward: str
    users: str

    @property
    def logging(self) -> FloatArray:
        """Probabilities by context and action (2, 3)."""
        return _mostly(PREFERRED, self.epsilon)

    @property
    def target(self) -> FloatArray:
        """The policy that is evaluated, which explores 10 %."""
        return _mostly(TARGET, 0.1)

    @property
    def scale(self) -> float:
        """Mean reward where `MEANS` is 1 and the user average."""
        return {"common": 0.2, "rare": 0.005, "heavy": 0.1 * float(np.exp(1.5**2 / 2))}[self.reward]

    @property
    def truth(self) -> float:
        """The target's value per decision; contexts are equally likely and users' factors average to 1."""
        return self.scale * float((self.target * MEANS).sum(axis=1).mean())

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[LoggedDataset, FloatArray, FloatArray]:
        """A log of about so many rows, the target's probabilities (n, 3), and a rough model's predictions (n, 3)."""
        user = self._users(rows, rng)
        n = len(user)
        context = rng.integers(0, 2, n)
        probs = self.logging[context]
        action = (probs.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, ACTIONS - 1)
        mean = MEANS[context, action] * rng.choice(KEEN, int(user[-1]) + 1)[user]
        log = LoggedDataset(
            context=np.zeros((n, 1), np.float32),
            candidates=CandidateStore.from_padded(np.zeros((n, ACTIONS, 1), np.float32)),
            eligible=np.ones((n, ACTIONS), bool),
            action=action,
            propensity=probs[np.arange(n), action],
            reward=_DRAWS[self.reward](mean, rng)[:, None],
            objectives=("reward",),
            user=user,
            time=np.arange(n),
        )
        # The model knows the contexts and half of what the actions do.
        predicted = self.scale * (0.5 * MEANS + 0.5 * MEANS.mean(axis=1, keepdims=True))
        return log, self.target[context], predicted[context]

    def _users(self, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if self.users == "single":
            return np.arange(rows)
        average = {"returning": 3, "many": 10}[self.users]
        return np.repeat(np.arange(rows // average), rng.geometric(1 / average, rows // average))


def _mostly(preferred: NDArray[np.int64], explored: float) -> FloatArray:
    return (1.0 - explored) * np.eye(ACTIONS)[preferred] + explored / ACTIONS


_DRAWS: dict[str, Callable[[FloatArray, np.random.Generator], FloatArray]] = {
    "common": lambda mean, rng: (rng.random(len(mean)) < 0.2 * mean).astype(float),
    "rare": lambda mean, rng: (rng.random(len(mean)) < 0.005 * mean).astype(float),
    "heavy": lambda mean, rng: (rng.random(len(mean)) < 0.1 * mean) * rng.lognormal(0.0, 1.5, len(mean)),
}
