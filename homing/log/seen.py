"""Which ids were seen before: 64-bit digests in sorted runs, 8 bytes an id, no Python loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MUL_1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL_2 = np.uint64(0x94D049BB133111EB)


def id_digests(ids: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit digest of each text, (n,); nulls are taken as empty texts.

    Two of n different ids share one with probability about n²/2⁶⁵: 3e-6 for ten million.

    References:
        The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), chained over words of eight bytes.

    Example:
        >>> a, b, c = id_digests(pa.array(["a", "b", "a"]))
        >>> bool(a == c), bool(a == b)
        (True, False)
    """
    array = ids.cast(pa.large_binary())
    if array.null_count:
        array = array.fill_null(b"")
    n = len(array)
    if not n:
        return np.zeros(0, dtype=np.uint64)
    _, offsets_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[array.offset : array.offset + n + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    out = np.empty(n, dtype=np.uint64)
    # Ids of one length are a rectangle of bytes; a log has few lengths.
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        words = -(-int(length) // 8)
        octets = np.zeros((len(rows), max(words, 1) * 8), dtype=np.uint8)
        octets[:, :length] = data[offsets[rows][:, None] + np.arange(length)]
        # Lengths are mixed first: of near ones the difference would be that of a letter.
        state = _scramble(np.full(len(rows), length, dtype=np.uint64))
        for word in octets.view(np.uint64).T:
            state = _scramble(state ^ word)
        out[rows] = state
    return out


def _scramble(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _MIX
    state = (state ^ (state >> np.uint64(30))) * _MUL_1
    state = (state ^ (state >> np.uint64(27))) * _MUL_2
    return state ^ (state >> np.uint64(31))


class SeenIds:
    """The digests of the ids so far, in sorted runs that are merged as they grow.

    >>> seen = SeenIds()
    >>> digests = id_digests(pa.array(["a", "b", "a"]))
    >>> seen.repeated(digests).tolist()
    [False, False, True]
    >>> seen.add(digests)
    >>> seen.repeated(digests[:1]).tolist()
    [True]
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def repeated(self, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of these were added before, or stand earlier in `digests`, (n,)."""
        out = self.repeated_before(digests)
        later = np.ones(len(digests), dtype=bool)
        later[np.unique(digests, return_index=True)[1]] = False
        return out | later

    def repeated_before(self, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of these were added before, (n,)."""
        out = np.zeros(len(digests), dtype=bool)
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, digests), len(run) - 1)
            out |= run[place] == digests
        return out

    def add(self, digests: NDArray[np.uint64]) -> None:
        """Remember these."""
        if not len(digests):
            return
        self._runs.append(np.unique(digests))
        # Like a binary counter: a run is merged once its neighbour is as long, so there are O(log n) runs.
        while len(self._runs) > 1 and len(self._runs[-1]) * 2 > len(self._runs[-2]):
            last = self._runs.pop()
            self._runs[-1] = np.union1d(self._runs[-1], last)

    def merge(self, other: SeenIds) -> None:
        """Remember all that `other` does."""
        for run in other._runs:
            self.add(run)
