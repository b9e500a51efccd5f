"""From scores to probabilities, and exploration around any policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.policies.numerics import check_inputs, masked_softmax, normalise, uniform_probs
from homing.policies.policy import Policy
from homing.policies.scorer import Scorer, check_part, checked_scores
from homing.policies.types import register


@register("greedy")
@dataclass(frozen=True, eq=False)
class GreedyPolicy:
    """The eligible candidate with the best score; ties share evenly.

    It explores nothing: what it logs says nothing of other candidates. Wrap it in `EpsilonGreedyPolicy` to serve it.

    Attributes:
        scorer: values the candidates.
    """

    scorer: Scorer

    def __post_init__(self) -> None:
        check_part("scorer", self.scorer, "scores")

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        x, c, mask = check_inputs(context, candidates, eligible)
        scores = np.where(mask, checked_scores(self.scorer, x, c, mask, weights), -np.inf)
        return normalise((scores == scores.max(axis=1, keepdims=True)).astype(np.float64), mask)


@register("softmax")
@dataclass(frozen=True, eq=False)
class SoftmaxPolicy:
    r"""Probabilities proportional to reference × exp(score / temperature).

    With a reference policy this is the policy that trades score against divergence from it: the maximiser of
    Σ π·score − temperature · KL(π ‖ reference). What the reference never does, it never does.

    Attributes:
        scorer: values the candidates.
        temperature: in the unit of the scores, > 0; small is greedy, large is the reference.
        reference: a policy; None for uniform.

    Example:
        >>> from homing.policies import BilinearScorer
        >>> scorer = BilinearScorer.zeros(d=1, c=1, m=1)
        >>> SoftmaxPolicy(scorer).action_probs(np.ones((1, 1)), np.ones((1, 2, 1)), np.ones((1, 2), bool)).tolist()
        [[0.5, 0.5]]
    """

    scorer: Scorer
    temperature: float = 1.0
    reference: Policy | None = None

    def __post_init__(self) -> None:
        check_part("scorer", self.scorer, "scores")
        check_positive("temperature", self.temperature, next_step="For temperature 0 use GreedyPolicy.")
        if self.reference is not None:
            check_part("reference", self.reference, "action_probs")

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        x, c, mask = check_inputs(context, candidates, eligible)
        logits = checked_scores(self.scorer, x, c, mask, weights) / self.temperature
        if self.reference is not None:
            prior = self.reference.action_probs(x, c, mask, weights)
            with np.errstate(divide="ignore"):
                logits = logits + np.log(prior)
        return masked_softmax(logits, mask)


@register("epsilon-greedy")
@dataclass(frozen=True, eq=False)
class EpsilonGreedyPolicy:
    """Follows a policy with probability 1 − epsilon, and draws uniformly from what is eligible with epsilon.

    The floor of epsilon / (number eligible) under every probability bounds the importance weights of whoever
    evaluates another policy on this one's log.

    Attributes:
        base: the policy to follow.
        epsilon: in [0, 1].

    Example:
        >>> from homing.policies import SilencePolicy
        >>> mask = np.ones((1, 2), bool)
        >>> EpsilonGreedyPolicy(SilencePolicy(), 0.5).action_probs(np.zeros((1, 0)), np.zeros((1, 2, 0)), mask).tolist()
        [[0.75, 0.25]]
    """

    base: Policy
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        check_part("base", self.base, "action_probs")
        check_epsilon(self.epsilon)

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        x, c, mask = check_inputs(context, candidates, eligible)
        base = self.base.action_probs(x, c, mask, weights)
        return (1.0 - self.epsilon) * base + self.epsilon * uniform_probs(mask)


def check_epsilon(value: float) -> float:
    """Return `value` if it is a share in [0, 1].

    Raises:
        InvalidInputError: if not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0.0 <= value <= 1.0:
        raise InvalidInputError(describe("epsilon", value, "must be in [0, 1]"))
    return float(value)
