"""Starbucks rewards: waves, inferred propensities against observed frequencies, and no look into the future."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.datasets import card, load, objectives
from homing.datasets.starbucks import WAVES, history
from homing.errors import InvalidInputError
from homing.log import LoggedDataset, build_dataset


@pytest.fixture(scope="module")
def events(folders) -> pd.DataFrame:
    return pd.read_parquet(folders["starbucks"] / "events_dev.parquet")


@pytest.fixture(scope="module")
def decisions(logs) -> pd.DataFrame:
    """One row a decision: user, wave, the name of what was chosen, and the context."""
    table = logs["starbucks"].decisions()
    context = pd.DataFrame(table["context"].to_pylist())
    names = [candidate["message_id"] for candidate in table["candidates"][0].as_py()]
    out = table.select(["user_id", "decided_at", "action", "propensity"]).to_pandas()
    out["hour"] = (out.decided_at - out.decided_at.min()).dt.total_seconds().div(3600).astype(int)
    out["name"] = [names[action] for action in out.action]
    return pd.concat([out, context.drop(columns="wave")], axis=1)


@pytest.fixture(scope="module")
def built(logs) -> LoggedDataset:
    return build_dataset(logs["starbucks"], objectives("starbucks"))


def test_third_party_simulation_and_inferred_propensities_are_said():
    about = card("starbucks")
    assert "third-party simulated" in about.title.lower()
    assert "Third-party simulated" in about.caveats[0]
    assert "inferred" in about.randomisation.lower()
    assert any("inferred" in caveat for caveat in about.caveats)


def test_every_user_decides_in_every_wave_and_offers_are_those_received(decisions, events):
    received = events[events.event == "offer received"]
    users = events.user_id.nunique()
    assert decisions.groupby("hour").size().to_dict() == dict.fromkeys(WAVES, users)
    assert decisions[decisions.action > 0].groupby("hour").size().to_dict() == received.groupby("hour").size().to_dict()
    ours = decisions[decisions.action > 0].groupby(["hour", "name"]).size().sort_values().tolist()
    assert sorted(ours) == sorted(received.groupby(["hour", "offer"]).size().tolist())


def test_frequencies_of_each_wave_agree_with_the_inferred_propensities(decisions):
    for hour, wave in decisions.groupby("hour"):
        shares = wave.name.value_counts(normalize=True)
        assert len(shares) == 11
        for name, share in shares.items():
            p = 0.25 if name == "silence" else 0.075
            # 66 comparisons: 4 standard deviations of the binomial leave 0.4 % of false alarms over all of them.
            assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / len(wave)), (hour, name)
    assert set(decisions.propensity.round(12)) == {0.25, 0.075}


def test_messages_are_the_portfolio(logs, folders):
    offers = [json.loads(line) for line in (folders["starbucks"] / "portfolio.json").read_text().splitlines()]
    candidates = logs["starbucks"].decisions()["candidates"][0].as_py()[1:]
    start = logs["starbucks"].decisions()["decided_at"][0].as_py()
    assert len(offers) == len(candidates) == 10
    for offer, candidate in zip(offers, candidates, strict=True):
        assert candidate["campaign"] == offer["offer_type"]
        assert set(candidate["channel"].split("+")) == set(offer["channels"])
        assert candidate["difficulty_dollars"] == offer["difficulty"]
        assert candidate["reward_dollars"] == offer["reward"]
        assert (candidate["expires_at"] - start).days == offer["duration"]
        for way in ("web", "mobile", "social"):
            assert candidate[f"via_{way}"] == float(way in offer["channels"])


def test_past_behaviour_is_the_group_by_of_what_came_before(decisions, events):
    for hour in WAVES:
        before = events[events.hour < hour]
        mine = decisions[decisions.hour == hour].set_index("user_id").sort_index()
        paid = before[before.event == "transaction"]

        def per_user(values: pd.Series, index: pd.Index = mine.index) -> np.ndarray:
            return values.reindex(index).fillna(0).to_numpy()

        np.testing.assert_allclose(mine.spend_before_dollars, per_user(paid.groupby("user_id").amount.sum()), atol=1e-9)
        week = paid[paid.hour >= hour - 168]
        np.testing.assert_allclose(
            mine.spend_last_week_dollars, per_user(week.groupby("user_id").amount.sum()), atol=1e-9
        )
        for column, event in (
            ("received", "offer received"),
            ("viewed", "offer viewed"),
            ("completed", "offer completed"),
        ):
            counts = before[before.event == event].groupby("user_id").size()
            np.testing.assert_array_equal(mine[f"offers_{column}_before"], per_user(counts))
        last = hour - paid.groupby("user_id").hour.max()
        np.testing.assert_array_equal(mine.hours_since_purchase.to_numpy(), last.reindex(mine.index).to_numpy())


def test_context_does_not_change_when_later_events_are_deleted(logs, folders, events, tmp_path: Path):
    wave = 3
    kept = events[(events.hour < WAVES[wave]) | (events.event == "offer received")]
    kept.to_parquet(tmp_path / "events.parquet")
    for file in ("portfolio.json", "profile_dev.parquet"):
        (tmp_path / file).write_bytes((folders["starbucks"] / file).read_bytes())
    cut = load("starbucks", tmp_path).decisions()
    whole = logs["starbucks"].decisions()
    n = whole.num_rows // len(WAVES) * (wave + 1)  # waves stand one after the other
    assert cut["context"].slice(0, n).equals(whole["context"].slice(0, n))
    assert not cut["context"].slice(n).equals(whole["context"].slice(n))


EVENT = st.tuples(
    st.sampled_from(["u1", "u2", "u3"]),
    st.sampled_from(["offer received", "offer viewed", "offer completed", "transaction"]),
    st.integers(0, 700),
    st.floats(0.05, 500),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, max_size=40), st.sampled_from(WAVES))
def test_history_never_sees_the_wave_or_what_follows(rows, wave):
    schema = {"user_id": pl.String, "event": pl.String, "hour": pl.Int64, "amount": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    whole = history(frame, [wave]).sort("user_id")
    cut = history(frame.filter(pl.col("hour") < wave), [wave]).sort("user_id")
    assert whole.equals(cut)
    assert set(whole["user_id"]) == {user for user, _, hour, _ in rows if hour < wave}


def test_first_wave_spend_by_offer_is_the_raw_group_by(built, decisions, events):
    data = built
    first = data.time == data.time.min()
    spend = data.reward[first, data.objectives.index("spend")]
    ours = pd.Series(spend, index=data.user_ids[data.user[first]])
    week = events[(events.event == "transaction") & (events.hour < 168)].groupby("user_id").amount.sum()
    np.testing.assert_allclose(ours.to_numpy(), week.reindex(ours.index).fillna(0).to_numpy(), atol=1e-9)
    # IPS by hand: 10.65 dollars after silence, over 35 after the best offer, in the raw table.
    action, propensity = data.action[first], data.propensity[first]
    silent = (spend * (action == 0) / propensity).sum() / ((action == 0) / propensity).sum()
    arm = decisions[(decisions.hour == 0) & (decisions.action == 0)].user_id
    assert silent == pytest.approx(week.reindex(arm).fillna(0).mean())


def test_each_purchase_counts_for_the_latest_wave_and_at_most_a_week(built, events):
    data = built
    hours = (data.time - data.time.min()) // 3_600_000_000
    paid = events[events.event == "transaction"]
    latest = np.array(WAVES)[np.searchsorted(WAVES, paid.hour, side="right") - 1]
    counted = paid[paid.hour < latest + 168]
    expected = counted.groupby(latest[paid.hour < latest + 168]).amount.sum()
    ours = pd.Series(data.reward[:, data.objectives.index("spend")]).groupby(hours).sum()
    np.testing.assert_allclose(ours.to_numpy(), expected.to_numpy(), rtol=1e-9)


def test_silence_neither_converts_nor_engages(built):
    data = built
    for name in ("conversion", "engagement"):
        reward = data.reward[:, data.objectives.index(name)]
        assert reward[data.action == 0].sum() == 0
        assert reward[data.action > 0].sum() > 0


def test_views_belong_to_the_latest_wave_that_sent_the_offer(logs, events):
    linked = logs["starbucks"].outcomes()
    viewed = linked.filter(pc.equal(linked["kind"], "opened")).slice(0, 2000).to_pandas()
    rows = viewed.outcome_id.str.removeprefix("starbucks-event-").astype(int).to_numpy()
    source = events.iloc[rows]
    sent = events[(events.event == "offer received") & events.user_id.isin(source.user_id)]
    received = sent.groupby(["user_id", "offer"]).hour.apply(np.array)
    for user, offer, hour, decision in zip(
        source.user_id, source.offer, source.hour, viewed.decision_id, strict=True
    ):  # fmt: skip
        hours = received[(user, offer)]
        assert decision == f"starbucks-{WAVES.index(int(hours[hours <= hour].max()))}-{user}"


def test_the_published_files_give_the_same_log(logs, folders, events, tmp_path: Path):
    users = sorted(events.user_id.unique())[:60]
    few = events[events.user_id.isin(users)]
    with (tmp_path / "transcript.json").open("w") as file:
        for row in few.itertuples():
            # As published: "offer id" with a space, but "offer_id" and "reward" once an offer is completed.
            if row.event == "transaction":
                value = {"amount": row.amount}
            elif row.event == "offer completed":
                value = {"offer_id": row.offer, "reward": row.reward}
            else:
                value = {"offer id": row.offer}
            file.write(json.dumps({"person": row.user_id, "event": row.event, "value": value, "time": row.hour}) + "\n")
    profile = pd.read_parquet(folders["starbucks"] / "profile_dev.parquet")
    profile = profile[profile.user_id.isin(users)].rename(columns={"user_id": "id"})
    profile.to_json(tmp_path / "profile.json", orient="records", lines=True)
    (tmp_path / "portfolio.json").write_bytes((folders["starbucks"] / "portfolio.json").read_bytes())
    log = load("starbucks", tmp_path)
    columns = ["decision_id", "action", "propensity", "context"]
    mine = log.decisions().select(columns).to_pandas().set_index("decision_id").sort_index()
    table = logs["starbucks"].decisions().select(columns)
    known = table.filter(pc.is_in(table["decision_id"], pa.array(mine.index)))
    whole = known.to_pandas().set_index("decision_id").loc[mine.index]
    assert len(mine) == 6 * len(users)
    for column in ("action", "propensity"):
        assert (mine[column] == whole[column]).all()
    assert pd.DataFrame(mine.context.tolist()).equals(pd.DataFrame(whole.context.tolist()))
    assert log.outcomes().to_pandas().kind.value_counts().to_dict() == {
        "custom:spend": int((few.event == "transaction").sum()),
        "opened": int((few.event == "offer viewed").sum()),
        "converted": int((few.event == "offer completed").sum()),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.assign(hour=e.hour + 1), "hour of an offer received == 1, must be one of the waves 0, 168"),
        (lambda e: pd.concat([e, e[e.event == "offer received"].head(1)]), "at most one offer for each user and wave"),
        (
            lambda e: e.assign(offer=e.offer.replace({e.offer[0]: "x"})),
            "offer of an offer received == 'x', must stand in the",
        ),
        (lambda e: e.assign(offer=None), "offer of an offer received == None, must stand in the portfolio"),
        (lambda e: e.assign(user_id="nobody" + e.user_id), "user_id of an offer received == 'nobody.*the profile"),
        (lambda e: e.assign(event="offer sent"), "event == 'offer sent', must be one of offer completed"),
        (lambda e: e.drop(columns="amount"), "missing: amount"),
    ],
    ids=["off-wave", "two offers", "unknown offer", "no offer", "no profile", "unknown event", "missing column"],
)
def test_other_tables_are_refused(folders, events, tmp_path: Path, change, message):
    change(events.head(3000)).to_parquet(tmp_path / "events.parquet")
    for file in ("portfolio.json", "profile_dev.parquet"):
        (tmp_path / file).write_bytes((folders["starbucks"] / file).read_bytes())
    with pytest.raises(InvalidInputError, match=message):
        load("starbucks", tmp_path)


def test_a_missing_file_is_named(folders, tmp_path: Path):
    (tmp_path / "portfolio.json").write_bytes((folders["starbucks"] / "portfolio.json").read_bytes())
    with pytest.raises(InvalidInputError, match=r"must hold a file profile\.json"):
        load("starbucks", tmp_path)
