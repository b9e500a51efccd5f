"""The survival rule for notifications: send where a message shortens the time to the next visit enough.

A Weibull accelerated failure time model of the next visit is fitted on what followed each decision; a message is sent
where it raises the chance of a visit within a horizon by more than a share τ (Yuan et al. 2022, arXiv 2202.03867,
section 3.2; the model is that of Yuan et al. 2019, WSDM, arXiv 2207.03099).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, describe, unknown_name
from homing.learners.examination import Examined
from homing.learners.examples import Examples, validation_rows
from homing.learners.learner import objective_weights, positive_numbers
from homing.learners.reward_models import PENALTIES, fit_linear
from homing.learners.threads import few_threads
from homing.learners.thresholds import Threshold, tune_threshold
from homing.log import LoggedDataset
from homing.policies import EpsilonGreedyPolicy, Policy, SendIfPolicy, WeibullVisitModel
from homing.policies.weibull import MAX_LOG_SCALE
from homing.policies.wrappers import check_epsilon

FloatArray = NDArray[np.float64]
HOUR_US = 3_600_000_000
BATCH_ROWS = 32_768
MAX_ITERATIONS = 150
#: log κ is kept within what visits can mean: a shape of 0.05 to 20.
MAX_LOG_SHAPE = 3.0


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
        losses, start = [], None
        for penalty in tried:
            start = fit_weibull(examples.rows(train), times.rows(train), penalty, start)
            losses.append(mean_loss(start, examples.rows(rest), times.rows(rest)))
        penalty = tried[int(np.argmin(losses))]
        history = {"held-out loss by penalty": losses}
        chosen = Threshold.given(self.threshold)
        if chosen is None:
            w = objective_weights(dataset, weights)
            partial = self._model(fit_weibull(examples.rows(train), times.rows(train), penalty))
            rewards = fit_linear(dataset.take(train), w, rng=rng).model
            chosen = tune_threshold(SendIfPolicy(partial, 0.0, "relative"), dataset.take(rest), rewards, w)
            history |= chosen.history
        model = self._model(fit_weibull(examples, times, penalty))
        self.report = {
            "history": history,
            "settings": {
                "penalty": penalty,
                "shape": model.shape,
                "decisions followed by a visit within the horizon": int(np.isfinite(times.upper).sum()),
                "threshold": chosen.value,
                "threshold is": chosen.origin,
            },
        }
        policy: Policy = SendIfPolicy(model, chosen.value, "relative")
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    def _model(self, fitted: list[torch.Tensor]) -> WeibullVisitModel:
        cross, own, level, intercept, log_shape = (tensor.numpy() for tensor in fitted)
        shape = float(np.exp(np.clip(log_shape, -MAX_LOG_SHAPE, MAX_LOG_SHAPE)))
        return WeibullVisitModel(cross, own, level, float(intercept), shape, self.horizon_hours)


@dataclass(frozen=True, eq=False)
class VisitTimes:
    """When the next visit after each decision was, in hours: within (lower, upper].

    A log tells that a visit fell between two decisions, not when. Where none is seen up to the user's last decision or
    the horizon, whichever is first, `lower` is that time and `upper` is infinite.

    Attributes:
        lower: float64 (n,), >= 0.
        upper: float64 (n,), > lower.
    """

    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, dataset: LoggedDataset, column: int, horizon_hours: float) -> VisitTimes:
        """Times to the next row of the same user whose reward in `column` is positive.

        Example:
            >>> data = LoggedDataset(
            ...     context=np.zeros((3, 1)), candidates=np.zeros((3, 2, 1)), eligible=np.ones((3, 2), bool),
            ...     action=[0, 1, 0], propensity=[0.5] * 3, reward=[[0], [1], [0]], objectives=("session",),
            ...     user=[7, 7, 7], time=[0, 2 * HOUR_US, 5 * HOUR_US])
            >>> times = VisitTimes.of(data, 0, 24.0)
            >>> times.lower.tolist(), times.upper.tolist()
            ([2.0, 0.0, 0.0], [5.0, 3.0, inf])
        """
        order = np.lexsort((dataset.time, dataset.user))
        hours = dataset.time[order] / HOUR_US
        user = dataset.user[order]
        n = len(order)
        position = np.arange(n)
        last = np.append(np.flatnonzero(user[1:] != user[:-1]), n - 1)
        end = last[np.searchsorted(last, position)]  # each row's user ends there
        # What follows a user's last decision ends with the log: when is not known.
        visited = (dataset.reward[order, column] > 0) & (position < end)
        following = np.minimum.accumulate(np.where(visited, position, n)[::-1])[::-1]
        seen = following <= end
        at = np.where(seen, following, end)
        lower = hours[at] - hours
        upper = np.where(seen, hours[np.minimum(at + 1, n - 1)] - hours, np.inf)
        beyond = upper > horizon_hours
        lower, upper = np.minimum(lower, horizon_hours), np.where(beyond, np.inf, upper)
        out_lower, out_upper = np.empty(n), np.empty(n)
        out_lower[order], out_upper[order] = lower, upper
        if not np.isfinite(out_upper).any():
            raise InvalidInputError(
                describe(
                    f"visits within {horizon_hours:g} hours of a decision", 0, "must be >= 1",
                    "Take a longer horizon_hours, or a log in which users are decided for more than once.",
                )
            )  # fmt: skip
        # Two decisions at one moment leave no time between them.
        return cls(out_lower, np.maximum(out_upper, np.nextafter(out_lower, np.inf)))

    def rows(self, index: NDArray[np.int64]) -> VisitTimes:
        """Some of the rows."""
        return VisitTimes(self.lower[index], self.upper[index])


def fit_weibull(
    data: Examples, times: VisitTimes, penalty: float, start: list[torch.Tensor] | None = None
) -> list[torch.Tensor]:
    """Maximise the likelihood of interval-censored times less penalty / 2 · (|a|² + |b|² + |W|²), by L-BFGS.

    Args:
        data: context and the chosen candidate of n decisions.
        times: of their next visits.
        penalty: in observations.
        start: parameters to begin with.

    Returns:
        [W (c, d), b (c,), a (d,), i (), log κ ()].
    """
    n, d = data.context.shape
    c = data.chosen.shape[2]
    if start is None:
        middle = np.where(np.isfinite(times.upper), (times.lower + times.upper) / 2, times.lower)
        mean = max(float(middle.sum()) / max(int(np.isfinite(times.upper).sum()), 1), 1e-6)  # a constant rate's
        start = [torch.zeros(c, d), torch.zeros(c), torch.zeros(d), torch.tensor(np.log(mean)).float(), torch.zeros(())]
    parameters = [tensor.clone().requires_grad_() for tensor in start]
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=MAX_ITERATIONS, history_size=20, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        total = torch.zeros(())
        for begin in range(0, n, BATCH_ROWS):
            rows = np.arange(begin, min(begin + BATCH_ROWS, n))
            part = _losses(parameters, data.rows(rows), times.rows(rows)).sum() / n
            part.backward()
            total = total + part.detach()
        prior = penalty / (2 * n) * sum((tensor**2).sum() for tensor in parameters[:3])
        prior.backward()
        return total + prior.detach()

    with few_threads():
        optimiser.step(closure)
    return [tensor.detach() for tensor in parameters]


def mean_loss(parameters: Sequence[torch.Tensor], data: Examples, times: VisitTimes) -> float:
    """Mean negative log likelihood."""
    with torch.no_grad(), few_threads():
        return float(_losses(parameters, data, times).mean())


def _losses(parameters: Sequence[torch.Tensor], data: Examples, times: VisitTimes) -> torch.Tensor:
    """−log P(lower < T <= upper) (n,), with P(T > t) = exp(−(t / λ)^κ)."""
    cross, own, level, intercept, log_shape = parameters
    x, c = torch.from_numpy(data.context), torch.from_numpy(data.candidate(np.arange(len(data))))
    log_scale = ((x @ cross.T + own) * c).sum(dim=1) + x @ level + intercept
    log_scale = log_scale.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)
    shape = torch.exp(log_shape.clamp(-MAX_LOG_SHAPE, MAX_LOG_SHAPE))
    seen = torch.from_numpy(np.isfinite(times.upper))
    lower, upper = _hazard(times.lower, log_scale, shape), _hazard(times.upper, log_scale, shape)
    # log(e^−lower − e^−upper) = −lower + log(1 − e^−(upper − lower))
    gap = torch.where(seen, (upper - lower).clamp_min(1e-12), torch.ones(()))
    within = torch.where(seen, torch.log(-torch.expm1(-gap)), torch.zeros(()))
    return lower - within


def _hazard(hours: FloatArray, log_scale: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """(t / λ)^κ (n,); 0 at 0, and at infinity, where it is not used."""
    known = np.isfinite(hours) & (hours > 0)
    log_hours = torch.from_numpy(np.log(np.where(known, hours, 1.0)).astype(np.float32))
    power = torch.exp((shape * (log_hours - log_scale)).clamp(-60.0, 30.0))
    return torch.where(torch.from_numpy(known), power, torch.zeros(()))
