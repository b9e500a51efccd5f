"""Real randomised data as experiments, end to end: the plan first, then units, scorecard, decision, page.

    python -m examples.experiments hillstrom --data FILE --out DIR
    python -m examples.experiments rewards --data DIR --out DIR

The plans (examples/plans/) were written from the designs, before outcomes were read. What each writes: `units.parquet`,
one row a unit, as `homing experiment` takes it; `experiment.json` and `experiment.html`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from homing import datasets
from homing.experiments import ExperimentPlan
from homing.experiments.artifacts import Readout, read_out
from homing.experiments.report import decision_text, scorecard_text
from homing.log import DecisionLog

PLANS = Path(__file__).parent / "plans"


@dataclass(frozen=True)
class Example:
    """An experiment in public data.

    Attributes:
        dataset: name in `homing.datasets`.
        units: makes one row a unit of its log.
        as_of: the day until which outcomes are complete.
        notes: what a reader must know.
    """

    dataset: str
    units: Callable[[DecisionLog], pl.DataFrame]
    as_of: str | None
    notes: tuple[str, ...]


def main(argv: list[str] | None = None) -> int:
    """Run one."""
    parser = argparse.ArgumentParser(prog="python -m examples.experiments", description=__doc__)
    parser.add_argument("name", choices=sorted(EXAMPLES))
    parser.add_argument("--data", type=Path, required=True, help="your copy of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for units, results and the page")
    args = parser.parse_args(argv)
    found = run(args.name, args.data, args.out)
    print(scorecard_text(found.scorecard, found.plan))
    print(f"\n{decision_text(found.decision, found.plan)}\n\nPage: {args.out / 'experiment.html'}")
    return 0


def run(name: str, data: Path, out: Path) -> Readout:
    """Read the plan, then the data; analyse, decide, write."""
    plan = ExperimentPlan.from_yaml(PLANS / f"{name}.yaml")
    example = EXAMPLES[name]
    units = example.units(datasets.load(example.dataset, path=data))
    out.mkdir(parents=True, exist_ok=True)
    units.write_parquet(out / "units.parquet")
    found = read_out(plan, units, as_of=example.as_of)
    found.write(out, notes=example.notes)
    return found


def hillstrom_units(log: DecisionLog) -> pl.DataFrame:
    """One row a customer: the e-mail drawn, what followed within two weeks, and what was known before."""
    decisions = _decisions(log, {0: "none", 1: "mens", 2: "womens"})
    kinds = {"session": "visit", "converted": "conversion", "custom:spend": "spend"}
    outcomes = pl.DataFrame(log.outcomes()).with_columns(pl.col("kind").replace_strict(kinds))
    sums = outcomes.pivot("kind", index="decision_id", values="value", aggregate_function="sum")
    known = pl.col("context").struct
    return decisions.join(sums, on="decision_id", how="left", maintain_order="left").select(
        "user_id",
        "variant",
        "exposed_at",
        *(pl.col(name).fill_null(0.0) for name in kinds.values()),
        known.field("history").cast(pl.Float64).alias("history_pre"),
        known.field("recency").cast(pl.Float64).alias("recency_pre"),
        known.field("newbie").cast(pl.Float64).alias("newbie_pre"),
        known.field("history_segment").alias("segment_pre"),
        known.field("purchase_channel").alias("channel_pre"),
    )


def rewards_units(log: DecisionLog) -> pl.DataFrame:
    """One row a user and wave: the kind of offer drawn, and what was spent within three days."""
    candidates = pl.DataFrame(pa.Table.from_batches(log.decision_batches(["candidates"])))["candidates"][0]
    kinds = dict(enumerate(candidates.struct.field("campaign").to_list()))
    decisions = _decisions(log, {**kinds, 0: "silence"})
    paid = pl.DataFrame(log.outcomes()).filter(pl.col("kind") == "custom:spend")
    paid = paid.select("user_id", "occurred_at", "value").sort("occurred_at")
    # Each purchase belongs to the user's latest wave, if that began less than three days before.
    waves = decisions.select("user_id", "exposed_at", "decision_id").sort("exposed_at")
    paid = paid.join_asof(
        waves, left_on="occurred_at", right_on="exposed_at", by="user_id", strategy="backward", check_sortedness=False
    ).filter(pl.col("occurred_at") < pl.col("exposed_at") + pl.duration(days=3))
    sums = paid.group_by("decision_id").agg(pl.col("value").sum().alias("spend"), pl.len().alias("purchases"))
    known = pl.col("context").struct
    return decisions.join(sums, on="decision_id", how="left", maintain_order="left").select(
        pl.col("decision_id").alias("user_wave"),
        "user_id",
        "variant",
        "exposed_at",
        pl.col("spend").fill_null(0.0),
        pl.col("purchases").fill_null(0).cast(pl.Float64),
        pl.col("purchases").is_not_null().cast(pl.Float64).alias("purchased"),
        known.field("spend_last_week_dollars").fill_null(0.0).alias("spend_week_pre"),
        known.field("wave").alias("wave"),
    )


def _decisions(log: DecisionLog, variants: Mapping[int, str]) -> pl.DataFrame:
    columns = ["decision_id", "user_id", "decided_at", "action", "context"]
    made = pl.DataFrame(pa.Table.from_batches(log.decision_batches(columns)))
    variant = pl.col("action").replace_strict(variants, return_dtype=pl.String).alias("variant")
    return made.with_columns(variant).rename({"decided_at": "exposed_at"})


EXAMPLES = {
    "hillstrom": Example(
        "hillstrom",
        hillstrom_units,
        None,
        ("Kevin Hillstrom's e-mail challenge, 2008: one mailing, so one look; dates are not in the source.",),
    ),
    "rewards": Example(
        "starbucks",
        rewards_units,
        "2018-08-23",
        (
            "Third-party simulated: users, purchases and effects come out of someone else's program, not from people.",
            "That each wave draws every user anew, with these shares, is inferred from frequencies. Offers of earlier "
            "waves are still valid in later ones, in all arms alike: effects are those on top of them.",
        ),
    ),
}


if __name__ == "__main__":
    raise SystemExit(main())
