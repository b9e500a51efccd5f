"""Trajectory-wise importance sampling, plain and self-normalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.ope.estimators.base import RowEstimate, Rows
from homing.ope.estimators.snips import SNIPS
from homing.ope.sequential.base import Journeys, per_user


@dataclass(frozen=True)
class TIS:
    """V = mean over users of ρ_{0:T} Σ_t D_t r_t: the whole return, weighed by the whole trajectory.

    Unbiased under full support. Wrong to use where `PDIS` can be: an early reward is weighed with the noise of later
    decisions that did not cause it, and weights of whole trajectories have tails that an interval understates (500
    users of 4 decisions on average: 90 % at a nominal 95 %, `cressie-read` 96 %). Kept as the reference that others are
    compared with.

    References:
        Precup, Sutton and Singh (2000), "Eligibility Traces for Off-Policy Policy Evaluation".

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)  # the first user followed the policy
        >>> TIS()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]))).value  # 4 · (1 + ½ · 1) / 2
        3.0
    """

    name: str = "tis"
    needs_q: bool = False
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        weight = np.exp(paths.log_weight[paths.last])
        return per_user(weight * paths.sums(paths.discount * journeys.reward))


@dataclass(frozen=True)
class SNTIS:
    """V = Σ_g ρ_g G_g / Σ_g ρ_g with the whole trajectory's weight ρ_g and return G_g.

    Consistent, and within the range of the logged returns. The interval is that of `SNIPS` with users as rows: the
    normaliser is random and treated so; too narrow on few users for the reason given at `TIS`.

    References:
        Precup, Sutton and Singh (2000), "Eligibility Traces for Off-Policy Policy Evaluation" (weighted importance
        sampling).

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)
        >>> SNTIS()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]))).value
        1.5
    """

    name: str = "sntis"
    needs_q: bool = False
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        final = paths.log_weight[paths.last]
        top = float(final.max())
        weight = np.exp(final - (top if top > -np.inf else 0.0))  # a common factor cancels
        return SNIPS()(Rows(weight, paths.sums(paths.discount * journeys.reward)))
