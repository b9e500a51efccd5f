"""Which users the policy decides for, who gets uniform-random decisions, and who is held out."""

from __future__ import annotations

from dataclasses import dataclass

from homing.decisions.decision import Slice
from homing.errors import InvalidInputError, describe
from homing.log import user_hash_share


@dataclass(frozen=True)
class Slices:
    """Fixed slices of users, by a hash of the user id.

    A user's slice never changes (raising a share only adds users), so it is part of what the decision is conditioned
    on, not of its randomness: the propensity to log is that of the user's own slice (1/number eligible in the uniform
    slice, 1 for silence in the holdout), **not** the mixture over slices. The mixture would be right only if the
    slice were drawn anew for each decision.

    The holdout is taken first, so the uniform share is a share of the users that are not held out.

    >>> Slices(holdout_share=1.0).slice_of("u1"), Slices(uniform_share=1.0).slice_of("u1"), Slices().slice_of("u1")
    ('holdout', 'uniform', 'policy')

    Attributes:
        uniform_share: share of users with uniform-random decisions among what is eligible, in [0, 1].
        holdout_share: share of users who are never messaged, in [0, 1].
        salt: another salt draws other users.
    """

    uniform_share: float = 0.0
    holdout_share: float = 0.0
    salt: str = "homing"

    def __post_init__(self) -> None:
        for name in ("uniform_share", "holdout_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
                raise InvalidInputError(describe(name, value, "must be in [0, 1]", "0.05 is five users of a hundred."))

    def slice_of(self, user_id: str) -> Slice:
        """The user's slice."""
        if self.holdout_share > 0 and user_hash_share(user_id, f"{self.salt}:holdout") < self.holdout_share:
            return "holdout"
        if self.uniform_share > 0 and user_hash_share(user_id, f"{self.salt}:uniform") < self.uniform_share:
            return "uniform"
        return "policy"
