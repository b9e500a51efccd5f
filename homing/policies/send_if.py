"""Send or stay silent by a threshold: the rule that response, uplift and survival models are used with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of
from homing.errors import InvalidInputError, describe
from homing.policies.numerics import check_inputs, normalise
from homing.policies.scorer import Scorer, check_part, checked_scores
from homing.policies.types import register

Lift = Literal["absolute", "relative"]


@register("send-if")
@dataclass(frozen=True, eq=False)
class SendIfPolicy:
    """The best eligible message where its lift over silence exceeds a threshold; silence elsewhere.

    With f the scores and a* the best message, it sends where f(a*) − f(silence) > threshold, or, for a relative lift,
    where (f(a*) − f(silence)) / f(silence) > threshold (Yuan et al. 2022, arXiv 2202.03867, section 3.2). It explores
    nothing: wrap it in `EpsilonGreedyPolicy` to serve it.

    Attributes:
        scorer: values the candidates; must be positive for silence where lifts are relative.
        threshold: in the unit of the scores, or a share where lifts are relative.
        lift: `absolute` or `relative`.

    Example:
        >>> from homing.policies import BilinearScorer
        >>> scorer = BilinearScorer(np.zeros((1, 1, 1)), np.ones((1, 1)), np.ones(1), np.ones(1))
        >>> candidates = np.array([[[0.0], [0.3], [0.2]]])
        >>> def probs(threshold):
        ...     return SendIfPolicy(scorer, threshold).action_probs(np.zeros((1, 1)), candidates, np.ones((1, 3), bool))
        >>> probs(0.25).tolist(), probs(0.35).tolist()
        ([[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    """

    scorer: Scorer
    threshold: float
    lift: Lift = "absolute"

    def __post_init__(self) -> None:
        check_part("scorer", self.scorer, "scores")
        known = isinstance(self.threshold, int | float | np.number) and not isinstance(self.threshold, bool)
        if not known or not math.isfinite(self.threshold):
            raise InvalidInputError(describe("threshold", self.threshold, "must be a finite number"))
        check_one_of("lift", self.lift, ("absolute", "relative"))

    def lifts(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Lift of each message over silence (n, k); 0 for silence, -inf where not eligible.

        Raises:
            InvalidInputError: if a score is not finite, or silence's is not positive where lifts are relative.
        """
        x, c, mask = check_inputs(context, candidates, eligible)
        scores = checked_scores(self.scorer, x, c, mask, weights)
        silent = scores[:, :1]
        if self.lift == "relative":
            if (silent <= 0).any():
                row = int(np.argmax(silent[:, 0] <= 0))
                bound = "must be > 0 for a relative lift"
                raise InvalidInputError(describe(f"scores[{row}, 0]", float(silent[row, 0]), bound, "Use 'absolute'."))
            scores = scores / silent - 1.0
        else:
            scores = scores - silent
        return np.where(mask, scores, -np.inf)

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`. Equal lifts share evenly; where silence may not
        be chosen, the best message is sent whatever its lift."""
        lifts = self.lifts(context, candidates, eligible, weights)
        mask = np.asarray(eligible, dtype=bool)
        best = np.where(mask[:, 1:], lifts[:, 1:], -np.inf).max(axis=1, initial=-np.inf)
        send = np.isfinite(best) & ((best > self.threshold) | ~mask[:, 0])
        chosen = np.where(send[:, None], lifts == best[:, None], False)
        chosen[:, 0] = ~send
        return normalise(chosen.astype(np.float64), mask)


@register("two-models")
@dataclass(frozen=True, eq=False)
class TwoModelScorer:
    """Scores silence by one model and messages by another: what a T-learner has (Künzel et al. 2019, PNAS 116:10).

    Attributes:
        silence: values candidate 0.
        message: values all others.
    """

    silence: Scorer
    message: Scorer

    def __post_init__(self) -> None:
        check_part("silence", self.silence, "scores")
        check_part("message", self.message, "scores")

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k); see `Scorer.scores`."""
        first = self.silence.scores(context, candidates[:, :1], weights)
        return np.concatenate([first, self.message.scores(context, candidates[:, 1:], weights)], axis=1)
