"""MAGIC: from the model to importance sampling, as far as the log warrants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.ope.estimate import interval
from homing.ope.estimators.base import RowEstimate
from homing.ope.sequential.base import FloatArray, Journeys, Trained, per_user
from homing.ope.sequential.normalised import StepAverages, step_averages


@dataclass(frozen=True)
class MAGIC:
    """V = Σ_j x_j g_j, a blend of returns that trust the log for j steps and the Q-function thereafter.

    g_0 is the Q-function alone (`fqe`), g_T is `WDR`, and g_j is WDR's sum stopped after j steps. The shares x >= 0,
    Σ x = 1, minimise the estimated mean squared error xᵀ (Ω + b bᵀ) x: Ω is the covariance of the g's, b_j the distance
    of g_j from the interval of g_T, 0 inside it. Consistent wherever WDR is.

    The interval takes x as given: it covers the variance, not what choosing x costs nor the bias that the choice
    tolerates; and a Q-function that came from elsewhere is taken as exact. Wrong to use as the gate's estimator for
    that reason; `wdr` is the one with the honest interval.

    Two things differ from the paper: Ω and the interval of g_T come from the influences, clustered by user, so that
    the normalisers and the fit of a `LinearFQE` count as random where the paper holds them fixed; and the interval is
    the delta method's where the paper resamples, so that no random numbers are drawn.

    Attributes:
        steps: how many lengths j are blended at most, besides the Q-function alone; they are spaced geometrically.
        level: of the interval that b is measured from; 0.9 in the paper's algorithm.

    References:
        Thomas and Brunskill (2016), "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning", the
        estimators BIM and MAGIC, algorithm 1.

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)
        >>> q = np.array([1.5, 1.0, 1.5, 1.0])
        >>> MAGIC()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]), q_logged=q, q_policy=q)).value
        1.5
    """

    steps: int = 24
    level: float = 0.9
    name: str = "magic"
    needs_q: bool = True
    needs_state: bool = False

    def __post_init__(self) -> None:
        check_probability("level", self.level)
        if not (isinstance(self.steps, int) and self.steps >= 1):
            raise InvalidInputError(describe("steps", self.steps, "must be an integer >= 1"))

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        ends = lengths_to_blend(paths.horizon, self.steps)
        steps = step_averages(paths, journeys.corrections(), ends)
        start = per_user(journeys.values()[paths.first])
        returns = start.value + np.concatenate([[0.0], np.cumsum(steps.average)[ends - 1]])
        # (G, J): each user's contribution to the error of each return.
        error = np.column_stack([start.influence / paths.count, steps.psi])
        if journeys.trained is not None:
            error += _training_error(journeys, journeys.trained, steps)
        error = np.cumsum(error, axis=1)
        covariance = paths.count / max(paths.count - 1, 1) * error.T @ error
        final = interval(float(returns[-1]), error[:, -1], self.level)
        bias = np.maximum(returns - final.upper, 0.0) + np.minimum(returns - final.lower, 0.0)
        share = simplex_minimum(covariance + np.outer(bias, bias))
        lengths = np.concatenate([[0], ends])
        details = {
            "model_share": float(share[0]),
            "wdr_share": float(share[-1]),
            "mean_steps": float(share @ lengths),
            "estimated_bias": float(share @ bias),
        }
        # The last column without the fit's error, which does not move WDR to first order.
        plain = RowEstimate(float(returns[-1]), start.influence + paths.count * steps.psi.sum(axis=1))
        return RowEstimate(float(share @ returns), paths.count * (error @ share), details, unbiased=plain)


def _training_error(journeys: Journeys, trained: Trained, steps: StepAverages) -> FloatArray:
    """What users did to each block of the returns through the Q-function's fit (G, 1 + blocks).

    The block 0 is mean v̂(x_0); a decision adds share · D · (γ v̂(x_{t+1}) - q̂(x_t, a_t)) to the block of its step.
    """
    paths = journeys.paths
    weight, block = steps.share * paths.discount, steps.block + 1
    at_next, block_next = np.roll(weight * paths.carry, 1), np.roll(block, 1)  # as seen from the next decision
    at_next[paths.first], block_next[paths.first] = 1.0 / paths.count, 0
    return trained(-weight, block, at_next, block_next, steps.psi.shape[1] + 1)


def lengths_to_blend(horizon: int, most: int) -> NDArray[np.int64]:
    """At most `most` lengths from 1 to the horizon, the horizon included: all of them where they fit.

    >>> lengths_to_blend(3, 24).tolist(), lengths_to_blend(600, 4).tolist()
    ([1, 2, 3], [1, 8, 71, 600])
    """
    if horizon <= most:
        return np.arange(1, horizon + 1)
    if most == 1:
        return np.array([horizon])
    return np.unique(np.round(np.geomspace(1, horizon, most)).astype(np.int64))


def simplex_minimum(matrix: FloatArray) -> FloatArray:
    """argmin xᵀ M x over x >= 0, Σ x = 1, for a positive semi-definite M (J, J).

    Non-negative least squares without iteration on the constraint: minimising xᵀ M x + (Σ x - 1)² over x >= 0 gives
    the same direction, because for any direction u of sum 1 the best multiple of u leaves uᵀMu / (1 + uᵀMu), which
    grows with uᵀMu.

    >>> simplex_minimum(np.diag([1.0, 3.0])).round(12).tolist()
    [0.75, 0.25]
    """
    from scipy.optimize import nnls

    share: FloatArray = np.zeros(len(matrix))
    scale = float(np.trace(matrix)) / len(matrix)
    if not scale > 0.0:
        share[-1] = 1.0  # nothing varies: all agree
        return share
    values, vectors = np.linalg.eigh(matrix / scale)
    root = np.sqrt(np.clip(values, 0.0, None))[:, None] * vectors.T
    target = np.concatenate([np.zeros(len(matrix)), [1.0]])
    x, _ = nnls(np.vstack([root, np.ones(len(matrix))]), target)
    share[:] = x
    share /= share.sum()
    return share
