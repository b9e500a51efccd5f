"""Columns become the tables of format 1: Arrow arrays, no row-by-row Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from homing.datasets.card import unreadable
from homing.log import OUTCOMES_SCHEMA, SILENCE, decisions_schema

if TYPE_CHECKING:
    import polars as pl

#: The fields that every candidate has; a menu may add others.
_NAMES = ("message_id", "campaign", "domain", "channel", "slot")
_TIME = pa.timestamp("us", tz="UTC")


def read_table(file: Path, *, null_values: str | None = None) -> pl.DataFrame:
    """The table in a Parquet, JSON (one object a line) or CSV file.

    Parquet is read by Arrow, not by Polars: where a file has page checksums, they are verified.

    Args:
        file: its suffix says what it is.
        null_values: what stands for a missing value in CSV.

    Raises:
        CorruptFileError: if the file cannot be read.
    """
    import polars as pl

    try:
        if file.suffix.lower() == ".parquet":
            with pq.ParquetFile(file, page_checksum_verification=True) as source:
                table = source.read()
            table.validate(full=True)
            return pl.DataFrame(table)
        if file.suffix.lower() == ".csv":
            return pl.read_csv(file, infer_schema_length=None, null_values=null_values)
        return pl.read_ndjson(file, infer_schema_length=None)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error


def menu_of(
    messages: Mapping[str, Sequence[str]], extras: Mapping[str, Sequence[float] | Sequence[str]] | None = None
) -> dict[str, pa.Array]:
    """The candidates that every decision of a data set has, silence first, as one column a field.

    Args:
        messages: `message_id`, `campaign`, `domain`, `channel` and `slot` of each message, without silence.
        extras: further features of each message; silence gets null.

    Example:
        >>> one = {"message_id": ["hi"], "campaign": ["c"], "domain": ["d"], "channel": ["push"], "slot": ["s"]}
        >>> menu_of(one, {"price": [2.0]})["price"].to_pylist()
        [None, 2.0]
    """
    menu = {name: pa.array([SILENCE, *messages[name]], pa.string()) for name in _NAMES}
    n = len(menu["message_id"])
    menu["value"] = pa.array(np.zeros(n), pa.float64())
    menu["expires_at"] = pa.nulls(n, _TIME)
    for name, values in (extras or {}).items():
        kind = pa.string() if all(isinstance(value, str) for value in values) else pa.float64()
        menu[name] = pa.array([None, *values], kind)
    return menu


def candidate_lists(
    n: int, menu: Mapping[str, pa.Array], varying: Mapping[str, pa.Array] | None = None
) -> tuple[pa.Array, dict[str, pa.DataType]]:
    """The `candidates` column of n decisions that all have the same menu.

    Args:
        n: number of decisions.
        menu: one array of length k for each field, silence first.
        varying: fields whose values differ by decision, arrays of length n·k, decision by decision.

    Returns:
        The list array, and the types of the extra features (what `decisions_schema` asks for).
    """
    varying = varying or {}
    k = len(menu["message_id"])
    # Take by position instead of concatenating n copies: one pass a field.
    positions = pa.array(np.tile(np.arange(k, dtype=np.int32), n))
    columns = {name: values.take(positions) for name, values in menu.items() if name not in varying}
    columns = {name: columns.get(name, varying.get(name)) for name in dict.fromkeys([*menu, *varying])}
    standard = {*_NAMES, "value", "expires_at"}
    extras = {name: column.type for name, column in columns.items() if name not in standard}
    kind = decisions_schema({"_": pa.float64()}, extras).field("candidates").type
    items = pa.StructArray.from_arrays([columns[field.name] for field in kind.value_type], fields=list(kind.value_type))
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
    return pa.ListArray.from_arrays(offsets, items, type=kind), extras


def fixed_lists(values: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """A list column from a rectangular array (n, k)."""
    n, k = values.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
    field = pa.field("element", kind)
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), kind), type=pa.list_(field))


def decisions_table(
    *,
    decision_id: pa.Array,
    user_id: pa.Array,
    decided_at: pa.Array,
    policy: str,
    context: Mapping[str, pa.Array],
    candidates: pa.Array,
    candidate_features: Mapping[str, pa.DataType],
    eligible: NDArray[np.bool_],
    action: NDArray[np.integer] | pa.Array,
    propensity: NDArray[np.float64] | pa.Array,
    propensities: NDArray[np.float64] | None,
    slice_: str,
) -> pa.Table:
    """The decisions table of n decisions with k candidates each.

    Args:
        decision_id: strings (n,).
        user_id: strings (n,).
        decided_at: timestamps (n,) in UTC.
        policy: `name@version` of the policy that chose.
        context: one array (n,) for each feature.
        candidates: from `candidate_lists`.
        candidate_features: from `candidate_lists`.
        eligible: (n, k).
        action: (n,), index into the candidates.
        propensity: (n,).
        propensities: (n, k), or None where the source does not tell them.
        slice_: `uniform` where every eligible candidate was as likely as any other, else `policy`.
    """
    n = len(decision_id)
    schema = decisions_schema({name: column.type for name, column in context.items()}, dict(candidate_features))
    kind = schema.field("context").type
    struct = pa.StructArray.from_arrays([context[field.name].cast(field.type) for field in kind], fields=list(kind))
    whole = (
        pa.nulls(n, schema.field("propensities").type)
        if propensities is None
        else fixed_lists(propensities, pa.float64())
    )
    columns = {
        "decision_id": decision_id,
        "user_id": user_id,
        "decided_at": decided_at.cast(_TIME),
        "policy": pa.repeat(policy, n),
        "context": struct,
        "candidates": candidates,
        "eligible": fixed_lists(eligible, pa.bool_()),
        "action": pa.array(action, pa.int16()),
        "propensity": pa.array(propensity, pa.float64()),
        "propensities": whole,
        "explored": pa.repeat(pa.scalar(slice_ == "uniform"), n),
        "slice": pa.repeat(slice_, n),
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def outcomes_table(*parts: Mapping[str, pa.Array | str]) -> pa.Table:
    """The outcomes table from parts, one kind each.

    Args:
        parts: `outcome_id`, `decision_id` (may be left out: not linked), `user_id`, `occurred_at`, `value` (may be
            left out: 1.0) as arrays, and `kind` as one string.
    """
    tables = []
    for part in parts:
        n = len(part["outcome_id"])
        columns = {
            "outcome_id": part["outcome_id"],
            "decision_id": part.get("decision_id", pa.nulls(n, pa.string())),
            "user_id": part["user_id"],
            "kind": pa.repeat(str(part["kind"]), n),
            "occurred_at": part["occurred_at"].cast(_TIME),  # type: ignore[union-attr]
            "value": part.get("value", pa.repeat(1.0, n)),
        }
        tables.append(pa.Table.from_arrays([columns[name] for name in OUTCOMES_SCHEMA.names], schema=OUTCOMES_SCHEMA))
    return pa.concat_tables(tables) if tables else OUTCOMES_SCHEMA.empty_table()


def arrow(series: object) -> pa.Array:
    """A Polars series as one plain Arrow array: text as `string`, not as the large or view types."""
    array = series.to_arrow()  # type: ignore[attr-defined]
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array
