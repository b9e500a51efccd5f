"""Format 1: columns, types, kinds, and what their errors say."""

import pyarrow as pa
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import OUTCOMES_SCHEMA, SILENCE, STANDARD_KINDS, check_kind, decisions_schema, silence_candidate
from homing.log.schema import feature_type


def test_decisions_have_the_columns_of_the_format() -> None:
    schema = decisions_schema({"age": pa.int32()}, {"price": pa.float32()})
    utc = pa.timestamp("us", "UTC")
    item = pa.struct(
        [(name, pa.string()) for name in ("message_id", "campaign", "domain", "channel", "slot")]
        + [("value", pa.float64()), ("expires_at", utc), ("price", pa.float64())]
    )
    wanted = {
        "decision_id": pa.string(), "user_id": pa.string(), "decided_at": utc, "policy": pa.string(),
        "context": pa.struct([("age", pa.int64())]), "candidates": pa.list_(item), "eligible": pa.list_(pa.bool_()),
        "action": pa.int16(), "propensity": pa.float64(), "propensities": pa.list_(pa.float64()),
        "explored": pa.bool_(), "slice": pa.string(),
    }  # fmt: skip
    assert {field.name: field.type for field in schema} == wanted
    assert schema.metadata == OUTCOMES_SCHEMA.metadata == {b"homing.format_version": b"1"}


@pytest.mark.parametrize(
    ("given", "stored"),
    [(pa.int8(), pa.int64()), (pa.float32(), pa.float64()), (pa.large_string(), pa.string()), (pa.bool_(), pa.bool_()),
     (pa.dictionary(pa.int8(), pa.string()), pa.string()), (pa.decimal128(9, 2), pa.float64())],
    ids=str,
)  # fmt: skip
def test_feature_types_widen(given: pa.DataType, stored: pa.DataType) -> None:
    assert feature_type("x", given) == stored


def test_other_feature_types_are_refused() -> None:
    with pytest.raises(
        InvalidInputError, match=r"type of feature 'when' == 'date32\[day\]', must be a float, an integer"
    ):
        decisions_schema({"when": pa.date32()})


def test_a_feature_cannot_take_the_name_of_a_fixed_field() -> None:
    with pytest.raises(InvalidInputError, match="candidate feature == 'channel', is a fixed field"):
        decisions_schema({}, {"channel": pa.string()})


def test_silence_is_silent_everywhere() -> None:
    row = silence_candidate({"price": pa.float64()})
    names = ["message_id", "campaign", "domain", "channel", "slot"]
    assert [row[name] for name in names] == [SILENCE] * 5
    assert (row["value"], row["expires_at"], row["price"]) == (0.0, None, None)


@pytest.mark.parametrize("kind", [*STANDARD_KINDS, "custom:spend", "custom:log_steps_30min"])
def test_known_kinds_pass(kind: str) -> None:
    assert check_kind(kind) == kind


@pytest.mark.parametrize(
    "kind", ["", "Clicked", "custom:", "custom:Spend", "custom:9x", "custom:a b", "spend", "custom:spend\n"]
)
def test_unknown_kinds_are_refused(kind: str) -> None:
    with pytest.raises(UnknownNameError, match="must be one of 'churned', 'clicked'"):
        check_kind(kind)


def test_a_misspelt_kind_gets_a_hint() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'unsubscribed'\? Write custom:<lower_snake>"):
        check_kind("unsubscribe")
