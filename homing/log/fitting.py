"""Levels, means and scales of a log's features in one pass, with memory that the number of rows does not change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import columns as raw
from homing.log.features import HOURS, STANDARD_CATEGORIES, Field, Kind

#: More distinct levels than this are not counted one by one: the rarest are forgotten on the way.
MAX_TRACKED_LEVELS = 65_536
COLUMNS = ("user_id", "decided_at", "context", "candidates")


class _Number:
    """Mean and variance by merging batches (Chan, Golub & LeVeque 1983), and whether anything was missing."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name, self.kind = name, kind
        self.n, self.mean, self.squares, self.missing = 0, 0.0, 0.0, 0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: NDArray[np.float64]) -> None:
        present = values[~np.isnan(values)]
        self.missing += len(values) - len(present)
        if not len(present):
            return
        n, mean = len(present), float(present.mean())
        shift, total = mean - self.mean, self.n + n
        self.squares += float(((present - mean) ** 2).sum()) + shift**2 * self.n * n / total
        self.mean += shift * n / total
        self.n = total
        self.low, self.high = min(self.low, float(present.min())), max(self.high, float(present.max()))

    def field(self) -> Field:
        missing = self.missing > 0 and self.n > 0
        if not self.low < self.high:
            return Field(self.name, self.kind, scale=0.0, missing=missing)
        if self.kind == "flag":
            return Field(self.name, self.kind, missing=missing)
        # Two values that differ only in the last bits have no usable spread: the column would be rounding noise.
        scale = float(np.sqrt(self.squares / self.n))
        usable = np.isfinite(scale) and np.isfinite(self.mean) and scale > 1e-12 * max(abs(self.low), abs(self.high))
        return Field(
            self.name, self.kind, mean=self.mean if usable else 0.0, scale=scale if usable else 0.0, missing=missing
        )


class _Category:
    """Counts of levels, and whether each level goes with one message and each message with one level."""

    def __init__(self, name: str, max_levels: int) -> None:
        self.name, self.max_levels = name, max_levels
        self.counts: Counter[str] = Counter()
        self.missing = 0
        self.message_of: dict[str | None, str | None] = {}
        self.level_of: dict[str | None, str | None] = {}
        self.one_to_one = True

    def add(self, indices: NDArray[np.int64], names: list[str]) -> None:
        seen = np.bincount(indices + 1, minlength=len(names) + 1)
        self.missing += int(seen[0])
        for name, count in zip(names, seen[1:].tolist(), strict=True):
            if count:
                self.counts[name] += count
        if len(self.counts) > 2 * MAX_TRACKED_LEVELS:
            self.counts = Counter(dict(self.counts.most_common(MAX_TRACKED_LEVELS)))

    def pair(self, level: str | None, message: str | None) -> None:
        if not self.one_to_one:
            return
        self.one_to_one = (
            self.message_of.setdefault(level, message) == message and self.level_of.setdefault(message, level) == level
        ) and len(self.level_of) <= MAX_TRACKED_LEVELS
        if not self.one_to_one:
            self.message_of, self.level_of = {}, {}

    def field(self, *, least: int = 2, drop: bool = False) -> Field:
        missing = self.missing > 0 and bool(self.counts)
        if drop or len(self.counts) < least:
            return Field(self.name, "category", missing=missing)
        # The most frequent, ties by name; then in order of name, so that columns do not depend on row order.
        kept = sorted(self.counts, key=lambda level: (-self.counts[level], level))[: self.max_levels]
        return Field(self.name, "category", levels=tuple(sorted(kept)), missing=missing)


