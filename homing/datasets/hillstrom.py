"""Hillstrom's e-mail challenge (2008): men's e-mail, women's e-mail or none, one third each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from homing.datasets.card import Card, check_columns, find_file
from homing.datasets.tables import arrow, candidate_lists, decisions_table, menu_of, outcomes_table, read_table
from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog

CARD = Card(
    name="hillstrom",
    title="Hillstrom MineThatData e-mail challenge: men's e-mail, women's e-mail or silence",
    source=(
        "Kevin Hillstrom's MineThatData blog, 20 March 2008 (minethatdata.com, 'The MineThatData E-Mail Analytics And "
        "Data Mining Challenge'): 64,000 customers in one CSV file."
    ),
    licence="a public challenge without a formal licence",
    randomisation=(
        "Each customer was put into one of three arms at random with probability 1/3: propensity 1/3 for silence and "
        "for each e-mail, by design."
    ),
    caveats=(
        "One decision per customer: it says nothing about sequences of messages, nor about opt-outs.",
        "The source gives no dates: all decisions are set to 2008-03-20, and visits and purchases, known to lie within "
        "two weeks, to the last minute of those weeks.",
        "A copy that is a sample (by hash of the row, say) has other means than the whole file; counts are those of "
        "the copy that was read.",
        "Purchases are rare (under 1 % of customers) and their amounts skewed: intervals for spend are wide.",
    ),
    files="the challenge's CSV file, a Parquet file with the same columns, or a folder with one of them",
    weights=MappingProxyType({"visit": 1.0, "conversion": 0.0, "spend": 0.0}),
)

SENT = datetime(2008, 3, 20, tzinfo=UTC)
KNOWN = SENT + timedelta(days=14, minutes=-1)
ARMS = {"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}
COLUMNS = (
    "recency", "history_segment", "history", "mens", "womens", "zip_code", "newbie", "channel",
    "segment", "visit", "conversion", "spend",
)  # fmt: skip
#: What stands in the log's context: its name there, the column, and whether it is a yes or no.
CONTEXT = (
    ("recency", "recency", False),  # months since the last purchase
    ("history_segment", "history_segment", False),
    ("history", "history", False),  # dollars spent in the past year
    ("mens", "mens", True),  # bought men's merchandise
    ("womens", "womens", True),
    ("zip_code", "zip_code", False),  # urban, suburban (spelt as in the source) or rural
    ("newbie", "newbie", True),  # new within twelve months
    ("purchase_channel", "channel", False),  # where they bought; not the channel of the message
)


def read(path: str | Path | None = None) -> DecisionLog:
    """The challenge as a decision log: one decision per customer, three candidates, outcomes `session`, `converted`
    and `custom:spend`.

    Args:
        path: the CSV or Parquet file, or its folder. A `row_id` column numbers the customers; without one they are
            numbered in the order of the file, from 0.

    Raises:
        InvalidInputError: if the file is not there, lacks a column, or names an arm that the trial did not have.
    """
    import polars as pl

    file = find_file(CARD, path, (".csv", ".parquet"))
    frame = read_table(file)
    check_columns(CARD, file.name, frame.columns, COLUMNS)
    unknown = frame.filter(~pl.col("segment").is_in(list(ARMS)))
    if len(unknown):
        bound = f"must be one of {', '.join(ARMS)}"
        raise InvalidInputError(describe("segment", unknown["segment"][0], bound, f"Get it from {CARD.source}"))
    if "row_id" not in frame.columns:
        frame = frame.with_row_index("row_id")

    n = len(frame)
    row = pl.col("row_id").cast(pl.String)
    ids = frame.select(
        decision=pl.lit("hillstrom-") + row,
        user=pl.lit("h") + row,
        action=pl.col("segment").replace_strict(ARMS, return_dtype=pl.Int16),
    )
    menu = menu_of(
        {
            "message_id": ["mens-email", "womens-email"],
            "campaign": ["mens-merchandise", "womens-merchandise"],
            "domain": ["shop"] * 2,
            "channel": ["email"] * 2,
            "slot": ["inbox"] * 2,
        }
    )
    candidates, extras = candidate_lists(n, menu)
    decisions = decisions_table(
        decision_id=arrow(ids["decision"]),
        user_id=arrow(ids["user"]),
        decided_at=pa.repeat(pa.scalar(SENT, pa.timestamp("us", tz="UTC")), n),
        policy="hillstrom-trial@1",
        context={
            name: arrow(frame[column].cast(pl.Boolean) if flag else frame[column]) for name, column, flag in CONTEXT
        },
        candidates=candidates,
        candidate_features=extras,
        eligible=np.ones((n, 3), dtype=bool),
        action=arrow(ids["action"]),
        propensity=np.full(n, 1 / 3),
        propensities=np.full((n, 3), 1 / 3),
        slice_="uniform",
    )
    frame = frame.select(ids["decision"], ids["user"], "visit", "conversion", "spend")
    parts = []
    for kind, column in (("session", "visit"), ("converted", "conversion"), ("custom:spend", "spend")):
        # What is missing is neither a yes nor a no: it stays, to be rejected with that reason.
        seen = frame.filter(pl.col(column).ne_missing(0))
        parts.append(
            {
                "outcome_id": arrow(seen["decision"] + f"-{column}"),
                "decision_id": arrow(seen["decision"]),
                "user_id": arrow(seen["user"]),
                "kind": kind,
                "occurred_at": pa.repeat(pa.scalar(KNOWN, pa.timestamp("us", tz="UTC")), len(seen)),
                "value": arrow(seen[column].cast(pl.Float64)),
            }
        )
    return DecisionLog.from_tables(decisions, outcomes_table(*parts))
