"""Guards: each alone, and quiet hours against an oracle with another time-zone library."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.decisions import (
    Candidate,
    ConsentGuard,
    ConsentState,
    DecideRequest,
    ExpiryGuard,
    FrequencyCapGuard,
    GuardRules,
    HoldoutGuard,
    QuietHoursGuard,
    Slices,
)
from homing.errors import InvalidInputError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class View:
    """A ledger's answers, written down."""

    def __init__(self, sends=0, consents=None):
        self._sends, self._consents = sends, consents or {}
        self.asked = None

    def sends(self, user_id, *, since, channels=None):
        self.asked = (since, channels)
        return self._sends

    def consents(self, user_id):
        return self._consents


def request(**keys):
    return DecideRequest.from_dict({"user_id": "u1", "candidates": [{"message_id": "m", "channel": "push"}], **keys})


def reason(guard, view=None, now=NOW, **keys):
    asked = request(**keys)
    (answer,) = guard.mask(asked, asked.candidates, view or View(), now)
    return answer


def state(allowed, minutes=0):
    return ConsentState(allowed, NOW + timedelta(minutes=minutes), "test")


CONSENT = {
    "nothing known": (None, {}, False),
    "request says yes": ({"push": True}, {}, True),
    "request says no": ({"push": False}, {"push": state(True)}, False),
    "request speaks of email only": ({"email": True}, {}, False),
    "request says yes for every channel": ({"*": True}, {}, True),
    "request says no for every channel": ({"*": False, "push": True}, {"push": state(True)}, False),
    "on record": (None, {"push": state(True)}, True),
    "withdrawn on record beats the request": ({"push": True}, {"push": state(False)}, False),
    "withdrawn for every channel": (None, {"push": state(True), "*": state(False, 1)}, False),
    "given again after it": (None, {"push": state(True, 2), "*": state(False, 1)}, True),
    "at the same moment the refusal holds": (None, {"push": state(True), "*": state(False)}, False),
    "given for every channel": (None, {"*": state(True)}, True),
}


@pytest.mark.parametrize("case", CONSENT)
def test_consent(case):
    sent, record, allowed = CONSENT[case]
    assert (reason(ConsentGuard(), View(consents=record), consent=sent) is None) is allowed


def test_an_exempt_channel_needs_no_consent():
    assert reason(ConsentGuard(exempt=frozenset({"push"}))) is None


def test_the_reason_for_missing_consent_says_where_it_was_looked_for():
    assert reason(ConsentGuard()) == "no consent for push: none in the request and none on record"


@pytest.mark.parametrize(("seconds", "masked"), [(-1, True), (0, True), (1, False)])
def test_a_candidate_expires_at_the_moment_itself(seconds, masked):
    item = Candidate(message_id="m", channel="push", expires_at=NOW + timedelta(seconds=seconds))
    assert (ExpiryGuard().mask(request(), [item], View(), NOW)[0] is not None) is masked


@pytest.mark.parametrize(("sends", "masked"), [(0, False), (2, False), (3, True), (9, True)])
def test_the_cap_is_reached_at_its_number(sends, masked):
    view = View(sends)
    assert (reason(FrequencyCapGuard(3, 24), view) is not None) is masked
    assert view.asked == (NOW - timedelta(hours=24), None)


def test_a_cap_on_email_leaves_push_alone():
    assert reason(FrequencyCapGuard(1, 24, frozenset({"email"})), View(9)) is None


def test_everything_is_masked_in_the_holdout():
    assert reason(HoldoutGuard(Slices(holdout_share=1.0))) == "the user is in the holdout"
    assert reason(HoldoutGuard(Slices(holdout_share=0.0))) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrequencyCapGuard(0, 24), "max_messages == 0, must be a whole number >= 1"),
        (lambda: FrequencyCapGuard(3, 0), "window_hours == 0, must be a finite number > 0"),
        (lambda: QuietHoursGuard(time(22), time(22)), "quiet_hours == '22:00-22:00', must not start when they end"),
        (lambda: Slices(uniform_share=1.5), "uniform_share == 1.5, must be in [0, 1]"),
    ],
)
def test_a_guard_that_makes_no_sense_cannot_be_built(make, message):
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert message in str(caught.value)


# Quiet hours ---------------------------------------------------------------------------------------------------------

