"""Policies and reward models over whole data sets, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.policy import Policy
from homing.policies.scorer import RewardModel


class Decisions(Protocol):
    """What is needed of a data set; `homing.log.LoggedDataset` has it."""

    @property
    def n(self) -> int: ...
    @property
    def k(self) -> int: ...
    def batches(self, size: int) -> Iterator[Any]: ...


def dataset_probs(
    policy: Policy, dataset: Decisions, *, weights: ArrayLike | None = None, batch_size: int = 4096
) -> NDArray[np.float64]:
    """Probabilities (n, k) of a policy on every row of a data set.

    Args:
        policy: or a loaded `PolicyArtifact`.
        dataset: n decisions, encoded as the policy was trained.
        weights: (m,), the importance of each objective; None for the policy's own.
        batch_size: rows whose candidates are expanded at a time.
    """
    given = None if weights is None else np.asarray(weights, dtype=np.float64)
    out = np.empty((dataset.n, dataset.k))
    for batch in dataset.batches(batch_size):
        out[batch.rows] = policy.action_probs(batch.context, batch.candidates, batch.eligible, given)
    return out


def dataset_values(model: RewardModel, dataset: Decisions, *, batch_size: int = 4096) -> NDArray[np.float64]:
    """Expected rewards (n, k, m) of a reward model on every row of a data set; meaningless on padding.

    Raises:
        InvalidInputError: if the model predicts nothing (a scorer only).
    """
    if not callable(getattr(model, "predict", None)):
        raise InvalidInputError(
            describe("model", type(model).__name__, "must predict rewards", "Pass artifact.policy.scorer.")
        )
    parts = [model.predict(batch.context, batch.candidates) for batch in dataset.batches(batch_size)]
    return np.concatenate(parts) if parts else np.empty((0, dataset.k, 0))
