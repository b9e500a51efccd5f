"""The cluster-robust t interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homing.ope.estimate import Estimate, interval
from homing.ope.intervals.base import Contributions


@dataclass(frozen=True)
class ClusterT:
    """V ± t · s, with s robust to dependence within users: the fast default of reports.

    Wrong to use on rare events: with few of them the distribution is skewed, a log without any gives 0 ± 0, and the
    interval covers far less than it says. See `CressieRead`.

    References:
        Cameron and Miller (2015), "A Practitioner's Guide to Cluster-Robust Inference", section VI.

    Example:
        >>> item = Contributions(0.5, np.array([-0.1, 0.0, 0.1]))
        >>> print(ClusterT()([item], 0.95)[0])
        0.5 [-0.2452, 1.245]
    """

    name: str = "cluster-t"

    def __call__(
        self, items: Sequence[Contributions], level: float, rng: np.random.Generator | None = None
    ) -> tuple[Estimate, ...]:
        return tuple(interval(item.value, item.psi, level) for item in items)
