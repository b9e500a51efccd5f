"""Hillstrom: three arms at random, against the raw table by another route (pandas)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from homing.datasets import load, objectives
from homing.errors import InvalidInputError
from homing.log import build_dataset, validate

ARMS = {"No E-Mail": "silence", "Mens E-Mail": "mens-email", "Womens E-Mail": "womens-email"}


@pytest.fixture(scope="module")
def raw(folders) -> pd.DataFrame:
    return pd.read_parquet(next(folders["hillstrom"].glob("*.parquet")))


def test_counts_by_arm_and_outcome_are_those_of_the_raw_table(logs, raw):
    table = logs["hillstrom"].decisions().to_pandas()
    names = [
        candidates[action]["message_id"] for candidates, action in zip(table.candidates, table.action, strict=True)
    ]
    expected = raw.segment.map(ARMS)
    assert names == expected.tolist()
    assert table.user_id.tolist() == ("h" + raw.row_id.astype(str)).tolist()
    outcomes = logs["hillstrom"].outcomes().to_pandas()
    counts = outcomes.groupby("kind").value.agg(["size", "sum"])
    assert counts.loc["session", "size"] == raw.visit.sum()
    assert counts.loc["converted", "size"] == raw.conversion.sum()
    assert counts.loc["custom:spend", "size"] == (raw.spend > 0).sum()
    assert counts.loc["custom:spend", "sum"] == pytest.approx(raw.spend.sum(), rel=1e-12)


def test_context_is_the_raw_table(logs, raw):
    context = pd.DataFrame(logs["hillstrom"].decisions()["context"].to_pylist())
    renamed = raw.rename(columns={"channel": "purchase_channel"})
    for name in ("mens", "womens", "newbie"):
        renamed[name] = renamed[name].astype(bool)
    pd.testing.assert_frame_equal(context, renamed[context.columns.tolist()])


def test_rewards_are_the_raw_outcomes_and_ips_recovers_each_arm(logs, raw):
    data = build_dataset(logs["hillstrom"], objectives("hillstrom"))
    order = np.argsort(data.user_ids[data.user])
    expected = raw.assign(user="h" + raw.row_id.astype(str)).sort_values("user")
    np.testing.assert_allclose(data.reward[order], expected[["visit", "conversion", "spend"]].to_numpy())
    for arm, name in enumerate(ARMS):
        # By hand: each arm's rows weigh 3, the others 0.
        weight = (data.action == arm) / data.propensity
        ips = (weight[:, None] * data.reward).mean(axis=0)
        error = (weight[:, None] * data.reward).std(axis=0) / np.sqrt(data.n)
        mean = raw[raw.segment == name][["visit", "conversion", "spend"]].mean().to_numpy()
        # The weights are 3 by design while the arms are not exactly a third: one standard error covers that here.
        assert (np.abs(ips - mean) < 2 * error).all(), name


@pytest.mark.parametrize("arm", list(ARMS))
def test_arms_are_a_third_each(raw, arm):
    # Binomial: 4 standard deviations of a share of 1/3.
    assert abs((raw.segment == arm).mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / len(raw))


def test_the_published_csv_gives_the_same_log(logs, raw, tmp_path: Path):
    # As published there is no row_id: rows are numbered in the order of the file, from 0.
    raw.drop(columns="row_id").head(500).to_csv(tmp_path / "hillstrom.csv", index=False)
    log = load("hillstrom", tmp_path / "hillstrom.csv")
    ours, theirs = log.decisions(), logs["hillstrom"].decisions().slice(0, 500)
    assert ours["user_id"].to_pylist() == [f"h{i}" for i in range(500)]
    for column in ("context", "candidates", "action", "propensity", "propensities", "eligible"):
        assert ours[column].to_pylist() == theirs[column].to_pylist(), column


def test_an_arm_that_the_trial_did_not_have_is_refused(raw, tmp_path: Path):
    raw.head(3).assign(segment="Postcard").to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InvalidInputError, match="segment == 'Postcard', must be one of No E-Mail"):
        load("hillstrom", tmp_path)


def test_a_missing_column_is_named(raw, tmp_path: Path):
    raw.drop(columns=["visit", "spend"]).head(3).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InvalidInputError, match=r"columns of x\.csv.*missing: visit, spend"):
        load("hillstrom", tmp_path)


def test_a_missing_outcome_is_rejected_with_its_reason_and_not_taken_for_none(raw, tmp_path: Path):
    table = raw.head(50)
    table.assign(visit=table.visit.where(table.index != table.index[0])).to_csv(tmp_path / "x.csv", index=False)
    assert validate(load("hillstrom", tmp_path)).reasons == {"outcomes.value must be a finite number": 1}
