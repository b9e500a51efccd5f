"""SquareCB: a reward model, and inverse-gap weighting on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.learners.examination import Examined
from homing.learners.examples import Examples
from homing.learners.learner import objective_weights
from homing.learners.reward_models import fit_reward_model
from homing.log import LoggedDataset
from homing.policies import InverseGapPolicy, Policy


@dataclass
class SquareCB:
    """Chooses a candidate the more seldom, the less a reward model promises of it (Foster and Rakhlin 2020).

    See `InverseGapPolicy`. Theory's γ is √(K T / R), for K candidates and T decisions in which the reward model's
    squared errors add up to R more than the best model's (theorem 1); the log's own n stands for T, and for R the
    p log(1 + n / p) of least squares with p parameters, in units of the rewards' noise. So each fit on a longer log
    chooses more sharply.

    It needs no posterior, only predictions, and gives every eligible candidate a probability. Wrong to use with very
    many candidates, which all get their share; and where decisions change what comes later.

    Attributes:
        model: `linear` or `neural`.
        sharpness: γ; None for the above.
        report: how the last fit went.
    """

    model: str = "linear"
    sharpness: float | None = None
    report: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.model not in ("linear", "neural"):
            raise InvalidInputError(describe("model", self.model, "must be 'linear' or 'neural'"))
        if self.sharpness is not None:
            self.sharpness = check_positive("sharpness", self.sharpness)

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit the model on a dataset of at least two users."""
        w = objective_weights(dataset, weights)
        fitted = fit_reward_model(dataset, self.model, w, rng=rng)
        chosen = Examples.of(dataset)
        errors = np.concatenate(
            [
                dataset.reward[rows] - fitted.model.predict(dataset.context[rows], chosen.chosen[rows])[:, 0]
                for rows in np.array_split(np.arange(dataset.n), -(-dataset.n // 8_192))
            ]
        )
        sharpness = self.sharpness if self.sharpness is not None else usual_sharpness(dataset)
        report = fitted.report()
        self.report = {**report, "settings": {**report["settings"], "sharpness": sharpness}}
        return InverseGapPolicy(fitted.model, sharpness, errors.T @ errors / len(errors), w)


def usual_sharpness(dataset: LoggedDataset) -> float:
    """√(K n / (p log(1 + n / p))): K eligible candidates of a decision on average, p columns of both features."""
    k = float(dataset.eligible.sum(axis=1).mean())
    p = 1 + dataset.context.shape[1] + dataset.candidates.shape[2]
    return float(np.sqrt(k * dataset.n / (p * np.log1p(dataset.n / p))))
