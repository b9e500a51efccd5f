"""Windows: a log as flat columns, sampled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from homing.errors import InvalidInputError
from homing.log import DecisionLog
from monitoring.windows import read_window


def test_columns_are_what_the_rows_say(make_log: Callable, rng: np.random.Generator) -> None:
    log = make_log(rng, 50)
    window = read_window(log, maximum_rows=1000, rng=rng)
    rows = log.decisions().to_pylist()
    assert window.rows == window.rows_total == 50 and window.users == 50 and window.policies == ("uniform@1",)
    assert window.columns["context.age"].tolist() == [row["context"]["age"] for row in rows]
    assert window.columns["context.plan"].tolist() == [row["context"]["plan"] for row in rows]
    assert window.columns["candidates.count"].tolist() == [3.0] * 50
    assert window.columns["action.message_id"].tolist() == [
        row["candidates"][row["action"]]["message_id"] for row in rows
    ]
    assert window.columns["eligible.share"] == pytest.approx([sum(row["eligible"][1:]) / 3 for row in rows])
    assert window.columns["propensity"].tolist() == [row["propensity"] for row in rows]
    offered = [{item["message_id"]: item["value"] for item in row["candidates"][1:]} for row in rows]
    drawn = zip(window.columns["candidate.message_id"], window.columns["candidate.value"], offered, strict=True)
    assert all(options[name] == value for name, value, options in drawn)
    left = window.columns["candidate.hours_to_expiry"]
    assert 10 <= left.min() < left.max() <= 50
    assert set(window.groups) == set(window.columns)


def test_the_drawn_candidate_is_uniform_and_never_silence(make_log: Callable, rng: np.random.Generator) -> None:
    window = read_window(make_log(rng, 3000), maximum_rows=5000, rng=rng)
    names, counts = np.unique(window.columns["candidate.message_id"].astype(str), return_counts=True)
    assert names.tolist() == ["offer", "tips", "welcome"]
    # 1000 each; the standard deviation of a count is sqrt(3000 * 1/3 * 2/3) = 26, five of them are allowed.
    assert np.abs(counts - 1000).max() < 130


def test_a_large_log_is_sampled_uniformly_in_order(make_log: Callable, rng: np.random.Generator) -> None:
    log = make_log(rng, 2000)
    window = read_window(log, maximum_rows=500, rng=rng)
    times = window.log.decisions()["decided_at"].to_pylist()
    assert window.rows == 500 and window.rows_total == 2000 and times == sorted(times)
    position = np.array([(t - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() / 60 for t in times])
    assert len(set(position)) == 500
    # The mean of 500 of 0…1999 has standard deviation 577 / sqrt(500) = 26.
    assert abs(position.mean() - 999.5) < 130
    assert window.digest == read_window(log, maximum_rows=300, rng=rng).digest  # identifies the log, not the sample
    ids = set(window.log.decisions()["decision_id"].to_pylist())
    assert set(window.log.outcomes()["decision_id"].to_pylist()) <= ids


def test_a_decision_exported_twice_counts_once(make_log: Callable, rng: np.random.Generator) -> None:
    table = make_log(rng, 30).decisions()
    twice = DecisionLog.from_tables(pa.concat_tables([table, table.slice(0, 1)]))
    assert read_window(twice, maximum_rows=100, rng=rng).rows == 30


def test_rows_that_break_the_format_are_left_out_and_counted(make_log: Callable, rng: np.random.Generator) -> None:
    table = make_log(rng, 100).decisions()
    rows = table.to_pylist()
    rows[5]["action"], rows[6]["propensity"], rows[7]["propensity"] = 9, 0.0, float("nan")
    broken = DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=table.schema))
    window = read_window(broken, maximum_rows=1000, rng=rng)
    assert (window.rows, window.rows_total) == (97, 100)
    [note] = window.notes
    assert note.startswith("3 of 100 sampled decisions and 0 of 0 outcomes break the format and were left out, most ")
    for row in rows[10:20]:
        row["propensity"] = 2.0
    with pytest.raises(InvalidInputError, match=r"rejected decisions == '13 of 100 \(13.0%\)', must be at most 5.0%"):
        read_window(
            DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=table.schema)), maximum_rows=1000, rng=rng
        )


def test_since_cuts_the_window(make_log: Callable, rng: np.random.Generator) -> None:
    log = make_log(rng, 100)
    since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=60)
    window = read_window(log, maximum_rows=1000, rng=rng, since=since)
    assert window.rows == window.rows_total == 40 and window.first_at == "2026-01-01T01:00:00+00:00"
    assert read_window(log, maximum_rows=1000, rng=rng, since=since + timedelta(days=9)).rows == 0


def test_nulls_stay_missing_and_silence_alone_has_no_candidate(make_log: Callable, rng: np.random.Generator) -> None:
    table = make_log(rng, 4).decisions()
    rows = table.to_pylist()
    rows[0]["context"] = {"age": None, "plan": None}
    rows[1] |= {"candidates": rows[1]["candidates"][:1], "eligible": [True], "action": 0, "propensity": 1.0}
    window = read_window(
        DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=table.schema)), maximum_rows=9, rng=rng
    )
    assert np.isnan(window.columns["context.age"][0]) and window.columns["context.plan"][0] is None
    assert window.columns["candidate.message_id"][1] is None and np.isnan(window.columns["candidate.value"][1])
    assert np.isnan(window.columns["eligible.share"][1]) and window.columns["action.message_id"][1] == "silence"
