"""Every rule of the contract: which rows break it, under which reason they count, what the message says."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.log import DecisionLog, decisions_schema, validate
from homing.log.rules import DECISION_RULES, DUPLICATE, OUTCOME_RULES
from tests.log._builders import SCHEMA, candidate, decision, make_log, silence, table

NAN, INF = float("nan"), float("inf")


def menu(*messages: dict[str, Any]) -> dict[str, Any]:
    """Columns of a decision among these candidates, silence chosen."""
    share = 1 / len(messages) if messages else 1.0
    return {
        "candidates": list(messages), "eligible": [True] * len(messages), "action": 0,
        "propensity": share, "propensities": [share] * len(messages),
    }  # fmt: skip


# (what is changed in a good decision, the reason, the message)
DECISIONS = {
    "no id": ({"decision_id": None}, "decision_id must not be null or empty",
              "decision_id == None, must not be null or empty. Give every decision its own id (homing.log.new_id)."),
    "empty id": ({"decision_id": ""}, "decision_id must not be null or empty", "decision_id == '', must not be null"),
    "no user": ({"user_id": None}, "user_id must not be null or empty", "a pseudonym is enough."),
    "no time": ({"decided_at": None}, "decided_at must be a time in [1970-01-01, 2200-01-01)", "decided_at == 'None'"),
    "seconds read as hours": ({"decided_at": datetime(9000, 1, 1, tzinfo=UTC)},
                              "decided_at must be a time in [1970-01-01, 2200-01-01)",
                              "decided_at == '9000-01-01 00:00:00+00:00', must be a time in [1970-01-01, 2200-01-01). "
                              "Check the unit"),
    "no version": ({"policy": "rules"}, "policy must be name@version", "policy == 'rules', must be name@version. Name"),
    "no policy": ({"policy": None}, "policy must be name@version", "policy == None"),
    "no context": ({"context": None}, "context must not be null", "context == None"),
    "NaN feature": ({"context": {"age": 3, "score": NAN}}, "context must be finite",
                    "context == {'score': nan}, must be finite. Log null where a feature is missing."),
    "infinite feature": ({"context": {"score": -INF}}, "context must be finite", "context == {'score': -inf}"),
    "no candidates": ({"candidates": None}, "candidates must hold at least silence", "candidates == None"),
    "empty candidates": (menu(), "candidates must hold at least silence", "candidates == [], must hold"),
    "null candidate": (menu(silence(), None), "candidates must have no blank", "candidate 1 is null"),
    "no channel": (menu(silence(), candidate("a", channel=None)), "candidates must have no blank",
                   "candidates == 'candidate 1: channel = None', must have no blank message_id, campaign, domain, "
                   "channel or slot. Write 'none' where there is none."),
    "empty slot": (menu(silence(), candidate("a", slot="")), "candidates must have no blank", "candidate 1: slot = ''"),
    "NaN value": (menu(silence(), candidate("a", value=NAN)), "candidates must have finite numbers", "1: value = nan"),
    "no value": (menu(silence(), candidate("a", value=None)), "candidates must have finite numbers", "1: value = None"),
    "NaN extra": (menu(silence(), candidate("a", price=NAN)), "candidates must have finite numbers", "1: price = nan"),
    "silence last": (menu(candidate("a"), silence()), "candidates must begin with silence",
                     "Candidate 0 has 'silence' as message_id, campaign, domain, channel and slot, and value 0.0."),
    "silence on a channel": (menu(silence(channel="push")), "candidates must begin with silence", "'channel': 'push'"),
    "silence of some value": (menu(silence(value=1.0)), "candidates must begin with silence", "'value': 1.0"),
    "two silences": (menu(silence(), silence()), "candidates must hold silence once", "['silence', 'silence']"),
    "no mask": ({"eligible": None}, "eligible must be as long as candidates", "'0 entries for 3 candidates'"),
    "short mask": ({"eligible": [True]}, "eligible must be as long as candidates", "'1 entries for 3 candidates'"),
    "null in mask": ({"eligible": [True, True, None]}, "eligible must not hold null", "eligible == [True, True, None]"),
    "no action": ({"action": None}, "action must be an index into candidates", "action == 'None of 3 candidates'"),
    "action -1": ({"action": -1}, "action must be an index into candidates", "action == '-1 of 3 candidates'"),
    "action 3 of 3": ({"action": 3}, "action must be an index into candidates", "Count from 0; 0 is silence."),
    "masked action": ({"action": 2}, "action must be eligible", "action == 2, must be eligible. Log the"),
    "propensity 0": ({"propensity": 0.0}, "propensity must be in (0, 1]",
                     "propensity == 0.0, must be in (0, 1]. Log the probability with which the action was chosen."),
    "propensity NaN": ({"propensity": NAN}, "propensity must be in (0, 1]", "propensity == nan, must be in (0, 1]."),
    "no propensity": ({"propensity": None}, "propensity must be in (0, 1]", "propensity == None"),
    "propensity above 1": ({"propensity": 1.0000001}, "propensity must be in (0, 1]", "propensity == 1.0000001"),
    "short distribution": ({"propensities": [1.0]}, "propensities must be as long as candidates", "'1 entries for 3"),
    "negative share": ({"propensities": [-0.25, 1.25, 0.0]}, "propensities must be in [0, 1]", "[-0.25, 1.25, 0.0]"),
    "NaN share": ({"propensities": [NAN, 0.75, 0.0]}, "propensities must be in [0, 1]", "[nan, 0.75, 0.0]"),
    "null share": ({"propensities": [None, 0.75, 0.0]}, "propensities must be in [0, 1]", "[None, 0.75, 0.0]"),
    "share of a masked one": ({"propensities": [0.25, 0.5, 0.25]}, "propensities must be 0 where not eligible",
                              "A masked candidate cannot be drawn."),
    "sum of 0.9": ({"propensities": [0.25, 0.65, 0.0]}, "propensities must sum to 1", "propensities == 'sums to 0.9'"),
    "another propensity": ({"propensities": [0.5, 0.5, 0.0]}, "propensity must equal propensities at the action",
                           "propensity == '0.25, propensities[0] = 0.5', must equal propensities at the action."),
    "explored null": ({"explored": None}, "explored must not be null", "explored == None"),
    "unknown slice": ({"slice": "random"}, "slice must be one of 'policy', 'uniform', 'holdout'", "slice == 'random'"),
    "no slice": ({"slice": None}, "slice must be one of 'policy', 'uniform', 'holdout'", "slice == None"),
    "repeated id": ({"decision_id": "d0"}, "decision_id must be unique",
                    "decision_id == 'd0', must be unique. A decision is logged once; the first row with this id"),
}  # fmt: skip

OUTCOMES = {
    "no id": ({"outcome_id": None}, "outcome_id must not be null or empty", "makes a repeated delivery harmless"),
    "empty decision": ({"decision_id": ""}, "decision_id must not be empty", "Write null where"),
    "no user": ({"user_id": ""}, "user_id must not be null or empty", "user_id == ''"),
    "no kind": ({"kind": None}, "kind must be a standard kind or custom:<lower_snake>", "kind == None"),
    "misspelt kind": ({"kind": "cliked"}, "kind must be a standard kind or custom:<lower_snake>",
                      "kind == 'cliked', must be one of 'churned', 'clicked', 'converted', 'delivered', 'disabled', "
                      "'opened', 'session', 'unsubscribed'. Did you mean 'clicked'? "
                      "Write custom:<lower_snake> for a kind of your own."),
    "capital custom kind": ({"kind": "custom:Spend"}, "kind must be a standard kind", "kind == 'custom:Spend'"),
    "two lines": ({"kind": "custom:spend\n"}, "kind must be a standard kind", "kind == 'custom:spend\\n'"),
    "no time": ({"occurred_at": None}, "occurred_at must be a time in [1970-01-01", "occurred_at == 'None'"),
    "before 1970": ({"occurred_at": datetime(1969, 12, 31, tzinfo=UTC)}, "occurred_at must be a time in", "1969-12-31"),
    "no value": ({"value": None}, "value must be a finite number", "Log 1.0 where an outcome only happens"),
    "NaN value": ({"value": NAN}, "value must be a finite number", "value == nan, must be a finite number."),
}  # fmt: skip


def check(log: DecisionLog, reason: str, message: str, table_name: str) -> None:
    report = validate(log)
    ((found, count),) = report.reasons.items()
    assert found.startswith(f"{table_name}.{reason}")
    assert count == 1
    (example,) = report.examples
    assert message in example.message
    assert (example.row, example.reason) == (4, found)
    assert not report.ok
    rejected = (report.rejected_decisions, report.rejected_outcomes)
    assert rejected == ((1, 0) if table_name == "decisions" else (0, 1))


@pytest.mark.parametrize(("change", "reason", "message"), DECISIONS.values(), ids=DECISIONS)
def test_decisions_that_break_a_rule(change: dict[str, Any], reason: str, message: str) -> None:
    check(make_log(6, decisions={4: change}), reason, message, "decisions")


@pytest.mark.parametrize(("change", "reason", "message"), OUTCOMES.values(), ids=OUTCOMES)
def test_outcomes_that_break_a_rule(change: dict[str, Any], reason: str, message: str) -> None:
    check(make_log(6, outcomes={4: change}), reason, message, "outcomes")


def test_every_rule_has_a_case() -> None:
    for rules, cases in (((*DECISION_RULES, DUPLICATE), DECISIONS), (OUTCOME_RULES, OUTCOMES)):
        tried = [reason for _, reason, _ in cases.values()]
        assert [rule.reason for rule in rules if not any(rule.reason.startswith(reason) for reason in tried)] == []


GOOD = {
    "distribution not logged": {"propensities": None},
    "32-bit distribution": {"propensities": [float(np.float32(0.25)), float(np.float32(0.75)), 0.0]},
    "thirds": menu(silence(), candidate("a"), candidate("b")),
    "silence alone": menu(silence()),
    "missing features": {"context": {"age": None, "score": None, "city": None}},
    "expiry": menu(silence(), candidate("a", expires_at=datetime(2024, 6, 1, tzinfo=UTC), price=None)),
    "holdout": {
        "slice": "holdout",
        "propensity": 1.0,
        "propensities": [1.0, 0.0, 0.0],
        "eligible": [True, False, False],
    },
}


@pytest.mark.parametrize("change", GOOD.values(), ids=GOOD)
def test_good_decisions_pass(change: dict[str, Any]) -> None:
    report = validate(make_log(3, decisions={0: change}))
    assert report.ok, str(report)


def test_good_outcomes_pass() -> None:
    changes = {0: {"decision_id": None}, 1: {"kind": "custom:spend", "value": -12.5}, 2: {"outcome_id": "o0"}}
    assert validate(make_log(3, outcomes=changes)).ok


def test_a_row_counts_once_under_the_first_rule_it_breaks() -> None:
    report = validate(make_log(3, {1: {"propensity": NAN, "user_id": "", "action": 9}}))
    assert report.reasons == {"decisions.user_id must not be null or empty": 1}


def test_a_rejected_row_does_not_take_the_id() -> None:
    report = validate(
        make_log(4, {0: {"decision_id": "x", "propensity": 0.0}, 2: {"decision_id": "x"}, 3: {"decision_id": "x"}})
    )
    assert report.reasons == {"decisions.propensity must be in (0, 1]": 1, "decisions.decision_id must be unique": 1}
    assert [example.row for example in report.examples] == [0, 3]


def test_ids_are_compared_over_parts() -> None:
    report = validate(DecisionLog.concat(make_log(3), make_log(5)))
    assert report.reasons == {"decisions.decision_id must be unique": 3}
    assert (report.n_decisions, report.accepted_decisions) == (8, 5)


def test_examples_are_few_and_counts_complete() -> None:
    report = validate(make_log(9, {i: {"propensity": 0.0} for i in range(9)}))
    assert report.reasons == {"decisions.propensity must be in (0, 1]": 9}
    assert [example.row for example in report.examples] == [0, 1, 2]


def test_the_report_for_people() -> None:
    assert str(validate(make_log(1200, {7: {"propensity": 0.0}}))) == (
        "decisions: 1,200 read, 1,199 accepted, 1 rejected\n"
        "outcomes:  1,200 read, 1,200 accepted, 0 rejected\n"
        "\n"
        "1 × decisions.propensity must be in (0, 1]\n"
        "    decisions, row 7 (id d7): propensity == 0.0, must be in (0, 1]. "
        "Log the probability with which the action was chosen.\n"
        "\n"
        "The log breaks the contract."
    )


def test_the_report_as_plain_types() -> None:
    report = validate(make_log(2, {1: {"slice": "x"}})).to_dict()
    assert report["ok"] is False
    assert report["decisions"] == {"read": 2, "accepted": 1, "rejected": 1}
    assert report["examples"][0]["id"] == "d1"


rows = st.fixed_dictionaries({
    "action": st.one_of(st.none(), st.integers(-2, 4)),
    "eligible": st.one_of(st.none(), st.lists(st.one_of(st.none(), st.booleans()), max_size=4)),
    "candidates": st.one_of(
        st.none(),
        st.lists(st.sampled_from([silence(), candidate("a"), candidate("b", value=NAN), None]), max_size=4),
        st.lists(st.just(candidate("a")), max_size=3).map(lambda rest: [silence(), *rest]),
    ),
    "propensity": st.sampled_from([None, 0.0, 0.5, 1.0, NAN, 2.0]),
    "propensities": st.one_of(st.none(), st.lists(st.sampled_from([None, 0.0, 0.5, 1.0, NAN]), max_size=4)),
})  # fmt: skip


def keeps(row: dict[str, Any]) -> bool:
    """The contract of a decision's choice, one row at a time in plain Python."""
    items, mask, action, p, shares = (
        row[name] for name in ("candidates", "eligible", "action", "propensity", "propensities")
    )
    if not items or None in items or mask is None or len(mask) != len(items) or None in mask or action is None:
        return False
    if items[0] != silence() or silence() in items[1:] or any(item["value"] != item["value"] for item in items):
        return False
    if not 0 <= action < len(items) or not mask[action] or p is None or not 0 < p <= 1:
        return False
    if shares is None:
        return True
    if len(shares) != len(items) or any(share is None or not 0 <= share <= 1 for share in shares):
        return False
    spare = [share for share, allowed in zip(shares, mask, strict=True) if not allowed]
    return not any(spare) and sum(shares) == 1 and shares[action] == p


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=20))
def test_agrees_with_rules_in_plain_python(changes: list[dict[str, Any]]) -> None:
    all_rows = [decision(i) | change for i, change in enumerate(changes)]
    report = validate(DecisionLog.from_tables(table(all_rows, SCHEMA)))
    assert report.accepted_decisions == sum(map(keeps, all_rows))
    assert sum(report.reasons.values()) == report.rejected_decisions


