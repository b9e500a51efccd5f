"""Raw feature values, from Arrow columns or from Python dicts: checked, then plain NumPy or Python numbers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log.schema import SILENCE

#: Hours to expiry are cut here: beyond a month a message does not get more urgent.
MAX_HOURS = 720.0
_HOUR = 3_600_000_000  # microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


# Arrow -------------------------------------------------------------------------------------------------------------


def struct_columns(name: str, structs: pa.Array | pa.ChunkedArray, known: Iterable[str]) -> dict[str, pa.Array]:
    """The fields of a struct column by name; nulls of the struct are nulls of the fields."""
    if isinstance(structs, pa.ChunkedArray):
        structs = structs.combine_chunks()
    if not pa.types.is_struct(structs.type):
        raise InvalidInputError(describe(f"{name}.type", str(structs.type), "must be a struct of named features"))
    names = [structs.type.field(i).name for i in range(structs.type.num_fields)]
    check_keys(name, names, known)
    return dict(zip(names, structs.flatten(), strict=True))


def flatten_lists(lists: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """All items of a list column, one after the other, and the offsets (n + 1,) of each list."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    if (lengths == 0).any():
        row = int(np.argmax(lengths == 0))
        raise InvalidInputError(
            describe(f"candidates[{row}]", [], "must hold at least silence", "Candidate 0 is always silence.")
        )
    return lists.flatten(), offsets


def numbers(name: str, column: pa.Array, kind: str = "number") -> NDArray[np.float64]:
    """Float64 values, NaN where null; NaN and infinities in the data are refused."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not pa.types.is_null(column.type):
        if kind == "flag" and not pa.types.is_boolean(column.type):
            raise InvalidInputError(describe(f"{name}.type", str(column.type), "must be bool"))
        if kind == "number" and not is_number:
            raise InvalidInputError(describe(f"{name}.type", str(column.type), "must be a number"))
    present = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    # Booleans become integers first: Arrow has no direct cast to float64. int64 beyond 2^53 rounds, as float() does.
    plain = pc.cast(column, pa.int8()) if pa.types.is_boolean(column.type) else column
    filled = pc.fill_null(pc.cast(plain, pa.float64(), safe=False), math.nan).to_numpy(zero_copy_only=False)
    values = np.asarray(filled, dtype=np.float64)
    bad = present & ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InvalidInputError(
            describe(f"{name}[{row}]", float(values[row]), "must be finite", "Leave it null if missing.")
        )
    return values


def codes(name: str, column: pa.Array, levels: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Index of each string in `levels`, -1 where it is none of them or null; and which are null."""
    if not (pa.types.is_null(column.type) or is_string(column.type)):
        raise InvalidInputError(describe(f"{name}.type", str(column.type), "must be string"))
    missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    if not len(levels) or pa.types.is_null(column.type):
        return np.full(len(column), -1, dtype=np.int32), missing
    found = pc.fill_null(pc.index_in(pc.cast(column, pa.string()), value_set=pa.array(levels, pa.string())), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int32), missing


def is_string(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text, dictionary-coded or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def check_silence(columns: Mapping[str, pa.Array], silent: NDArray[np.bool_], offsets: NDArray[np.int64]) -> None:
    """Candidate 0 of every decision must be silence, and no other."""
    ids = columns["message_id"]
    named = np.asarray(pc.fill_null(pc.equal(ids, SILENCE), False).to_numpy(zero_copy_only=False), dtype=bool)
    wrong = named != silent
    if wrong.any():
        flat = int(np.argmax(wrong))
        row = int(np.searchsorted(offsets, flat, side="right")) - 1
        raise silence_error(row, flat - int(offsets[row]), ids[flat].as_py())


def silence_error(row: int, position: int, message_id: object) -> InvalidInputError:
    """The error for silence in the wrong place."""
    bound = "must be 'silence'" if position == 0 else "must not be 'silence'"
    return InvalidInputError(
        describe(
            f"candidates[{row}][{position}].message_id", message_id, bound, "Candidate 0, and no other, is silence."
        )
    )


def times(decided_at: Any, n: int) -> NDArray[np.int64]:
    """Microseconds since 1970 UTC, (n,), from Arrow timestamps, integers, or one time for all."""
    if isinstance(decided_at, pa.ChunkedArray):
        decided_at = decided_at.combine_chunks()
    if isinstance(decided_at, pa.Array):
        out = np.asarray(pc.cast(decided_at, pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)
    elif isinstance(decided_at, datetime):
        return np.full(n, microseconds("decided_at", decided_at), dtype=np.int64)
    else:
        out = np.asarray(decided_at, dtype=np.int64)
        if out.ndim == 0:
            return np.full(n, out, dtype=np.int64)
    if out.shape != (n,):
        raise InvalidInputError(describe("decided_at.shape", out.shape, f"must be ({n},), one time for each decision"))
    return out


def hours_between(starts: NDArray[np.int64], ends: pa.Array) -> pa.Array:
    """Hours from each start to each end, in [0, MAX_HOURS]; null where the end is."""
    missing = np.asarray(ends.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_timestamp(ends.type):
        ends = pc.cast(ends, pa.timestamp("us", ends.type.tz))
    micros = np.asarray(pc.fill_null(pc.cast(ends, pa.int64()), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    hours = np.minimum(np.maximum((micros - starts) / _HOUR, 0.0), MAX_HOURS)
    return pa.array(hours, pa.float64(), mask=missing)


# Python ------------------------------------------------------------------------------------------------------------


def hours_until(start: int, end: Any) -> float | None:
    """The same for one candidate; `end` is an aware datetime, microseconds since 1970, or None."""
    if end is None:
        return None
    return min(max((microseconds("expires_at", end) - start) / _HOUR, 0.0), MAX_HOURS)


def microseconds(name: str, time: Any) -> int:
    """Microseconds since 1970 UTC of an aware datetime or an integer."""
    if isinstance(time, int | np.integer) and not isinstance(time, bool):
        return int(time)
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise InvalidInputError(
            describe(name, time, "must be a datetime with a time zone", "Write datetime.now(timezone.utc), say.")
        )
    return (time - _EPOCH) // _MICROSECOND


def check_keys(name: str, keys: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a feature that the encoder does not know, with a hint at the nearest name."""
    allowed = known if isinstance(known, Mapping) else dict.fromkeys(known)
    for key in keys:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), list(allowed), n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "Train on a log that has it, or leave it out."
            bound = "must be one of the features that the policy was trained with: " + ", ".join(map(repr, allowed))
            raise InvalidInputError(describe(f"{name} feature", key, bound, hint))


def check_value(name: str, feature: str, value: Any, kind: str) -> Any:
    """`value` if it is missing or of its kind and finite."""
    if value is None:
        return None
    if kind == "category":
        if isinstance(value, str):
            return value
        bound = "must be a string"
    elif kind == "flag":
        if isinstance(value, bool | np.bool_):
            return value
        bound = "must be true or false"
    else:
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            if _is_finite(value):
                return value
            raise InvalidInputError(
                describe(f"{name}.{feature}", value, "must be finite", "Leave it out if it is missing.")
            )
        bound = "must be a number"
    raise InvalidInputError(describe(f"{name}.{feature}", value, bound))


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond float64, from a request's JSON
        return False
