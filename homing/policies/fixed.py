"""Policies that learn nothing: uniform, silence, one candidate for everyone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.numerics import check_inputs, normalise, uniform_probs
from homing.policies.types import register


@register("uniform")
@dataclass(frozen=True)
class UniformPolicy:
    """Every eligible candidate with the same probability: the best log to learn from, the dearest one to collect.

    Example:
        >>> mask = np.array([[True, True, False]])
        >>> UniformPolicy().action_probs(np.zeros((1, 0)), np.zeros((1, 3, 0)), mask).tolist()
        [[0.5, 0.5, 0.0]]
    """

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        return uniform_probs(check_inputs(context, candidates, eligible)[2])


@register("silence")
@dataclass(frozen=True)
class SilencePolicy:
    """Candidate 0 always; uniform over what is eligible where silence is not.

    Example:
        >>> mask = np.array([[True, True, False], [False, True, True]])
        >>> SilencePolicy().action_probs(np.zeros((2, 0)), np.zeros((2, 3, 0)), mask).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]
    """

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        mask = check_inputs(context, candidates, eligible)[2]
        return _or_silence(np.zeros(mask.shape), mask)


@register("fixed")
@dataclass(frozen=True)
class FixedCandidatePolicy:
    """One candidate for everyone: by position, or by a one-hot column (`message_id=mens_email`, say).

    Where it is not eligible the choice is silence; where silence is not either, uniform. Positions say nothing when
    candidates come in another order in each decision: use a column then. Several candidates that carry the column
    share the probability.

    Attributes:
        index: position of the candidate.
        column: its column among the candidate features; exactly one of the two is given.

    Raises:
        InvalidInputError: if both or none is given, or one is negative.

    Example:
        >>> mask = np.array([[True, True, True], [True, True, False]])
        >>> FixedCandidatePolicy(index=2).action_probs(np.zeros((2, 0)), np.zeros((2, 3, 0)), mask).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    index: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        given = {"index": self.index, "column": self.column}
        if sum(value is not None for value in given.values()) != 1:
            raise InvalidInputError(describe("index and column", given, "exactly one must be given"))
        for name, value in given.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0):
                raise InvalidInputError(describe(name, value, "must be an integer >= 0"))

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        _, features, mask = check_inputs(context, candidates, eligible)
        if self.column is not None:
            if self.column >= features.shape[2]:
                raise InvalidInputError(describe("column", self.column, f"must be < {features.shape[2]}"))
            wanted = features[:, :, self.column] > 0
        else:
            wanted = np.broadcast_to(np.arange(mask.shape[1]) == self.index, mask.shape)
        return _or_silence((wanted & mask).astype(np.float64), mask)


def _or_silence(mass: NDArray[np.float64], eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    mass[:, 0] += ~(mass * eligible).any(axis=1)
    return normalise(mass, eligible)
