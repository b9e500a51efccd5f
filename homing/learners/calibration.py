"""Calibration of reward models on users that they were not fitted on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.policies.numerics import sigmoid

#: Pull of slope and offset towards 1 and 0, in observations of which half are events: a handful of events must not bend
#: a model, however many rows without one there are.
PRIOR = 20.0


@dataclass(frozen=True)
class Calibration:
    """How one objective's predictions fit held-out users.

    Attributes:
        slope: multiplies the raw output; below 1 the model was overconfident.
        offset: added after that.
        rows: held-out rows.
        events: of them, rows with a reward other than 0.
        error_before: expected calibration error over ten bins of equal size, before.
        error_after: the same after calibration (on the rows that it was fitted on).
        loss: mean log loss (logit) or squared error (identity) after calibration.
        loss_of_mean: the same of the constant training mean: what the model must beat.
    """

    slope: float
    offset: float
    rows: int
    events: int
    error_before: float
    error_after: float
    loss: float
    loss_of_mean: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def calibrate(
    raw: NDArray[np.float64], reward: NDArray[np.float64], link: str, mean: float, *, fit: bool
) -> Calibration:
    """Fit slope and offset on held-out raw outputs (n,) and rewards (n,).

    For a logit this is Platt scaling (Platt 1999) by Newton steps with a Gaussian prior on (slope − 1, offset) worth
    `PRIOR` observations; for an identity the ridge regression with the same prior.
    """
    slope, offset = _fit(raw, reward, link) if fit else (1.0, 0.0)
    if slope < 0.0:
        # It would turn the model's order around on the word of a few users: the constant training mean is left.
        edge = 0.5 / max(len(reward), 1)
        share = min(max(mean, edge), 1.0 - edge)
        slope, offset = 0.0, math.log(share / (1.0 - share)) if link == "logit" else mean
    inverse = sigmoid if link == "logit" else np.asarray
    before, after = inverse(raw), inverse(slope * raw + offset)
    constant = np.full(len(reward), mean)
    return Calibration(
        slope,
        offset,
        len(reward),
        int(np.count_nonzero(reward)),
        calibration_error(before, reward),
        calibration_error(after, reward),
        loss(after, reward, link),
        loss(constant, reward, link),
    )


def _fit(raw: NDArray[np.float64], reward: NDArray[np.float64], link: str) -> tuple[float, float]:
    design = np.column_stack([raw, np.ones_like(raw)])
    # The prior is worth PRIOR observations of typical information on each coefficient.
    start = np.array([1.0, 0.0])
    spread = max(float(raw.var()), 1e-12)
    beta = start.copy()
    rate = float(sigmoid(raw).mean()) if link == "logit" else 0.5
    rows_per_balanced = 0.5 / max(min(rate, 1.0 - rate), 1e-6)
    for _ in range(50):
        z = design @ beta
        mean = sigmoid(z) if link == "logit" else z
        information = mean * (1.0 - mean) if link == "logit" else np.ones_like(z)
        typical = float(information.mean())
        prior = PRIOR * rows_per_balanced * typical * np.array([spread + float(raw.mean()) ** 2, 1.0])
        gradient = design.T @ (reward - mean) - prior * (beta - start)
        hessian = (design * information[:, None]).T @ design + np.diag(np.maximum(prior, 1e-12))
        step = np.linalg.solve(hessian, gradient)
        # A long first step can overshoot where the logistic function is flat.
        step /= max(1.0, float(np.abs(step).max()) / 2.0)
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])


def calibration_error(predicted: NDArray[np.float64], reward: NDArray[np.float64], bins: int = 10) -> float:
    """Expected calibration error: mean distance of mean prediction and mean reward over bins of equal size.

    >>> calibration_error(np.array([0.25, 0.25, 0.75, 0.75]), np.array([0.0, 0.0, 1.0, 1.0]), bins=2)
    0.25
    """
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(predicted[part].mean() - reward[part].mean()) for part in parts]
    return float(np.sum(gaps) / len(predicted))


def loss(predicted: NDArray[np.float64], reward: NDArray[np.float64], link: str) -> float:
    """Mean log loss for a logit, mean squared error for an identity."""
    if link == "identity":
        return float(np.mean((predicted - reward) ** 2))
    p = np.clip(predicted, 1e-12, 1 - 1e-12)
    return float(-np.mean(reward * np.log(p) + (1 - reward) * np.log1p(-p)))