def test_slices_of_larger_tables_are_judged_by_their_own_rows() -> None:
    # Arrow slices keep the whole buffers: offsets of lists and structs must be honoured.
    whole = make_log(10, {2: {"propensity": 0.0}, 7: {"action": 2}})
    report = validate(DecisionLog.from_tables(whole.decisions()[5:9], whole.outcomes()[5:9]))
    assert report.reasons == {"decisions.action must be eligible": 1}
    assert report.examples[0].id == "d7"


def test_text_features_may_be_anything_but_numbers_must_be_finite_in_every_field() -> None:
    schema = decisions_schema({"a": pa.float64(), "b": pa.string()}, {"p": pa.float64(), "q": pa.float64()})
    bad = [silence() | {"p": None, "q": None}, candidate("a") | {"p": 1.0, "q": INF}]
    good_row = decision(0) | {"context": {"a": 1.0, "b": "NaN"}}
    log = DecisionLog.from_tables(table([good_row, decision(1) | menu(*bad) | {"context": {"b": ""}}], schema))
    assert validate(log).reasons == {"decisions.candidates must have finite numbers and a value": 1}


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("us", "1,714,521,600,000,000,000 µs after 1970"),
        ("ms", "4,611,686,018,427,387,000"),
        ("s", "4,611,686,018,427,000,000"),
    ],
)
def test_a_time_in_another_unit_is_refused_with_its_reason(unit: str, shown: str) -> None:
    # Nanoseconds since 1970 taken for a coarser unit: beyond what Python's dates, or int64 microseconds, can hold.
    good = make_log(2).decisions()
    wrong = pa.array([1_714_521_600 * 10**9] * 2).cast(pa.timestamp(unit, "UTC"))
    report = validate(DecisionLog.from_tables(good.set_column(2, "decided_at", wrong)))
    assert report.reasons == {"decisions.decided_at must be a time in [1970-01-01, 2200-01-01)": 2}
    assert shown in report.examples[0].message