def fit_fields(
    log: Any, *, max_levels: int, users: Callable[[str], bool] | None
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """The context fields and the candidate fields of a log, in the order of its schema."""
    if max_levels < 1:
        raise InvalidInputError(describe("max_levels", max_levels, "must be >= 1"))
    schema = log.schema
    context = _trackers("context", schema.field("context").type, max_levels)
    item = schema.field("candidates").type.value_type
    if item.get_field_index(HOURS) >= 0:
        bound = "is made from expires_at, and would be lost"
        raise InvalidInputError(describe("candidates feature", HOURS, bound, "Rename the feature."))
    skip = {"expires_at"}
    candidate = _trackers("candidates", item, max_levels, skip)
    candidate[HOURS] = _Number(HOURS, "number")
    rows = 0
    for batch in log.decision_batches(columns=list(COLUMNS)):
        if users is not None:
            batch = _only(batch, users)
        if not batch.num_rows:
            continue
        rows += batch.num_rows
        for name, column in raw.struct_columns("context", batch.column("context"), context).items():
            _add("context", context[name], column)
        _add_candidates(candidate, batch)
    if not rows:
        raise InvalidInputError(
            describe("decisions", 0, "must be >= 1 to fit an encoder", "Check the log and the users.")
        )
    return tuple(_finish(tracker) for tracker in context.values()), _candidate_fields(candidate)


def _trackers(
    name: str, kind: pa.DataType, max_levels: int, skip: set[str] | None = None
) -> dict[str, _Number | _Category]:
    out: dict[str, _Number | _Category] = {}
    for i in range(kind.num_fields):
        field = kind.field(i)
        if skip and field.name in skip:
            continue
        if pa.types.is_boolean(field.type):
            out[field.name] = _Number(field.name, "flag")
        elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            out[field.name] = _Number(field.name, "number")
        elif raw.is_string(field.type):
            out[field.name] = _Category(field.name, max_levels)
        else:
            raise InvalidInputError(
                describe(f"{name}.{field.name}", str(field.type), "must be float64, int64, string or bool")
            )
    return out


def _only(batch: pa.RecordBatch, users: Callable[[str], bool]) -> pa.RecordBatch:
    coded = batch.column("user_id").dictionary_encode()
    keep = pa.array([users(user) for user in coded.dictionary.to_pylist()], pa.bool_())
    return batch.filter(keep.take(coded.indices))


def _add(name: str, tracker: _Number | _Category, column: pa.Array) -> None:
    if isinstance(tracker, _Number):
        tracker.add(raw.numbers(f"{name}.{tracker.name}", column, tracker.kind))
    else:
        tracker.add(*_dictionary(column))


def _dictionary(column: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """Codes (-1 where null) and their strings."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    indices = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    return np.asarray(indices, dtype=np.int64), coded.dictionary.to_pylist()


def _add_candidates(trackers: dict[str, _Number | _Category], batch: pa.RecordBatch) -> None:
    """Messages only: silence would pull every mean towards 0."""
    items, offsets = raw.flatten_lists(batch.column("candidates"))
    spoken = np.ones(len(items), dtype=bool)
    spoken[offsets[:-1]] = False
    mask = pa.array(spoken)
    columns = raw.struct_columns("candidates", items, {**trackers, "expires_at": None})
    raw.check_silence(columns, ~spoken, offsets)
    starts = np.repeat(raw.times(batch.column("decided_at"), batch.num_rows), np.diff(offsets))
    if "expires_at" in columns:
        columns[HOURS] = raw.hours_between(starts, columns.pop("expires_at"))
    messages, message_names = _dictionary(columns["message_id"].filter(mask))
    for name, column in columns.items():
        tracker = trackers[name]
        if isinstance(tracker, _Number):
            _add("candidates", tracker, column.filter(mask))
            continue
        indices, names = _dictionary(column.filter(mask))
        tracker.add(indices, names)
        if tracker.one_to_one and name != "message_id" and name in STANDARD_CATEGORIES:
            for level, message in _pairs(indices, len(names), messages, len(message_names)):
                tracker.pair(None if level < 0 else names[level], None if message < 0 else message_names[message])


def _pairs(a: NDArray[np.int64], n_a: int, b: NDArray[np.int64], n_b: int) -> list[tuple[int, int]]:
    """The distinct pairs of two columns of codes, each from -1."""
    flat = (a + 1) * (n_b + 1) + (b + 1)
    size = (n_a + 1) * (n_b + 1)
    found = np.flatnonzero(np.bincount(flat, minlength=size)) if size <= 1 << 22 else np.unique(flat)
    return [(int(x) - 1, int(y) - 1) for x, y in zip(found // (n_b + 1), found % (n_b + 1), strict=True)]


def _finish(tracker: _Number | _Category) -> Field:
    return tracker.field()


def _candidate_fields(trackers: dict[str, _Number | _Category]) -> tuple[Field, ...]:
    out = []
    for name, tracker in trackers.items():
        if isinstance(tracker, _Category):
            alone = name == "message_id"
            out.append(tracker.field(least=1 if alone else 2, drop=not alone and _told(name, tracker)))
        else:
            out.append(tracker.field())
    return tuple(out)


def _told(name: str, tracker: _Category) -> bool:
    """Whether the message alone says which level it is, and the level which message."""
    return name in STANDARD_CATEGORIES and tracker.one_to_one
