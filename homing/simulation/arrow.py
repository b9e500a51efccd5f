"""Steps of a world as rows of a format-1 log, whole columns at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from homing.log import OUTCOMES_SCHEMA, SLICES, decisions_schema
from homing.log.schema import CANDIDATE_NAMES, TIMESTAMP
from homing.simulation.acting import Step
from homing.simulation.compiled import compiled
from homing.simulation.draws import bits
from homing.simulation.encode import HOUR_US
from homing.simulation.slices import eligible_in_slices, explored
from homing.simulation.world import UNLINKED, BoolArray, Events, Feature, IntArray, World

_TYPES = {"number": pa.float64(), "category": pa.string(), "flag": pa.bool_()}
#: Purposes of draws, far from those of worlds; each uses its number and the next.
_DECISION, _OUTCOME = 1 << 40, 1 << 41


class LogRows:
    """Writes what happens in a world as Arrow batches: the same seed gives the same rows, ids included.

    Args:
        world: whose steps they are.
        n_users: of the world.
        seed: of the run; it is part of every id.
        policy: `name@version`.
    """

    def __init__(self, world: World, *, n_users: int, seed: int, policy: str) -> None:
        self.schema = decisions_schema(
            {feature.name: _TYPES[feature.kind] for feature in world.context_features},
            {feature.name: _TYPES[feature.kind] for feature in world.candidate_features},
        )
        self.user_ids = [f"u{seed}-{index:07d}" for index in range(n_users)]
        self._users = pa.array(self.user_ids)
        self._world = world
        self._seed = seed
        self._policy = policy
        self._start_us = round(world.start.timestamp() * 1_000_000)
        self._names = [pa.array(getattr(world.catalogue, name)) for name in CANDIDATE_NAMES]
        self._kinds = pa.array(world.kinds)
        self._outcomes = 0

    def decisions(self, step: Step, codes: IntArray) -> pa.RecordBatch:
        """The decisions of one step.

        Args:
            step: as it went.
            codes: of the N users' slices.
        """
        seen, n = step.observation, len(step.observation)
        at_us = np.full(n, self._at(step.index * self._world.step_hours))
        real = seen.message >= 0
        counts = real.sum(axis=1)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        eligible = eligible_in_slices(seen, codes)
        shares = step.probs / step.probs.sum(axis=1, keepdims=True)  # what `sample_actions` draws from
        # Lists have no gaps: a candidate's place is the number of candidates before it.
        place = (real.cumsum(axis=1) - 1)[np.arange(n), step.action]
        columns = [
            uuid7(at_us, self._seed, seen.user, np.full(n, step.index), _DECISION),
            self._users.take(pa.array(seen.user)),
            _times(at_us),
            pa.repeat(pa.scalar(self._policy), n),
            _struct(self._context(seen.context), self.schema.field("context").type, n),
            _lists(offsets, self._candidates(step, real, at_us), self.schema.field("candidates").type),
            _lists(offsets, pa.array(eligible[real]), self.schema.field("eligible").type),
            pa.array(place, pa.int16()),
            pa.array(step.propensity),
            _lists(offsets, pa.array(shares[real]), self.schema.field("propensities").type),
            pa.array(explored(seen, step.probs, step.action, codes, eligible)),
            pa.array(SLICES).take(pa.array(codes[seen.user])),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def outcomes(self, events: Events) -> pa.RecordBatch:
        """Outcomes in their order, each with an id of its own."""
        n = len(events)
        at_us = self._at(events.hours)
        linked = events.step != UNLINKED
        decided_us = self._at(events.step * self._world.step_hours)
        number = np.arange(self._outcomes, self._outcomes + n)
        self._outcomes += n
        decision = uuid7(decided_us, self._seed, events.user, events.step, _DECISION, present=linked)
        columns = [
            uuid7(at_us, self._seed, number, events.kind, _OUTCOME),
            decision,
            self._users.take(pa.array(events.user)),
            self._kinds.take(pa.array(events.kind)),
            _times(at_us),
            pa.array(events.value),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=OUTCOMES_SCHEMA)

    def _at(self, hours: Any) -> Any:
        """Microseconds since 1970 of hours since the world's start; what comes before a step's end stays before it."""
        return self._start_us + np.floor(np.asarray(hours) * HOUR_US).astype(np.int64)

    def _context(self, values: NDArray[np.float64]) -> list[pa.Array]:
        return [_column(feature, values[:, i]) for i, feature in enumerate(self._world.context_features)]

    def _candidates(self, step: Step, real: BoolArray, at_us: IntArray) -> pa.Array:
        seen = step.observation
        message = pa.array(seen.message[real])
        hours = seen.expires_hours[real]
        missing = np.isnan(hours)
        ends = np.repeat(at_us, real.sum(axis=1)) + np.rint(np.where(missing, 0.0, hours) * HOUR_US).astype(np.int64)
        columns = [names.take(message) for names in self._names]
        columns += [pa.array(seen.value[real]), _times(ends, mask=missing)]
        features = seen.features[real]
        # Silence has no features.
        features[np.concatenate([[0], np.cumsum(real.sum(axis=1))[:-1]])[: len(seen)]] = np.nan
        columns += [_column(feature, features[:, i]) for i, feature in enumerate(self._world.candidate_features)]
        return _struct(columns, self.schema.field("candidates").type.value_type, len(message))


def uuid7(
    at_us: IntArray,
    seed: int,
    first: IntArray,
    second: IntArray,
    stream: int,
    *,
    present: BoolArray | None = None,
) -> pa.Array:
    """A UUIDv7 for each moment whose random bits are an address: who knows the address knows the id.

    Args:
        at_us: (n,), microseconds since 1970.
        seed: first part of the address.
        first: (n,), the next part.
        second: (n,), the next.
        stream: the last.
        present: (n,), where there is one; null elsewhere.

    References:
        RFC 9562, section 5.7.

    Example:
        >>> ids = uuid7(np.array([1_700_000_000_000_000]), 0, np.array([3]), np.array([4]), 5)
        >>> ids[0].as_py()[:15], len(ids[0].as_py())
        ('018bcfe5-6800-7', 36)
    """
    n = len(at_us)
    text = np.empty((n, 36), dtype=np.uint8)
    _write_ids(text, at_us, seed, first, second, stream)
    offsets = np.arange(n + 1, dtype=np.int32) * 36
    valid = None if present is None or present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text), valid)


@compiled
def _write_ids(
    text: NDArray[np.uint8], at_us: IntArray, seed: int, first: IntArray, second: IntArray, stream: int
) -> None:
    for i in range(len(at_us)):
        one, two = bits(seed, first[i], second[i], stream), bits(seed, first[i], second[i], stream + 1)
        high = (np.uint64(at_us[i] // 1000) << np.uint64(16)) | np.uint64(0x7000) | (one & np.uint64(0x0FFF))
        low = np.uint64(0x8000000000000000) | (two & np.uint64(0x3FFFFFFFFFFFFFFF))
        place = 0
        for digit in range(32):
            if digit == 8 or digit == 12 or digit == 16 or digit == 20:
                text[i, place] = 45
                place += 1
            word = high if digit < 16 else low
            nibble = (word >> np.uint64(60 - 4 * (digit % 16))) & np.uint64(15)
            text[i, place] = nibble + np.uint64(48 if nibble < np.uint64(10) else 87)
            place += 1


def _times(at_us: IntArray, mask: BoolArray | None = None) -> pa.Array:
    return pa.array(at_us, pa.int64(), mask=mask).cast(TIMESTAMP)


def _column(feature: Feature, values: NDArray[np.float64]) -> pa.Array:
    """One raw feature: NaN is null."""
    missing = np.isnan(values)
    if feature.kind == "number":
        return pa.array(np.ascontiguousarray(values), mask=missing)
    if feature.kind == "flag":
        return pa.array(values > 0, mask=missing)
    codes = pa.array(np.where(missing, 0.0, values).astype(np.int64), mask=missing)
    return pa.array(feature.levels).take(codes)


def _struct(columns: list[pa.Array], kind: pa.StructType, n: int) -> pa.Array:
    if not columns:
        return pa.array([{}] * n, kind)
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _lists(offsets: pa.Array, values: pa.Array, kind: pa.ListType) -> pa.Array:
    return pa.ListArray.from_arrays(offsets, values, type=kind)
