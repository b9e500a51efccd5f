"""A policy whose scores are lowered by what candidates cost: how shadow prices change what is drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.policy import Policy
from homing.policies.scorer import Scorer


@dataclass(frozen=True, eq=False)
class PricedScorer:
    """A scorer's scores less the costs of these very candidates.

    Attributes:
        scorer: values the candidates.
        costs: float64 (n, k), in the unit of the scores.
    """

    scorer: Scorer
    costs: NDArray[np.float64]

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores (n, k) after costs; see `Scorer.scores`."""
        scores = np.asarray(self.scorer.scores(context, candidates, weights), dtype=np.float64)
        if scores.shape != self.costs.shape:
            raise InvalidInputError(describe("costs.shape", self.costs.shape, f"must be {scores.shape}, as the scores"))
        out: NDArray[np.float64] = scores - self.costs
        return out


def priced(policy: Policy, costs: NDArray[np.float64]) -> Policy:
    r"""The policy that decides on its scores less `costs`, and in all else as before.

    Costs act where values do, before scores become probabilities, so that every kind of policy keeps its meaning and
    the propensities are those of the draw made:

    - greedy takes the best of score − cost, with probability 1 where it is alone;
    - send-if sends where score − cost beats its threshold;
    - softmax gives π(a) ∝ reference(a) · exp((score − cost) / temperature), which is π · exp(−cost / temperature)
      normalised: it still maximises Σ π · (score − cost) − temperature · KL(π ‖ reference);
    - ε-greedy follows its priced base with 1 − ε; the uniform ε is exploration, which no price lowers (what it must
      not choose is a matter of the mask).

    It is for one batch of decisions: costs are theirs.

    Args:
        policy: with a scorer inside.
        costs: (n, k), in the unit of its scores; 0 for silence.

    Raises:
        InvalidInputError: if the policy has no scores that costs could be taken off.

    Example:
        >>> from homing.policies import ColumnScorer, GreedyPolicy
        >>> greedy = GreedyPolicy(ColumnScorer(np.ones(1), width=0))
        >>> candidates = np.array([[[0.0], [0.4], [0.5]]])
        >>> inputs = np.zeros((1, 0)), candidates, np.ones((1, 3), bool)
        >>> greedy.action_probs(*inputs).tolist()
        [[0.0, 0.0, 1.0]]
        >>> priced(greedy, np.array([[0.0, 0.1, 0.3]])).action_probs(*inputs).tolist()
        [[0.0, 1.0, 0.0]]
        >>> priced(greedy, np.array([[0.0, 0.6, 0.6]])).action_probs(*inputs).tolist()
        [[1.0, 0.0, 0.0]]
    """
    if not can_be_priced(policy):
        bound = "has no scores that prices could be taken off"
        step = "Serve a policy over a scorer, or keep to the budgets by hard stops alone."
        raise InvalidInputError(describe("policy", type(policy).__name__, bound, step))
    part: Any = policy
    if _field(policy, "scorer"):
        changed: Any = replace(part, scorer=PricedScorer(part.scorer, costs))
    else:
        changed = replace(part, base=priced(part.base, costs))
    out: Policy = changed
    return out


def can_be_priced(policy: object) -> bool:
    """Whether there are scores inside that costs can be taken off."""
    if _field(policy, "scorer"):
        return True
    return _field(policy, "base") and can_be_priced(getattr(policy, "base", None))


def _field(policy: object, name: str) -> bool:
    return is_dataclass(policy) and any(item.name == name for item in fields(policy))
