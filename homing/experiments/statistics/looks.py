"""Every look of an experiment at once: what had matured until each day, cumulated over exposure days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.experiments.statistics.sufficient import SufficientStatistics

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Cumulated:
    """Units that had matured by each look.

    Attributes:
        n: (V, L, S) units.
        offset: (V, L, S, k) means less the statistics' shift.
        products: (V, L, S, p) centred products.
        missing: (L, k) units without a value.
    """

    n: IntArray
    offset: FloatArray
    products: FloatArray
    missing: IntArray


class Looks:
    """What had matured at every look, for each delay that metrics have; each is cumulated once.

    Attributes:
        statistics: by exposure day.
        days: (L,) day numbers of the looks, increasing.
    """

    def __init__(self, statistics: SufficientStatistics, days: IntArray) -> None:
        self.statistics = statistics
        self.days = days
        self._known: dict[int, Cumulated] = {}

    def matured(self, delay: int = 0) -> Cumulated:
        """Units exposed `delay` days before each look, or earlier."""
        if delay not in self._known:
            self._known[delay] = cumulated(self.statistics, self.days, delay)
        return self._known[delay]


def cumulated(statistics: SufficientStatistics, looks: IntArray, matures_after: int = 0) -> Cumulated:
    """What had matured at the end of each look's day: units exposed `matures_after` days before it or earlier.

    Products are summed about the mean of all cells, which lies within the spread of the data, and centred again about
    each look's own mean.

    Args:
        statistics: by exposure day.
        looks: (L,) increasing day numbers.
        matures_after: days from exposure until a unit counts.
    """
    s = statistics
    upto = np.clip(looks - matures_after - s.first_day + 1, 0, s.n.shape[1])
    weight = s.n[..., None]
    units = max(int(s.n.sum()), 1)
    centre = (weight * s.offset).sum(axis=(0, 1, 2)) / units
    gap = s.offset - centre

    def until(cells: NDArray[np.float64]) -> FloatArray:
        running = np.zeros((cells.shape[0], cells.shape[1] + 1, *cells.shape[2:]))
        np.cumsum(cells, axis=1, out=running[:, 1:])
        return running[:, upto]

    n = until(s.n.astype(np.float64))
    mean = until(weight * gap) / np.maximum(n, 1.0)[..., None]
    about = until(s.products + weight * gap[..., s.left] * gap[..., s.right])
    products = about - n[..., None] * mean[..., s.left] * mean[..., s.right]
    # Rounding must not make a sum of squares negative.
    products = np.where(s.left == s.right, np.maximum(products, 0.0), products)
    missing = s.missing.sum(axis=(0, 2))
    lacking = np.concatenate([np.zeros((1, missing.shape[1]), dtype=np.int64), np.cumsum(missing, axis=0)])[upto]
    return Cumulated(n.astype(np.int64), mean + centre, products, lacking)
