"""What every data set must keep, run over the registry."""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from homing import datasets
from homing.errors import CorruptFileError, InvalidInputError, MissingDependencyError, UnknownNameError
from homing.log import build_dataset_with_report, validate
from homing.promotion import PromotionRules

NAMES = datasets.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_log_keeps_the_format(name, logs):
    report = validate(logs[name])
    assert report.ok, str(report)
    assert report.n_decisions == logs[name].n_decisions
    assert not report.reasons


@pytest.mark.parametrize("name", NAMES)
def test_loading_is_quick_and_gives_the_same_again(name, logs, folders, options):
    start = time.process_time()  # not the wall clock: other processes do not count
    again = datasets.load(name, folders[name], **options.get(name, {}))
    assert time.process_time() - start < 10
    assert again.decisions().equals(logs[name].decisions())
    assert again.outcomes().equals(logs[name].outcomes())


@pytest.mark.parametrize("name", NAMES)
def test_the_distribution_is_one_on_what_is_eligible_and_holds_the_propensity(name, logs):
    table = logs[name].decisions()
    n = table.num_rows
    whole = table["propensities"].combine_chunks()
    eligible = table["eligible"].combine_chunks()
    assert whole.null_count == 0
    starts = eligible.offsets.to_numpy()[:-1]
    probs = whole.flatten().to_numpy()
    mask = eligible.flatten().to_numpy(zero_copy_only=False)
    np.testing.assert_allclose(np.add.reduceat(probs, starts), 1.0, rtol=1e-12)
    assert len(starts) == n
    assert (probs[~mask] == 0).all()
    assert (probs[mask] > 0).all()
    chosen = probs[starts + table["action"].to_numpy().astype(int)]
    np.testing.assert_allclose(chosen, table["propensity"].to_numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_outcomes_belong_to_decisions_of_the_same_user(name, logs):
    decisions, outcomes = logs[name].decisions(), logs[name].outcomes()
    assert pc.count_distinct(decisions["decision_id"]).as_py() == decisions.num_rows
    once = outcomes.to_pandas().drop_duplicates()
    assert pc.count_distinct(outcomes["outcome_id"]).as_py() == len(once)
    # Only what is simulated arrives twice, as outcomes do.
    assert (len(once) < outcomes.num_rows) == (datasets.simulated(name) is not None)
    linked = outcomes.filter(pc.is_valid(outcomes["decision_id"]))
    owners = decisions.select(["decision_id", "user_id", "decided_at"]).to_pandas().set_index("decision_id")
    seen = linked.to_pandas()
    assert (owners.loc[seen.decision_id, "user_id"].to_numpy() == seen.user_id.to_numpy()).all()
    assert (owners.loc[seen.decision_id, "decided_at"].to_numpy() <= seen.occurred_at.to_numpy()).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_comes_out_with_every_decision(name, logs):
    goals = datasets.objectives(name)
    data, report = build_dataset_with_report(logs[name], goals)
    assert data.n == logs[name].n_decisions
    assert data.objectives == tuple(goals.names)
    assert np.isfinite(data.reward).all()
    assert report.censored_decisions == 0


@pytest.mark.parametrize("name", NAMES)
def test_rules_and_weights_speak_of_the_objectives(name):
    goals = set(datasets.objectives(name).names)
    assert set(PromotionRules.from_yaml(datasets.default_rules(name)).objectives) == goals
    assert set(datasets.default_weights(name)) == goals


@pytest.mark.parametrize("name", [name for name in NAMES if datasets.card(name).needs_path])
def test_without_a_path_it_says_where_people_get_the_data(name, tmp_path):
    with pytest.raises(InvalidInputError, match=rf"path of {name} == None.*Get it from .*pass path=") as error:
        datasets.load(name)
    assert datasets.card(name).source[:40] in str(error.value)
    with pytest.raises(InvalidInputError, match="Get it from"):
        datasets.load(name, tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match="Get it from"):
        datasets.load(name, tmp_path)


@pytest.mark.parametrize("name", ["hillstrom", "heartsteps"])
def test_a_damaged_file_is_refused(name, tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 this is not Parquet PAR1")
    with pytest.raises(OSError, match=r"broken\.parquet.*must be readable"):
        datasets.load(name, tmp_path)


def test_two_files_in_a_folder_need_a_choice(tmp_path):
    for file in ("a.csv", "b.csv"):
        (tmp_path / file).write_text("x\n1\n")
    with pytest.raises(InvalidInputError, match=r"a\.csv, b\.csv\. Pass the file itself"):
        datasets.load("hillstrom", tmp_path)


def test_an_unknown_name_or_option_gets_a_hint():
    with pytest.raises(UnknownNameError, match="Did you mean 'starbucks'"):
        datasets.load("starbuck")
    with pytest.raises(UnknownNameError, match=r"option of open-bandit == 'behavior'.*Did you mean 'behaviour'"):
        datasets.load("open-bandit", behavior="bts")


def test_silence_comes_first_with_nothing_of_its_own(logs):
    for name, log in logs.items():
        first = pc.list_element(log.decisions()["candidates"].combine_chunks(), 0)
        for field in ("message_id", "campaign", "domain", "channel", "slot"):
            assert pc.unique(pc.struct_field(first, field)).to_pylist() == ["silence"], name
        assert pc.unique(pc.struct_field(first, "value")).to_pylist() == [0.0]
        others = [field.name for field in first.type][6:]
        assert all(pc.struct_field(first, field).null_count == len(first) for field in others), name
        assert isinstance(first, pa.StructArray)


def test_page_checksums_are_verified_where_a_copy_has_them(folders, tmp_path):
    table = pd.read_parquet(next(folders["hillstrom"].glob("*.parquet"))).head(200)
    file = tmp_path / "copy.parquet"
    pq.write_table(pa.Table.from_pandas(table), file, write_page_checksum=True)
    intact = file.read_bytes()
    place = pq.read_metadata(file).row_group(0).column(table.columns.get_loc("history")).data_page_offset + 100
    file.write_bytes(intact[:place] + bytes([intact[place] ^ 1]) + intact[place + 1 :])
    with pytest.raises(CorruptFileError, match=r"file == 'copy\.parquet', must be readable \(.*CRC"):
        datasets.load("hillstrom", tmp_path)


@pytest.mark.parametrize(
    ("name", "column"), [("hillstrom", "spend"), ("hillstrom", "newbie"), ("heartsteps", "jbsteps30")]
)
def test_text_where_numbers_belong_is_one_sentence(name, column, folders, tmp_path):
    table = pd.read_parquet(next(folders[name].glob("*.parquet"))).head(20)
    table.assign(**{column: "many"}).to_csv(tmp_path / "copy.csv", index=False)
    with pytest.raises(InvalidInputError, match=rf"files of {name} == '.*', must hold values of the kinds") as error:
        datasets.load(name, tmp_path)
    assert "\n" not in str(error.value)


def test_without_polars_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'homing\[data\]'"):
        datasets.load("hillstrom", "x.csv")
