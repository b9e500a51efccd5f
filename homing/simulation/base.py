"""What worlds of arrays share: seed, step, the current observation, copies."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Generic, Self, TypeVar

from homing.checks import check_count
from homing.errors import InvalidInputError, describe
from homing.simulation.checks import check_seed
from homing.simulation.world import IntArray, Observation, Outcomes, check_actions

S = TypeVar("S")


class ArrayWorld(ABC, Generic[S]):
    """A world whose state is a dataclass of arrays over users; a subclass says how it begins, looks and moves.

    Example:
        >>> import numpy as np
        >>> from homing.simulation import make_world
        >>> world = make_world("linkedin")
        >>> world.reset(n_users=3, seed=0).user.tolist()
        [0, 1, 2]
        >>> twin = world.copy()
        >>> silence = np.zeros(3, dtype=np.int64)
        >>> bool((world.step(silence).reward == twin.step(silence).reward).all())
        True
    """

    n_users: int
    seed: int
    #: Index of the current step.
    t: int = 0
    _state: S | None = None
    _observation: Observation | None = None

    def reset(self, n_users: int, seed: int) -> Observation:
        """Begin anew with users 0 … n_users − 1, and show step 0.

        Raises:
            InvalidInputError: if there is no user, or the seed is negative or has more than 63 bits.
        """
        self.n_users, self.seed, self.t = check_count("n_users", n_users), check_seed(seed), 0
        self._state = self._begin()
        self._observation = None
        return self.observation

    @property
    def state(self) -> S:
        """Everything there is, latent or not."""
        if self._state is None:
            raise InvalidInputError(
                describe("world", "not begun", "must be reset before use", "Call reset(n_users, seed).")
            )
        return self._state

    @property
    def observation(self) -> Observation:
        """The current step; see `World.observation`."""
        if self._observation is None:
            self._observation = self._observe(self.state)
        return self._observation

    def step(self, action: IntArray) -> Outcomes:
        """Act, and let a step's time pass; see `World.step`."""
        outcomes = self._advance(self.state, check_actions(action, self.observation.eligible))
        self.t += 1
        self._observation = None
        return outcomes

    def copy(self) -> Self:
        """A second world in the same state; see `World.copy`."""
        twin = copy.copy(self)
        twin._state = copy.deepcopy(self._state)
        return twin

    def with_chance(self, seed: int) -> Self:
        """A copy that meets other chance from now on; see `World.with_chance`."""
        twin = self.copy()
        twin.seed = int(seed)
        return twin

    @abstractmethod
    def _begin(self) -> S:
        """The state at step 0."""

    @abstractmethod
    def _observe(self, state: S) -> Observation:
        """What is seen of a state."""

    @abstractmethod
    def _advance(self, state: S, action: IntArray) -> Outcomes:
        """Move the state on by a step."""
