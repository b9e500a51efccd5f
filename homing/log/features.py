"""`FeatureEncoder`: raw context and candidates of the log become the columns that models see.

Training encodes whole logs (Arrow arrays, vectorised); serving encodes one request (Python dicts). Both go through the
same encoder and give the same float32 numbers: what a model learnt is what it is asked. NumPy and Arrow only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, unknown_name
from homing.log import columns as raw
from homing.log.candidates import CandidateStore
from homing.log.schema import CANDIDATE_NAMES, SILENCE

Kind = Literal["number", "category", "flag"]
FORMAT = 1
#: The columns of every candidate, in the log's own terms; others are extra features.
STANDARD_CATEGORIES = CANDIDATE_NAMES
HOURS = "hours_to_expiry"
IS_SILENCE = "is_silence"
#: A standardised number is cut here: one outlier in a request must not dominate every other feature.
MAX_DEVIATIONS = 100.0


@dataclass(frozen=True)
class Field:
    """One raw feature and how it becomes columns.

    Attributes:
        name: as in the log; `hours_to_expiry` stands for `expires_at` minus `decided_at`.
        kind: `number` (standardised), `category` (one-hot) or `flag` (0 or 1).
        levels: of a category, in column order; empty when it has no columns (constant, or told by another feature).
        mean: subtracted from a number.
        scale: divides a number; 0 when it was constant in the log and so has no column.
        missing: whether missing values were seen; they then have a column of their own, `<name>__missing`.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    missing: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns, the indicator of missing values last."""
        if self.kind == "category":
            own = tuple(f"{self.name}={level}" for level in self.levels)
        else:
            own = (self.name,) if self.scale > 0 else ()
        return (*own, f"{self.name}__missing") if self.missing else own

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each level."""
        return {level: i for i, level in enumerate(self.levels)}

    def standardise(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Numbers and flags as they enter a model; missing (NaN) becomes 0, the mean."""
        with np.errstate(over="ignore"):
            scaled = (values - self.mean) / self.scale
        scaled = np.minimum(np.maximum(scaled, -MAX_DEVIATIONS), MAX_DEVIATIONS)
        return np.where(np.isnan(scaled), 0.0, scaled).astype(np.float32)

    def standardise_one(self, value: float) -> float:
        """The same for one number."""
        return min(max((value - self.mean) / self.scale, -MAX_DEVIATIONS), MAX_DEVIATIONS)


@dataclass(frozen=True)
class FeatureEncoder:
    """How raw features become columns; fitted once on a log, then part of the policy artifact.

    Candidate columns are the one-hot blocks (`message_id=…`, `campaign=…` …), then `is_silence`, then numbers and
    flags, then the indicators of missing values. Silence has `is_silence` = 1 and 0 everywhere else. A level that was
    not in the log has 0 in its whole block. Numbers are standardised with mean and standard deviation of the log (of
    the messages, for candidates). Features that were constant in the log have no column.

    Example:
        >>> encoder = FeatureEncoder(
        ...     context=(Field("age", "number", mean=40.0, scale=10.0), Field("city", "category", ("Bern", "Rome"))),
        ...     candidate=(Field("message_id", "category", ("hello",)), Field("value", "number", scale=2.0)))
        >>> encoder.context_names
        ('age', 'city=Bern', 'city=Rome')
        >>> encoder.encode_context([{"age": 50, "city": "Rome"}, {"city": "Oslo"}]).tolist()
        [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
        >>> encoder.candidate_names
        ('message_id=hello', 'is_silence', 'value')
        >>> request = [{"message_id": "silence"}, {"message_id": "hello", "value": 4.0}]
        >>> encoder.encode_candidates([request], 0)[0].tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 2.0]]
    """

    context: tuple[Field, ...]
    candidate: tuple[Field, ...]

    def __post_init__(self) -> None:
        if "message_id" not in self.candidate_fields:
            raise InvalidInputError(describe("candidate fields", [*self.candidate_fields], "must hold 'message_id'"))
        for name, columns in (("context", self.context_names), ("candidate", self.candidate_names)):
            if len(set(columns)) != len(columns):
                twice = next(column for i, column in enumerate(columns) if column in columns[:i])
                raise InvalidInputError(describe(f"{name} column", twice, "must be unique", "Rename the feature."))

    @classmethod
    def fit(cls, log: Any, *, max_levels: int = 256, users: Callable[[str], bool] | None = None) -> FeatureEncoder:
        """Learn levels, means and scales in one pass over a log, batch by batch.

        Args:
            log: a `DecisionLog`.
            max_levels: of a category, the most frequent levels that get a column.
            users: which user ids to learn from (training users only, say); all when not given.

        Raises:
            InvalidInputError: if the log holds no decision of these users, or a value that is not finite.
        """
        from homing.log.fitting import fit_fields

        return cls(*fit_fields(log, max_levels=max_levels, users=users))

    # Names ---------------------------------------------------------------------------------------------------------

    @cached_property
    def context_fields(self) -> dict[str, str]:
        """Kind of each context feature that a request may carry."""
        return {field.name: field.kind for field in self.context}

    @cached_property
    def candidate_fields(self) -> dict[str, str]:
        """Kind of each feature that a candidate may carry; `expires_at` is of kind `time`."""
        kinds: dict[str, str] = {field.name: field.kind for field in self.candidate if field.name != HOURS}
        return {**dict.fromkeys(STANDARD_CATEGORIES, "category"), "value": "number", "expires_at": "time", **kinds}

    @cached_property
    def context_names(self) -> tuple[str, ...]:
        """The d context columns."""
        return tuple(name for field in self.context for name in field.names)

    @cached_property
    def candidate_names(self) -> tuple[str, ...]:
        """The c candidate columns."""
        blocks = [f"{field.name}={level}" for field in self._blocks for level in field.levels]
        numbers = [field.name for field in self._numbers]
        return (*blocks, IS_SILENCE, *numbers, *(f"{field.name}__missing" for field in self._missing))

    def column(self, name: str) -> int:
        """Index of a candidate column; `UnknownNameError` with the nearest name when there is none."""
        if name not in self.candidate_names:
            raise unknown_name("candidate column", name, self.candidate_names)
        return self.candidate_names.index(name)

    def context_column(self, name: str) -> int:
        """Index of a context column; `UnknownNameError` with the nearest name when there is none."""
        if name not in self.context_names:
            raise unknown_name("context column", name, self.context_names)
        return self.context_names.index(name)

    @cached_property
    def _blocks(self) -> tuple[Field, ...]:
        return tuple(field for field in self.candidate if field.kind == "category" and field.levels)

    @cached_property
    def _numbers(self) -> tuple[Field, ...]:
        return tuple(field for field in self.candidate if field.kind != "category" and field.scale > 0)

    @cached_property
    def _missing(self) -> tuple[Field, ...]:
        return tuple(field for field in self.candidate if field.missing)

    # Encoding ------------------------------------------------------------------------------------------------------

    def encode_context(
        self, structs: pa.StructArray | pa.ChunkedArray | Sequence[Mapping[str, Any]]
    ) -> NDArray[np.float32]:
        """The context columns, float32 (n, d); absent or null features count as missing.

        Raises:
            InvalidInputError: on a feature that the encoder does not know (with the nearest name), of the wrong type,
                or not finite.
        """
        if not isinstance(structs, pa.Array | pa.ChunkedArray):
            return self._context_of_dicts(structs)
        columns = raw.struct_columns("context", structs, self.context_fields)
        out = np.zeros((len(structs), len(self.context_names)), dtype=np.float32)
        start = 0
        for field in self.context:
            width = len(field.names)
            if width and field.name not in columns:
                out[:, start + width - 1] = float(field.missing)
            elif width:
                self._fill(out[:, start : start + width], field, columns[field.name])
            start += width
        return out

    def _fill(self, out: NDArray[np.float32], field: Field, column: pa.Array) -> None:
        name = f"context.{field.name}"
        if field.kind == "category":
            codes, missing = raw.codes(name, column, field.levels)
            known = np.flatnonzero(codes >= 0)
            out[known, codes[known]] = 1.0
        else:
            values = raw.numbers(name, column, field.kind)
            missing = np.isnan(values)
            if field.scale > 0:
                out[:, 0] = field.standardise(values)
        if field.missing:
            out[:, -1] = missing

    def _context_of_dicts(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        width = len(self.context_names)
        where: list[int] = []
        what: list[float] = []
        for i, row in enumerate(rows):
            if not row.keys() <= self.context_fields.keys():
                raw.check_keys("context", row, self.context_fields)
            start = i * width
            for field in self.context:
                size = len(field.names)
                value = raw.check_value("context", field.name, row.get(field.name), field.kind)
                if value is None:
                    if field.missing:
                        where.append(start + size - 1)
                        what.append(1.0)
                elif field.kind == "category":
                    level = field.index.get(value)
                    if level is not None:
                        where.append(start + level)
                        what.append(1.0)
                elif field.scale > 0:
                    where.append(start)
                    what.append(field.standardise_one(float(value)))
                start += size
        out = np.zeros(len(rows) * width, dtype=np.float32)
        out[where] = what
        return out.reshape(len(rows), width)

    def encode_candidates(
        self,
        lists: pa.ListArray | pa.ChunkedArray | Sequence[Sequence[Mapping[str, Any]]],
        decided_at: pa.Array | NDArray[np.int64] | datetime | int,
    ) -> CandidateStore:
        """The candidate columns of n decisions, ragged; candidate 0 of each must be silence.

        Args:
            lists: the `candidates` column of a log, or one sequence of mappings for each decision.
            decided_at: the decisions' times (n,), microseconds since 1970 or Arrow timestamps; or one time for all.

        Raises:
            InvalidInputError: on an unknown feature (with the nearest name), a wrong type, a number that is not finite,
                a decision without candidates, or silence anywhere but in front.
        """
        if not isinstance(lists, pa.Array | pa.ChunkedArray):
            return self._candidates_of_dicts(lists, raw.times(decided_at, len(lists)))
        starts = raw.times(decided_at, len(lists))
        items, offsets = raw.flatten_lists(lists)
        silent = np.zeros(len(items), dtype=bool)
        silent[offsets[:-1]] = True
        columns = raw.struct_columns("candidates", items, self.candidate_fields)
        raw.check_silence(columns, silent, offsets)
        if "expires_at" in columns:
            columns[HOURS] = raw.hours_between(np.repeat(starts, np.diff(offsets)), columns.pop("expires_at"))
        codes = np.full((len(items), len(self._blocks)), -1, dtype=np.int32)
        numeric = np.zeros((len(items), 1 + len(self._numbers) + len(self._missing)), dtype=np.float32)
        numeric[:, 0] = silent
        block, number, indicator = 0, 1, 1 + len(self._numbers)
        for field in self.candidate:
            column = columns.get(field.name)
            if field.kind == "category":
                if column is None:
                    missing = np.ones(len(items), dtype=bool)
                else:
                    found, missing = raw.codes(f"candidates.{field.name}", column, field.levels)
                    if field.levels:
                        codes[:, block] = np.where(silent, -1, found)
                block += bool(field.levels)
            else:
                values = (
                    np.full(len(items), np.nan)
                    if column is None
                    else raw.numbers(f"candidates.{field.name}", column, field.kind)
                )
                missing = np.isnan(values)
                if field.scale > 0:
                    numeric[:, number] = np.where(silent, np.float32(0.0), field.standardise(values))
                    number += 1
            if field.missing:
                numeric[:, indicator] = missing & ~silent
                indicator += 1
        return CandidateStore(codes, tuple(len(field.levels) for field in self._blocks), numeric, offsets)

    def _candidates_of_dicts(
        self, lists: Sequence[Sequence[Mapping[str, Any]]], times: NDArray[np.int64]
    ) -> CandidateStore:
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(candidates) for candidates in lists], out=offsets[1:])
        codes: list[list[int]] = []
        numeric: list[list[float]] = []
        for row, candidates in enumerate(lists):
            time = int(times[row])
            for position, candidate in enumerate(candidates):
                code, number = self._one_candidate(candidate, time)
                silent = candidate.get("message_id") == SILENCE
                if silent != (position == 0):
                    raise raw.silence_error(row, position, candidate.get("message_id"))
                if silent:
                    code, number = [-1] * len(code), [1.0] + [0.0] * (len(number) - 1)
                codes.append(code)
                numeric.append(number)
        return CandidateStore(
            np.array(codes, dtype=np.int32).reshape(len(codes), len(self._blocks)),
            tuple(len(field.levels) for field in self._blocks),
            np.array(numeric, dtype=np.float32).reshape(len(codes), 1 + len(self._numbers) + len(self._missing)),
            offsets,
        )

    def _one_candidate(self, candidate: Mapping[str, Any], time: int) -> tuple[list[int], list[float]]:
        if not candidate.keys() <= self.candidate_fields.keys():
            raw.check_keys("candidate", candidate, self.candidate_fields)
        codes: list[int] = []
        numbers: list[float] = [0.0]
        missing: list[float] = []
        for field in self.candidate:
            value: Any
            if field.name == HOURS:
                value = raw.hours_until(time, candidate.get("expires_at"))
            else:
                value = candidate.get(field.name)
                if value.__class__ is not str or field.kind != "category":  # the common case needs no call
                    value = raw.check_value("candidate", field.name, value, field.kind)
            if field.kind == "category":
                if field.levels:
                    codes.append(-1 if value is None else field.index.get(value, -1))
            elif field.scale > 0:
                numbers.append(0.0 if value is None else field.standardise_one(float(value)))
            if field.missing:
                missing.append(float(value is None))
        return codes, numbers + missing

    # Storage -------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` gives an equal encoder back."""
        return {
            "format": FORMAT,
            "context": [_field_dict(field) for field in self.context],
            "candidate": [_field_dict(field) for field in self.candidate],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureEncoder:
        """Rebuild from `to_dict`; `InvalidInputError` for another format or for fields that make no sense."""
        if data.get("format") != FORMAT or set(data) != {"format", "context", "candidate"}:
            raise InvalidInputError(
                describe("encoder", {"format": data.get("format"), "keys": sorted(data)}, f"must be of format {FORMAT}")
            )
        return cls(
            tuple(_field_of(item) for item in data["context"]), tuple(_field_of(item) for item in data["candidate"])
        )


def _field_dict(field: Field) -> dict[str, Any]:
    return {**asdict(field), "levels": list(field.levels)}


def _field_of(item: Any) -> Field:
    keys = {"name", "kind", "levels", "mean", "scale", "missing"}
    if not isinstance(item, Mapping) or set(item) != keys:
        raise InvalidInputError(describe("encoder field", item, f"must have the keys {', '.join(sorted(keys))}"))
    good = (
        isinstance(item["name"], str)
        and item["kind"] in ("number", "category", "flag")
        and isinstance(item["levels"], list | tuple)
        and all(isinstance(level, str) for level in item["levels"])
        and all(isinstance(item[key], int | float) and np.isfinite(item[key]) for key in ("mean", "scale"))
        and item["scale"] >= 0
        and isinstance(item["missing"], bool)
    )
    if not good:
        raise InvalidInputError(describe("encoder field", dict(item), "must hold values of the right type, scale >= 0"))
    return Field(
        item["name"], item["kind"], tuple(item["levels"]), float(item["mean"]), float(item["scale"]), item["missing"]
    )
