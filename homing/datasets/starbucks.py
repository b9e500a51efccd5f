"""Starbucks rewards: ten offers or silence in six waves, simulated by a third party."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from homing.datasets.card import Card, check_columns, missing_path
from homing.datasets.tables import arrow, candidate_lists, decisions_table, menu_of, outcomes_table, read_table
from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog

if TYPE_CHECKING:
    import polars as pl

CARD = Card(
    name="starbucks",
    title="Starbucks rewards: ten offers on channel bundles, or silence, in six waves (third-party simulated)",
    source=(
        "The Starbucks capstone challenge of Udacity's data-science course: portfolio.json, profile.json and "
        "transcript.json (17,000 users), copied widely on Kaggle and GitHub."
    ),
    licence="none stated",
    randomisation=(
        "Inferred, not documented: in each wave (hours 0, 168, 336, 408, 504, 576) about 75 % of users get one of ten "
        "offers, each as often, whatever they did before: propensity 0.25 for silence and 0.075 for each offer."
    ),
    caveats=(
        "Third-party simulated: the users, their purchases and the effects of offers come out of someone else's "
        "program, not from people. It shows that the loop runs, not what offers do.",
        "The propensities are inferred from frequencies; the source documents none.",
        "Offers stay valid for 3 to 10 days and waves are 3 to 7 days apart: an earlier offer acts into later waves.",
        "Spend is counted to the next wave, at most 7 days: waves before a short gap have less time, all arms alike.",
        "An offer cannot be completed after silence: judge by spend, and read conversion beside its rewards.",
        "The source gives hours since the start, no dates: hour 0 is set to 2018-07-27, the day after the last joined.",
    ),
    files=(
        "a folder with portfolio, profile and transcript (or events) as .json (one object a line) or .parquet files"
    ),
    weights=MappingProxyType({"spend": 1.0, "conversion": 0.0, "engagement": 0.0}),
)

START = datetime(2018, 7, 27, tzinfo=UTC)
WAVES = (0, 168, 336, 408, 504, 576)
SILENCE_PROBABILITY = 0.25
#: What the source writes for an unknown age.
UNKNOWN_AGE = 118
VIA = ("web", "mobile", "social")  # every offer also goes out by e-mail
EVENTS = {"offer received", "offer viewed", "offer completed", "transaction"}


def read(path: str | Path | None = None) -> DecisionLog:
    """The simulation as a decision log: one decision per user and wave, eleven candidates, outcomes `opened`,
    `converted` (its value: the reward in dollars) and `custom:spend` (not linked: attributed by time).

    Args:
        path: the folder with the three files, as published or as Parquet with the same content.

    Raises:
        InvalidInputError: if a file is missing or lacks a column, or if a user got two offers in one wave.
    """
    import polars as pl

    if path is None or not Path(path).is_dir():
        raise missing_path(CARD, None if path is None else Path(path))
    offers, users, events = _portfolio(Path(path)), _profile(Path(path)), _events(Path(path))
    received = events.filter(pl.col("event") == "offer received")
    off_wave = received.filter(~pl.col("hour").is_in(WAVES))
    if len(off_wave):
        bound = f"must be one of the waves {', '.join(map(str, WAVES))}"
        raise InvalidInputError(
            describe("hour of an offer received", off_wave["hour"][0], bound, f"Check {CARD.files}.")
        )
    for name, known, where in (("offer", offers["id"], "portfolio"), ("user_id", users["user_id"], "profile")):
        strange = received.filter(~pl.col(name).is_in(known.implode()).fill_null(False))
        if len(strange):
            bound = f"must stand in the {where}"
            raise InvalidInputError(
                describe(f"{name} of an offer received", strange[name][0], bound, f"Check {CARD.files}.")
            )
    grid = users.join(pl.DataFrame({"wave": range(len(WAVES)), "hour": WAVES}), how="cross").sort("wave", "user_id")
    sent = received.select("user_id", "hour", "offer")
    twice = sent.filter(sent.select("user_id", "hour").is_duplicated())
    if len(twice):
        bound = "must be at most one offer for each user and wave"
        raise InvalidInputError(describe("offers in a wave", len(twice), bound, f"Check {CARD.files}."))
    grid = grid.join(sent, on=["user_id", "hour"], how="left", maintain_order="left")
    grid = grid.join(history(events), on=["user_id", "hour"], how="left", maintain_order="left")
    grid = grid.with_columns(
        decision=pl.format("starbucks-{}-{}", pl.col("wave"), pl.col("user_id")),
        action=pl.col("offer")
        .replace_strict({o: i + 1 for i, o in enumerate(offers["id"])}, return_dtype=pl.Int16)
        .fill_null(0),
        time=_moment(pl.col("hour")),
    )
    outcomes = _outcomes(events, grid)
    return DecisionLog.from_tables(_decisions(grid, offers), outcomes)


def history(events: pl.DataFrame, waves: Sequence[int] = WAVES) -> pl.DataFrame:
    """What each user did strictly before each wave: one row for each user and wave with any event before it.

    Args:
        events: columns `user_id`, `event`, `hour`, `amount`.
        waves: hours at which decisions are taken.

    Returns:
        `user_id`, `hour` (the wave's) and the counts, sums and hours that the log's context holds.
    """
    import polars as pl

    paid = pl.col("event") == "transaction"
    amount = pl.col("amount").filter(paid)
    parts = []
    for wave in waves:
        before = events.filter(pl.col("hour") < wave)  # strictly: what happens in the wave's hour answers it
        parts.append(
            before.group_by("user_id").agg(
                pl.lit(wave, dtype=pl.Int64).alias("hour"),
                purchases=paid.sum().cast(pl.Int64),
                spend=amount.sum(),
                spend_week=pl.col("amount").filter(paid & (pl.col("hour") >= wave - 168)).sum(),
                hours_since_purchase=(wave - pl.col("hour").filter(paid).max()).cast(pl.Float64),
                received=(pl.col("event") == "offer received").sum().cast(pl.Int64),
                viewed=(pl.col("event") == "offer viewed").sum().cast(pl.Int64),
                completed=(pl.col("event") == "offer completed").sum().cast(pl.Int64),
            )
        )
    return pl.concat(parts)


def _decisions(grid: pl.DataFrame, offers: pl.DataFrame) -> object:
    import polars as pl

    n, k = len(grid), len(offers) + 1
    bundles = offers["channels"].to_list()
    menu = menu_of(
        {
            "message_id": _message_ids(offers),
            "campaign": offers["offer_type"].to_list(),
            "domain": ["rewards"] * len(offers),
            "channel": ["+".join(sorted(bundle)) for bundle in bundles],
            "slot": ["offers"] * len(offers),
        },
        {
            "difficulty_dollars": offers["difficulty"].cast(pl.Float64).to_list(),
            "reward_dollars": offers["reward"].cast(pl.Float64).to_list(),
            **{f"via_{name}": [float(name in bundle) for bundle in bundles] for name in VIA},
        },
    )
    # Valid for so many days from the wave on; silence never expires.
    days = pl.DataFrame({"days": [None, *offers["duration"].to_list()]}, schema={"days": pl.Int64})
    ends = grid.select("time").join(days, how="cross").select(pl.col("time") + pl.duration(days="days")).to_series()
    candidates, extras = candidate_lists(n, menu, {"expires_at": arrow(ends)})
    share = (1 - SILENCE_PROBABILITY) / len(offers)
    whole = np.tile([SILENCE_PROBABILITY, *[share] * len(offers)], (n, 1))
    action = grid["action"].to_numpy()
    joined = pl.col("became_member_on").cast(pl.String).str.to_date("%Y%m%d")
    nothing = {name: pl.col(name).fill_null(0) for name in ("purchases", "received", "viewed", "completed")}
    money = {name: pl.col(name).fill_null(0.0) for name in ("spend", "spend_week")}
    context = grid.select(
        wave=pl.lit("wave-") + pl.col("wave").cast(pl.String),
        gender=pl.col("gender"),
        age=pl.when(pl.col("age") != UNKNOWN_AGE).then(pl.col("age")).cast(pl.Int64),
        income_dollars=pl.col("income").cast(pl.Float64),
        member_days=(pl.lit(START.date()) - joined).dt.total_days(),
        purchases_before=nothing["purchases"],
        spend_before_dollars=money["spend"],
        spend_last_week_dollars=money["spend_week"],
        hours_since_purchase=pl.col("hours_since_purchase"),
        offers_received_before=nothing["received"],
        offers_viewed_before=nothing["viewed"],
        offers_completed_before=nothing["completed"],
    )
    return decisions_table(
        decision_id=arrow(grid["decision"]),
        user_id=arrow(grid["user_id"]),
        decided_at=arrow(grid["time"]),
        policy="third-party-simulator@1",
        context={name: arrow(context[name]) for name in context.columns},
        candidates=candidates,
        candidate_features=extras,
        eligible=np.ones((n, k), dtype=bool),
        action=action,
        propensity=whole[np.arange(n), action],
        propensities=whole,
        slice_="policy",
    )


def _outcomes(events: pl.DataFrame, grid: pl.DataFrame) -> object:
    """Views and completions belong to the latest wave in which the user got that offer; purchases to none by name."""
    import polars as pl

    got = grid.filter(pl.col("offer").is_not_null()).select("user_id", "offer", "hour", "decision").sort("hour")
    # The row number makes every event its own: two offers can be completed in one hour, by one purchase.
    events = events.with_columns(
        id=pl.lit("starbucks-event-") + pl.col("row").cast(pl.String), time=_moment(pl.col("hour"))
    )
    parts = []
    for event, kind in (("offer viewed", "opened"), ("offer completed", "converted")):
        seen = events.filter(pl.col("event") == event).sort("hour")
        seen = seen.join_asof(got, on="hour", by=["user_id", "offer"], strategy="backward", check_sortedness=False)
        value = (
            seen["reward"].fill_null(0.0)
            if event == "offer completed"
            else pl.Series([1.0]).new_from_index(0, len(seen))
        )
        parts.append(
            {
                "outcome_id": arrow(seen["id"]),
                "decision_id": arrow(seen["decision"]),
                "user_id": arrow(seen["user_id"]),
                "kind": kind,
                "occurred_at": arrow(seen["time"]),
                "value": arrow(value.cast(pl.Float64)),
            }
        )
    paid = events.filter(pl.col("event") == "transaction")
    parts.append(
        {
            "outcome_id": arrow(paid["id"]),
            "user_id": arrow(paid["user_id"]),
            "kind": "custom:spend",
            "occurred_at": arrow(paid["time"]),
            "value": arrow(paid["amount"].cast(pl.Float64)),
        }
    )
    return outcomes_table(*parts)


def _moment(hour: pl.Expr) -> pl.Expr:
    import polars as pl

    return pl.lit(START).dt.cast_time_unit("us") + pl.duration(hours=hour)


def _message_ids(offers: pl.DataFrame) -> list[str]:
    """Readable names such as `discount-spend10-get2-7d`; the source's ids where those are not unique."""
    rows = offers.select("offer_type", "difficulty", "reward", "duration").rows()
    names = [f"{kind}-spend{spend}-get{get}-{days}d" for kind, spend, get, days in rows]
    return names if len(set(names)) == len(names) else offers["id"].to_list()


def _table(folder: Path, names: Sequence[str]) -> tuple[pl.DataFrame, str]:
    """The first file whose name starts with one of `names`."""
    for name in names:
        for file in sorted(folder.glob(f"{name}*")):
            if file.suffix in (".parquet", ".json", ".jsonl", ".ndjson"):
                return read_table(file), file.name
    bound = f"must hold a file {' or '.join(f'{name}.json' for name in names)} (or .parquet)"
    raise InvalidInputError(
        describe(f"path of {CARD.name}", str(folder), bound, f"Get it from {CARD.source} Then pass path=…")
    )


def _portfolio(folder: Path) -> pl.DataFrame:
    table, name = _table(folder, ["portfolio"])
    check_columns(CARD, name, table.columns, ("id", "offer_type", "difficulty", "reward", "duration", "channels"))
    return table


def _profile(folder: Path) -> pl.DataFrame:
    table, name = _table(folder, ["profile"])
    if "user_id" not in table.columns and "id" in table.columns:  # as published
        table = table.rename({"id": "user_id"})
    check_columns(CARD, name, table.columns, ("user_id", "gender", "age", "income", "became_member_on"))
    return table.select("user_id", "gender", "age", "income", "became_member_on")


def _events(folder: Path) -> pl.DataFrame:
    """`user_id`, `event`, `hour`, `offer`, `amount`, `reward` and the row's number."""
    import polars as pl

    table, name = _table(folder, ["transcript", "events"])
    if "person" in table.columns:  # as published: one struct with either key of an offer
        check_columns(CARD, name, table.columns, ("person", "event", "time", "value"))
        value = {field.name for field in table.schema["value"].fields}

        def field(name: str, kind: pl.DataType) -> pl.Expr:
            return pl.col("value").struct.field(name).cast(kind) if name in value else pl.lit(None, dtype=kind)

        table = table.select(
            "event",
            pl.col("person").alias("user_id"),
            pl.col("time").alias("hour"),
            pl.coalesce(field("offer id", pl.String()), field("offer_id", pl.String())).alias("offer"),
            field("amount", pl.Float64()).alias("amount"),
            field("reward", pl.Float64()).alias("reward"),
        )
    columns = ("user_id", "event", "hour", "offer", "amount", "reward")
    check_columns(CARD, name, table.columns, columns)
    strange = set(table["event"].unique()) - EVENTS
    if strange:
        raise InvalidInputError(describe("event", sorted(strange)[0], f"must be one of {', '.join(sorted(EVENTS))}"))
    return table.select(*columns).with_row_index("row")
