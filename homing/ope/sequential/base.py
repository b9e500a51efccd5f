"""What a sequential estimator receives, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.ope.estimators.base import RowEstimate
from homing.ope.sequential.trajectories import Trajectories

FloatArray = NDArray[np.float64]


class Trained(Protocol):
    """How a Q-function that was fitted on this log depends on its users."""

    def __call__(
        self,
        at_logged: FloatArray,
        block_logged: NDArray[np.int64],
        at_policy: FloatArray,
        block_policy: NDArray[np.int64],
        blocks: int,
    ) -> FloatArray:
        """Each user's contribution ψ (G, blocks) to the error of Σ at_logged · q̂ + Σ at_policy · v̂, summed by block."""
        ...


@dataclass(frozen=True, eq=False)
class Journeys:
    """One objective of one policy on one log, user by user. Arrays over decisions (n,) are in the order of `paths`.

    Attributes:
        paths: weights and discounts.
        reward: r, the logged reward (n,).
        q_logged: q̂(x, a), the Q-function at the logged action (n,); None without one.
        q_policy: v̂(x) = Σ_a π(a | x) q̂(x, a), its value under the policy (n,); None without one.
        trained: what users did to sums of q̂ and v̂ by having been trained on; None for a Q-function from elsewhere.
        state: int64 (n,), the code of the reduced state, 0 to K - 1; None without one.
    """

    paths: Trajectories
    reward: FloatArray
    q_logged: FloatArray | None = None
    q_policy: FloatArray | None = None
    trained: Trained | None = None
    state: NDArray[np.int64] | None = None

    def values(self) -> FloatArray:
        """v̂ (n,) of an estimator that needs a Q-function."""
        assert self.q_policy is not None, "the caller checks needs_q"
        return self.q_policy

    def corrections(self) -> FloatArray:
        """D_t (r_t + γ v̂(x_{t+1}) - q̂(x_t, a_t)) (n,): what the log says beyond the Q-function, discounted."""
        assert self.q_logged is not None, "the caller checks needs_q"
        paths = self.paths
        return paths.discount * (self.reward + paths.carry * paths.following(self.values()) - self.q_logged)

    def states(self) -> NDArray[np.int64]:
        """State codes (n,) of an estimator that needs them."""
        assert self.state is not None, "the caller checks needs_state"
        return self.state


@runtime_checkable
class SequentialEstimator(Protocol):
    """Maps journeys to a value per user and each user's influence on it: a `RowEstimate` whose rows are users.

    Example:
        >>> @dataclass(frozen=True)
        ... class LoggedReturn:
        ...     name: str = "logged-return"
        ...     needs_q: bool = False
        ...     needs_state: bool = False
        ...     def __call__(self, journeys):
        ...         paths = journeys.paths
        ...         return per_user(paths.sums(paths.discount * journeys.reward))
        >>> isinstance(LoggedReturn(), SequentialEstimator)
        True
    """

    @property
    def name(self) -> str:
        """The name in reports."""
        ...

    @property
    def needs_q(self) -> bool:
        """Whether `q_logged` and `q_policy` must be given."""
        ...

    @property
    def needs_state(self) -> bool:
        """Whether `state` must be given."""
        ...

    def __call__(self, journeys: Journeys) -> RowEstimate:
        """Estimate; the influence is (G,)."""
        ...


def per_user(terms: FloatArray, details: Mapping[str, float] | None = None) -> RowEstimate:
    """The estimate of an estimator that is a mean of one term a user (G,)."""
    value = float(terms.mean())
    return RowEstimate(value, terms - value, details or {})
