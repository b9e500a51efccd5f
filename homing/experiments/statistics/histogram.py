"""A mergeable histogram with bins of equal relative width: quantiles with a bounded error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
#: Bounds of a bin differ by this share, so that a quantile is off by less; typically by far less, see `Histogram`.
WIDTH = 0.002
_LOG = np.log1p(WIDTH)
#: Added to the logarithm's bin so that it is positive for every positive float.
_ZERO = 1 << 20
#: Two-sided normal quantile at which a quantile's standard error is read off.
_Z = 1.959963984540054


def bins(values: ArrayLike) -> IntArray:
    """The bin of each value; bins increase with values, 0 is the bin of 0 alone.

    >>> bins([0.0, 1.0, 1.001, 1.1, -1.0]).tolist()
    [0, 1048576, 1048577, 1048624, -1048576]
    """
    x = np.asarray(values, dtype=np.float64)
    size = np.log(np.abs(x), out=np.zeros_like(x), where=x != 0)
    return np.asarray(np.sign(x) * (np.ceil(size / _LOG) + _ZERO), dtype=np.int64)


@dataclass(frozen=True)
class Histogram:
    """Counts, least and largest value of each bin that holds a value, by variant and exposure day.

    A value between two ranks of a bin is interpolated between the bin's extremes. So a quantile is exact where a bin
    holds one distinct value (counts, prices), and otherwise within the bin's extremes, which differ by less than 0.2 %
    of the value: a large constant that all values share is to be subtracted before.

    Attributes:
        variant: (r,) index.
        day: (r,) day number.
        bin: (r,) bin.
        count: (r,) values.
        least: (r,) smallest value.
        largest: (r,) largest value.
    """

    variant: IntArray
    day: IntArray
    bin: IntArray
    count: IntArray
    least: FloatArray
    largest: FloatArray

    def __add__(self, other: Histogram) -> Histogram:
        """The histogram of both data together."""
        keys = np.stack(
            [np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("variant", "day", "bin")]
        )
        (variant, day, bin_), at = np.unique(keys, axis=1, return_inverse=True)
        count = np.zeros(len(variant), dtype=np.int64)
        np.add.at(count, at, np.concatenate([self.count, other.count]))
        least, largest = np.full(len(variant), np.inf), np.full(len(variant), -np.inf)
        np.minimum.at(least, at, np.concatenate([self.least, other.least]))
        np.maximum.at(largest, at, np.concatenate([self.largest, other.largest]))
        return Histogram(variant, day, bin_, count, least, largest)

    def quantiles(self, p: float, variants: int, days: IntArray) -> tuple[FloatArray, FloatArray]:
        """The quantile of all units exposed until each day, and its standard error.

        The quantile is the ⌈p n⌉-th smallest value. Its standard error is half the distance between the values of rank
        n p ± 1.96 √(n p (1 - p)), over 1.96: Woodruff (1952), "Confidence Intervals for Medians and Other Position
        Measures", JASA 47. It needs no density; it is 0 where both ranks hold the same value.

        Args:
            p: which quantile, in (0, 1).
            variants: number of variants.
            days: (looks,), increasing.

        Returns:
            (variants, looks) each; NaN where fewer than two units count.
        """
        counts, least, largest = self._cumulative(variants, days)
        n = counts.sum(axis=-1)
        spread = _Z * np.sqrt(n * p * (1.0 - p))
        value, low, high = (
            _at_rank(counts, least, largest, np.clip(np.ceil(rank), 1, np.maximum(n, 1)))
            for rank in (n * p, n * p - spread, n * p + spread)
        )
        enough = n >= 2
        return np.where(enough, value, np.nan), np.where(enough, (high - low) / (2.0 * _Z), np.nan)

    def quantile(self, p: float) -> float:
        """The quantile of all values."""
        whole = Histogram(
            np.zeros_like(self.variant), np.zeros_like(self.day), self.bin, self.count, self.least, self.largest
        )
        none = np.zeros(0, dtype=np.int64)
        merged = whole + Histogram(none, none, none, none, none.astype(float), none.astype(float))
        return float(merged.quantiles(p, 1, np.zeros(1, dtype=np.int64))[0][0, 0])

    def _cumulative(self, variants: int, days: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(variants, looks, bins) each: counts and extremes of what was exposed until each day."""
        used, column = np.unique(self.bin, return_inverse=True)
        look = np.searchsorted(days, self.day)
        counts = np.zeros((variants, len(days) + 1, max(len(used), 1)))
        least, largest = np.full(counts.shape, np.inf), np.full(counts.shape, -np.inf)
        np.add.at(counts, (self.variant, look, column), self.count)
        np.minimum.at(least, (self.variant, look, column), self.least)
        np.maximum.at(largest, (self.variant, look, column), self.largest)
        return (
            np.cumsum(counts, axis=1)[:, :-1],
            np.minimum.accumulate(least, axis=1)[:, :-1],
            np.maximum.accumulate(largest, axis=1)[:, :-1],
        )


def _at_rank(counts: FloatArray, least: FloatArray, largest: FloatArray, rank: FloatArray) -> FloatArray:
    """The value of a rank, counted from 1: (…, bins) and (…) to (…)."""
    upto = np.cumsum(counts, axis=-1)
    place = np.minimum((upto < rank[..., None]).sum(axis=-1), counts.shape[-1] - 1)[..., None]
    size, low, high = (np.take_along_axis(each, place, axis=-1)[..., 0] for each in (counts, least, largest))
    within = rank - (np.take_along_axis(upto, place, axis=-1)[..., 0] - size) - 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 1, low + (high - low) * within / (size - 1.0), low)
