"""Doubly robust per-decision estimators, plain and weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.ope.estimators.base import RowEstimate
from homing.ope.sequential.base import Journeys, per_user
from homing.ope.sequential.normalised import step_averages


@dataclass(frozen=True)
class SequentialDR:
    """V = mean over users of v̂(x_0) + Σ_t D_t ρ_{0:t} (r_t + γ v̂(x_{t+1}) - q̂(x_t, a_t)).

    The Q-function's prediction, corrected by the log where they disagree. Unbiased whatever the Q-function says, as
    long as it has not seen these users and the policy is supported; with q̂ = 0 it is `PDIS`; with a good one its
    interval is narrower. Unrolling the recursion of Jiang and Li gives this sum.

    Wrong to use with a Q-function fitted on the same users, or one that discounts otherwise than `gamma` and
    `time_unit` say.

    References:
        Jiang and Li (2016), "Doubly Robust Off-policy Value Evaluation for Reinforcement Learning", equation 10;
        Thomas and Brunskill (2016), "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning", for the
        sum.

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)
        >>> q = np.array([1.5, 1.0, 1.5, 1.0])  # what always acting earns: 1 now, and ½ · 1
        >>> SequentialDR()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]), q_logged=q, q_policy=q)).value
        1.5
    """

    name: str = "dr"
    needs_q: bool = True
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        corrected = paths.sums(np.exp(paths.log_weight) * journeys.corrections())
        return per_user(journeys.values()[paths.first] + corrected)


@dataclass(frozen=True)
class WDR:
    """`SequentialDR` with self-normalised weights: ρ_{0:t} / Σ_g ρ_{0:t} in place of ρ_{0:t} / G at every step.

    Consistent, with much less variance than DR where weights are large, at the price of a small bias with few users.
    A trajectory that has ended stays in the normaliser with its last weight. The interval is the delta method's.

    References:
        Thomas and Brunskill (2016), "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning", the
        weighted doubly robust estimator.

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], [2.0, 2.0, 0.0, 2.0], gamma=0.5)
        >>> zero = np.zeros(4)
        >>> WDR()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]), q_logged=zero, q_policy=zero)).value  # SNPDIS
        1.5
    """

    name: str = "wdr"
    needs_q: bool = True
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        steps = step_averages(paths, journeys.corrections())
        start = per_user(journeys.values()[paths.first])
        return RowEstimate(start.value + float(steps.average.sum()), start.influence + paths.count * steps.psi[:, 0])
