"""The survival rule for notifications: send where a message shortens the time to the next visit enough.

A Weibull accelerated failure time model of the next visit is fitted on what followed each decision; a message is sent
where it raises the chance of a visit within a horizon by more than a share τ (Yuan et al. 2022, arXiv 2202.03867,
section 3.2; the model is that of Yuan et al. 2019, WSDM, arXiv 2207.03099).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from homing.checks import check_positive, check_probability
from homing.errors import unknown_name
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.examination import Examined
from homing.learners.examples import Examples, validation_rows
from homing.learners.learner import objective_weights, positive_numbers
from homing.learners.linear_fit import parts
from homing.learners.reward_models import PENALTIES, fit_linear
from homing.learners.thresholds import Threshold, tune_threshold
from homing.learners.weibull_fit import VisitTimes, Weibull, fit_weibull, mean_loss
from homing.log import LoggedDataset
from homing.policies import EpsilonGreedyPolicy, Policy, SendIfPolicy, WeibullVisitModel
from homing.policies.wrappers import check_epsilon


class SurvivalRule:
    """Send the message with the largest relative lift of the chance of a visit, where it exceeds a threshold τ.

    Args:
        objective: the reward column that is positive where the user visited between this decision and the next.
        horizon_hours: T, of the chance that is compared; what happens later does not enter the fit.
        threshold: τ, a share: 0.1 sends where the chance rises by a tenth. Chosen on held-out users without; τ = −1
            always sends.
        epsilon: share of uniform exploration over what is eligible.
        penalties: strengths to choose from, in observations.
        validation_share: of users held out for these choices.
    """

    def __init__(
        self,
        objective: str = "session",
        horizon_hours: float = 24.0,
        threshold: float | None = None,
        epsilon: float = 0.1,
        penalties: Sequence[float] = PENALTIES,
        validation_share: float = 0.2,
    ) -> None:
        self.objective = objective
        self.horizon_hours = check_positive("horizon_hours", horizon_hours)
        Threshold.given(threshold)  # mistakes show before the log is read
        self.threshold = threshold
        self.epsilon = check_epsilon(epsilon)
        self.penalties = positive_numbers("penalties", penalties)
        self.validation_share = check_probability("validation_share", validation_share)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit the time to a visit; the weights only matter for a threshold that is chosen.

        Raises:
            UnknownNameError: if the dataset lacks the objective.
            InvalidInputError: if no visit follows any decision, or users have one decision each.
        """
        if self.objective not in dataset.objectives:
            raise unknown_name("objective of the survival rule", self.objective, dataset.objectives)
        times = VisitTimes.of(dataset, dataset.objectives.index(self.objective), self.horizon_hours)
        examples = Examples.of(dataset)
        held = validation_rows(dataset.user, self.validation_share, rng)
        train, rest = np.flatnonzero(~held), np.flatnonzero(held)
        tried = sorted(self.penalties, reverse=True)
        fits = fit_weibull(BilinearDesign.of(examples.rows(train)), times.rows(train), tried)
        judged, aside = BilinearDesign.of(examples.rows(rest)), times.rows(rest)
        losses = [mean_loss(fit, judged, aside) for fit in fits]
        best = int(np.argmin(losses))
        history = {"held-out loss by penalty": losses}
        chosen = Threshold.given(self.threshold)
        if chosen is None:
            w = objective_weights(dataset, weights)
            partial = self._model(fits[best])
            rewards = fit_linear(dataset.take(train), w, rng=rng).model
            chosen = tune_threshold(SendIfPolicy(partial, 0.0, "relative"), dataset.take(rest), rewards, w)
            history |= chosen.history
        model = self._model(fit_weibull(BilinearDesign.of(examples), times, tried[best : best + 1], fits[best])[0])
        self.report = {
            "history": history,
            "settings": {
                "penalty": tried[best],
                "shape": model.shape,
                "decisions followed by a visit within the horizon": int(np.isfinite(times.upper).sum()),
                "threshold": chosen.value,
                "threshold is": chosen.origin,
            },
        }
        policy: Policy = SendIfPolicy(model, chosen.value, "relative")
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    def _model(self, fitted: Weibull) -> WeibullVisitModel:
        cross, own, level, intercept = (part[0] for part in parts(fitted.theta[None]))
        return WeibullVisitModel(cross, own, level, float(intercept), fitted.shape, self.horizon_hours)
