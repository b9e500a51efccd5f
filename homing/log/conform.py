"""From a file's own types to format 1: one schema over many files, and batches that fit it.

Other writers store the same columns with other types (large strings, 32-bit floats, milliseconds, lists with another
element name). What widens without loss is read; what does not is refused with the column's name and the type wanted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from homing.errors import InvalidInputError, describe
from homing.log.schema import (
    CANDIDATE_FIELDS,
    FORMAT_KEY,
    FORMAT_VERSION,
    decisions_schema,
    feature_type,
)

#: Columns that a file may leave out. They are null then, except an outcome's value, which is 1.0.
OPTIONAL = {"decisions": frozenset({"propensities"}), "outcomes": frozenset({"value"})}
_OPTIONAL_CANDIDATE_FIELDS = frozenset({"expires_at"})
#: Microseconds in the units that are coarser.
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000}
#: In the metadata of a file without a context column, because Parquet cannot store a struct without fields.
EMPTY_CONTEXT_KEY = b"homing.empty_context"


def unify_decisions(sources: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """The one schema of the decisions in several files: the union of their features, widened where they differ.

    Args:
        sources: (name of the file, its own schema); the name goes into error messages.

    Raises:
        InvalidInputError: a column is missing or of a type that does not convert; a feature is a number in one file and
            a text in another; the file says another format version.

    Example:
        >>> small = decisions_schema({"age": pa.int64()})
        >>> wide = decisions_schema({"age": pa.float64(), "city": pa.string()})
        >>> unify_decisions([("a", small), ("b", wide)]).field("context").type
        StructType(struct<age: double, city: string>)
    """
    context: dict[str, pa.DataType] = {}
    extra: dict[str, pa.DataType] = {}
    seen: dict[str, str] = {}
    template = decisions_schema({})
    for source, schema in sources:
        check_schema("decisions", source, schema, template)
        # A column whose values are all null may have no type of its own: it brings no features.
        if "context" in schema.names and pa.types.is_struct(kind := schema.field("context").type):
            _merge("context", context, kind, source, seen, skip=())
        kind = schema.field("candidates").type
        if not pa.types.is_null(kind) and pa.types.is_struct(kind.value_type):
            _merge("candidates", extra, kind.value_type, source, seen, skip=tuple(CANDIDATE_FIELDS))
    return decisions_schema(context, extra)


def check_schema(table: str, source: str, schema: pa.Schema, template: pa.Schema) -> None:
    """Raise InvalidInputError where a file's columns cannot become those of `template`; features are not judged."""
    version = (schema.metadata or {}).get(FORMAT_KEY, str(FORMAT_VERSION).encode()).decode(errors="replace")
    if version != str(FORMAT_VERSION):
        raise InvalidInputError(
            describe(
                f"format_version of {source}",
                version,
                f"must be {FORMAT_VERSION}",
                "Read it with the homing that wrote it.",
            )
        )
    optional = set(OPTIONAL[table])
    if EMPTY_CONTEXT_KEY in (schema.metadata or {}):
        optional.add("context")
    for field in template:
        if field.name not in schema.names:
            if field.name in optional:
                continue
            raise _missing(f"columns of {source}", field, [name for name in schema.names if name not in template.names])
        if schema.names.count(field.name) > 1:
            raise InvalidInputError(describe(f"columns of {source}", field.name, "must appear once"))
        _check_type(f"{table}.{field.name} in {source}", schema.field(field.name).type, field.type)


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the columns and types of `schema`; what the batch lacks is null (an outcome's value: 1.0).

    Raises:
        InvalidInputError: a value does not fit its type, for example a number beyond int64.
    """
    if batch.schema.equals(schema):
        return batch.replace_schema_metadata(schema.metadata)
    arrays = []
    for field in schema:
        if field.name in batch.schema.names:
            arrays.append(_conform(field.name, batch.column(field.name), field.type))
        elif field.name == "context":
            arrays.append(pa.array([{}] * len(batch), field.type))
        elif field.name == "value":
            arrays.append(pa.repeat(pa.scalar(1.0), len(batch)))
        else:
            arrays.append(pa.nulls(len(batch), field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _conform(name: str, array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type.equals(wanted):
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), wanted)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_struct(wanted):
        children = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
        missing = array.is_null()
        if not len(wanted):
            return pa.array([{}] * len(array), wanted)
        fields = [
            _conform(f"{name}.{field.name}", children[field.name], field.type)
            if field.name in children
            else pa.nulls(len(array), field.type)
            for field in wanted
        ]
        return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=missing)
    if pa.types.is_list(wanted):
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
        values = _conform(name, pc.list_flatten(array), wanted.value_type)
        return pa.ListArray.from_arrays(offsets, values, type=wanted, mask=array.is_null())
    if name == "action" and pa.types.is_integer(array.type):
        # An index beyond int16 is out of range whatever its value: -1 says so, and the row is refused for its action.
        wide = array.cast(pa.int64(), safe=False)
        array = pc.if_else(pc.and_(pc.greater_equal(wide, -1), pc.less(wide, 2**15)), wide, pa.scalar(-1, pa.int64()))
    if pa.types.is_timestamp(array.type) and array.type.unit in _MICROSECONDS:
        # Times too large for microseconds are cut, not wrapped around: the row is refused for its time.
        array = _cut(array, 2**62 // _MICROSECONDS[array.type.unit])
    try:
        return array.cast(wanted, safe=not pa.types.is_timestamp(wanted) and not pa.types.is_floating(wanted))
    except pa.ArrowInvalid as error:
        bound = f"must convert to {wanted} without loss ({error})"
        raise InvalidInputError(
            describe(f"column {name}", str(array.type), bound, "Convert it before writing.")
        ) from error


def _cut(times: pa.Array, limit: int) -> pa.Array:
    low, high = pa.scalar(-limit, pa.int64()), pa.scalar(limit, pa.int64())
    whole = times.cast(pa.int64())
    cut = pc.if_else(pc.greater(whole, high), high, pc.if_else(pc.less(whole, low), low, whole))
    return cut.cast(times.type)


def _merge(
    column: str,
    found: dict[str, pa.DataType],
    struct: pa.StructType,
    source: str,
    seen: dict[str, str],
    skip: Sequence[str],
) -> None:
    for field in struct:
        if field.name in skip:
            continue
        name = f"{column}.{field.name}"
        kind = feature_type(name, field.type) if not pa.types.is_null(field.type) else pa.null()
        known = found.setdefault(field.name, kind)
        if known == kind or pa.types.is_null(kind):
            continue
        if not pa.types.is_null(known) and {known, kind} != {pa.int64(), pa.float64()}:
            bound = f"must be {known} as in {seen[name]}"
            raise InvalidInputError(
                describe(f"{name} in {source}", str(kind), bound, "Give the feature one type in all files.")
            )
        found[field.name] = kind if pa.types.is_null(known) else pa.float64()
        seen[name] = source
    for field in struct:
        seen.setdefault(f"{column}.{field.name}", source)


def _missing(where: str, field: pa.Field, others: Sequence[str]) -> InvalidInputError:
    near = difflib.get_close_matches(field.name, others, n=1)
    hint = f" Is {near[0]!r} meant to be it?" if near else ""
    return InvalidInputError(
        describe(where, f"no {field.name!r}", f"must have it, of type {field.type}", f"Add or rename the column.{hint}")
    )


def _check_type(name: str, kind: pa.DataType, wanted: pa.DataType) -> None:
    """Raise where `kind` does not widen to `wanted`; the null type passes (all values are missing)."""
    if pa.types.is_null(kind) or kind.equals(wanted):
        return
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(wanted):
        if not pa.types.is_struct(kind):
            raise _wrong_type(name, kind, "a struct of named features" if not len(wanted) else str(wanted))
        if len(wanted):  # candidates; a context's fields are all features
            own = {field.name: field for field in kind}
            for field in wanted:
                if field.name in own:
                    _check_type(f"{name}: {field.name}", own[field.name].type, field.type)
                elif field.name not in _OPTIONAL_CANDIDATE_FIELDS:
                    others = [other for other in own if other not in CANDIDATE_FIELDS]
                    raise _missing(f"fields of {name}", field, others)
        return
    if pa.types.is_list(wanted):
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            raise _wrong_type(name, kind, "a list")
        _check_type(name, kind.value_type, wanted.value_type)
        return
    if pa.types.is_timestamp(wanted):
        if pa.types.is_timestamp(kind) and kind.tz is None:
            bound, step = f"must be {wanted}", "Say which time zone it is in: convert it to UTC."
            raise InvalidInputError(describe(name, f"{kind} without time zone", bound, step))
        fits = pa.types.is_timestamp(kind)
    elif pa.types.is_string(wanted):
        fits = pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_string_view(kind)
    elif pa.types.is_floating(wanted):
        fits = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    elif pa.types.is_integer(wanted):
        fits = pa.types.is_integer(kind)
    else:
        fits = False
    if not fits:
        raise _wrong_type(name, kind, str(wanted))


def _wrong_type(name: str, kind: pa.DataType, wanted: str) -> InvalidInputError:
    return InvalidInputError(describe(f"type of {name}", str(kind), f"must be {wanted}", "Cast the column."))
