"""How outcomes reach a log: at once, or late, out of order and some of them twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.log import OUTCOMES_SCHEMA
from homing.simulation.compiled import compiled
from homing.simulation.draws import uniform
from homing.simulation.world import BoolArray, FloatArray, IntArray

#: Purposes of draws, far from those of worlds.
_DELAY, _TWICE, _AGAIN = 1 << 42, (1 << 42) + 1, (1 << 42) + 2


@dataclass(frozen=True)
class Delivery:
    """How outcomes reach the log: late, and some twice. When they happened stays what it is; rows come as they arrive.

    Attributes:
        mean_hours: of the delay, exponentially distributed; > 0.
        duplicate_share: share of outcomes that arrive a second time, under the same id, in [0, 1].

    Example:
        >>> Delivery(mean_hours=6.0, duplicate_share=0.01).mean_hours
        6.0
    """

    mean_hours: float = 6.0
    duplicate_share: float = 0.0

    def __post_init__(self) -> None:
        check_positive("mean_hours", self.mean_hours)
        if not isinstance(self.duplicate_share, int | float | np.number) or not 0.0 <= self.duplicate_share <= 1.0:
            raise InvalidInputError(describe("duplicate_share", self.duplicate_share, "must be in [0, 1]"))


class Mail:
    """Outcomes on their way to the log.

    Args:
        delivery: None for no delay.
        seed: of the delays.
    """

    def __init__(self, delivery: Delivery | None, seed: int) -> None:
        self._delivery = delivery
        self._seed = seed
        self._sent = 0
        self._batches: list[pa.RecordBatch] = []
        self._arrivals: list[FloatArray] = []

    def send(self, batch: pa.RecordBatch, hours: FloatArray) -> None:
        """Outcomes that happened at these hours since the world's start, (e,)."""
        arrivals = hours
        if self._delivery is not None and len(hours):
            number = np.arange(self._sent, self._sent + len(hours))
            arrivals = hours + _delays(self._seed, number, _DELAY) * self._delivery.mean_hours
            again = np.flatnonzero(_twice(self._seed, number, self._delivery.duplicate_share))
            later = arrivals[again] + _delays(self._seed, number[again], _AGAIN) * self._delivery.mean_hours
            batch = pa.concat_batches([batch, batch.take(pa.array(again))])
            arrivals = np.concatenate([arrivals, later])
        self._sent += len(hours)
        self._batches.append(batch)
        self._arrivals.append(arrivals)

    def arrived(self, until_hours: float) -> pa.RecordBatch:
        """What arrives before a moment, in the order of arrival; the rest stays under way."""
        if not self._batches:
            return pa.RecordBatch.from_pylist([], schema=OUTCOMES_SCHEMA)
        whole, arrivals = pa.concat_batches(self._batches), np.concatenate(self._arrivals)
        here = arrivals < until_hours
        order = np.flatnonzero(here)
        order = order[np.argsort(arrivals[order], kind="stable")]
        self._batches, self._arrivals = [whole.filter(pa.array(~here))], [arrivals[~here]]
        return whole.take(pa.array(order))


@compiled
def _delays(seed: int, number: IntArray, stream: int) -> FloatArray:
    """Standard exponential numbers, (e,)."""
    out = np.empty(len(number))
    for i in range(len(number)):
        out[i] = -np.log(1.0 - uniform(seed, number[i], 0, stream))
    return out


@compiled
def _twice(seed: int, number: IntArray, share: float) -> BoolArray:
    out = np.empty(len(number), dtype=np.bool_)
    for i in range(len(number)):
        out[i] = uniform(seed, number[i], 0, _TWICE) < share
    return out
