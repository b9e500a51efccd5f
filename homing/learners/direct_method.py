"""Direct-method policies: fit a reward model, then prefer what it expects most of.

Their objectives can be weighed anew at run time. They are as good as their model: a wrong model misleads them, which is
what the doubly robust learner protects against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.learners.examination import Examined
from homing.learners.learner import objective_weights, positive_numbers, two_layers, yes_or_no
from homing.learners.reward_models import PENALTIES, FittedModel, fit_linear, fit_neural
from homing.log import LoggedDataset
from homing.policies import EpsilonGreedyPolicy, GreedyPolicy, Policy, RewardModel, SoftmaxPolicy
from homing.policies.wrappers import check_epsilon


class _DirectMethod:
    """What both share: a policy over the fitted model that keeps exploring."""

    report: dict[str, Any]

    def __init__(self, epsilon: float, temperature: float) -> None:
        self.epsilon = check_epsilon(epsilon)
        self.temperature = 0.0 if temperature == 0 else check_positive("temperature", temperature)
        self.report = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit; the policy is ε-greedy, or softmax where a temperature is given."""
        fitted = self._model(dataset, objective_weights(dataset, weights), rng)
        self.report = fitted.report()
        return exploring(fitted.model, self.epsilon, self.temperature)

    def _model(self, dataset: LoggedDataset, weights: NDArray[np.float64], rng: np.random.Generator) -> FittedModel:
        raise AssertionError("each direct method fits its own model")


class Linear(_DirectMethod):
    """Bilinear reward model: context, candidate and all their products.

    Args:
        epsilon: share of uniform exploration over what is eligible.
        temperature: of a softmax over weighted rewards; 0 for the best candidate.
        penalties: strengths of the penalty to choose from, in observations.
        validation_share: of users held out for that choice and for calibration.
        calibrate: whether to calibrate on them.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        temperature: float = 0.0,
        penalties: Sequence[float] = PENALTIES,
        validation_share: float = 0.2,
        calibrate: bool = True,
    ) -> None:
        super().__init__(epsilon, temperature)
        self.penalties, self.calibrate = positive_numbers("penalties", penalties), yes_or_no("calibrate", calibrate)
        self.validation_share = check_probability("validation_share", validation_share)

    def _model(self, dataset: LoggedDataset, weights: NDArray[np.float64], rng: np.random.Generator) -> FittedModel:
        return fit_linear(
            dataset,
            weights,
            penalties=self.penalties,
            validation_share=self.validation_share,
            calibrate_on_held_out=self.calibrate,
            rng=rng,
        )


class Neural(_DirectMethod):
    """Network with a trunk shared by all objectives.

    Args:
        epsilon: share of uniform exploration over what is eligible.
        temperature: of a softmax over weighted rewards; 0 for the best candidate.
        sizes: of the two hidden layers.
        weight_decay: of AdamW.
        learning_rate: of AdamW.
        batch_rows: rows of a minibatch.
        max_epochs: at most this many passes.
        patience: epochs without progress on held-out users before it stops.
        validation_share: of users held out for stopping and calibration.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        temperature: float = 0.0,
        sizes: Sequence[int] = (64, 32),
        weight_decay: float = 0.01,
        learning_rate: float = 2e-3,
        batch_rows: int = 512,
        max_epochs: int = 60,
        patience: int = 5,
        validation_share: float = 0.2,
    ) -> None:
        super().__init__(epsilon, temperature)
        if not isinstance(weight_decay, int | float) or not 0 <= weight_decay < float("inf"):
            raise InvalidInputError(describe("weight_decay", weight_decay, "must be >= 0"))
        self.settings: dict[str, Any] = {
            "sizes": two_layers("sizes", sizes),
            "weight_decay": float(weight_decay),
            "learning_rate": check_positive("learning_rate", learning_rate),
            "batch_rows": check_count("batch_rows", batch_rows),
            "max_epochs": check_count("max_epochs", max_epochs, least=0),
            "patience": check_count("patience", patience),
            "validation_share": check_probability("validation_share", validation_share),
        }

    def _model(self, dataset: LoggedDataset, weights: NDArray[np.float64], rng: np.random.Generator) -> FittedModel:
        return fit_neural(dataset, weights, rng=rng, **self.settings)


def exploring(model: RewardModel, epsilon: float, temperature: float) -> Policy:
    """Greedy or softmax over a model, mixed with ε of uniform exploration."""
    chosen: Policy = SoftmaxPolicy(model, temperature) if temperature else GreedyPolicy(model)
    return EpsilonGreedyPolicy(chosen, epsilon) if epsilon else chosen
