"""Which users of a simulated log the policy decides for, who gets uniform-random decisions, and who is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import SLICES, user_hash_share
from homing.policies import uniform_probs
from homing.simulation.acting import Decider
from homing.simulation.world import BoolArray, IntArray, Observation, World

_UNIFORM, _HOLDOUT = SLICES.index("uniform"), SLICES.index("holdout")


@dataclass(frozen=True)
class Slices:
    """Fixed slices of users, by the hash of the user id that serving uses too.

    A user's slice never changes, so the propensity that is logged is that of the own slice. The holdout is taken first.
    A slice that is drawn anew for each decision is a `Mixture` with `UniformPolicy`.

    Attributes:
        uniform_share: share of users with uniform-random decisions among what is eligible, in [0, 1].
        holdout_share: share of users to whom nothing but silence is eligible, in [0, 1].
        salt: another salt draws other users.

    Example:
        >>> Slices(uniform_share=1.0).codes(["u1"]).tolist() == [SLICES.index("uniform")]
        True
    """

    uniform_share: float = 0.0
    holdout_share: float = 0.0
    salt: str = "homing"

    def __post_init__(self) -> None:
        for name in ("uniform_share", "holdout_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0.0 <= value <= 1.0:
                raise InvalidInputError(describe(name, value, "must be in [0, 1]", "0.05 is five users of a hundred."))

    def codes(self, user_ids: Sequence[str]) -> IntArray:
        """Position in `SLICES` of each user's slice, (N,)."""
        out = np.zeros(len(user_ids), dtype=np.int64)
        for share, name, code in (
            (self.uniform_share, "uniform", _UNIFORM),
            (self.holdout_share, "holdout", _HOLDOUT),  # last: it wins
        ):
            if share > 0:
                places = [user_hash_share(user, f"{self.salt}:{name}") for user in user_ids]
                out[np.array(places) < share] = code
        return out


def sliced(decide: Decider, codes: IntArray) -> Decider:
    """A policy that decides for its own slice alone.

    Args:
        decide: the policy.
        codes: of the N users, see `Slices.codes`.
    """
    if not codes.any():
        return decide

    def decide_in_slices(world: World) -> NDArray[np.float64]:
        seen = world.observation
        probs = np.array(decide(world), dtype=np.float64)
        uniform, held = codes[seen.user] == _UNIFORM, codes[seen.user] == _HOLDOUT
        probs[uniform] = uniform_probs(seen.eligible[uniform])
        probs[held] = np.eye(1, probs.shape[1])
        return probs

    return decide_in_slices


def eligible_in_slices(seen: Observation, codes: IntArray) -> BoolArray:
    """What each user's slice leaves eligible, (n, k): silence alone in the holdout."""
    held = codes[seen.user] == _HOLDOUT
    if not held.any():
        return seen.eligible
    out = seen.eligible.copy()
    out[held, 1:] = False
    return out


def explored(
    seen: Observation, probs: NDArray[np.float64], action: IntArray, codes: IntArray, eligible: BoolArray
) -> BoolArray:
    """Whether another candidate was more probable, or the uniform slice had a choice, (n,)."""
    out: BoolArray = probs[np.arange(len(probs)), action] < probs.max(axis=1, initial=0.0)
    uniform = codes[seen.user] == _UNIFORM
    out[uniform] = eligible[uniform].sum(axis=1) > 1
    return out
