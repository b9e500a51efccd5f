"""Thompson sampling from a log: on features as they are (LinTS), or on a network's last layer (neural-linear)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_positive
from homing.learners.bayes import PRIORS, Moments, Posterior, posterior
from homing.learners.examination import Examined
from homing.learners.learner import objective_weights, positive_numbers, two_layers
from homing.learners.reward_models import fit_neural
from homing.log import LoggedDataset
from homing.policies import CrossedFeatures, EpsilonGreedyPolicy, HiddenFeatures, NeuralRewardModel, Policy
from homing.policies import ThompsonPolicy as Thompson
from homing.policies.wrappers import check_epsilon

FloatArray = NDArray[np.float64]


@dataclass
class Sampled:
    """What both share: a posterior over linear parameters of expected rewards, of which draws are kept.

    Draws choose each candidate as often as it is probable to be the best one, given the log. So the policy goes on
    exploring where the log left doubt, and only there; fitted again on the log that it makes, its regret per decision
    falls to 0 as 1 / √t. Wrong to use where a decision changes what comes later, as all learners of single decisions,
    and surer than it should be where a user's rewards depend on each other.

    Attributes:
        draws: of the posterior that make the policy: its probabilities are those of the mixture, exactly.
        spread: times the posterior's deviations; 1 is the posterior, 0 the best guess alone, and theory's regret bounds
            ask for more than 1.
        epsilon: share of uniform exploration over what is eligible: what no draw chooses keeps a probability.
        priors: strengths to choose from by the evidence, in observations.
        report: how the last fit went.
    """

    draws: int = 256
    spread: float = 1.0
    epsilon: float = 0.02
    priors: Sequence[float] = PRIORS
    report: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.draws = check_count("draws", self.draws)
        if self.spread != 0:
            self.spread = check_positive("spread", self.spread)
        self.epsilon = check_epsilon(self.epsilon)
        self.priors = positive_numbers("priors", self.priors)

    def _policy(
        self,
        features: CrossedFeatures | HiddenFeatures,
        found: Posterior,
        weights: FloatArray,
        rng: np.random.Generator,
        report: Mapping[str, Any],
    ) -> Policy:
        mean = found.mean.T[None]
        draws = mean + self.spread * (found.draws(self.draws, rng) - mean)
        self.report = {
            **report,
            "history": {**report.get("history", {}), "log evidence by prior": list(found.evidence)},
            "settings": {
                **report.get("settings", {}), "prior": found.prior, "features": features.size, "draws": self.draws,
                "noise": np.sqrt(np.clip(np.diag(found.noise), 0.0, None)).tolist(),
            },
        }  # fmt: skip
        # The rest of the features is the context's own: it moves all candidates alike.
        policy: Policy = Thompson(features, np.ascontiguousarray(draws[:, :, : features.size]), weights)
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy


@dataclass
class LinTS(Sampled):
    """Linear Thompson sampling (Agrawal and Goyal 2013): E[r | x, c] linear in c, Pᵀx and c ⊗ Pᵀx.

    P are the directions in which the log's contexts vary most, so that the number of parameters does not grow with
    context × candidate columns.

    Attributes:
        directions: of the context, at most.

    Other settings are those of `Sampled`.
    """

    directions: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.directions = check_count("directions", self.directions, least=0)

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit in one pass over the log."""
        w = objective_weights(dataset, weights)
        features = CrossedFeatures(principal(dataset.context, self.directions), dataset.candidates.shape[2])

        def both(context: NDArray[np.float32], candidates: NDArray[np.float32]) -> FloatArray:
            own = (context.astype(np.float64) @ features.projection)[:, None]
            return np.concatenate([features.features(context, candidates), own], axis=2)

        size = features.size + features.projection.shape[1]
        return self._policy(features, posterior(Moments.of(dataset, both, size), self.priors), w, rng, {})


@dataclass
class NeuralLinear(Sampled):
    """Thompson sampling on the last layer of a network (neural-linear; Riquelme, Tucker and Snoek 2018).

    The network of `neural` is fitted first; then its heads are replaced by Bayesian linear regression on its last
    hidden layer and the candidate's columns. What the hidden layers themselves do not know, they do not doubt.

    Attributes:
        sizes: of the hidden layers.
        max_epochs: of the network's fit.

    Other settings are those of `Sampled`.
    """

    sizes: Sequence[int] = (64, 32)
    max_epochs: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sizes = two_layers("sizes", self.sizes)
        self.max_epochs = check_count("max_epochs", self.max_epochs)

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a dataset of at least two users."""
        w = objective_weights(dataset, weights)
        first, second = self.sizes
        fitted = fit_neural(dataset, w, sizes=(first, second), max_epochs=self.max_epochs, rng=rng)
        assert isinstance(fitted.model, NeuralRewardModel)
        features = HiddenFeatures(fitted.model)
        found = posterior(Moments.of(dataset, features.features, features.size), self.priors)
        return self._policy(features, found, w, rng, fitted.report())


def principal(context: NDArray[np.float32], most: int) -> FloatArray:
    """Directions (d, r) in which contexts (n, d) vary most, scaled to variance 1; r <= most.

    Example:
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [2.0, 0.0], [-2.0, 0.0]], dtype=np.float32)
        >>> np.abs(principal(x, 2)).tolist()
        [[0.5], [0.0]]
    """
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(context.astype(np.float64), rowvar=False, bias=True)))
    order = np.argsort(-values)[:most]
    order = order[values[order] > 1e-9 * max(values.max(initial=0.0), 1e-300)]
    out: FloatArray = vectors[:, order] / np.sqrt(values[order])
    return out
