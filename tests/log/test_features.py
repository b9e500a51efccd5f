"""The encoder: hand-worked columns, and the same numbers for one request as for the whole log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import DecisionLog, FeatureEncoder, decisions_schema
from homing.log.features import Field
from homing.log.fitting import MAX_TRACKED_LEVELS
from tests.log.rows import CONTEXT, EXTRA, SILENCE, candidate, decision, log_of

HOUR = 3_600_000_000


@pytest.fixture
def fitted():
    """Three decisions; every expected number below is worked out by hand from these."""
    rows = [
        decision("d1", "u1", 0, context={"age": 20.0, "visits": 1, "city": "Rome", "vip": True},
                 candidates=[SILENCE, candidate("a", channel="push", value=1.0, expires_at=2 * HOUR)]),
        decision("d2", "u2", HOUR, context={"age": 40.0, "visits": 1, "city": "Bern", "vip": False},
                 candidates=[SILENCE, candidate("b", channel="email", value=3.0), candidate("a", channel="email")]),
        decision("d3", "u1", 2 * HOUR, context={"age": None, "visits": 1, "city": "Rome", "vip": None},
                 candidates=[SILENCE, candidate("b", channel="push", value=3.0, expires_at=3 * HOUR, affinity=0.5)]),
    ]  # fmt: skip
    return rows, FeatureEncoder.fit(log_of(rows))


def test_columns_of_a_fitted_encoder(fitted):
    _, encoder = fitted
    # visits is constant, campaign, domain, slot have one level, affinity and tone had no two values.
    assert encoder.context_names == ("age", "age__missing", "city=Bern", "city=Rome", "vip", "vip__missing")
    assert encoder.candidate_names == (
        "message_id=a", "message_id=b", "channel=email", "channel=push", "is_silence", "value", "hours_to_expiry",
        "affinity__missing", "hours_to_expiry__missing",
    )  # fmt: skip
    assert encoder.context_fields == {"age": "number", "visits": "number", "city": "category", "vip": "flag"}
    assert encoder.candidate_fields["expires_at"] == "time"
    assert encoder.candidate_fields["tone"] == "category"


def test_numbers_of_a_fitted_encoder(fitted):
    rows, encoder = fitted
    table = log_of(rows).decisions()
    # age: mean 30, standard deviation 10; missing is the mean and says so.
    assert encoder.encode_context(table["context"]).tolist() == [
        [-1, 0, 0, 1, 1, 0],
        [1, 0, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 1],
    ]
    store = encoder.encode_candidates(table["candidates"], table["decided_at"])
    # value of the messages 1, 3, 1, 3: mean 2, deviation 1. Hours 2, 1: mean 1.5, deviation 0.5.
    nothing = [0.0] * 9
    silence = [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert store[np.arange(3)].tolist() == [
        [silence, [1, 0, 0, 1, 0, -1, 1, 1, 0], nothing],
        [silence, [0, 1, 1, 0, 0, 1, 0, 1, 1], [1, 0, 1, 0, 0, -1, 0, 1, 1]],
        [silence, [0, 1, 0, 1, 0, 1, -1, 0, 0], nothing],
    ]


def test_statistics_agree_with_numpy_over_many_batches(rng):
    ages = rng.lognormal(3, 1, 500)
    log = log_of([decision(f"d{i}", "u", i, context={"age": age}) for i, age in enumerate(ages)])
    batches = log.decision_batches

    class InPieces:
        schema = log.schema

        @staticmethod
        def decision_batches(columns):
            return batches(columns=columns, batch_rows=7)

    (age,) = (field for field in FeatureEncoder.fit(InPieces).context if field.name == "age")
    # Merging rounds once a batch: 72 batches, 1e-12 is about 60 times their worst case in float64.
    np.testing.assert_allclose([age.mean, age.scale], [ages.mean(), ages.std()], rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([5.0, 5.0, 5.0], 0.0), ([0.1 + 0.2, 0.3], 0.0), ([1e9, 1e9 + 1], 0.5), ([None, None], 0.0)],
    ids=["constant", "rounding noise", "small spread on a large mean", "all missing"],
)
def test_spread(values, scale):
    log = log_of([decision(f"d{i}", "u", i, context={"age": value}) for i, value in enumerate(values)])
    (age,) = (field for field in FeatureEncoder.fit(log).context if field.name == "age")
    assert age.scale == pytest.approx(scale)
    assert not age.missing


def test_only_the_named_users_are_learnt_from():
    rows = [decision(f"d{i}", f"u{i}", i, context={"age": float(i), "city": f"c{i}"}) for i in range(6)]
    encoder = FeatureEncoder.fit(log_of(rows), users=lambda user: user in {"u1", "u3"})
    assert encoder == FeatureEncoder.fit(log_of([rows[1], rows[3]]))
    assert encoder.context_names == ("age", "city=c1", "city=c3")


def test_the_most_frequent_levels_are_kept_and_ties_go_by_name():
    cities = ["x"] * 3 + ["b", "a", "c"]
    rows = [decision(f"d{i}", "u", i, context={"city": city}) for i, city in enumerate(cities)]
    encoder = FeatureEncoder.fit(log_of(rows), max_levels=2)
    assert encoder.context_names == ("city=a", "city=x")
    assert encoder == FeatureEncoder.fit(log_of(rows[::-1]), max_levels=2)
    with pytest.raises(InvalidInputError, match=r"max_levels == 0, must be >= 1"):
        FeatureEncoder.fit(log_of(rows), max_levels=0)


def test_a_block_that_the_message_tells_is_left_out():
    both = [SILENCE, candidate("a", campaign="x", domain="p"), candidate("b", campaign="y", domain="p"),
            candidate("c", campaign="z", domain="q")]  # fmt: skip
    encoder = FeatureEncoder.fit(log_of([decision("d1", "u", 0, candidates=both)]))
    blocks = [name for name in encoder.candidate_names if "=" in name]
    assert blocks == ["message_id=a", "message_id=b", "message_id=c", "domain=p", "domain=q"]


def test_a_text_with_too_many_levels_is_counted_in_bounded_memory():
    from homing.log.fitting import _Category

    tracker = _Category("city", 2)
    names = [f"rare{i}" for i in range(3 * MAX_TRACKED_LEVELS)]
    for start in range(0, len(names), 10_000):
        part = [*names[start : start + 10_000], "often"]
        tracker.add(np.array([*range(len(part)), len(part) - 1]), part)
    assert len(tracker.counts) <= 2 * MAX_TRACKED_LEVELS + 10_001
    assert "often" in tracker.field().levels


def test_an_outlier_is_cut_and_the_largest_floats_stay_finite():
    encoder = FeatureEncoder((Field("age", "number", mean=-1e308, scale=1e-300),), (Field("message_id", "category"),))
    assert encoder.encode_context([{"age": 1e308}, {"age": -1.7e308}]).tolist() == [[100.0], [-100.0]]


def test_levels_that_were_never_seen_are_zero(fitted):
    _, encoder = fitted
    assert encoder.encode_context([{"city": "Oslo", "age": 30, "vip": False}]).tolist() == [[0, 0, 0, 0, 0, 0]]
    store = encoder.encode_candidates([[SILENCE, candidate("new", channel="fax", value=2.0)]], 0)
    assert store[0][1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]


# One request and the whole log ---------------------------------------------------------------------------------------

texts = st.one_of(st.none(), st.sampled_from(["Bern", "Rome", "Oslo", "", "é"]))
floats = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
contexts = st.fixed_dictionaries(
    {}, optional={"age": floats, "visits": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), "city": texts,
                  "vip": st.one_of(st.none(), st.booleans())},
)  # fmt: skip
messages = st.fixed_dictionaries(
    {"message_id": st.sampled_from(["a", "b", "new"]), "channel": st.sampled_from(["push", "email", "fax"])},
    optional={"value": floats, "affinity": floats, "tone": texts,
              "expires_at": st.one_of(st.none(), st.integers(-(2**50), 2**50))},
)  # fmt: skip
requests = st.lists(st.tuples(contexts, st.lists(messages, max_size=4), st.integers(0, 2**50)), min_size=1, max_size=8)
WIDE = FeatureEncoder(
    (
        Field("age", "number", mean=1.1, scale=0.3, missing=True),
        Field("visits", "number", mean=7.0, scale=3.0),
        Field("city", "category", ("Bern", "Rome", "é"), missing=True),
        Field("vip", "flag", missing=True),
    ),
    (
        Field("message_id", "category", ("a", "b")),
        Field("campaign", "category"),
        Field("channel", "category", ("email", "push")),
        Field("value", "number", mean=0.1, scale=1.7),
        Field("affinity", "number", mean=-0.2, scale=0.9, missing=True),
        Field("tone", "category", ("Rome", "é"), missing=True),
        Field("hours_to_expiry", "number", mean=5.0, scale=2.2, missing=True),
    ),
)


@settings(max_examples=80, deadline=None)
@given(requests)
def test_a_request_gives_the_same_numbers_as_the_log(rows):
    schema = decisions_schema(CONTEXT, EXTRA)
    lists = [[{"message_id": "silence"}, *messages] for _, messages, _ in rows]
    times = np.array([time for _, _, time in rows])
    structs = pa.array([context for context, _, _ in rows], schema.field("context").type)
    listed = pa.array(lists, schema.field("candidates").type)
    np.testing.assert_array_equal(WIDE.encode_context([row[0] for row in rows]), WIDE.encode_context(structs))
    one, all_ = WIDE.encode_candidates(lists, times), WIDE.encode_candidates(listed, pa.array(times))
    for name in ("codes", "numeric", "offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(all_, name), err_msg=name)
    assert one.levels == all_.levels == (2, 2, 2)
    assert one.shape[2] == len(WIDE.candidate_names)


@settings(max_examples=30, deadline=None)
@given(requests, st.data())
def test_slices_and_chunks_do_not_matter(rows, data):
    schema = decisions_schema(CONTEXT, EXTRA)
    structs = pa.array([row[0] for row in rows], schema.field("context").type)
    lists = pa.array([[{"message_id": "silence"}, *row[1]] for row in rows], schema.field("candidates").type)
    times = np.array([row[2] for row in rows])
    cut = data.draw(st.integers(0, len(rows)))
    whole = WIDE.encode_candidates(lists, times)
    np.testing.assert_array_equal(WIDE.encode_context(structs)[cut:], WIDE.encode_context(structs[cut:]))
    chunks = pa.chunked_array([lists[:cut], lists[cut:]])
    np.testing.assert_array_equal(WIDE.encode_candidates(chunks, times).numeric, whole.numeric)
    if cut < len(rows):
        part = WIDE.encode_candidates(lists[cut:], times[cut:])
        np.testing.assert_array_equal(part.numeric, whole.take(np.arange(cut, len(rows))).numeric)


def test_times_may_be_datetimes():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    lists = [[SILENCE, candidate("a", expires_at=now + timedelta(hours=7))]]
    column = WIDE.candidate_names.index("hours_to_expiry")
    assert WIDE.encode_candidates(lists, now)[0][1, column] == np.float32((7 - 5.0) / 2.2)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"ctiy": "Rome"}, r"context feature == 'ctiy', .*'city'.* Did you mean 'city'\?"),
        ({"zzz": 1}, r"context feature == 'zzz', .* Train on a log that has it, or leave it out\."),
        ({"age": "20"}, r"context\.age == '20', must be a number\."),
        ({"age": True}, r"context\.age == True, must be a number\."),
        ({"age": float("nan")}, r"context\.age == nan, must be finite\. Leave it out if it is missing\."),
        ({"age": 10**400}, r"context\.age == 1000.*, must be finite\."),
        ({"city": 3}, r"context\.city == 3, must be a string\."),
        ({"vip": 1}, r"context\.vip == 1, must be true or false\."),
    ],
    ids=["typo", "unknown", "text for number", "flag for number", "nan", "too large", "number for text", "0 for flag"],
)
def test_bad_context_of_a_request(context: dict[str, Any], message: str):
    with pytest.raises(InvalidInputError, match=message):
        WIDE.encode_context([context])


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], r"candidates\[0\] == .*, must hold at least silence\."),
        ([{"message_id": "a"}], r"candidates\[0\]\[0\]\.message_id == 'a', must be 'silence'\."),
        ([SILENCE, SILENCE], r"candidates\[0\]\[1\]\.message_id == 'silence', must not be 'silence'\."),
        ([SILENCE, {"message_id": "a", "afinity": 1.0}], r"candidate feature == 'afinity', .* mean 'affinity'\?"),
        ([SILENCE, {"message_id": "a", "value": float("inf")}], r"candidate\.value == inf, must be finite"),
        ([SILENCE, {"message_id": "a", "expires_at": datetime(2026, 1, 1)}], r"expires_at == .* with a time zone\."),
    ],
    ids=["none", "no silence", "two silences", "typo", "inf", "naive time"],
)
def test_bad_candidates_of_a_request(candidates: list[dict[str, Any]], message: str):
    with pytest.raises(InvalidInputError, match=message):
        WIDE.encode_candidates([candidates], 0)


@pytest.mark.parametrize(
    ("structs", "message"),
    [
        (pa.array([{"ctiy": "Rome"}]), r"Did you mean 'city'\?"),
        (pa.array([{"age": "20"}]), r"context\.age\.type == 'string', must be a number\."),
        (pa.array([{"age": 1.0}, {"age": float("nan")}]), r"context\.age\[1\] == nan, must be finite\."),
        (pa.array([{"city": 1.0}]), r"context\.city\.type == 'double', must be string\."),
        (pa.array([{"vip": 1.0}]), r"context\.vip\.type == 'double', must be bool\."),
        (pa.array([1.0]), r"context\.type == 'double', must be a struct"),
    ],
    ids=["typo", "text", "nan", "number", "flag", "no struct"],
)
def test_bad_context_of_a_log(structs: pa.Array, message: str):
    with pytest.raises(InvalidInputError, match=message):
        WIDE.encode_context(structs)


def test_bad_candidates_of_a_log():
    with pytest.raises(InvalidInputError, match=r"candidates\[1\]\[0\]\.message_id == 'a', must be 'silence'"):
        WIDE.encode_candidates(pa.array([[{"message_id": "silence"}], [{"message_id": "a"}]]), 0)
    with pytest.raises(InvalidInputError, match=r"candidates\[1\] == \[\], must hold at least silence"):
        WIDE.encode_candidates(pa.array([[{"message_id": "silence"}], []]), 0)
    with pytest.raises(InvalidInputError, match=r"decided_at\.shape == \(2,\), must be \(1,\)"):
        WIDE.encode_candidates(pa.array([[{"message_id": "silence"}]]), np.array([0, 1]))


def test_an_empty_log_cannot_be_fitted():
    with pytest.raises(InvalidInputError, match=r"decisions == 0, must be >= 1 to fit an encoder\."):
        FeatureEncoder.fit(log_of([decision("d", "u", 0)]), users=lambda user: False)


# Names and storage ---------------------------------------------------------------------------------------------------


def test_columns_are_found_by_name():
    assert WIDE.candidate_names[WIDE.column("channel=push")] == "channel=push"
    assert WIDE.context_names[WIDE.context_column("vip")] == "vip"
    with pytest.raises(UnknownNameError, match=r"Did you mean 'channel=push'\?"):
        WIDE.column("channel=psuh")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'vip'\?"):
        WIDE.context_column("vi")


def test_json_gives_an_equal_encoder_back(fitted):
    for encoder in (WIDE, fitted[1]):
        assert FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False))) == encoder


def _changed(**fields: Any) -> dict[str, Any]:
    data = WIDE.to_dict()
    data["context"][0] = {**data["context"][0], **fields}
    return data


@pytest.mark.parametrize(
    "data",
    [{}, {**WIDE.to_dict(), "format": 2}, {**WIDE.to_dict(), "extra": 1}, _changed(scale=-1.0), _changed(kind="text"),
     _changed(mean=float("nan")), _changed(levels=[1]), _changed(more=1), _changed(name="visits"),
     {**WIDE.to_dict(), "context": ["age"]}],
    ids=["empty", "format", "key", "negative scale", "kind", "nan", "levels", "field key", "twice", "no mapping"],
)  # fmt: skip
def test_a_broken_encoder_is_refused(data: dict[str, Any]):
    with pytest.raises(InvalidInputError, match=r"encoder|column"):
        FeatureEncoder.from_dict(data)


def test_a_feature_with_the_name_of_a_column_that_we_make_is_refused():
    schema = decisions_schema({}, {"hours_to_expiry": pa.float64()})
    with pytest.raises(InvalidInputError, match=r"candidates feature == 'hours_to_expiry', is made from expires_at"):
        FeatureEncoder.fit(DecisionLog.from_tables(schema.empty_table()))
