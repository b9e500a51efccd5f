"""What is refused at the boundary, each with the message that a caller sees."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from homing.decisions import Candidate, Consent, DecideRequest, Outcome
from homing.errors import HomingError, InvalidInputError

GOOD = {"user_id": "u1", "candidates": [{"message_id": "m", "channel": "push"}]}


def candidate(**keys):
    return {**GOOD, "candidates": [{"message_id": "m", "channel": "push", **keys}]}


CASES = {
    "no candidates": (
        {**GOOD, "candidates": []},
        "candidates == [], must hold at least one candidate. Silence is added",
    ),
    "candidates missing": ({"user_id": "u1"}, "candidates == None, is required"),
    "user missing": ({"candidates": GOOD["candidates"]}, "user_id == None, is required"),
    "user empty": ({**GOOD, "user_id": ""}, "user_id == '', must not be empty."),
    "user too long": ({**GOOD, "user_id": "u" * 257}, "len(user_id) == 257, must be at most 256"),
    "user a number": ({**GOOD, "user_id": 7}, "user_id == 7, must be a text"),
    "control character": ({**GOOD, "user_id": "a\nb"}, "must not hold control characters"),
    "lone surrogate": ({**GOOD, "user_id": "a\ud800"}, "unable to parse raw data as a unicode string"),
    "unknown key": ({**GOOD, "contxt": {}}, "contxt == {}, is not a known key. Did you mean 'context'?"),
    "unknown candidate key": (
        candidate(affinity=1.0),
        "candidates[0].affinity == 1.0, is not a known key. Known keys:",
    ),
    "misspelt candidate key": (
        candidate(chanel="x"),
        "Did you mean 'channel'? Features of your own go under 'features'.",
    ),
    "silence sent": (candidate(message_id="silence"), "candidates[0].message_id == 'silence', is reserved"),
    "twice": (
        {**GOOD, "candidates": GOOD["candidates"] * 2},
        "candidates[1] == ('m', 'push', 'default'), must be unique",
    ),
    "nan value": (candidate(value=float("nan")), "candidates[0].value == nan, must be a finite number"),
    "infinite feature": (
        candidate(features={"a": float("inf")}),
        "candidates[0].features.a == inf, must be a finite number",
    ),
    "huge integer": ({**GOOD, "context": {"a": 10**400}}, "must be a finite number of at most 2**53"),
    "nested context": ({**GOOD, "context": {"a": {"b": 1}}}, "context.a == {'b': 1}, must be a number, a text"),
    "list context": ({**GOOD, "context": [1]}, "context == [1], must be an object of named features"),
    "feature takes a column": (candidate(features={"channel": "x"}), "is a fixed column of a candidate. Rename"),
    "boolean value": (candidate(value=True), "candidates[0].value == True, must be a number"),
    "naive expiry": (candidate(expires_at="2026-11-23T09:00:00"), "must carry its time zone"),
    "numeric expiry": (candidate(expires_at=1_700_000_000), "must be an ISO 8601 time"),
    "naive decided_at": (
        {**GOOD, "decided_at": "2026-11-23T09:00:00"},
        "decided_at == '2026-11-23T09:00:00', must carry",
    ),
    "year 9999": ({**GOOD, "decided_at": "9999-12-31T23:59:59Z"}, "must be between the years 1970 and 2200"),
    "zone": ({**GOOD, "time_zone": "Mars/Olympus"}, "time_zone == 'Mars/Olympus', must be an IANA time zone"),
    "zone path": ({**GOOD, "time_zone": "../etc/passwd"}, "must be an IANA time zone"),
    "consent as text": ({**GOOD, "consent": {"push": "yes"}}, "consent.push == 'yes', must be true or false"),
    "weight as text": ({**GOOD, "weights": {"a": "high"}}, "weights.a == 'high', must be a number"),
    "not an object": ([GOOD], "must be a JSON object"),
    "every channel": (
        candidate(channel="*"),
        "candidates[0].channel == '*', is reserved: '*' stands for every channel",
    ),
    "channel silence": (candidate(channel="silence"), "candidates[0].channel == 'silence', is reserved"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_request_is_refused_with_a_message(case):
    data, message = CASES[case]
    with pytest.raises(InvalidInputError) as caught:
        DecideRequest.from_dict(data)
    assert message in str(caught.value)
    assert "pydantic" not in str(caught.value)


WHOLE = {
    "zone": ({**GOOD, "time_zone": "Mars/Olympus"}, "time_zone == 'Mars/Olympus', must be an IANA time zone. Write it"),
    "candidates a text": ({**GOOD, "candidates": "x"}, "candidates == 'x', must be a list."),
    # pydantic adds that the list is too short, since its only item does not count.
    "a candidate that is a number": ({**GOOD, "candidates": [5]}, "candidates[0] == 5, must be an object."),
}


@pytest.mark.parametrize("case", WHOLE)
def test_one_mistake_gets_one_message(case):
    data, message = WHOLE[case]
    with pytest.raises(InvalidInputError) as caught:
        DecideRequest.from_dict(data)
    assert str(caught.value).startswith(message)
    assert str(caught.value).count(" == ") == 1


def test_too_many_candidates_are_refused_by_their_number():
    many = [{"message_id": f"m{i}", "channel": "push"} for i in range(1001)]
    with pytest.raises(InvalidInputError, match=r"len\(candidates\) == 1001, must be at most 1000"):
        DecideRequest.from_dict({"user_id": "u", "candidates": many})


def test_times_are_kept_in_utc():
    request = DecideRequest.from_dict({**GOOD, "decided_at": "2026-11-23T09:00:00+05:45"})
    assert request.decided_at == datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
    assert str(request.decided_at.tzinfo) == "UTC"


def test_requests_are_frozen():
    request = DecideRequest.from_dict(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        request.user_id = "other"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cliked", "Did you mean 'clicked'?"),
        ("custom:Spend", "custom:<lower_snake>"),
        ("custom:a\n", "must not hold control characters"),
    ],
)
def test_an_unknown_outcome_kind_is_refused(kind, message):
    row = {"outcome_id": "o", "user_id": "u", "kind": kind, "occurred_at": "2026-11-23T09:00:00Z"}
    with pytest.raises(HomingError) as caught:
        Outcome.from_dict(row)
    assert message in str(caught.value)


def test_a_consent_needs_its_time():
    with pytest.raises(InvalidInputError, match="changed_at == None, is required"):
        Consent.from_dict({"user_id": "u", "channel": "push", "allowed": True})


def test_a_candidate_becomes_one_flat_row():
    item = Candidate(message_id="m", channel="push", features={"affinity": 0.5})
    assert item.row()["affinity"] == 0.5
    assert item.row()["campaign"] == "default"
