"""Scorers value candidates; a policy turns values into probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.types import register


@runtime_checkable
class Scorer(Protocol):
    """Values every candidate of every decision by one number; more is better.

    Example:
        >>> class Cheapest:
        ...     def scores(self, context, candidates, weights=None):
        ...         return -candidates[:, :, 0]
        >>> isinstance(Cheapest(), Scorer)
        True
    """

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k).

        Args:
            context: (n, d).
            candidates: (n, k, c).
            weights: (m,), the importance of each objective; None for the scorer's own.
        """
        ...


@runtime_checkable
class RewardModel(Scorer, Protocol):
    """A scorer whose scores are weighted sums of expected rewards, one per objective."""

    def predict(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """Expected reward of each objective (n, k, m), calibrated: probabilities for rewards that are 0 or 1."""
        ...


@register("predicting-scorer")
@dataclass(frozen=True, eq=False)
class PredictingScorer:
    """A scorer that ranks with one model and tells expected rewards by another.

    A policy learner's scores are no rewards; receipts and monitoring want those too.

    Attributes:
        scorer: gives the scores.
        model: gives the predictions.
    """

    scorer: Scorer
    model: RewardModel

    def __post_init__(self) -> None:
        check_part("scorer", self.scorer, "scores")
        check_part("model", self.model, "predict")

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k) of the scorer."""
        return self.scorer.scores(context, candidates, weights)

    def predict(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float64]:
        """Expected rewards (n, k, m) of the model."""
        return self.model.predict(context, candidates)


def check_part(name: str, part: object, method: str) -> None:
    """Check that a nested part can do what is asked of it.

    Raises:
        InvalidInputError: if it has no such method.
    """
    if not callable(getattr(part, method, None)):
        raise InvalidInputError(describe(name, type(part).__name__, f"must have a method {method}"))


def checked_scores(
    scorer: Scorer,
    context: NDArray[np.float32],
    candidates: NDArray[np.float32],
    eligible: NDArray[np.bool_],
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """A scorer's scores (n, k), if those of what is eligible are finite.

    Raises:
        InvalidInputError: if one is not.
    """
    scores = np.asarray(scorer.scores(context, candidates, weights), dtype=np.float64)
    bad = ~np.isfinite(scores) & eligible
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InvalidInputError(
            describe(
                f"scores[{row}, {column}]", float(scores[row, column]), "must be finite", "Look at that row's features."
            )
        )
    return scores
