"""Which estimator suits this policy on this log: each one's mean squared error, estimated on a policy like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.estimate import Clusters, Estimate, cluster_influence, interval, t_quantile
from homing.ope.estimators import Estimator, Rows, get_estimator
from homing.ope.selection.importance_fitting import imitate
from homing.ope.table import check_action_probs, check_predictions

DEFAULT = ("ips", "snips", "dm", "dr", "switch-dr", "dros")
WITHOUT_MODEL = ("ips", "snips", "clipped-ips")


@dataclass(frozen=True)
class JudgedEstimator:
    """One estimator and how far off it is likely to be.

    Attributes:
        estimator: its name.
        estimate: its value for the policy that is judged, with the interval of its variance alone.
        bias: how far it is from what the log's own subsample says, on a policy that the log can imitate.
        mse: estimated mean squared error, max(0, bias² - its squared error) + variance.
        mse_lower, mse_upper: what it is with the bias at either end of its interval.
    """

    estimator: str
    estimate: Estimate
    bias: Estimate
    mse: float
    mse_lower: float
    mse_upper: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class EstimatorSelection:
    """The estimator of least estimated error for one objective.

    Attributes:
        objective: its name.
        chosen: name of the estimator.
        candidates: all that were judged, in the order given.
        share: of decisions that the subsample keeps.
        distance: total variation between the policy and the one that the subsample follows.
        ess: effective sample size behind the biases.
        reason: the choice in a sentence.
    """

    objective: str
    chosen: str
    candidates: tuple[JudgedEstimator, ...]
    share: float
    distance: float
    ess: float
    reason: str

    def of(self, estimator: str) -> JudgedEstimator:
        """One candidate by name."""
        return next(item for item in self.candidates if item.estimator == estimator)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "candidates": [item.to_dict() for item in self.candidates]}


def select_estimator(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    estimators: Sequence[str | Estimator] | None = None,
    *,
    q_hat: ArrayLike | None = None,
    pretend: ArrayLike | None = None,
    clusters: Clusters | None = None,
    level: float = 0.95,
    max_distance: float = 0.05,
) -> dict[str, EstimatorSelection]:
    """Estimate the mean squared error of each estimator for this policy, and choose the least, for each objective.

    No estimator is best on all logs: a reward model that is right beats importance weights where these are large, and
    is far off where it is wrong. What an estimator's error would be on *this* policy is asked of a policy π̃ that the
    log can imitate (`imitate`): a subsample of the log is distributed as if π̃ had logged it, so that its mean reward is
    π̃'s value, whatever the model says; an estimator that is given the log and π̃ should find it. Then

        MSE = max(0, b² - se(b)²) + Var(V̂(π)),   b = V̂(π̃) - V(π̃),

    with b and se(b) from users' contributions to both, and the variance, clustered by user, of the estimate for the
    policy itself on the whole log. The mean over all subsamples that could be drawn is known, and taken instead of a
    few that are drawn, which removes their noise: it is the weighted mean with the subsample's weights (and, where
    there is a model, its doubly robust form, which is unbiased whatever the model says). No random number is needed.

    `pretend` judges estimators on a policy that does not depend on the one in question, for instance another that
    logged a part of the data: the usual heuristic, and wrong where the policies differ much. It is there to compare;
    all numbers are then of that policy.

    Wrong to use to report the chosen estimate with its own interval: that holds its variance, neither its bias nor that
    it was chosen (`tune` has honest intervals); and for a gate, whose rules must be fixed beforehand.

    Args:
        dataset: the log. It must say how likely every candidate was: `probs`, or propensities that are uniform.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        estimators: names or estimators with settings; by default `ips`, `snips`, `dm`, `dr`, `switch-dr` and `dros`,
            without a model `ips`, `snips` and `clipped-ips`. Those that need other weights are not judged here.
        q_hat: (n, k) or (n, k, m), predictions fitted on other users.
        pretend: (n, k), another policy to judge estimators on.
        clusters: rows that may depend on each other; users by default.
        level: of the intervals.
        max_distance: how far π̃ may be from the policy, in total variation.

    Returns:
        An `EstimatorSelection` for each objective.

    Raises:
        InvalidInputError: if arrays do not fit the log, the logging policy's whole distribution is not known, or an
            estimator needs what is not given.
        UnknownNameError: if there is no such estimator.
        SupportError: if no subsample is close enough to the policy, or too small.

    References:
        Udagawa, Kiyohara, Narita, Saito and Tateno (2023), "Policy-Adaptive Estimator Selection for Off-Policy
        Evaluation" (PAS-IF), section 4; Saito, Udagawa, Kiyohara, Mogi, Narita and Tateno (2021), "Evaluating the
        Robustness of Off-Policy Evaluation", for the heuristic that does not adapt to the policy.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> n = 2000
        >>> user, action = np.arange(n), (rng.random(n) < 0.1).astype(int)
        >>> data = LoggedDataset(
        ...     context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
        ...     propensity=np.where(action, 0.1, 0.9), reward=(rng.random(n) < 0.2 + 0.2 * action)[:, None],
        ...     objectives=("clicked",), user=user, time=user, probs=np.tile([0.9, 0.1], (n, 1)))
        >>> always = np.tile([0.0, 1.0], (n, 1))
        >>> for model in ([0.2, 0.4], [0.2, 0.2]):  # one that is right, one that misses what the action does
        ...     q_hat = np.tile(model, (n, 1)) + 0.1 * rng.normal(size=(n, 1))
        ...     print(select_estimator(data, always, ("dm", "dr"), q_hat=q_hat)["clicked"].reason)
        'dm' is likely to be least wrong. Root mean squared errors:
            'dm' about 0.0022, at most 0.098 (bias 0.027, noise 0.0022);
            'dr' about 0.036, at most 0.036 (bias 0, noise 0.036).
        'dr' is likely to be least wrong. Root mean squared errors:
            'dr' about 0.038, at most 0.038 (bias 0, noise 0.038);
            'dm' about 0.18, at most 0.26 (bias -0.18, noise 0.0023).
    """
    check_probability("level", level)
    check_probability("max_distance", max_distance)
    probs = check_action_probs(dataset, action_probs)
    target = probs if pretend is None else check_action_probs(dataset, pretend, name="pretend")
    q = None if q_hat is None else check_predictions(dataset, q_hat)
    chosen = _chosen(estimators, q is not None)
    clusters = clusters or Clusters.of(dataset.user)
    found = imitate(dataset, target, max_distance=max_distance)
    logged = (np.arange(dataset.n), dataset.action)
    weight = target[logged] / dataset.propensity
    out = {}
    for j, objective in enumerate(dataset.objectives):
        reward = np.ascontiguousarray(dataset.reward[:, j])
        q_j = None if q is None else q[:, :, j]
        whole, imitated = (
            Rows(
                weights,
                reward,
                None if q_j is None else q_j[logged],
                None if q_j is None else np.einsum("nk,nk->n", policy, q_j),
            )
            for weights, policy in ((weight, target), (found.weight, found.probs))
        )
        judged = _judge(whole, imitated, chosen, clusters, level)
        order = sorted(judged, key=lambda item: (item.mse, item.mse_upper))
        out[objective] = EstimatorSelection(
            objective, order[0].estimator, judged, found.share, found.distance, found.ess, _reason(order)
        )
    return out


def _judge(
    whole: Rows, imitated: Rows, estimators: Sequence[Estimator], clusters: Clusters, level: float
) -> tuple[JudgedEstimator, ...]:
    """Each estimator for the policy on the whole log, and for the imitated one against its subsample."""
    subsample = get_estimator("snips" if imitated.q_logged is None else "dr")(imitated)
    out = []
    for estimator in estimators:
        mine, theirs = estimator(whole), estimator(imitated)
        estimate = interval(mine.value, cluster_influence(mine.influence, clusters), level)
        psi = cluster_influence(theirs.influence - subsample.influence, clusters)
        bias = interval(theirs.value - subsample.value, psi, level)
        variance = estimate.std_error**2
        half = t_quantile(level, bias.df) * bias.std_error
        size = abs(bias.value)
        out.append(
            JudgedEstimator(
                estimator.name,
                estimate,
                bias,
                mse=max(size**2 - bias.std_error**2, 0.0) + variance,
                mse_lower=max(size - half, 0.0) ** 2 + variance,
                mse_upper=(size + half) ** 2 + variance,
            )
        )
    return tuple(out)


def _reason(order: Sequence[JudgedEstimator]) -> str:
    """Why the first was chosen; errors as roots, in the unit of the reward."""
    said = "; ".join(
        f"{item.estimator!r} about {item.mse**0.5:.2g}, at most {item.mse_upper**0.5:.2g} (bias {item.bias.value:.2g}, "
        f"noise {item.estimate.std_error:.2g})"
        for item in order[:2]
    )
    return f"{order[0].estimator!r} is likely to be least wrong. Root mean squared errors: {said}."


def _chosen(estimators: Sequence[str | Estimator] | None, modelled: bool) -> tuple[Estimator, ...]:
    if isinstance(estimators, str):
        raise InvalidInputError(describe("estimators", estimators, "must be a sequence of names", "Write (name,)."))
    names = (DEFAULT if modelled else WITHOUT_MODEL) if estimators is None else estimators
    chosen = tuple(get_estimator(item) for item in names)
    if not chosen:
        raise InvalidInputError(describe("estimators", [], "must hold at least one"))
    for item in chosen:
        if item.needs_q_hat and not modelled:
            raise InvalidInputError(
                describe("q_hat", None, f"is needed by {item.name}", "Pass a reward model's predictions.")
            )
        if getattr(item, "needs_ratio", None) is not None:
            raise InvalidInputError(
                describe("estimators", item.name, "must use the weights π / propensity alone", "Leave it out here.")
            )
    return chosen
