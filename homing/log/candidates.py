"""Candidates of many decisions, ragged in storage, padded on demand.

A log of 10 000 decisions with 80 candidates of 100 one-hot features is 320 MB when padded and 10 MB when the
categorical features stay codes; so codes and numbers are stored, and rows are expanded when a batch asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from homing.errors import InvalidInputError, describe

#: A padded array larger than this is refused: iterate over batches instead.
MAX_PADDED_BYTES = 4 * 2**30


@dataclass(frozen=True, eq=False)
class CandidateStore:
    """The candidates of n decisions; behaves like a read-only float32 array of shape (n, k, c).

    Indexing with rows expands and pads just those rows:

    >>> store = CandidateStore.from_padded(np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    >>> store.shape, store[np.array([1])].shape
    ((2, 3, 2), (1, 3, 2))

    Attributes:
        codes: int32 (N, a), one column per categorical feature; -1 stands for "no level" (all zeros when expanded).
        levels: number of levels of each categorical feature; the one-hot blocks come first, in this order.
        numeric: float32 (N, b), the numeric features; they follow the one-hot blocks.
        offsets: int64 (n + 1,), decision i owns the candidates offsets[i] to offsets[i + 1].
    """

    codes: NDArray[np.int32]
    levels: tuple[int, ...]
    numeric: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.codes.shape[1:] != (len(self.levels),):
            bound = f"must be ({len(self.codes)}, {len(self.levels)}), one column per entry of levels"
            raise InvalidInputError(describe("candidates.codes.shape", self.codes.shape, bound))
        if not len(self.offsets) or self.offsets[0] != 0:
            raise InvalidInputError(
                describe("offsets[0]", int(self.offsets[0]) if len(self.offsets) else None, "must be 0")
            )
        if np.any(np.diff(self.offsets) < 1):
            row = int(np.argmax(np.diff(self.offsets) < 1))
            raise InvalidInputError(
                describe(f"candidates[{row}]", "empty", "must hold at least silence", "Candidate 0 is always silence.")
            )
        total = int(self.offsets[-1])
        if len(self.codes) != total or len(self.numeric) != total:
            raise InvalidInputError(
                describe(
                    "offsets[-1]", total, f"must be the number of candidates, {len(self.codes)}, {len(self.numeric)}"
                )
            )
        # A code beyond its block would light up another feature's column.
        for column, size in enumerate(self.levels):
            outside = (self.codes[:, column] < -1) | (self.codes[:, column] >= size)
            if outside.any():
                row = int(np.argmax(outside))
                name, value = f"candidates.codes[{row}, {column}]", int(self.codes[row, column])
                raise InvalidInputError(describe(name, value, f"must be in [-1, {size})"))
        if not np.isfinite(self.numeric).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(self.numeric))[0])
            raise InvalidInputError(
                describe(f"candidates.numeric[{row}, {column}]", float(self.numeric[row, column]), "must be finite")
            )

    @classmethod
    def from_padded(cls, array: NDArray[np.floating], counts: NDArray[np.integer] | None = None) -> CandidateStore:
        """Build from a padded array (n, k, c); `counts` (n,) says how many candidates of each row are real."""
        array = np.asarray(array, dtype=np.float32)
        if array.ndim != 3:
            raise InvalidInputError(describe("candidates.shape", array.shape, "must be (n, k, c)"))
        n, k, _ = array.shape
        real = np.full(n, k, dtype=np.int64) if counts is None else np.asarray(counts, dtype=np.int64)
        outside = (real < 1) | (real > k)
        if outside.any():
            row = int(np.argmax(outside))
            raise InvalidInputError(describe(f"counts[{row}]", int(real[row]), f"must be in [1, {k}]"))
        offsets = np.concatenate([[0], np.cumsum(real)]).astype(np.int64)
        keep = np.arange(k)[None, :] < real[:, None]
        flat = np.ascontiguousarray(array[keep])
        return cls(np.zeros((len(flat), 0), np.int32), (), flat, offsets)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of candidates of each decision, (n,)."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int, int, int]:
        counts = self.counts
        return len(counts), int(counts.max(initial=0)), sum(self.levels) + self.numeric.shape[1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: NDArray[np.integer] | slice | int) -> NDArray[np.float32]:
        """Expand and pad `rows` to the k of the whole store: float32 (len(rows), k, c), or (k, c) for one integer."""
        if isinstance(rows, int | np.integer):
            one: NDArray[np.float32] = self[np.array([rows])][0]
            return one
        n, k, c = self.shape
        index = np.arange(n)[rows]
        if len(index) * k * c * 4 > MAX_PADDED_BYTES:
            raise InvalidInputError(
                describe(
                    "padded candidates",
                    f"{len(index) * k * c * 4 / 2**30:.1f} GiB",
                    f"must be at most {MAX_PADDED_BYTES / 2**30:.0f} GiB",
                    "Iterate with dataset.batches(size).",
                )
            )
        counts = self.counts[index]
        out = np.zeros((len(index), k, c), dtype=np.float32)
        # Flat positions of the wanted candidates, and where each goes in the padded array.
        row = np.repeat(np.arange(len(index)), counts)
        slot = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        flat = np.repeat(self.offsets[index], counts) + slot
        start = 0
        for column, size in enumerate(self.levels):
            code = self.codes[flat, column]
            known = code >= 0
            out[row[known], slot[known], start + code[known]] = 1.0
            start += size
        out[row, slot, start:] = self.numeric[flat]
        return out

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        return np.asarray(self[np.arange(len(self))], dtype=dtype)

    def take(self, rows: NDArray[np.integer]) -> CandidateStore:
        """The store of `rows` alone, still ragged."""
        counts = self.counts[rows]
        flat = np.repeat(self.offsets[rows] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return CandidateStore(self.codes[flat], self.levels, self.numeric[flat], offsets)
