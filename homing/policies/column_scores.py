"""Scores that look at the candidate alone: tables of messages, domains or channels, as rules of thumb use them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import check_features, check_widths
from homing.policies.types import register


@register("column-scores")
@dataclass(frozen=True, eq=False)
class ColumnScorer:
    """score = Σ of `values` over the candidate's columns, the same for every user and whatever the weights.

    Attributes:
        values: float64 (c,), one per candidate column.
        width: d, number of context columns that it is asked with; their content is ignored.

    Example:
        >>> scorer = ColumnScorer(np.array([0.0, 2.0, 1.0]), width=1)
        >>> scorer.scores(np.zeros((1, 1)), np.eye(3)[None]).tolist()
        [[0.0, 2.0, 1.0]]
    """

    values: NDArray[np.float64]
    width: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", finite("values", self.values, np.float64))
        expect("values", self.values, (self.values.size,))
        if isinstance(self.width, bool) or not isinstance(self.width, int) or self.width < 0:
            raise InvalidInputError(describe("width", self.width, "must be a whole number >= 0"))

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k); see `Scorer.scores`."""
        x, c = check_features(context, candidates)
        check_widths(x, c, self.width, len(self.values))
        out: NDArray[np.float64] = c.astype(np.float64) @ self.values
        return out
