"""Scores of messages that work less well right after they were sent, and recover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import check_features
from homing.policies.types import register


@register("recency")
@dataclass(frozen=True)
class Recency:
    """Where a candidate's features tell when the user last got its message.

    Attributes:
        column: of the number of days, standardised as (days − mean) / scale.
        mean: in days.
        scale: in days.
        missing: column that is 1 where the user never got it; None if everyone did.
    """

    column: int
    mean: float = 0.0
    scale: float = 1.0
    missing: int | None = None

    def days(self, candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """Days since the message was sent (n, k), at least 0; infinite where it never was."""
        days = np.maximum(candidates[:, :, self.column].astype(np.float64) * self.scale + self.mean, 0.0)
        if self.missing is None:
            return days
        out: NDArray[np.float64] = np.where(candidates[:, :, self.missing] > 0, np.inf, days)
        return out


@register("recovering")
@dataclass(frozen=True, eq=False)
class RecoveringScorer:
    """score = s_ga − γ · 0.5^(d / h): of message a in user group g, sent to the user d days ago.

    Yancey and Settles (2020, KDD), the recovering difference softmax algorithm. What a message loses by having been
    sent comes back with half-life h. Whatever the weights, the scores are the same.

    A message is known by the first of `columns` that its candidate carries, a group by the first of `groups` that the
    context does.

    Attributes:
        by_group: float64 (1 + g, 2 + a), s; rows are all users and each group, columns are silence, each message, and a
            message that is none of them.
        columns: int64 (a,), candidate columns; None where message a is the candidate at position a, from 1.
        groups: int64 (g,), context columns.
        recency: where d is told; None where it is not: nothing recovers then.
        novelty: γ >= 0.
        half_life_days: h > 0.

    Example:
        >>> scorer = RecoveringScorer(np.array([[0.0, 0.02, 0.01, 0.0]]), np.array([0, 1]), np.zeros(0, int),
        ...                           Recency(column=2), novelty=0.016, half_life_days=15.0)
        >>> candidates = np.array([[[0, 0, 0], [1, 0, 15], [0, 1, 30]]], dtype=np.float32)
        >>> scorer.scores(np.zeros((1, 0)), candidates).round(3).tolist()
        [[0.0, 0.012, 0.006]]
    """

    by_group: NDArray[np.float64]
    columns: NDArray[np.int64] | None
    groups: NDArray[np.int64]
    recency: Recency | None = None
    novelty: float = 0.017
    half_life_days: float = 15.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "by_group", finite("by_group", self.by_group, np.float64))
        put(self, "groups", np.asarray(self.groups, dtype=np.int64))
        arms = self.by_group.shape[-1] - 2
        expect("by_group", self.by_group, (1 + len(self.groups), self.by_group.shape[-1]))
        if self.columns is not None:
            put(self, "columns", np.asarray(self.columns, dtype=np.int64))
            expect("columns", self.columns, (arms,))
        check_positive("half_life_days", self.half_life_days)
        if not self.novelty >= 0:
            raise InvalidInputError(describe("novelty", self.novelty, "must be >= 0"))

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k); see `Scorer.scores`."""
        x, c = check_features(context, candidates)
        arm = message_of(c, self.columns, self.by_group.shape[1] - 1)
        out: NDArray[np.float64] = self.by_group[group_of(x, self.groups)[:, None], arm]
        if self.recency is not None and self.novelty:
            lost = self.novelty * 0.5 ** (self.recency.days(c) / self.half_life_days)
            out[:, 1:] -= lost[:, 1:]
        return out


def message_of(candidates: NDArray[np.float32], columns: NDArray[np.int64] | None, unknown: int) -> NDArray[np.int64]:
    """Which message each candidate is, (n, k): 0 for silence, then by column or position, `unknown` for none of them.

    Example:
        >>> candidates = np.array([[[0, 0], [0, 1], [0, 0]]], dtype=np.float32)
        >>> message_of(candidates, np.array([0, 1]), 3).tolist(), message_of(candidates, None, 2).tolist()
        ([[0, 2, 3]], [[0, 1, 2]])
    """
    n, k, c = candidates.shape
    if columns is None:
        return np.broadcast_to(np.minimum(np.arange(k), unknown), (n, k))
    if len(columns) and int(columns.max()) >= c:
        raise InvalidInputError(describe("candidates columns", c, f"must be > {int(columns.max())}"))
    # One more class for candidates that carry no column: argmax over an appended True finds the first hit.
    held = np.concatenate([candidates[:, :, columns] > 0, np.ones((n, k, 1), bool)], axis=2)
    out: NDArray[np.int64] = 1 + held.argmax(axis=2)
    out[:, 0] = 0
    return out


def group_of(context: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which group each context is in, (n,): 0 for none, then by column.

    Example:
        >>> group_of(np.array([[0, 1], [0, 0]], dtype=np.float32), np.array([0, 1])).tolist()
        [2, 0]
    """
    if len(groups) and int(groups.max()) >= context.shape[1]:
        raise InvalidInputError(describe("context columns", context.shape[1], f"must be > {int(groups.max())}"))
    held = np.concatenate([context[:, groups] > 0, np.ones((len(context), 1), bool)], axis=1)
    out: NDArray[np.int64] = (held.argmax(axis=1) + 1) % (len(groups) + 1)
    return out
