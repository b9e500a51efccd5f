"""Which message each candidate is: the level at which a log supports, or does not support, a policy's choices."""

from __future__ import annotations

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
#: Their cells fit the processor's cache.
ROWS_AT_ONCE = 8_192


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

    def totals(self, values: NDArray[np.floating | np.bool_]) -> FloatArray:
        """Sums by message (len(names),) of values (n, k), for bool how many hold; padding counts nowhere."""
        if self.code.strides[0] == 0:
            return self._binned(self.code[0], values.sum(axis=0))
        out = np.zeros(len(self.names))
        for begin in range(0, len(values), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            out += self._binned(self.code[part].reshape(-1), values[part].reshape(-1))
        return out

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
