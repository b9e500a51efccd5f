"""The threshold of a rule that sends or stays silent, chosen on users that its model was not fitted on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.cross_fitting import doubly_robust_values
from homing.learners.policy_problem import clustered_mean
from homing.log import LoggedDataset
from homing.policies import RewardModel, SendIfPolicy, dataset_values

#: Shares of decisions with a message that are tried.
SHARES = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Attributes:
        value: the lift above which a message is sent.
        origin: `given`, or `chosen on held-out users`.
        history: the estimated values that it was chosen by.
    """

    value: float
    origin: str
    history: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def given(cls, value: float | None) -> Threshold | None:
        """The user's own; None where there is none.

        Raises:
            InvalidInputError: if it is not a finite number.
        """
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidInputError(describe("threshold", value, "must be a finite number", "Leave it out to tune it."))
        return cls(float(value), "given")


def tune_threshold(
    policy: SendIfPolicy, held_out: LoggedDataset, model: RewardModel, weights: NDArray[np.float64]
) -> Threshold:
    """The threshold with the fewest messages whose doubly robust value on held-out users is within one standard error
    of the best (the one-standard-error rule of Breiman et al. 1984, users as clusters).

    Args:
        policy: its own threshold is not used.
        held_out: decisions of users that neither the policy's scorer nor `model` was fitted on.
        model: predicts rewards.
        weights: (m,), importance of each objective.
    """
    values = doubly_robust_values(held_out, dataset_values(model, held_out)) @ weights
    lifts, gains = np.empty(held_out.n), np.empty(held_out.n)
    for batch in held_out.batches(4096):
        each = policy.lifts(batch.context, batch.candidates, batch.eligible, weights)
        each[:, 0] = -np.inf
        message = each.argmax(axis=1)
        lifts[batch.rows] = each[np.arange(len(each)), message]
        gains[batch.rows] = values[batch.rows, message] - values[batch.rows, 0]
    able = np.isfinite(lifts)
    if not able.any():
        return Threshold(0.0, "chosen on held-out users")
    order = np.sort(lifts[able])[::-1]
    # With the share s of decisions sent, the threshold is the lift of the first that is not.
    tried = [float(order[min(round(share * len(order)), len(order) - 1)]) for share in SHARES]
    tried[-1] = float(np.nextafter(order[-1], -np.inf))
    found = [np.where(able & (lifts > threshold), gains, 0.0) for threshold in tried]
    best = int(np.argmax([each.mean() for each in found]))
    # The best of several noisy estimates flatters itself: fewer messages must show that they are worse.
    shortfalls = (clustered_mean(found[best] - each, held_out.user) for each in found)
    chosen = next(i for i, (shortfall, error) in enumerate(shortfalls) if shortfall <= error)
    return Threshold(
        tried[chosen],
        "chosen on held-out users",
        {"threshold": tried, "gain over silence on held-out users": [float(each.mean()) for each in found]},
    )
