"""Which message each candidate is: the level at which a log supports, or does not support, a policy's choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.log.candidates import CandidateStore
from homing.log.dataset import LoggedDataset

FloatArray = NDArray[np.float64]

SILENCE = "silence"
OTHER = "(not in the encoder)"
_PREFIX = "message_id="
#: Cells that are worked on at a time: they stay in the processor's cache, so that memory is read once.
CELLS_AT_ONCE = 2**18


@dataclass(frozen=True, eq=False)
class Messages:
    """The message of every candidate of a log.

    Attributes:
        names: silence first, then the encoder's `message_id` levels; without an encoder `candidate 1`, `candidate 2` …
        code: int32 (n, k), index into `names`, -1 on padding.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((1, 1)), candidates=np.zeros((1, 2, 1)), eligible=[[True, True]], action=[1],
        ...     propensity=[0.5], reward=[[1.0]], objectives=("clicked",), user=[0], time=[0])
        >>> Messages.of(data).names, Messages.of(data).code.tolist()
        (('silence', 'candidate 1'), [[0, 1]])
    """

    names: tuple[str, ...]
    code: NDArray[np.int32]

    @classmethod
    def of(cls, dataset: LoggedDataset) -> Messages:
        """Read them from the candidates' one-hot block, or from the position where there is no encoder."""
        store, n, k = dataset.candidates, dataset.n, dataset.k
        padded = len(store.codes) < n * k
        real = np.arange(k) < store.counts[:, None] if padded else None
        levels = _levels(dataset)
        if levels is None:
            names = [SILENCE] + [f"candidate {i}" for i in range(1, k)]
            code = np.broadcast_to(np.arange(k, dtype=np.int32), (n, k))
            return cls(tuple(names), code if real is None else np.where(real, code, np.int32(-1)))
        block, messages = levels
        names = [SILENCE, *messages]
        flat = store.codes[:, block] + np.int32(1)
        if real is None:
            code = flat.reshape(n, k)
        else:
            code = np.full((n, k), -1, dtype=np.int32)
            code[real] = flat
        unknown = code[:, 1:] == 0
        if unknown.any():
            code[:, 1:][unknown] = len(names)
            names.append(OTHER)
        code[:, 0] = 0
        if (code == code[:1]).all():  # the same in every row: one row is enough, and sums go by column
            code = np.broadcast_to(code[0].copy(), (n, k))
        return cls(tuple(names), code)

    def totals(self, values: NDArray[np.floating | np.bool_], first: int = 0) -> FloatArray:
        """Sums by message (len(names),) of values (b, k), for bool how many hold; padding counts nowhere.

        Args:
            values: of b rows of the log.
            first: the log's row that `values` begin with.
        """
        if self.code.strides[0] == 0:
            # A count of less than 2**24 is exact in 32 bits, which sum several times as fast as booleans do.
            wide = values.astype(np.float32) if values.dtype == bool and len(values) < 2**24 else values
            return self._binned(self.code[0], np.einsum("nk->k", wide))
        out = np.zeros(len(self.names))
        for rows in pieces(len(values), values.shape[1]):
            code = self.code[first + rows.start : first + rows.stop]
            out += self._binned(code.reshape(-1), values[rows].reshape(-1))
        return out

    def chosen(self, action: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each message was the logged action (n,); (len(names),)."""
        if self.code.strides[0] == 0:
            times = np.bincount(action, minlength=self.code.shape[1])
            return np.bincount(self.code[0] + 1, weights=times, minlength=len(self.names) + 1)[1:].astype(np.int64)
        return np.bincount(self.code[np.arange(len(action)), action], minlength=len(self.names))

    def _binned(self, code: NDArray[np.int32], values: NDArray[Any]) -> FloatArray:
        # Padding goes to a bin of its own: selecting cells would cost more than summing them.
        sums = np.bincount(code + 1, weights=values, minlength=len(self.names) + 1)
        return np.asarray(sums[1:], dtype=np.float64)

    def always(self, name: str, eligible: NDArray[np.bool_]) -> tuple[FloatArray, float]:
        """The policy that sends one message wherever it is eligible, and the share of rows where it is.

        Elsewhere it is silent, or uniform over what is eligible where silence is not.

        Args:
            name: one of `names`.
            eligible: bool (n, k).
        """
        wanted = (self.code == self.names.index(name)) & eligible
        has = wanted.any(axis=1)
        fallback = np.where(eligible[:, :1], np.eye(1, eligible.shape[1], dtype=bool), eligible)
        chosen = np.where(has[:, None], wanted, fallback)
        return chosen / chosen.sum(axis=1, keepdims=True), float(has.mean())


def pieces(n: int, k: int) -> Iterator[slice]:
    """Rows of an (n, k) table, in pieces of about `CELLS_AT_ONCE` cells.

    >>> [(rows.start, rows.stop) for rows in pieces(5, CELLS_AT_ONCE // 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    size = max(1, CELLS_AT_ONCE // max(k, 1))
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


def _levels(dataset: LoggedDataset) -> tuple[int, list[str]] | None:
    """The code column of the `message_id` block and its level names."""
    if dataset.encoder is None or not isinstance(dataset.candidates, CandidateStore):
        return None
    columns = dataset.encoder.candidate_names
    start = 0
    for block, size in enumerate(dataset.candidates.levels):
        if size and columns[start].startswith(_PREFIX):
            return block, [name.removeprefix(_PREFIX) for name in columns[start : start + size]]
        start += size
    return None