def test_a_message_about_candidates_bears_any_expiry() -> None:
    far = pa.scalar(10**18, pa.timestamp("us", "UTC"))
    items = pa.array([silence(), candidate("a", channel=None)], SCHEMA.field("candidates").type.value_type)
    fields = [far if f.name == "expires_at" else None for f in items.type]
    columns = [
        pa.array([None, far.value]).cast(far.type) if fixed is not None else items.field(i)
        for i, fixed in enumerate(fields)
    ]
    lists = pa.ListArray.from_arrays([0, 2], pa.StructArray.from_arrays(columns, fields=list(items.type)))
    report = validate(DecisionLog.from_tables(make_log(1).decisions().set_column(5, "candidates", lists)))
    assert "candidate 1: channel = None" in report.examples[0].message


@pytest.mark.parametrize(
    ("column", "kind", "reason"),
    [
        ("context", pa.null(), "context must not be null"),
        ("candidates", pa.null(), "candidates must hold at least silence"),
        ("candidates", pa.list_(pa.null()), "candidates must hold at least silence"),
    ],
    ids=str,
)
def test_columns_without_a_single_value_have_no_type(column: str, kind: pa.DataType, reason: str) -> None:
    good = make_log(2).decisions()
    empty = good.set_column(good.schema.get_field_index(column), column, pa.nulls(2, kind))
    assert validate(DecisionLog.from_tables(empty)).reasons == {f"decisions.{reason}": 2}
