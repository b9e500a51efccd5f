"""Per-decision importance sampling, plain and self-normalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.ope.estimators.base import RowEstimate
from homing.ope.sequential.base import Journeys, per_user
from homing.ope.sequential.normalised import step_averages


@dataclass(frozen=True)
class PDIS:
    """V = mean over users of Σ_t D_t ρ_{0:t} r_t: each reward is weighed by the decisions up to it.

    Unbiased under full support. Wrong to use on long trajectories: the variance of products of weights grows
    exponentially with their number.

    References:
        Precup, Sutton and Singh (2000), "Eligibility Traces for Off-Policy Policy Evaluation".

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)
        >>> PDIS()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]))).value  # (2·1 + ½·4·1 + 0) / 2
        2.0
    """

    name: str = "pdis"
    needs_q: bool = False
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        return per_user(paths.sums(paths.discount * np.exp(paths.log_weight) * journeys.reward))


@dataclass(frozen=True)
class SNPDIS:
    """V = Σ_t Σ_g ρ_gt D_gt r_gt / Σ_g ρ_gt: a weighted average at every step.

    A trajectory that has ended stays in the normaliser with its last weight and reward 0, so that short trajectories
    count as such. The interval is the delta method's over users: ψ_g = Σ_t ρ_gt (D_gt r_gt - V_t) / Σ_g ρ_gt.
    Consistent; slightly biased with few users.

    References:
        Precup, Sutton and Singh (2000); Thomas (2015), "Safe Reinforcement Learning", section 3.9 (CWPDIS).

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)
        >>> SNPDIS()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]))).value
        1.5
    """

    name: str = "snpdis"
    needs_q: bool = False
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        steps = step_averages(paths, paths.discount * journeys.reward)
        return RowEstimate(float(steps.average.sum()), paths.count * steps.psi[:, 0])
