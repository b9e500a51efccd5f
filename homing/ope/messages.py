"""Which message each candidate is: the level at which a log supports, or does not support, a policy's choices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from homing.log.candidates import CandidateStore
from homing.log.dataset import LoggedDataset

FloatArray = NDArray[np.float64]

SILENCE = "silence"
OTHER = "(not in the encoder)"
_PREFIX = "message_id="


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
        store, k = dataset.candidates, dataset.k
        counts = store.counts
        position = np.arange(len(store.codes)) - np.repeat(store.offsets[:-1], counts)
        levels = _levels(dataset)
        if levels is None:
            names = [SILENCE] + [f"candidate {i}" for i in range(1, k)]
            flat = position.astype(np.int32)
        else:
            block, messages = levels
            names = [SILENCE, *messages]
            flat = store.codes[:, block] + np.int32(1)
            unknown = (flat == 0) & (position > 0)
            if unknown.any():
                flat = np.where(unknown, np.int32(len(names)), flat)
                names.append(OTHER)
            flat = np.where(position == 0, np.int32(0), flat)
        if len(flat) == dataset.n * k:  # no padding
            return cls(tuple(names), flat.reshape(dataset.n, k))
        code = np.full((dataset.n, k), -1, dtype=np.int32)
        code[np.arange(k) < counts[:, None]] = flat
        return cls(tuple(names), code)

    def totals(self, values: FloatArray) -> FloatArray:
        """Sums by message (len(names),) of values (n, k)."""
        sums = np.bincount(self._bins, weights=values.reshape(-1), minlength=len(self.names) + 1)
        return np.asarray(sums[1:], dtype=np.float64)

    def counts(self, where: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many candidates there are of each message (len(names),) where bool (n, k) holds; padding never counts."""
        return np.bincount(self._bins[where.reshape(-1)], minlength=len(self.names) + 1)[1:]

    @cached_property
    def _bins(self) -> NDArray[np.intp]:
        """One bin for each cell (n · k,), padding in bin 0: selecting cells would cost more than summing them."""
        return np.add(self.code, 1, dtype=np.intp).reshape(-1)

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
