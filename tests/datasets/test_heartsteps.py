"""HeartSteps V1: availability, design probabilities, and the effect of a send against a plain regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from homing.datasets import describe, load, objectives
from homing.errors import UnknownNameError
from homing.log import build_dataset, validate


@pytest.fixture(scope="module")
def raw(folders) -> pd.DataFrame:
    return pd.read_parquet(next(folders["heartsteps"].glob("*.parquet")))


def test_nothing_is_sent_to_the_unavailable(logs, raw):
    table = logs["heartsteps"].decisions().to_pandas()
    eligible = np.array(table.eligible.tolist())
    assert eligible[:, 0].all()
    assert (eligible[:, 1] == raw.avail.to_numpy()).all()
    away = ~eligible[:, 1]
    assert away.sum() == (~raw.avail).sum() > 0
    assert (table.action[away] == 0).all()
    assert (table.propensity[away] == 1.0).all()
    assert table.propensity[~away].value_counts().to_dict() == {
        0.6: int(raw.send.sum()),
        0.4: int((raw.avail & ~raw.send).sum()),
    }


def test_sends_happen_as_often_as_designed(raw):
    there = raw[raw.avail]
    assert abs(there.send.mean() - 0.6) < 4 * np.sqrt(0.24 / len(there))  # 4 standard deviations of the binomial


def test_steps_are_those_of_the_table(logs, raw):
    outcomes = logs["heartsteps"].outcomes().to_pandas().set_index("outcome_id").value
    ids = logs["heartsteps"].decisions()["decision_id"].to_pylist()
    logged = outcomes.loc[[f"{i}-log_steps_30min" for i in ids]].to_numpy()
    steps = outcomes.loc[[f"{i}-steps_30min" for i in ids]].to_numpy()
    np.testing.assert_allclose(logged, raw["jbsteps30.log"], atol=1e-12)
    np.testing.assert_allclose(steps, raw.jbsteps30 - 0.5)
    assert (steps == np.round(steps)).all()
    before = pd.DataFrame(logs["heartsteps"].decisions()["context"].to_pylist())
    np.testing.assert_allclose(before.log_steps_30min_before, raw["jbsteps30pre.log"], atol=1e-12)


def _regression(y: np.ndarray, send: np.ndarray, before: np.ndarray) -> float:
    """Coefficient of send in the least squares of y on send, steps before and a constant."""
    design = np.column_stack([np.ones(len(y)), send, before])
    return float(np.linalg.lstsq(design, y, rcond=None)[0][1])


def test_the_effect_of_a_send_is_the_same_from_the_table_and_from_our_dataset(logs, raw):
    data = build_dataset(logs["heartsteps"], objectives("heartsteps"))
    there = data.eligible[:, 1]
    # The encoder standardises the steps before; an affine map leaves the coefficient of send as it is.
    column = data.encoder.context_column("log_steps_30min_before")
    ours = _regression(data.reward[there, 0], data.action[there] == 1, data.context[there, column])
    table = raw[raw.avail]
    theirs = _regression(table["jbsteps30.log"].to_numpy(), table.send.to_numpy(), table["jbsteps30pre.log"].to_numpy())
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert 0.0 < theirs < 0.3  # the study's own estimate, over all its users, is +0.12 with a standard error of 0.064


def test_users_stand_in_order_although_two_points_share_a_moment(logs, raw):
    data = build_dataset(logs["heartsteps"], objectives("heartsteps"))
    assert data.n == len(raw)
    assert data.n_users == raw.user.nunique()
    users = raw.groupby("user")["sugg.select.utime"]
    assert sum(users.apply(lambda times: times.duplicated().sum())) == 1


def test_the_csv_of_r_gives_the_same_log(logs, raw, tmp_path: Path):
    flags = {True: "TRUE", False: "FALSE"}
    table = raw.assign(avail=raw.avail.map(flags), send=raw.send.map(flags)).head(300)
    table.to_csv(tmp_path / "points.csv", index=False, na_rep="NA")
    log = load("heartsteps", tmp_path)
    ours, theirs = log.decisions(), logs["heartsteps"].decisions().slice(0, 300)
    for column in theirs.column_names:
        if column == "context":
            for mine, other in zip(ours[column].to_pylist(), theirs[column].to_pylist(), strict=True):
                assert mine == pytest.approx(other)
        else:
            assert ours[column].to_pylist() == theirs[column].to_pylist(), column


def test_rows_that_break_the_design_are_kept_and_refused_with_their_reason(raw, tmp_path: Path):
    table = raw.head(50).copy()
    table.loc[3, "sugg.select.utime"] = None
    table.loc[5, ["avail", "send"]] = [False, True]
    table.to_parquet(tmp_path / "points.parquet")
    log = load("heartsteps", tmp_path)
    assert log.n_decisions == 50
    report = validate(log)
    assert not report.ok
    assert report.n_decisions == 50
    reasons = " ".join(report.reasons)
    assert "decided_at" in reasons
    assert "propensity" in reasons or "eligible" in reasons


@pytest.mark.parametrize(
    ("yes", "no"),
    [(1.0, 0.0), ("1", "0"), ("True", "False"), ("TRUE", "FALSE")],
    ids=["floats", "digits", "Python", "R"],
)
def test_flags_are_read_however_they_were_written(raw, tmp_path: Path, yes, no):
    # A spreadsheet that holds one missing flag writes the others as floats.
    table = raw.head(40)
    assert 0 < table.send.sum() < table.avail.sum()
    flags = {True: yes, False: no}
    table.assign(avail=table.avail.map(flags), send=table.send.map(flags)).to_csv(tmp_path / "p.csv", index=False)
    decisions = load("heartsteps", tmp_path).decisions()
    assert decisions["action"].to_pylist() == table.send.astype(int).tolist()
    assert decisions["eligible"].to_pylist() == [[True, there] for there in table.avail]


def test_other_flags_are_refused_and_missing_ones_rejected(raw, tmp_path: Path):
    table = raw.head(40)
    table.assign(avail=table.avail.map({True: "yes", False: "no"})).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(UnknownNameError, match=r"avail == 'no', must be one of '0', '0\.0', '1'"):
        load("heartsteps", tmp_path)
    missing = table.astype({"avail": "boolean", "send": "boolean"})
    missing.loc[:2, "avail"] = pd.NA
    missing.loc[3:7, "send"] = pd.NA
    missing.to_csv(tmp_path / "p.csv", index=False, na_rep="NA")
    assert validate(load("heartsteps", tmp_path)).reasons == {
        "decisions.action must be an index into candidates": 5,
        "decisions.eligible must not hold null": 3,
    }
    assert describe("heartsteps", tmp_path).counts.decisions == 40
