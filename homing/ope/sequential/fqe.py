"""Fitted Q evaluation as an estimator: what the Q-function says at each user's first decision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homing.ope.estimators.base import RowEstimate
from homing.ope.sequential.base import Journeys, per_user
from homing.ope.sequential.dr import SequentialDR


@dataclass(frozen=True)
class FQE:
    """V = mean over users of v̂(x_0) = Σ_a π(a | x_0) q̂(x_0, a): the direct method.

    No weights, so long trajectories do not hurt it; but it is the Q-function's opinion, with the Q-function's bias. The
    interval holds what it can know: how first decisions differ between users and, with `LinearFQE`, how uncertain the
    fit is. It never holds the error of a model that cannot express the truth: the difference to `dr` bounds it
    (`possible_bias`, and a note).

    References:
        Le, Voloshin and Yue (2019), "Batch Policy Learning under Constraints" (FQE).

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], np.ones(4), gamma=0.5)
        >>> v = np.array([1.5, 1.0, 2.5, 1.0])
        >>> FQE()(Journeys(paths, np.array([1.0, 1.0, 5.0, 1.0]), q_logged=v, q_policy=v)).value
        2.0
    """

    name: str = "fqe"
    needs_q: bool = True
    needs_state: bool = False

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths = journeys.paths
        start = per_user(journeys.values()[paths.first])
        corrected = SequentialDR()(journeys)
        if journeys.trained is None:
            return replace(start, unbiased=corrected)
        at_first = np.zeros(len(paths.user))
        at_first[paths.first] = 1.0 / paths.count
        block = np.zeros(len(at_first), dtype=np.int64)
        fit = journeys.trained(np.zeros(len(at_first)), block, at_first, block, 1)
        return RowEstimate(start.value, start.influence + paths.count * fit[:, 0], unbiased=corrected)
