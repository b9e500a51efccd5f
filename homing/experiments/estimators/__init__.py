"""Estimators on plain arrays: from sums to effects with intervals. All looks and metrics at once, in pure functions.

Axes: (…, V, L) is variants by looks, (…, V, L, q) the means of q columns, (…, V, L, q, q) the covariance of those
means.
"""

from __future__ import annotations

from homing.experiments.estimators.adjust import ArmValues, adjusted, unadjusted
from homing.experiments.estimators.effects import Effect, difference, fieller, relative
from homing.experiments.estimators.moments import Means, means_of, per_cluster, post_stratified, ratio
from homing.experiments.estimators.tails import t_bound, t_to_z

__all__ = [
    "ArmValues",
    "Effect",
    "Means",
    "adjusted",
    "difference",
    "fieller",
    "means_of",
    "per_cluster",
    "post_stratified",
    "ratio",
    "relative",
    "t_bound",
    "t_to_z",
    "unadjusted",
]
