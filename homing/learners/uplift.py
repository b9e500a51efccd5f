"""Uplift learners: send what changes the outcome most, where it changes it enough.

They differ in how the effect of a message against silence is estimated (Künzel, Sekhon, Bickel and Yu 2019,
"Metalearners for estimating heterogeneous treatment effects using machine learning", PNAS 116:10; Kennedy 2023,
"Towards optimal doubly robust estimation of heterogeneous causal effects", EJS 17:2, for the DR-learner), here with
many messages instead of one treatment. All need silence in the log, chosen by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_probability
from homing.errors import InvalidInputError, describe
from homing.learners.action_centred import CentredSums
from homing.learners.cross_fitting import cross_fitted_rewards, doubly_robust_values
from homing.learners.effects import Pairs, against_silence, fit_effects, pairs_of
from homing.learners.examination import Examined
from homing.learners.examples import user_folds, validation_rows
from homing.learners.learner import objective_weights, positive_numbers
from homing.learners.reward_models import PENALTIES, FittedModel, fit_linear
from homing.learners.thresholds import Threshold, tune_threshold
from homing.log import LoggedDataset
from homing.policies import EpsilonGreedyPolicy, LinearRewardModel, Policy, Scorer, SendIfPolicy, TwoModelScorer
from homing.policies.wrappers import check_epsilon

FloatArray = NDArray[np.float64]
#: Decisions with silence, and with messages, below which no effect is told.
MIN_ROWS = 20


class _Uplift:
    """What all have in common: an effect, a threshold, and exploration."""

    name: ClassVar[str]

    def __init__(
        self,
        threshold: float | None = None,
        epsilon: float = 0.1,
        penalties: Sequence[float] = PENALTIES,
        folds: int = 3,
        validation_share: float = 0.2,
    ) -> None:
        Threshold.given(threshold)  # mistakes show before the log is read
        self.threshold = threshold
        self.epsilon = check_epsilon(epsilon)
        self.penalties = positive_numbers("penalties", penalties)
        self.folds = check_count("folds", folds, least=2)
        self.validation_share = check_probability("validation_share", validation_share)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a dataset that holds silence and messages.

        Raises:
            InvalidInputError: if the log holds too little of either: the effect of a message is then not identified.
        """
        silent = int((dataset.action == 0).sum())
        for what, count in (("silence", silent), ("messages", dataset.n - silent)):
            if count < MIN_ROWS:
                raise InvalidInputError(
                    describe(
                        f"decisions with {what}", count, f"must be >= {MIN_ROWS} to estimate effects",
                        "Log silence and messages with known probabilities (an exploring slice).",
                    )
                )  # fmt: skip
        w = objective_weights(dataset, weights)
        history: dict[str, list[float]] = {}
        chosen = Threshold.given(self.threshold)
        if chosen is None:
            held = validation_rows(dataset.user, self.validation_share, rng)
            train, rest = dataset.take(np.flatnonzero(~held)), dataset.take(np.flatnonzero(held))
            scorer, _ = self._scorer(train, w, rng)
            chosen = tune_threshold(SendIfPolicy(scorer, 0.0), rest, fit_linear(train, w, rng=rng).model, w)
            history |= chosen.history
        scorer, losses = self._scorer(dataset, w, rng)
        history |= losses
        self.report = {
            "history": history,
            "settings": {"threshold": chosen.value, "threshold is": chosen.origin, "penalties": list(self.penalties)},
        }
        policy: Policy = SendIfPolicy(scorer, chosen.value)
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    def _scorer(
        self, dataset: LoggedDataset, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[Scorer, dict[str, list[float]]]:
        raise AssertionError("each uplift learner has its own scorer")

    def _effects(
        self, dataset: LoggedDataset, pairs: Pairs, target: FloatArray, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[TwoModelScorer, dict[str, list[float]]]:
        effect, losses = fit_effects(
            pairs.examples(dataset, target), pairs.weight, weights,
            penalties=self.penalties, validation_share=self.validation_share, rng=rng,
        )  # fmt: skip
        return against_silence(effect), {"held-out loss of the effect by penalty": losses}


class SLearner(_Uplift):
    """One reward model of silence and messages alike; the effect is the difference of its predictions.

    Args:
        threshold: the lift in weighted reward from which a message is sent; chosen on held-out users without.
        epsilon: share of uniform exploration over what is eligible.
        penalties: strengths to choose from, in observations.
        folds: of the cross-fitting, by user (DR- and R-learner).
        validation_share: of users held out for these choices.
    """

    def _scorer(
        self, dataset: LoggedDataset, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[Scorer, dict[str, list[float]]]:
        fitted = fit_linear(dataset, weights, penalties=self.penalties, rng=rng)
        return fitted.model, fitted.history


class TLearner(_Uplift):
    """Two reward models, of silence and of messages; the effect is the difference of their predictions.

    Args as of `SLearner`.
    """

    def _scorer(
        self, dataset: LoggedDataset, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[Scorer, dict[str, list[float]]]:
        silence, message = _two_models(dataset, weights, self.penalties, rng)
        return TwoModelScorer(silence.model, message.model), {
            f"{name}, {part}": values
            for part, fitted in (("silence", silence), ("messages", message))
            for name, values in fitted.history.items()
        }


class XLearner(_Uplift):
    """Effects imputed on each side by the other side's model, then regressed together (Künzel et al. 2019, eq. 9–11).

    A decision with silence is set beside one of its eligible messages, drawn uniformly. The two regressions are joined
    in one, each side's pairs weighing as the other side's share of decisions, which is the paper's weighting by the
    propensity.

    Args as of `SLearner`.
    """

    def _scorer(
        self, dataset: LoggedDataset, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[Scorer, dict[str, list[float]]]:
        silence, message = _two_models(dataset, weights, self.penalties, rng)
        pairs = pairs_of(dataset, rng)
        sent = dataset.action[pairs.row] == pairs.column
        silent = dataset.action[pairs.row] == 0
        reward = dataset.reward[pairs.row]
        examples = pairs.examples(dataset, reward)
        x, c = examples.context, examples.candidate(np.arange(len(examples)))[:, None]
        without = silence.model.predict(x, dataset.candidates[pairs.row[:1]][:, :1].repeat(len(x), axis=0))[:, 0]
        imputed = np.where(sent[:, None], reward - without, message.model.predict(x, c)[:, 0] - reward)
        share = float((dataset.action > 0).mean())
        weight = np.where(sent, 1.0 - share, share) * (sent | silent)
        return self._effects(dataset, Pairs(pairs.row, pairs.column, weight), imputed, weights, rng)


class DRLearner(_Uplift):
    """Doubly robust estimates of each message's effect, regressed on context and message (Kennedy 2023, algorithm 1).

    Φ(x_i, a) = Γ(x_i, a) − Γ(x_i, silence), with Γ of `homing.learners.cross_fitting`; right when either the reward
    models or the logged propensities are.

    Args as of `SLearner`.
    """

    def _scorer(
        self, dataset: LoggedDataset, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[Scorer, dict[str, list[float]]]:
        q_hat, _ = cross_fitted_rewards(
            dataset, "linear", weights, folds=self.folds, rng=rng, params={"penalties": self.penalties}
        )
        values = doubly_robust_values(dataset, q_hat)
        pairs = pairs_of(dataset, rng)
        target = values[pairs.row, pairs.column] - values[pairs.row, 0]
        return self._effects(dataset, pairs, target, weights, rng)


class RLearner(_Uplift):
    """Effects by regression on features centred by the logged probabilities (Nie and Wager 2021): see
    `homing.learners.action_centred`.

    The effect is linear in context and message, without their products; of all here it has the least noise and the
    strongest assumptions on the form of the effect, and none on rewards. It takes one pass and no iterations.

    Args as of `SLearner`.
    """

    def _scorer(
        self, dataset: LoggedDataset, weights: FloatArray, rng: np.random.Generator
    ) -> tuple[Scorer, dict[str, list[float]]]:
        fold = user_folds(dataset.user, self.folds, rng)
        # What states tell of rewards is noise here; the mean is guess enough where users were not seen before.
        outcome = dataset.reward - dataset.reward.mean(axis=0)
        theta, losses, _ = CentredSums.of(dataset, outcome, fold, self.folds).ridge(self.penalties, weights)
        d, m = dataset.context.shape[1], len(weights)
        c = dataset.candidates.shape[2]
        effect = LinearRewardModel(
            np.zeros((m, c, d), dtype=np.float32), theta[1 + d :].T.astype(np.float32),
            theta[1 : 1 + d].T.astype(np.float32), theta[0].astype(np.float32), ("identity",) * m, np.ones(m),
            np.zeros(m), weights,
        )  # fmt: skip
        return against_silence(effect), {"held-out error of the effect by penalty": losses}


def _two_models(
    dataset: LoggedDataset, weights: FloatArray, penalties: Sequence[float], rng: np.random.Generator
) -> tuple[FittedModel, FittedModel]:
    """Reward models of silence and of messages."""
    sent = dataset.action > 0
    silence, message = (
        fit_linear(dataset.take(np.flatnonzero(rows)), weights, penalties=penalties, rng=rng) for rows in (~sent, sent)
    )
    return silence, message
