"""Past days' requests, from tables and logs, and what a plan's prices learn from them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import DecisionLog, decisions_schema, silence_candidate, write_log
from homing.planning import load_prices, plan_from_file
from homing.planning.history import read_history

START = datetime(2026, 11, 23, 6, tzinfo=UTC)
HOUR = 3_600_000_000
SHAPE = 2000.0 * (1.2 - np.cos(2 * np.pi * (np.arange(24) + 0.5) / 24))


def rows_of(counts):
    """A table's columns."""
    days, hours = counts.shape
    return {
        "day": np.repeat([f"2026-10-{day + 1:02d}" for day in range(days)], hours).tolist(),
        "hour": np.tile(np.arange(hours), days).tolist(),
        "requests": counts.ravel().tolist(),
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_is_read_in_whatever_order(tmp_path, kind):
    counts = np.arange(240.0).reshape(10, 24)
    table = pa.table(rows_of(counts))
    table = table.take(np.random.default_rng(0).permutation(240))
    path = tmp_path / f"past.{kind}"
    if kind == "csv":
        lines = [",".join(map(str, row)) for row in zip(*table.to_pydict().values(), strict=True)]
        path.write_text("\n".join(["day,hour,requests", *lines]))
    else:
        pq.write_table(table, path)
    found = read_history(path, start=START)
    np.testing.assert_array_equal(found[np.argsort(found[:, 0])], counts)


def log_of(counts, folder, *, begin):
    """A log with so many decisions in each hour from `begin` on, microseconds since 1970."""
    rows = [
        {"decision_id": f"d{hour}-{i}", "user_id": "u", "decided_at": begin + hour * HOUR + i, "policy": "p@1",
         "context": {}, "candidates": [silence_candidate({})], "eligible": [True], "action": 0, "propensity": 1.0,
         "explored": False, "slice": "policy"}
        for hour, count in enumerate(counts) for i in range(count)
    ]  # fmt: skip
    write_log(DecisionLog.from_tables(pa.Table.from_pylist(rows, decisions_schema({}, {}))), folder)
    return folder


def test_a_log_is_counted_by_horizons_that_are_whole(tmp_path):
    """Horizons of four hours from six; it begins an hour late, nothing is logged in the fifth, and it ends early."""
    counts = np.random.default_rng(0).integers(0, 3, (14, 4))
    counts[:, 0] = 1
    counts[4] = counts[0, 0] = counts[13, 3] = 0
    counts[0, 1] = 1
    begin = int(datetime(2026, 11, 20, 2, tzinfo=UTC).timestamp()) * 1_000_000
    found = read_history(log_of(counts.ravel(), tmp_path, begin=begin), start=START, hours=4.0)
    np.testing.assert_array_equal(found, np.delete(counts, [0, 4, 13], axis=0))


def test_a_log_of_few_days_is_refused(tmp_path):
    begin = int(START.timestamp()) * 1_000_000
    log_of([1] * 48, tmp_path / "log", begin=begin)
    with pytest.raises(InvalidInputError, match=r"days of log == 0, must be >= 10. Leave `history` out until there"):
        read_history(tmp_path / "log", start=START)


def changed(**columns):
    rows = rows_of(np.ones((12, 24)))
    for name, (row, value) in columns.items():
        rows[name][row] = value
    return rows


BAD = {
    "an hour missing": (
        {name: column[:-1] for name, column in changed().items()},
        r"day == '2026-10-12', must have hour 23, too. Write 0 where no request came",
    ),
    "an hour twice": (changed(hour=(1, 0)), r"hour\[1\] == 0, must occur once for day 2026-10-01. Sum its requests"),
    "an hour too late": (changed(hour=(23, 24)), r"past.parquet: hour\[23\] == 24, must be a whole number in 0 … 23"),
    "no count": (changed(requests=(3, None)), r"requests\[3\] == None, must be a finite number >= 0"),
    "a negative count": (changed(requests=(3, -1.0)), r"requests\[3\] == -1.0, must be a finite number >= 0"),
    "an endless count": (changed(requests=(3, np.inf)), r"requests\[3\] == inf, must be a finite number >= 0"),
    "no day": (changed(day=(0, None)), r"day\[0\] == None, must be given"),
    "nine days": (rows_of(np.ones((9, 24))), r"days of past.parquet == 9, must be >= 10"),
    "no row": ({"day": [], "hour": [], "requests": []}, r"days of past.parquet == 0, must be >= 10"),
    "no request": (rows_of(np.zeros((12, 24))), r"requests of past.parquet == 0.*, must be > 0 in some hour. Leave"),
    "texts": (changed() | {"requests": ["1"] * 288}, r"requests\[0\] == '1', must be a finite number >= 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_history_is_named(case, tmp_path):
    columns, message = BAD[case]
    pq.write_table(pa.table(columns), tmp_path / "past.parquet")
    with pytest.raises(InvalidInputError, match=message):
        read_history(tmp_path / "past.parquet", start=START)


def test_what_is_no_history_is_refused(tmp_path):
    for name in ("nowhere.csv", "nowhere.parquet", "nowhere"):
        with pytest.raises(InvalidInputError, match=f"history == .*{name}', must be a decision log, or a table in CSV"):
            read_history(tmp_path / name, start=START)
    (tmp_path / "past.csv").write_text("date,hour,requests\n2026-10-01,0,5\n")
    with pytest.raises(UnknownNameError, match=r"column of past.csv == 'day', must be one of 'date', 'hour'"):
        read_history(tmp_path / "past.csv", start=START)
    for hours in (1.0, 1.5):
        with pytest.raises(InvalidInputError, match=rf"hours of the horizon == {hours}, must be a whole number >= 2"):
            read_history(tmp_path / "past.csv", start=START, hours=hours)


# From a problem's file to prices ------------------------------------------------------------------------------------

YAML = """
candidates: candidates.parquet
columns: {codes: [channel]}
budgets: [{limit: 3, where: {channel: push}}]
horizon: {start: 2026-11-23T00:00:00Z, history: past.parquet}
"""
OFF = np.random.default_rng(1).uniform(-0.3, 0.3, (28, 1))
MORNING = np.arange(24) < 12
#: Days of each kind, and bounds of what their prices say: the default where days say nothing.
KINDS = {
    "days that differ in size": (SHAPE * (1 + OFF), (0.0, 0.05)),
    "days that differ in when requests come": (SHAPE * (1 + np.where(MORNING, OFF, -OFF)), (0.9, 0.95)),
    "days that hardly differ": (SHAPE * (1 + OFF / 200), (0.3, 0.3)),
}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"user_id": np.arange(20), "value": rng.gamma(2.0, 0.5, 20), "channel": ["push"] * 20}
    pq.write_table(pa.table(columns), tmp_path / "candidates.parquet")
    (tmp_path / "monday.yaml").write_text(YAML)
    return tmp_path


def planned(folder, counts, **keys):
    pq.write_table(pa.table(rows_of(counts)), folder / "past.parquet")
    folder.joinpath("report.txt").write_text(plan_from_file(folder / "monday.yaml", folder / "out", **keys).to_text())
    return load_prices(folder / "out" / "prices.json")


@pytest.mark.parametrize("kind", KINDS)
def test_prices_say_what_past_days_were_like(folder, kind):
    days, bounds = KINDS[kind]
    counts = np.random.default_rng(2).poisson(days)
    prices = planned(folder, counts)
    assert bounds[0] <= prices.returns <= bounds[1]
    assert prices.source["returns"]["days"] == 28
    assert prices.source["returns"]["lower"] <= prices.returns <= prices.source["returns"]["upper"]
    told = f"({prices.source['returns']['days']} days); prices take {prices.returns:.0%}"
    assert told in (folder / "report.txt").read_text() and told in (folder / "out" / "report.html").read_text()
    # Where the file does not say, the day has the shape that past ones had; there is a request for each user.
    assert prices.traffic == pytest.approx(20 * counts.mean(axis=0) / counts.mean(axis=0).sum())


def test_counts_that_differ_no_more_than_counting_does_are_no_mistake(folder):
    prices = planned(folder, np.tile(np.round(SHAPE), (28, 1)))
    assert prices.returns is None and "returns" not in prices.source
    assert "Past days" not in (folder / "report.txt").read_text()


def test_a_given_shape_goes_before_that_of_past_days_and_without_either_a_day_is_even(folder):
    file = folder / "monday.yaml"
    file.write_text(YAML.replace("history:", "traffic: [1, 3], history:"))
    prices = planned(folder, SHAPE * (1 + OFF))
    assert prices.traffic == (5.0, 15.0) and prices.returns < 0.05
    file.write_text(YAML.replace(", history: past.parquet", ""))
    assert (even := planned(folder, SHAPE * (1 + OFF))).traffic == (20.0,) and even.returns is None


def test_large_problems_learn_too_and_a_history_may_lie_in_the_data_folder(folder, tmp_path_factory):
    file = tmp_path_factory.mktemp("elsewhere") / "monday.yaml"
    file.write_text(YAML + "part_rows: 5\n")
    pq.write_table(pa.table(rows_of(SHAPE * (1 + OFF))), folder / "past.parquet")
    plan_from_file(file, folder / "out", data=folder)
    assert load_prices(folder / "out" / "prices.json").returns < 0.05


def test_a_bad_history_is_told_before_anything_is_planned(folder):
    with pytest.raises(InvalidInputError, match=r"days of past.parquet == 3, must be >= 10"):
        planned(folder, np.ones((3, 24)))
    assert not (folder / "out").exists()
