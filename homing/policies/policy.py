"""The policy protocol, and the only sampler in the project."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe


@runtime_checkable
class Policy(Protocol):
    """Maps decisions to probabilities over their candidates.

    Example:
        >>> class Silence:
        ...     def action_probs(self, context, candidates, eligible, weights=None):
        ...         return np.eye(1, eligible.shape[1]).repeat(len(eligible), axis=0)
        >>> Silence().action_probs(np.zeros((1, 2)), np.zeros((1, 3, 4)), np.ones((1, 3), bool)).tolist()
        [[1.0, 0.0, 0.0]]
    """

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k): each row sums to 1, and is 0 where not eligible.

        Args:
            context: (n, d).
            candidates: (n, k, c).
            eligible: (n, k).
            weights: (m,), the importance of each objective; None for the policy's own.
        """
        ...


def sample_actions(
    probs: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw one candidate per row and return it with the probability with which it was drawn.

    Args:
        probs: (n, k), rows sum to 1.
        rng: the source of randomness; one uniform number is drawn per row.

    Returns:
        action int64 (n,) and propensity float64 (n,) in (0, 1].

    Raises:
        InvalidInputError: if probs is not (n, k), or a row is negative, not finite, or does not sum to 1 within 1e-6.

    Example:
        >>> action, propensity = sample_actions(np.array([[0.0, 1.0]]), np.random.default_rng(0))
        >>> action.tolist(), propensity.tolist()
        ([1], [1.0])
    """
    probs = np.asarray(probs, dtype=np.float64)
    if probs.ndim != 2 or probs.shape[1] == 0:
        raise InvalidInputError(describe("probs.shape", probs.shape, "must be (n, k)", "Write one row per decision."))
    totals = probs.sum(axis=1)
    bad = ~(np.isfinite(totals) & (np.abs(totals - 1.0) <= 1e-6) & (probs >= 0).all(axis=1))
    if bad.any():
        row = int(np.argmax(bad))
        raise InvalidInputError(
            describe(f"probs[{row}]", probs[row].tolist(), "must be >= 0 and sum to 1", "Mask, then normalise.")
        )
    # Inverse transform on the normalised row: the propensity returned is that of the draw actually made.
    probs = probs / totals[:, None]
    edges = np.cumsum(probs, axis=1)
    draw = rng.random(len(probs)) * edges[:, -1]
    action = (edges <= draw[:, None]).sum(axis=1)
    # Rounding of the last edge must never pick a candidate of probability 0.
    last = probs.shape[1] - 1 - np.argmax(probs[:, ::-1] > 0, axis=1)
    action = np.minimum(action, last).astype(np.int64)
    return action, probs[np.arange(len(probs)), action]
