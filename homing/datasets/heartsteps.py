"""HeartSteps V1 (2015-16): an activity suggestion or silence, five times a day, micro-randomised."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from homing.checks import check_one_of
from homing.datasets.card import Card, check_columns, find_file
from homing.datasets.tables import arrow, candidate_lists, decisions_table, menu_of, outcomes_table, read_table
from homing.log import DecisionLog

if TYPE_CHECKING:
    import polars as pl

CARD = Card(
    name="heartsteps",
    title="HeartSteps V1: an activity suggestion by push, or silence, at five moments a day",
    source=(
        "The HeartSteps V1 study (Klasnja et al. 2019, Annals of Behavioral Medicine 53(6), 573-582): "
        "github.com/klasnja/HeartStepsV1, and the cleaned table of decision points made from it."
    ),
    licence="CC-BY-4.0 (klasnja/HeartStepsV1); the cleaned table stands in a repository with an empty licence file",
    randomisation=(
        "Micro-randomised at every decision point: a suggestion with probability 0.6 when the user was available, "
        "else silence with probability 1. The propensities are the design's, not estimates."
    ),
    caveats=(
        "Few users (37 in the study; a copy may hold fewer): intervals must be clustered by user and are wide.",
        "Steps are known only where the tracker reported; missing counts were set to 0 by those who cleaned the table.",
        "The effect wears off over the study: an average over its six weeks is not what a longer campaign would see.",
        "decided_at is the scheduled moment (complete in the source); the phone acted 90 to 150 seconds later in most "
        "cases, and a few of its clocks are hours off.",
        "The text of the suggestion is known only where one was sent, so that all suggestions are one candidate.",
        "No opt-outs are recorded: it says nothing about reachability.",
    ),
    files="the cleaned table of decision points (CSV or Parquet), or a folder with it",
    weights=MappingProxyType({"log_steps": 1.0}),
)

SEND_PROBABILITY = 0.6
#: How R, Python and spreadsheets write a yes or no, in lower case; numbers where some are missing.
FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
#: The tables carry steps + 0.5, so that the logarithm of no step exists.
OFFSET = 0.5
COLUMNS = (
    "user", "decision.index.nogap", "study.day.nogap", "jbsteps30pre", "jbsteps30", "avail", "send",
    "sugg.select.utime", "sugg.select.slot",
)  # fmt: skip


def read(path: str | Path | None = None) -> DecisionLog:
    """The study as a decision log: one row per decision point, outcomes `custom:log_steps_30min` and
    `custom:steps_30min`.

    A row without a time keeps a null `decided_at`: `homing.log.accept` then rejects it with that reason, so that
    nothing is dropped silently.

    Args:
        path: the table of decision points, or its folder.

    Raises:
        InvalidInputError: if the file is not there or lacks a column.
    """
    import polars as pl

    file = find_file(CARD, path, (".csv", ".parquet"))
    frame = read_table(file, null_values="NA")
    check_columns(CARD, file.name, frame.columns, COLUMNS)
    frame = frame.with_columns(
        *(_flag(frame[name]) for name in ("avail", "send")),
        time=pl.col("sugg.select.utime")
        .cast(pl.String)
        .str.to_datetime(time_unit="us", strict=False)
        .dt.replace_time_zone("UTC"),
        index=pl.col("decision.index.nogap").cast(pl.Int64),
    )
    frame = frame.with_columns(
        user_id=pl.lit("hs") + pl.col("user").cast(pl.String),
        # Padded: two points of one user that share a moment stay in the study's order.
        decision=pl.format(
            "heartsteps-{}-{}",
            pl.col("user").cast(pl.String).str.zfill(2),
            pl.col("index").cast(pl.String).str.zfill(4),
        ),
    )
    n = len(frame)
    # A row without either flag is rejected for its null; the propensities beside it do not matter.
    available, send = frame["avail"].fill_null(False).to_numpy(), frame["send"].fill_null(False).to_numpy()
    whole = np.where(available[:, None], [1 - SEND_PROBABILITY, SEND_PROBABILITY], [1.0, 0.0])
    menu = menu_of(
        {
            "message_id": ["activity-suggestion"],
            "campaign": ["activity"],
            "domain": ["health"],
            "channel": ["push"],
            "slot": ["lock-screen"],
        }
    )
    candidates, extras = candidate_lists(n, menu)
    before = pl.col("jbsteps30pre").cast(pl.Float64)
    context = frame.select(
        study_day=pl.col("study.day.nogap").cast(pl.Int64),
        slot=pl.lit("slot-") + pl.col("sugg.select.slot").cast(pl.Int64).cast(pl.String),
        steps_30min_before=before - OFFSET,
        log_steps_30min_before=before.log(),
    )
    decisions = decisions_table(
        decision_id=arrow(frame["decision"]),
        user_id=arrow(frame["user_id"]),
        decided_at=arrow(frame["time"]),
        policy="heartsteps-v1@1",
        context={name: arrow(context[name]) for name in context.columns},
        candidates=candidates,
        candidate_features=extras,
        eligible=np.column_stack([np.ones(n, dtype=bool), frame["avail"].to_numpy()]),
        action=arrow(frame["send"].cast(pl.Int16)),
        # A send that the design ruled out gets probability 0 here, and is rejected with that reason.
        propensity=whole[np.arange(n), send.astype(np.int64)],
        propensities=whole,
        slice_="policy",
    )
    frame = frame.filter(pl.col("jbsteps30").is_not_null() & pl.col("time").is_not_null())
    after = pl.col("jbsteps30").cast(pl.Float64)
    common = {
        "decision_id": arrow(frame["decision"]),
        "user_id": arrow(frame["user_id"]),
        "occurred_at": arrow(frame.select(pl.col("time") + pl.duration(minutes=30)).to_series()),
    }
    outcomes = outcomes_table(
        *(
            {
                **common,
                "outcome_id": arrow(frame["decision"] + f"-{kind}"),
                "kind": f"custom:{kind}",
                "value": arrow(frame.select(value).to_series()),
            }
            for kind, value in (("log_steps_30min", after.log()), ("steps_30min", after - OFFSET))
        )
    )
    return DecisionLog.from_tables(decisions, outcomes)


def _flag(column: pl.Series) -> pl.Series:
    """A column of yes and no, however it was written; null where it is missing."""
    import polars as pl

    text = column.cast(pl.String).str.to_lowercase()
    for value in text.drop_nulls().unique().sort():
        check_one_of(column.name, value, FLAGS)
    return text.replace_strict(FLAGS, return_dtype=pl.Boolean)
