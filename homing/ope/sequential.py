"""`evaluate_sequential`: what a policy would have earned over each user's whole trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.log.dataset import LoggedDataset
from homing.ope.estimate import Clusters, Estimate, interval
from homing.ope.evaluate import check_action_probs
from homing.ope.messages import Messages
from homing.ope.report import LOGGED, OPEReport
from homing.ope.support import SupportLimits, assess, unsupported_share

FloatArray = NDArray[np.float64]
#: Squares of weights up to exp(300) fit float64, summed and with room for rewards.
MAX_LOG_WEIGHT = 300.0


class Trajectories:
    """Users' decisions in time order, with cumulative log weights.

    Attributes:
        user: int64 (n,), the trajectory of each row of `order`, 0 to count - 1.
        step: int64 (n,), its position in the trajectory.
        order: int64 (n,), rows of the log, sorted by user then time.
        log_weight: float64 (n,), Σ log(π / propensity) up to and including each row of `order`; -inf once π was 0.
        last: int64 (G,), position in `order` of each user's last row.
    """

    def __init__(self, dataset: LoggedDataset, weight: FloatArray) -> None:
        clusters = Clusters.of(dataset.user)
        self.count = clusters.count
        self.order = np.argsort(clusters.code, kind="stable")  # rows of one user are in time order already
        self.user = clusters.code[self.order]
        starts = np.flatnonzero(np.concatenate([[True], self.user[1:] != self.user[:-1]]))
        lengths = np.diff(np.concatenate([starts, [len(self.user)]]))
        self.step = np.arange(len(self.user)) - np.repeat(starts, lengths)
        self.last = starts + lengths - 1
        # Sums, not products: ratios of long products underflow to 0/0. Zeros are counted apart from the logs, because
        # -inf would poison the subtraction that restarts the sum at each user.
        zero = weight[self.order] == 0.0
        logs = np.zeros(len(weight))
        np.log(weight[self.order], out=logs, where=~zero)
        self.log_weight = _sums_within(logs, starts, lengths)
        self.log_weight[_sums_within(zero.astype(np.float64), starts, lengths) > 0] = -np.inf

    @property
    def horizon(self) -> int:
        """Decisions of the longest trajectory."""
        return int(self.step.max()) + 1


def _sums_within(values: FloatArray, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> FloatArray:
    """Cumulative sums that start anew at each trajectory."""
    total = np.cumsum(values)
    before = total[starts] - values[starts]
    return total - np.repeat(before, lengths)


def pdis(paths: Trajectories, reward: FloatArray, gamma: float) -> tuple[float, FloatArray]:
    """Per-decision importance sampling: V = mean over users of Σ_t γ^t ρ_{0:t} r_t. Unbiased, high variance.

    Returns the value and each user's influence contribution ψ (G,).

    References:
        Precup, Sutton and Singh (2000), "Eligibility Traces for Off-Policy Policy Evaluation".
    """
    terms = gamma**paths.step * np.exp(paths.log_weight) * reward[paths.order]
    returns = np.bincount(paths.user, weights=terms, minlength=paths.count)
    value = float(returns.mean())
    return value, (returns - value) / paths.count


def snpdis(paths: Trajectories, reward: FloatArray, gamma: float) -> tuple[float, FloatArray]:
    """Self-normalised per-decision importance sampling: V = Σ_t γ^t Σ_g ρ_gt r_gt / Σ_g ρ_gt.

    A trajectory that has ended stays in the normaliser with its last weight and reward 0, so that short trajectories
    count as such. The interval is the delta method's over users: ψ_g = Σ_t γ^t ρ_gt (r_gt - V_t) / Σ_g ρ_gt.
    Consistent; slightly biased with few users.

    References:
        Precup, Sutton and Singh (2000); Thomas (2015), "Safe Reinforcement Learning", section 3.9 (CWPDIS).
    """
    by_step = np.argsort(paths.step, kind="stable")
    edges = np.searchsorted(paths.step[by_step], np.arange(paths.horizon + 1))
    log_now = np.zeros(paths.count)  # each user's cumulative log weight so far
    psi = np.zeros(paths.count)
    value = 0.0
    for step in range(paths.horizon):
        here = by_step[edges[step] : edges[step + 1]]
        users = paths.user[here]
        log_now[users] = paths.log_weight[here]
        top = float(log_now.max())
        if top == -np.inf:
            raise SupportError(
                describe(
                    f"weights at decision {step}",
                    0.0,
                    "must not all be 0",
                    "No user's log follows the policy that far: shorten the trajectories, or evaluate per decision.",
                )
            )
        share = np.exp(log_now - top)
        share /= share.sum()
        rewards = np.zeros(paths.count)
        rewards[users] = reward[paths.order[here]]
        value_now = float(share @ rewards)
        value += gamma**step * value_now
        psi += gamma**step * share * (rewards - value_now)
    return value, psi


#: Sequential estimators by name: from trajectories, rewards (n,) and γ to a value and ψ (G,).
SEQUENTIAL: dict[str, Callable[[Trajectories, FloatArray, float], tuple[float, FloatArray]]] = {
    "pdis": pdis,
    "snpdis": snpdis,
}


def evaluate_sequential(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    *,
    gamma: float,
    estimators: Sequence[str] = ("pdis", "snpdis"),
    level: float = 0.95,
    policy: str = "policy",
    limits: SupportLimits | None = None,
) -> OPEReport:
    """Estimate a policy's discounted return per user, where its decisions change what comes later.

    Each user's rows are one trajectory, of any length; γ discounts per decision. Wrong to use on long trajectories:
    the variance of products of weights grows exponentially, and the verdict will say so.

    Args:
        dataset: the log; every user's decisions from the first one on.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        gamma: discount per decision, in [0, 1].
        estimators: names from `SEQUENTIAL`.
        level: nominal coverage of the intervals.
        policy: a name for the report.
        limits: where `caution` and `refuse` begin; the effective sample size is that of whole trajectories' weights.

    Raises:
        InvalidInputError: if probabilities do not fit the log, or `gamma` is outside [0, 1].
        UnknownNameError: if there is no such estimator.
        SupportError: if there are fewer than two users, or a trajectory's weight is beyond float64.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((4, 1)), candidates=np.zeros((4, 2, 1)), eligible=np.ones((4, 2), bool),
        ...     action=[1, 1, 0, 1], propensity=np.full(4, 0.5), reward=[[1.0], [1.0], [5.0], [1.0]],
        ...     objectives=("steps",), user=[0, 0, 1, 1], time=[0, 1, 0, 1])
        >>> always = np.tile([0.0, 1.0], (4, 1))
        >>> evaluate_sequential(data, always, gamma=0.5).estimate("steps", "pdis").value  # (2·1 + 0.5·4·1 + 0) / 2
        2.0
    """
    check_probability("level", level)
    if not (isinstance(gamma, int | float) and 0.0 <= gamma <= 1.0):
        raise InvalidInputError(describe("gamma", gamma, "must be in [0, 1]", "It discounts per decision."))
    names = tuple(estimators)
    for name in names:
        if name not in SEQUENTIAL:
            raise unknown_name("sequential estimator", name, SEQUENTIAL)
    probs = check_action_probs(dataset, action_probs)
    messages = Messages.of(dataset)
    weight = probs[np.arange(dataset.n), dataset.action] / dataset.propensity
    paths = Trajectories(dataset, weight)
    top = float(paths.log_weight.max())
    if top > MAX_LOG_WEIGHT:
        raise SupportError(
            describe("log of a trajectory's weight", top, f"must be <= {MAX_LOG_WEIGHT:g}", "Shorten the trajectories.")
        )
    final = np.exp(paths.log_weight[paths.last])
    clusters = Clusters(np.arange(paths.count), paths.count)
    estimates: dict[tuple[str, str], Estimate] = {}
    influence: dict[tuple[str, str], FloatArray] = {}
    logged: dict[str, Estimate] = {}
    returns = np.empty((paths.count, len(dataset.objectives)))
    notes: tuple[str, ...] = ()
    for j, objective in enumerate(dataset.objectives):
        reward = np.ascontiguousarray(dataset.reward[:, j])
        discounted = float(gamma) ** paths.step * reward[paths.order]
        returns[:, j] = np.bincount(paths.user, weights=discounted, minlength=paths.count)
        mean = float(returns[:, j].mean())
        influence[LOGGED, objective] = (returns[:, j] - mean) / paths.count
        logged[objective] = interval(mean, influence[LOGGED, objective], level)
        for name in names:
            try:
                value, psi = SEQUENTIAL[name](paths, reward, float(gamma))
            except SupportError as error:
                notes = (*notes, f"{name} of {objective} is left out: {error}")
                continue
            influence[name, objective] = psi
            estimates[name, objective] = interval(value, psi, level)
    return OPEReport(
        policy=policy,
        objectives=dataset.objectives,
        estimators=names,
        n=paths.count,
        n_users=paths.count,
        level=level,
        cluster="user",
        unit="user",
        estimates=estimates,
        logged=logged,
        support=assess(
            final,
            clusters,
            reward=returns,
            objectives=dataset.objectives,
            unsupported=unsupported_share(dataset, probs, messages),
            limits=limits,
            unit="trajectories",
        ),
        influence=influence,
        fingerprint=dataset.fingerprint,
        details={},
        notes=notes,
        gamma=float(gamma),
    )
