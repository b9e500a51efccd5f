"""Format version 1 of the decision log: columns, types, outcome kinds.

Two tables in Parquet, partitioned by UTC day: `decisions/day=YYYY-MM-DD/*.parquet` and `outcomes/day=…/*.parquet`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from homing.errors import InvalidInputError, UnknownNameError, describe, unknown_name

#: Version of the log's format; stands in every file's metadata under `FORMAT_KEY`.
FORMAT_VERSION = 1
FORMAT_KEY = b"homing.format_version"

#: What candidate 0 of every decision is: no message at all.
SILENCE = "silence"

#: Outcome kinds that have a meaning of their own; others are written `custom:<lower_snake>`.
STANDARD_KINDS = ("delivered", "opened", "clicked", "converted", "session", "unsubscribed", "disabled", "churned")
#: What a custom kind looks like.
CUSTOM_KIND = r"^custom:[a-z][a-z0-9_]*$"

#: How a decision came about: by the policy, by the uniform-random slice, or in the holdout.
SLICES = ("policy", "uniform", "holdout")

TIMESTAMP = pa.timestamp("us", tz="UTC")

#: The string fields of a candidate; all of them are `SILENCE` for candidate 0.
CANDIDATE_NAMES = ("message_id", "campaign", "domain", "channel", "slot")
CANDIDATE_FIELDS: dict[str, pa.DataType] = {
    **dict.fromkeys(CANDIDATE_NAMES, pa.string()),
    "value": pa.float64(),
    "expires_at": TIMESTAMP,
}

#: Types that a context feature or an extra candidate feature may have.
FEATURE_TYPES = (pa.float64(), pa.int64(), pa.string(), pa.bool_())

OUTCOMES_SCHEMA = pa.schema(
    {
        "outcome_id": pa.string(),
        "decision_id": pa.string(),
        "user_id": pa.string(),
        "kind": pa.string(),
        "occurred_at": TIMESTAMP,
        "value": pa.float64(),
    },
    metadata={FORMAT_KEY: str(FORMAT_VERSION).encode()},
)


def list_of(kind: pa.DataType) -> pa.ListType:
    """A list type whose element carries the name that Parquet gives it, so that types stay equal after a round trip."""
    return pa.list_(pa.field("element", kind))


def decisions_schema(
    context: Mapping[str, pa.DataType], candidate_features: Mapping[str, pa.DataType] | None = None
) -> pa.Schema:
    """Schema of the decisions table with these features.

    Args:
        context: name and type of each context feature; float64, int64, string or bool (or what widens to them).
        candidate_features: name and type of each candidate feature beyond the fixed fields.

    Raises:
        InvalidInputError: if a type is not supported, or a candidate feature takes a fixed field's name.

    Example:
        >>> schema = decisions_schema({"recency": pa.int64()}, {"affinity": pa.float64()})
        >>> schema.names[:5]
        ['decision_id', 'user_id', 'decided_at', 'policy', 'context']
        >>> schema.field("candidates").type.value_type.field("affinity").type
        DataType(double)
    """
    extra = {} if candidate_features is None else dict(candidate_features)
    for name in extra:
        if name in CANDIDATE_FIELDS:
            raise InvalidInputError(
                describe("candidate feature", name, "is a fixed field of a candidate", "Rename it.")
            )
    struct = pa.struct([*CANDIDATE_FIELDS.items(), *((name, feature_type(name, kind)) for name, kind in extra.items())])
    return pa.schema(
        {
            "decision_id": pa.string(),
            "user_id": pa.string(),
            "decided_at": TIMESTAMP,
            "policy": pa.string(),
            "context": pa.struct([(name, feature_type(name, kind)) for name, kind in context.items()]),
            "candidates": list_of(struct),
            "eligible": list_of(pa.bool_()),
            "action": pa.int16(),
            "propensity": pa.float64(),
            "propensities": list_of(pa.float64()),
            "explored": pa.bool_(),
            "slice": pa.string(),
        },
        metadata={FORMAT_KEY: str(FORMAT_VERSION).encode()},
    )


def feature_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The format's type for a feature of Arrow type `kind`: integers become int64, floats float64, texts string.

    >>> feature_type("recency", pa.int8())
    DataType(int64)
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    bound = "must be a float, an integer, a string or a boolean"
    raise InvalidInputError(
        describe(f"type of feature {name!r}", str(kind), bound, "Cast it, or split it into several.")
    )


def silence_candidate(candidate_features: Mapping[str, pa.DataType] | None = None) -> dict[str, object]:
    """Candidate 0 as it must stand in every decision; extra features are null.

    >>> silence_candidate()["message_id"], silence_candidate()["value"]
    ('silence', 0.0)
    """
    return {
        **dict.fromkeys(CANDIDATE_NAMES, SILENCE),
        "value": 0.0,
        "expires_at": None,
        **dict.fromkeys(candidate_features or {}, None),
    }


def check_kind(kind: str) -> str:
    """Return `kind` if it is a standard or a well-formed custom outcome kind; otherwise hint at the nearest.

    >>> check_kind("custom:spend")
    'custom:spend'
    """
    if kind in STANDARD_KINDS or re.fullmatch(CUSTOM_KIND, kind):
        return kind
    raise unknown_kind(kind)


def unknown_kind(kind: str) -> UnknownNameError:
    """The error for an outcome kind that does not exist.

    >>> print(unknown_kind("cliked"))
    kind == 'cliked', must be one of 'churned', ... Did you mean 'clicked'? Write custom:<lower_snake> ...
    """
    return unknown_name("kind", kind, STANDARD_KINDS, "Write custom:<lower_snake> for a kind of your own.")
