"""Fixed shares per message: what a log does when its policy looks at nobody in particular."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.numerics import check_inputs, normalise
from homing.policies.types import register


@register("message-shares")
@dataclass(frozen=True, eq=False)
class MessageSharesPolicy:
    """Chooses among what is eligible in proportion to fixed shares (Luce's choice rule).

    A candidate's share is that of the first of `columns` which it carries; silence (candidate 0) has its own; one that
    carries none has `other`. Without columns, shares go by position. Where everything eligible has share 0 the choice
    is uniform.

    Attributes:
        shares: float64 (a,), >= 0; one per column, or per position (silence first) without columns.
        columns: int64 (a,), candidate columns; None for shares by position.
        silence: share of candidate 0; only with columns.
        other: share of a candidate that carries no column, or stands beyond the last position.

    Raises:
        InvalidInputError: if a share is negative or not finite, or lengths differ.

    Example:
        >>> policy = MessageSharesPolicy(shares=np.array([3.0, 1.0]), columns=np.array([0, 1]), silence=4.0)
        >>> candidates = np.array([[[0, 0], [0, 1], [1, 0]]], dtype=np.float32)
        >>> policy.action_probs(np.zeros((1, 0)), candidates, np.ones((1, 3), bool)).tolist()
        [[0.5, 0.125, 0.375]]
    """

    shares: NDArray[np.float64]
    columns: NDArray[np.int64] | None = None
    silence: float = 0.0
    other: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "shares", np.asarray(self.shares, dtype=np.float64))
        if self.columns is not None:
            put(self, "columns", np.asarray(self.columns, dtype=np.int64))
            if self.columns.shape != self.shares.shape or (self.columns < 0).any():
                raise InvalidInputError(
                    describe("columns", self.columns.tolist(), f"must be {self.shares.size} columns, one per share")
                )
        for name, value in (("shares", self.shares), ("silence", self.silence), ("other", self.other)):
            array = np.asarray(value, dtype=np.float64)
            if array.ndim != (name == "shares") or not np.isfinite(array).all() or (array < 0).any():
                raise InvalidInputError(describe(name, value, "must be finite and >= 0"))

    def mass(self, candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """The share of each candidate before eligibility, (n, k).

        Args:
            candidates: (n, k, c).
        """
        n, k, c = candidates.shape
        if self.columns is None:
            out = np.full(k, self.other)
            out[: len(self.shares)] = self.shares[:k]
            return np.broadcast_to(out, (n, k)).copy()
        if len(self.columns) and int(self.columns.max()) >= c:
            raise InvalidInputError(describe("candidates columns", c, f"must be > {int(self.columns.max())}"))
        # One more class for candidates that carry no column: argmax over an appended True finds the first hit.
        held = np.concatenate([candidates[:, :, self.columns] > 0, np.ones((n, k, 1), bool)], axis=2)
        share: NDArray[np.float64] = np.append(self.shares, self.other)[np.argmax(held, axis=2)]
        share[:, 0] = self.silence
        return share

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        _, features, mask = check_inputs(context, candidates, eligible)
        return normalise(self.mass(features), mask)
