"""One contract for logs in memory and logs over files; features united over files; other writers' types."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import OUTCOMES_SCHEMA, DecisionLog, accept, decisions_schema, read_log, validate, write_log
from tests.log._builders import decision, make_log

Open = Callable[[DecisionLog], DecisionLog]


@pytest.fixture(params=["memory", "files", "files of two writes"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Every way to hold a log; what follows must hold for each."""

    def hold(log: DecisionLog) -> DecisionLog:
        if request.param == "memory":
            return log
        if request.param == "files":
            write_log(log, tmp_path / "log")
        else:
            half = log.n_decisions // 2
            for start, stop in ((0, half), (half, log.n_decisions)):
                both = (log.decisions()[start:stop], log.outcomes()[start:stop])
                write_log(DecisionLog.from_tables(*both), tmp_path / "log")
        return read_log(tmp_path / "log")

    return hold


def test_rows_come_back(opened: Open) -> None:
    log = make_log(7)
    held = opened(log)
    assert (held.n_decisions, held.n_outcomes) == (7, 7)
    assert held.schema == log.schema
    assert held.decisions().sort_by("decision_id").equals(log.decisions())
    assert held.outcomes().sort_by("outcome_id").equals(log.outcomes())


def test_batches_are_bounded_and_complete(opened: Open) -> None:
    batches = list(opened(make_log(7)).decision_batches(batch_rows=3))
    assert max(map(len, batches)) <= 3
    assert sum(map(len, batches)) == 7


def test_columns_come_in_the_order_asked_for(opened: Open) -> None:
    batch = next(opened(make_log(2)).decision_batches(columns=["action", "user_id"]))
    assert batch.schema.names == ["action", "user_id"]


def test_unknown_columns_are_refused_at_the_call(opened: Open) -> None:
    with pytest.raises(UnknownNameError, match=r"column == 'propensty', .*Did you mean 'propensity'"):
        opened(make_log(2)).decision_batches(columns=["propensty"])
    with pytest.raises(InvalidInputError, match=r"batch_rows == 0, must be >= 1\."):
        opened(make_log(2)).outcome_batches(batch_rows=0)


def test_the_same_rows_are_accepted(opened: Open) -> None:
    log = opened(make_log(6, {2: {"propensity": 0.0}}, {3: {"kind": "bought"}}))
    kept, report = accept(log, None, max_rejected_share=0.5)
    assert sorted(kept.decisions()["decision_id"].to_pylist()) == ["d0", "d1", "d3", "d4", "d5"]
    assert report.reasons == {
        "decisions.propensity must be in (0, 1]": 1,
        "outcomes.kind must be a standard kind or custom:<lower_snake>": 1,
    }


def test_a_log_without_rows(opened: Open) -> None:
    held = opened(make_log(0))
    assert (held.n_decisions, held.n_outcomes) == (0, 0)
    assert held.schema == make_log(0).schema
    assert validate(held).ok


def test_features_are_united_over_logs() -> None:
    wide = decisions_schema({"age": pa.float64(), "member": pa.bool_()}, {"stars": pa.int64()})
    row = decision(9) | {"context": {"age": 1.5, "member": True}}
    row["candidates"] = [item | {"stars": 4} for item in row["candidates"]]
    log = DecisionLog.concat(make_log(1), DecisionLog.from_tables(pa.Table.from_pylist([row], schema=wide)))
    assert log.context_types == {"age": pa.float64(), "score": pa.float64(), "city": pa.string(), "member": pa.bool_()}
    assert log.candidate_types == {"price": pa.float64(), "stars": pa.int64()}
    assert log.decisions()["context"].to_pylist() == [
        {"age": 30.0, "score": 0.5, "city": "Oslo", "member": None},
        {"age": 1.5, "score": None, "city": None, "member": True},
    ]


def test_a_feature_of_two_types_is_refused() -> None:
    texts = DecisionLog.from_tables(decisions_schema({"age": pa.string()}).empty_table())
    with pytest.raises(
        InvalidInputError, match=r"context\.age in decisions == 'string', must be int64 as in decisions"
    ):
        DecisionLog.concat(make_log(1), texts)


def test_types_of_other_writers_are_read() -> None:
    names = ("message_id", "campaign", "domain", "channel", "slot")
    item = pa.struct([*((name, pa.large_string()) for name in names), ("value", pa.float32()), ("price", pa.int32())])
    foreign = pa.schema({
        "slice": pa.dictionary(pa.int8(), pa.string()), "explored": pa.bool_(), "propensity": pa.float32(),
        "action": pa.int64(), "eligible": pa.large_list(pa.bool_()), "candidates": pa.large_list(item),
        "context": pa.struct([("city", pa.large_string()), ("age", pa.int16()), ("score", pa.float32())]),
        "policy": pa.large_string(), "decided_at": pa.timestamp("ms", "Europe/Oslo"), "user_id": pa.large_string(),
        "decision_id": pa.large_string(), "note": pa.int8(),
    })  # fmt: skip
    rows = []
    for i in range(3):
        row = decision(i) | {"note": 1}
        row["candidates"] = [{k: v for k, v in c.items() if k != "expires_at"} for c in row["candidates"]]
        rows.append({name: row[name] for name in foreign.names})
    log = DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=foreign))
    wanted = make_log(3).decisions().to_pylist()
    assert log.decisions().to_pylist() == [row | {"propensities": None} for row in wanted]
    report = validate(log)
    assert report.ok
    assert report.notes == ("decisions have columns that are not part of the format and are left out: note",)


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        ("decided_at", pa.timestamp("us"), r"'timestamp\[us\] without time zone', .* convert it to UTC"),
        ("propensity", pa.string(), "type of decisions.propensity in decisions == 'string', must be double"),
        ("action", pa.float64(), "type of decisions.action in decisions == 'double', must be int16"),
        ("context", pa.string(), "must be a struct of named features"),
        ("eligible", pa.bool_(), "must be a list"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_types_that_do_not_convert_are_refused(column: str, kind: pa.DataType, message: str) -> None:
    table = make_log(2).decisions()
    place = table.schema.get_field_index(column)
    with pytest.raises(InvalidInputError, match=message):
        DecisionLog.from_tables(table.set_column(place, column, pa.nulls(2, kind)))


def test_a_missing_column_is_named_with_its_type() -> None:
    table = make_log(2).decisions().rename_columns({"propensity": "propensty"})
    with pytest.raises(InvalidInputError) as error:
        DecisionLog.from_tables(table)
    assert str(error.value) == (
        "columns of decisions == \"no 'propensity'\", must have it, of type double. "
        "Add or rename the column. Is 'propensty' meant to be it?"
    )


def test_outcomes_without_a_value_column_count_one() -> None:
    log = make_log(2)
    bare = DecisionLog.from_tables(log.decisions(), log.outcomes().drop_columns(["value"]))
    assert bare.outcomes()["value"].to_pylist() == [1.0, 1.0]
    assert bare.outcomes().schema == OUTCOMES_SCHEMA
    assert validate(bare).notes == ("outcomes have no column 'value': 1.0 is taken",)


def test_an_action_beyond_int16_is_out_of_range_not_an_error() -> None:
    table = make_log(2).decisions()
    wide = table.set_column(table.schema.get_field_index("action"), "action", pa.array([0, 70_000]))
    assert validate(DecisionLog.from_tables(wide)).reasons == {"decisions.action must be an index into candidates": 1}
