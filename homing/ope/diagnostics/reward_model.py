"""Whether a reward model's predictions agree with the log's own rewards, on its own actions and on the policy's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_shape
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.moments import zero_mean_p_value
from homing.ope.diagnostics.verdict import Findings, Verdict
from homing.ope.estimate import Clusters, Estimate, interval
from homing.pages import number

FloatArray = NDArray[np.float64]
#: Bins of equal size by prediction.
BINS = 10
#: Level of all bins together at which one is called wrong, and the share of the rewards' mean that matters.
ALPHA, MATTERS = 0.01, 0.05
#: Least number of events that predictions must amount to before a bin is tested.
MIN_EVENTS = 20.0


@dataclass(frozen=True)
class CalibrationBin:
    """Rows of similar predictions.

    Attributes:
        predicted: their mean prediction.
        observed: their mean reward, with its interval.
        rows: how many there are.
        p_value: of the two means being equal, corrected for skewness: few events make intervals lie. 1 where fewer
            than `MIN_EVENTS` events of the usual size are predicted.
    """

    predicted: float
    observed: Estimate
    rows: int
    p_value: float


@dataclass(frozen=True)
class RewardModelCalibration:
    """A reward model of one objective held against the log.

    Attributes:
        objective: its name.
        residual: mean of reward - prediction over the log's own actions: 0 for a model that is right on average.
        slope: of the regression of rewards on predictions: 1 for a model that ranks and scales right, near 0 for one
            that knows nothing, below 1 for one that exaggerates; None where predictions do not vary.
        policy_residual: weighted mean of reward - prediction, what the model misses of the policy's value: the bias of
            the direct method, which the doubly robust estimators correct; None without a policy.
        bins: rows by prediction, lowest first.
        verdict: `caution` where the model is off by more than chance and by enough to matter. It never refuses: the
            doubly robust estimators stay right with a wrong model, only their intervals get wider.
        reasons: sentences behind the verdict.
    """

    objective: str
    residual: Estimate
    slope: Estimate | None
    policy_residual: Estimate | None
    bins: tuple[CalibrationBin, ...]
    verdict: Verdict
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "bins": [asdict(item) for item in self.bins], "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RewardModelCalibration:
        """Read back what `to_dict` wrote."""
        read = {
            name: None if data[name] is None else Estimate.from_dict(data[name])
            for name in ("residual", "slope", "policy_residual")
        }
        bins = tuple(
            CalibrationBin(**{**item, "observed": Estimate.from_dict(item["observed"])}) for item in data["bins"]
        )
        return cls(**{**data, **read, "bins": bins, "reasons": tuple(data["reasons"])})


def reward_model_calibration(
    dataset: LoggedDataset,
    q_hat: ArrayLike,
    *,
    action_probs: FloatArray | None = None,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> tuple[RewardModelCalibration, ...]:
    """Hold a reward model's predictions of the logged actions against the rewards, for each objective.

    Calibration in the large (mean residual), the calibration slope, and means by tenths of the prediction; intervals
    are clustered by user. Wrong to read for a model that was fitted on these rows: it is then calibrated by
    construction. It says nothing of actions that the log never took.

    Args:
        dataset: the log.
        q_hat: (n, k) or (n, k, m), predictions fitted on other users.
        action_probs: (n, k), a policy, to show what the model misses of its value.
        clusters: rows that may depend on each other; users by default.
        level: of the intervals.

    Returns:
        One entry an objective.

    Raises:
        InvalidInputError: on another shape, or NaN.

    References:
        Cox (1958), "Two Further Applications of a Model for Binary Regression", and Van Calster et al. (2016), "A
        calibration hierarchy for risk models was defined", for intercept and slope; Dudík, Erhan, Langford and Li
        (2014), "Doubly Robust Policy Evaluation and Optimization", section 3, for the bias of the direct method.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> n = 4000
        >>> x = rng.random(n)
        >>> data = LoggedDataset(
        ...     context=x[:, None], candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool),
        ...     action=rng.integers(0, 2, n), propensity=np.full(n, 0.5), reward=(rng.random(n) < x)[:, None],
        ...     objectives=("clicked",), user=np.arange(n), time=np.arange(n))
        >>> [found] = reward_model_calibration(data, np.stack([x, x], axis=1))
        >>> found.verdict, found.slope.lower < 1 < found.slope.upper
        ('fine', True)
        >>> [high] = reward_model_calibration(data, np.stack([x + 0.2, x + 0.2], axis=1))
        >>> high.verdict, round(high.residual.value, 1)
        ('caution', -0.2)
    """
    q = np.asarray(check_finite("q_hat", q_hat), dtype=np.float64)
    if q.ndim == 2 and len(dataset.objectives) == 1:
        q = q[:, :, None]
    check_shape("q_hat", q, (dataset.n, dataset.k, len(dataset.objectives)))
    clusters = clusters or Clusters.of(dataset.user)
    rows = np.arange(dataset.n)
    weight = None
    if action_probs is not None:
        shaped = check_shape("action_probs", action_probs, (dataset.n, dataset.k))
        weight = np.asarray(shaped[rows, dataset.action], dtype=np.float64) / dataset.propensity
    return tuple(
        _calibration(name, q[rows, dataset.action, j], dataset.reward[:, j], weight, clusters, level)
        for j, name in enumerate(dataset.objectives)
    )


def _calibration(
    name: str, predicted: FloatArray, reward: FloatArray, weight: FloatArray | None, clusters: Clusters, level: float
) -> RewardModelCalibration:
    found = Findings()
    error = reward - predicted
    residual = _mean(error, clusters, level)
    scale = max(abs(float(reward.mean())), float(reward.std()) * MATTERS)
    if _p_value(error, clusters, scale) < ALPHA and abs(residual.value) > MATTERS * scale:
        found.add(
            "caution",
            f"The reward model of {name} is {number(abs(residual.value))} too "
            f"{'low' if residual.value > 0 else 'high'} on the log's own actions, whose mean is "
            f"{number(float(reward.mean()))}: do not read it by itself.",
        )
    slope = None
    centred = predicted - predicted.mean()
    spread = float((centred**2).mean())
    if spread > (1e-9 * max(1.0, float(np.abs(predicted).max()))) ** 2:
        value = float((centred * reward).mean()) / spread
        left = reward - reward.mean() - value * centred
        slope = interval(value, clusters.sums(centred * left) / spread / len(reward), level)
        if _excludes(slope, 1.0, ALPHA) and abs(slope.value - 1.0) > 0.25:
            how = "exaggerates differences" if slope.value < 1 else "understates differences"
            found.add(
                "caution",
                f"The reward model of {name} {how} between decisions: where it predicts 1 more, rewards are "
                f"{number(slope.value)} more.",
            )
    bins = _bins(predicted, reward, clusters, level, scale)
    if not found.reasons and len(bins) > 1:
        wrong = [item for item in bins if item.p_value < ALPHA / len(bins)]
        wrong = [item for item in wrong if abs(item.observed.value - item.predicted) > MATTERS * scale]
        if wrong:
            far = max(wrong, key=lambda item: abs(item.observed.value - item.predicted))
            found.add(
                "caution",
                f"The reward model of {name} is off in {len(wrong)} of {len(bins)} bins of its predictions: where it "
                f"says {number(far.predicted)}, the mean reward is {number(far.observed.value)}.",
            )
    policy = None if weight is None else _mean(weight * error, clusters, level)
    return RewardModelCalibration(name, residual, slope, policy, bins, found.verdict, tuple(found.reasons))


def _mean(values: FloatArray, clusters: Clusters, level: float) -> Estimate:
    value = float(values.mean())
    return interval(value, clusters.sums(values - value) / len(values), level)


def _p_value(error: FloatArray, clusters: Clusters, scale: float) -> float:
    return zero_mean_p_value(clusters.sums(error) / (len(error) * (scale or 1.0)))


def _excludes(item: Estimate, value: float, alpha: float) -> bool:
    wide = item.at(1.0 - alpha)
    return not wide.lower <= value <= wide.upper


def _bins(
    predicted: FloatArray, reward: FloatArray, clusters: Clusters, level: float, scale: float
) -> tuple[CalibrationBin, ...]:
    """Rows by tenths of the prediction; ties stay together, bins of one user are left out."""
    edges = np.unique(np.quantile(predicted, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    at = np.searchsorted(edges, predicted, side="left")
    size = float((reward**2).sum() / (np.abs(reward).sum() or 1.0))  # of the usual event
    out = []
    for b in range(len(edges) + 1):
        inside = at == b
        if not inside.any():
            continue
        here = Clusters.of(clusters.code[inside])
        if here.count > 1:
            observed = _mean(reward[inside], here, level)
            enough = abs(float(predicted[inside].sum())) >= MIN_EVENTS * size
            p = _p_value(reward[inside] - predicted[inside], here, scale) if enough else 1.0
            out.append(CalibrationBin(float(predicted[inside].mean()), observed, int(inside.sum()), p))
    return tuple(out)