# (zone, an instant near a change of its clock): gap, fold, half an hour, Ramadan, no change at all.
CHANGES = {
    "New York, fold": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "New York, gap": ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    "Lord Howe, half an hour": ("Australia/Lord_Howe", datetime(2027, 4, 3, 15, tzinfo=UTC)),
    "Casablanca, Ramadan": ("Africa/Casablanca", datetime(2027, 2, 7, 2, tzinfo=UTC)),
    "Kathmandu": ("Asia/Kathmandu", datetime(2027, 1, 1, tzinfo=UTC)),
    "Berlin, gap": ("Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),
}


def quiet_minutes(start: time, end: time) -> set[tuple[int, int]]:
    """Every minute of the wall clock that is quiet, by walking from start to end."""
    minutes, at = set(), (start.hour, start.minute)
    while at != (end.hour, end.minute):
        minutes.add(at)
        total = (at[0] * 60 + at[1] + 1) % 1440
        at = (total // 60, total % 60)
    return minutes


@pytest.mark.parametrize("case", CHANGES)
@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, 1439), length=st.integers(1, 1439))
def test_quiet_hours_agree_with_a_walk_over_every_minute(case, start, length):
    zone, change = CHANGES[case]
    stop = (start + length) % 1440
    begin, end = time(start // 60, start % 60), time(stop // 60, stop % 60)
    guard = QuietHoursGuard(begin, end)
    quiet = quiet_minutes(begin, end)
    instants = [change + timedelta(minutes=i) for i in range(-13 * 60, 13 * 60, 7)]
    # Arrow has a time-zone library of its own: another route to the wall clock than zoneinfo.
    local = pc.local_timestamp(pa.array(instants, pa.timestamp("us", zone)))
    for at, hour, minute in zip(instants, pc.hour(local).to_pylist(), pc.minute(local).to_pylist(), strict=True):
        assert guard.is_quiet(at, zone) == ((hour, minute) in quiet), (at, hour, minute)


def test_an_hour_that_the_clock_shows_twice_is_quiet_twice():
    guard = QuietHoursGuard(time(1), time(2))
    first, second = datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert guard.is_quiet(first, "America/New_York")
    assert guard.is_quiet(second, "America/New_York")


def test_the_reason_names_the_local_time():
    guard = QuietHoursGuard(time(22), time(8))
    at = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
    assert reason(guard, now=at, time_zone="Europe/Berlin") == "22:30 in Europe/Berlin is within 22:00-08:00"


# Rules from YAML ------------------------------------------------------------------------------------------------------


def test_rules_become_guards(tmp_path):
    path = tmp_path / "guards.yaml"
    path.write_text(
        "version: 1\nconsent: {exempt_channels: [in_app]}\n"
        'quiet_hours: [{start: "22:00", end: "08:00", channels: [push]}]\n'
        "frequency_caps: [{max_messages: 3, window_hours: 24}]\nuniform_share: 0.1\n"
    )
    rules = GuardRules.from_yaml(path)
    assert rules.guards() == (
        ConsentGuard(frozenset({"in_app"})),
        ExpiryGuard(),
        QuietHoursGuard(time(22), time(8), frozenset({"push"})),
        FrequencyCapGuard(3, 24.0),
    )
    assert rules.uniform_share == 0.1


def test_an_empty_file_means_consent_and_expiry(tmp_path):
    path = tmp_path / "guards.yaml"
    path.write_text("{}\n")
    assert [guard.name for guard in GuardRules.from_yaml(path).guards()] == ["consent", "expiry"]


RULES = {
    "unknown key": ("frequency_cap: []", "frequency_cap == [], is not a known key. Did you mean 'frequency_caps'?"),
    "unquoted time": ("quiet_hours: [{start: 22:00, end: '08:00'}]", "must be a time in quotes"),
    "equal times": ("quiet_hours: [{start: '22:00', end: '22:00'}]", "must not start when they end"),
    "cap 0": ("frequency_caps: [{max_messages: 0, window_hours: 1}]", "must be greater than or equal to 1"),
    "cap as text": ("frequency_caps: [{max_messages: '3', window_hours: 1}]", "must be a valid integer"),
    "share above 1": ("uniform_share: 2", "uniform_share == 2, must be less than or equal to 1"),
    "key twice": ("uniform_share: 0.1\nuniform_share: 0.2", "the key 'uniform_share' is there twice"),
    "python tag": ("version: !!python/object/apply:os.getcwd []", "must be YAML (could not determine a constructor"),
    "broken": ("a: [", "must be YAML"),
    "other version": ("version: 2", "version == 2, must be 1"),
    "nested unknown key": (
        "frequency_caps: [{max: 3, window_hours: 1}]",
        "frequency_caps[0].max == 3, is not a known key",
    ),
    "nested misspelt key": (
        "quiet_hours: [{strat: '22:00', end: '08:00'}]",
        "quiet_hours[0].strat == '22:00', is not a known key. Did you mean 'start'?",
    ),
    "share as yes": ("uniform_share: yes", "uniform_share == True, must be a valid number"),
    "no channels": (
        "frequency_caps: [{max_messages: 3, window_hours: 1, channels: []}]",
        "frequency_caps[0].channels == [], must hold at least 1",
    ),
    "a list": ("- 1", "must be a JSON object"),
}


@pytest.mark.parametrize("case", RULES)
def test_rules_that_make_no_sense_are_refused_with_the_file_and_the_key(case, tmp_path):
    text, message = RULES[case]
    path = tmp_path / "guards.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        GuardRules.from_yaml(path)
    assert message in str(caught.value)
    assert "guards.yaml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        GuardRules.from_yaml(tmp_path / "none.yaml")
