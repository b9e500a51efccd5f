"""Chances of rare yes-or-no outcomes of messages: logistic regression without products, by Newton's method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.log import LoggedDataset
from homing.policies import LinearRewardModel

FloatArray = NDArray[np.float64]
STEPS = 25
BATCH_ROWS = 65_536
#: A logit is kept within this.
MOST = 30.0


def fit_chances(
    dataset: LoggedDataset,
    rows: NDArray[np.int64],
    objectives: Sequence[int],
    penalty: float,
    start: LinearRewardModel | None = None,
) -> LinearRewardModel:
    """P(objective | context, what was chosen) of 0–1 objectives, one head each, on some rows.

    Maximises the likelihood less penalty / 2 · (|a|² + |b|²); linear in context and candidate, so that it takes few
    steps and tells rare outcomes from few.

    Args:
        dataset: n decisions.
        rows: those that count.
        objectives: columns of its reward.
        penalty: in observations.
        start: a model of other rows to begin with.
    """
    d, c = dataset.context.shape[1], dataset.candidates.shape[2]
    z = np.empty((len(rows), 1 + d + c), dtype=np.float32)
    for begin in range(0, len(rows), BATCH_ROWS):
        some = rows[begin : begin + BATCH_ROWS]
        batch = dataset.rows(some)
        z[begin : begin + len(some), 0] = 1.0
        z[begin : begin + len(some), 1 : 1 + d] = batch.context
        z[begin : begin + len(some), 1 + d :] = batch.candidates[np.arange(len(some)), batch.action]
    found = []
    for head, objective in enumerate(objectives):
        begun = np.zeros(1 + d + c)
        if start is not None:
            begun = np.concatenate([start.intercept[head : head + 1], start.context[head], start.candidate[head]])
        found.append(newton(z, dataset.reward[rows, objective] > 0, penalty, begun.astype(np.float64)))
    theta = np.stack(found)
    m = len(objectives)
    return LinearRewardModel(
        np.zeros((m, c, d), dtype=np.float32), theta[:, 1 + d :].astype(np.float32),
        theta[:, 1 : 1 + d].astype(np.float32), theta[:, 0].astype(np.float32), ("logit",) * m, np.ones(m), np.zeros(m),
        np.ones(m),
    )  # fmt: skip


def newton(z: NDArray[np.float32], happened: NDArray[np.bool_], penalty: float, start: FloatArray) -> FloatArray:
    """Coefficients (f,); the first column of z is the constant, which is not shrunk.

    Each step is halved until the likelihood does not fall, so that it converges from anywhere.

    Example:
        >>> z = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]], dtype=np.float32)
        >>> newton(z, np.array([True, False, True, False]), 1.0, np.zeros(2)).round(6).tolist()
        [0.0, 0.0]
    """
    y = happened.astype(np.float64)
    weight = np.full(z.shape[1], float(penalty))
    # Half an observation of each kind: a constant without bound is no estimate.
    weight[0] = 0.0
    theta = start.copy()
    if not theta.any():
        theta[0] = np.log((y.sum() + 0.5) / (len(y) - y.sum() + 0.5))
    value = _loss(z, y, weight, theta)
    for _ in range(STEPS):
        chance = _chance(z, theta)
        slope = z.T @ (y - chance).astype(np.float32) - weight * theta
        spread = np.maximum(chance * (1.0 - chance), 1e-9).astype(np.float32)
        curve = (z.T @ (spread[:, None] * z)).astype(np.float64) + np.diag(weight + 1e-6)
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-4 and _loss(z, y, weight, theta + size * step) > value:
            size /= 2.0
        theta = theta + size * step
        before, value = value, _loss(z, y, weight, theta)
        if before - value < 1e-7 * abs(value):
            break
    return theta


def _chance(z: NDArray[np.float32], theta: FloatArray) -> FloatArray:
    logit = np.clip((z @ theta.astype(np.float32)).astype(np.float64), -MOST, MOST)
    out: FloatArray = 1.0 / (1.0 + np.exp(-logit))
    return out


def _loss(z: NDArray[np.float32], y: FloatArray, weight: FloatArray, theta: FloatArray) -> float:
    logit = np.clip((z @ theta.astype(np.float32)).astype(np.float64), -MOST, MOST)
    return float((np.logaddexp(0.0, logit) - y * logit).sum() + 0.5 * (weight * theta**2).sum())
