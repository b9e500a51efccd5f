"""Doubly robust policy learning (Dudík, Langford & Li 2011, ICML; Athey & Wager 2021, Econometrica 89:1).

The value of every candidate of every decision is estimated as

    Γ(x_i, a) = q̂(x_i, a) + 1[a = a_i] · (r_i − q̂(x_i, a_i)) / p_i

with q̂ fitted on other users (cross-fitting), and a softmax policy π is chosen to maximise
mean_i Σ_a π(a|x_i) Γ(x_i, a). The estimate is right when either q̂ or the
propensities are, and the propensities were logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.checks import check_count, check_one_of, check_probability
from homing.learners.cross_fitting import cross_fitted_rewards, doubly_robust_values
from homing.learners.examination import Examined
from homing.learners.examples import validation_rows
from homing.learners.learner import objective_weights, positive_numbers
from homing.learners.message_shares import MessageShares
from homing.learners.policy_problem import PolicyProblem, clustered_mean
from homing.learners.reward_models import PENALTIES
from homing.log import LoggedDataset
from homing.policies import (
    BilinearScorer,
    EpsilonGreedyPolicy,
    Policy,
    PredictingScorer,
    SoftmaxPolicy,
    dataset_probs,
)
from homing.policies.wrappers import check_epsilon


class DoublyRobust:
    """A softmax policy around what the log did, with bilinear preferences that maximise the doubly robust value.

    It starts from the shares with which the log sent each message: without evidence it is the baseline, and what the
    log never sent it sends through exploration alone. Two families are tried, from the strongest penalty to the
    weakest: preferences that are the same for everyone (W = 0), and personal ones. In each the strongest penalty is
    taken that is worse than the best on held-out users by at most one standard error of their paired difference (the
    one-standard-error rule of Breiman et al. 1984), as the best of several noisy estimates flatters itself. By the same
    rule personal preferences must show that they are better; where they do not, everyone is sent what is best for all.
    Each objective's preferences are chosen so, for the weights given and for the objective alone.

    The policy is optimised for the weights given and, with half of the mass, for each objective alone, so that other
    weights may be given at run time. It is best at the former; only the ratios of weights matter.

    Args:
        epsilon: share of uniform exploration over what is eligible.
        reward_model: `linear` or `neural`.
        folds: of the cross-fitting, by user.
        penalties: strengths to choose from, in observations, in either family.
        validation_share: of users held out for these choices.
        model_penalties: of the linear reward model.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        reward_model: str = "linear",
        folds: int = 3,
        penalties: Sequence[float] = (1.0, 10.0, 100.0, 1_000.0, 10_000.0),
        validation_share: float = 0.3,
        model_penalties: Sequence[float] = PENALTIES,
    ) -> None:
        self.epsilon = check_epsilon(epsilon)
        self.reward_model = check_one_of("reward_model", reward_model, ("linear", "neural"))
        self.folds = check_count("folds", folds, least=2)
        self.penalties = tuple(sorted(positive_numbers("penalties", penalties), reverse=True))
        self.validation_share = check_probability("validation_share", validation_share)
        self.model_penalties = positive_numbers("model_penalties", model_penalties)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a dataset with at least as many users as folds."""
        w = objective_weights(dataset, weights)
        deviation = dataset.reward.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        params = {"penalties": self.model_penalties} if self.reward_model == "linear" else {}
        q_hat, fitted = cross_fitted_rewards(dataset, self.reward_model, w, folds=self.folds, rng=rng, params=params)
        reference = MessageShares().fit(dataset, rng=rng)
        problem = PolicyProblem.of(
            dataset, doubly_robust_values(dataset, q_hat), dataset_probs(reference, dataset), w, deviation
        )
        unit = float(np.linalg.norm(w * deviation))  # back to weighted rewards
        held = validation_rows(dataset.user, self.validation_share, rng)
        train, validation = np.flatnonzero(~held), np.flatnonzero(held)
        user = dataset.user[validation]
        m = len(w)
        values = {}  # (n, s) for each penalty, by family
        for family in (False, True):
            path = [np.full(m, penalty) for penalty in self.penalties]
            fits = follow(problem, train, path, np.full(m, family))
            values[family] = [problem.direction_values(fit, validation) for fit in fits]
        personal, position = chosen_for_heads(values[False], values[True], problem.directions, user)
        path = [np.take(self.penalties, np.minimum(step, position)) for step in range(int(position.max()) + 1)]
        fit = follow(problem, np.arange(dataset.n), path, personal)[-1]
        history: dict[str, list[float]] = {}
        for name, each in (("alike", values[False]), ("personal", values[True])):
            estimates = [clustered_mean(found[:, 0] * unit, user) for found in each]
            history[f"held-out value by penalty, {name}"] = [value for value, _ in estimates]
            history[f"its standard error, {name}"] = [error for _, error in estimates]
        self.report = {
            "history": history,
            "calibration": fitted.report()["calibration"],
            "settings": {
                "personal": dict(zip(dataset.objectives, personal.tolist(), strict=True)),
                "penalty": {
                    name: self.penalties[i] for name, i in zip(dataset.objectives, position.tolist(), strict=True)
                },
                "penalties": list(self.penalties),
                "folds": self.folds,
            },
        }
        interaction, candidate = (tensor.numpy() for tensor in fit)
        # Preferences are no rewards; receipts and monitoring ask for those too.
        scorer = PredictingScorer(BilinearScorer(interaction, candidate, w, deviation), fitted.model)
        policy: Policy = SoftmaxPolicy(scorer, 1.0, reference)
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy


def follow(
    problem: PolicyProblem,
    rows: NDArray[np.int64],
    penalties: Sequence[NDArray[np.float64]],
    personal: NDArray[np.bool_],
) -> list[list[torch.Tensor]]:
    """Fits on `rows`, one for each of `penalties` (m,), from the strongest; each starts where the last one ended."""
    fits: list[list[torch.Tensor]] = []
    for penalty in penalties:
        fits.append(problem.maximise(rows, penalty, personal, fits[-1] if fits else None))
    return fits


def chosen_for_heads(
    alike: Sequence[NDArray[np.float64]],
    personal: Sequence[NDArray[np.float64]],
    directions: NDArray[np.floating],
    user: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which heads are personal (m,), and the position of the penalty of each (m,).

    A head is as free as a direction that uses it has shown to need.

    Args:
        alike, personal: for each penalty, from the strongest, held-out values (n, s) by family.
        directions: (s, m).
        user: of each row, (n,).
    """
    m = directions.shape[1]
    free, position = np.zeros(m, dtype=bool), np.zeros((2, m), dtype=np.int64)
    for s, direction in enumerate(directions):
        same = strongest_good_enough([values[:, s] for values in alike], user)
        # Position 0 is the best that treats everyone alike.
        apart = strongest_good_enough([alike[same][:, s], *(values[:, s] for values in personal)], user)
        used, family = direction != 0, int(apart > 0)
        free |= used & (apart > 0)
        position[family, used] = np.maximum(position[family, used], apart - 1 if family else same)
    return free, np.where(free, position[1], position[0])


def strongest_good_enough(each: Sequence[NDArray[np.float64]], user: NDArray[np.int64]) -> int:
    """Position of the first (strongest) penalty whose shortfall on the best is within one paired standard error.

    Args:
        each: for each penalty, from the strongest, the estimated value of each held-out row (n,).
        user: of each row, (n,).

    Example:
        >>> user = np.arange(4)
        >>> good, noisy, bad = np.full(4, 1.0), np.array([1.5, 0.6, 1.6, 0.5]), np.zeros(4)
        >>> strongest_good_enough([bad, good, noisy], user)  # noisy is best by 0.05 only
        1
    """
    best = int(np.argmax([values.mean() for values in each]))
    for i, values in enumerate(each):
        shortfall, error = clustered_mean(each[best] - values, user)
        if shortfall <= error:
            return i
    return best
