"""Which rows belong together, and what each such cluster adds to an estimate's error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from homing.estimates import Estimate, interval, t_quantile

__all__ = ["Clusters", "Estimate", "cluster_influence", "interval", "t_quantile"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which rows belong together: rows of one cluster may depend on each other, clusters may not.

    Attributes:
        code: int64 (n,), the cluster of each row, 0 to count - 1.
        count: the number of clusters G.

    Example:
        >>> Clusters.of(np.array([7, 7, 3])).code.tolist()
        [1, 1, 0]
    """

    code: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, labels: NDArray[np.integer]) -> Clusters:
        """Number the distinct labels in sorted order."""
        known, code = np.unique(labels, return_inverse=True)
        return cls(code.astype(np.int64).reshape(-1), len(known))

    @cached_property
    def are_rows(self) -> bool:
        """Whether each row is a cluster of its own, in order."""
        return self.count == len(self.code) and bool((np.diff(self.code) == 1).all())

    def sums(self, values: FloatArray) -> FloatArray:
        """Per-cluster sums (G,) of per-row values (n,); the values themselves where clusters are rows."""
        if self.are_rows:
            return np.asarray(values, dtype=np.float64)
        return np.asarray(np.bincount(self.code, weights=values, minlength=self.count), dtype=np.float64)


def cluster_influence(influence: FloatArray, clusters: Clusters) -> FloatArray:
    """Fold per-row influence φ (n,) into per-cluster contributions ψ (G,) with ψ_g = Σ_{i in g} φ_i / n.

    The estimation error is Σ_g ψ_g to first order, so differences of two policies' ψ on one log are the ψ of the
    difference of their values: that is the paired comparison.
    """
    return clusters.sums(influence) / len(influence)
