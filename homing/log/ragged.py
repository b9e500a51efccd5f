"""List columns as flat values: what lets a rule over candidates run on a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ragged:
    """A list column of n rows, flattened to N values.

    >>> lists = Ragged(pa.array([[1, 2], None, [3]]))
    >>> lists.lengths.tolist(), lists.row.tolist(), lists.any(np.array([False, True, False])).tolist()
    ([2, 0, 1], [0, 0, 2], [True, False, False])
    """

    array: pa.ListArray

    @cached_property
    def null(self) -> Mask:
        """Rows whose list is null, (n,)."""
        return as_mask(self.array.is_null())

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Values of each row, 0 where the list is null, (n,)."""
        lengths = pc.fill_null(pc.list_value_length(self.array), 0)
        out: NDArray[np.int64] = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
        return out

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Position of each row's first value among the flat ones, (n,)."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def row(self) -> NDArray[np.int64]:
        """Row of each value, (N,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def values(self) -> pa.Array:
        """All values, (N,)."""
        return pc.list_flatten(self.array)

    def any(self, broken: Mask) -> Mask:
        """Rows that hold a value for which `broken` (N,) is true, (n,)."""
        out = np.zeros(len(self.lengths), dtype=bool)
        out[self.row[broken]] = True
        return out

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of `values` (N,) over each row, (n,)."""
        out: NDArray[np.float64] = np.bincount(self.row, weights=values, minlength=len(self.lengths)).astype(np.float64)
        return out

    def at(self, values: NDArray[np.generic], index: NDArray[np.int64], otherwise: object) -> NDArray[np.generic]:
        """Of `values` (N,) the one at `index` of each row, `otherwise` where the row has none there, (n,)."""
        inside = (index >= 0) & (index < self.lengths)
        out = np.full(len(self.lengths), otherwise, dtype=values.dtype)
        out[inside] = values[(self.starts + index)[inside]]
        return out


def as_mask(array: pa.Array, null: bool = False) -> Mask:
    """A boolean Arrow array as NumPy; nulls become `null`."""
    out: Mask = pc.fill_null(array, null).to_numpy(zero_copy_only=False)
    return out


def as_floats(array: pa.Array) -> NDArray[np.float64]:
    """A numeric Arrow array as float64; nulls become NaN."""
    out: NDArray[np.float64] = pc.fill_null(array.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
    return out


def blank(array: pa.Array) -> Mask:
    """Where a text is null or empty."""
    return as_mask(pc.equal(array, ""), null=True)


def not_finite(array: pa.Array) -> Mask:
    """Where a number is NaN or infinite; null is neither."""
    return ~as_mask(pc.is_finite(array), null=True)
