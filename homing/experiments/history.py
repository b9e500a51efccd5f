"""A plan's columns from a decision log, as if its experiment had begun on some day and had changed nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.experiments.metrics import Metric
from homing.log import STANDARD_KINDS

if TYPE_CHECKING:
    import polars as pl

    from homing.experiments.plan import ExperimentPlan
    from homing.log import DecisionLog

FloatArray = NDArray[np.float64]
#: Columns that count decisions; all others are kinds of outcomes.
DECISIONS, MESSAGES = "decisions", "messages"
_VALUE, _PRE = "_value", re.compile(r"_pre\d*d?$")


@dataclass(frozen=True)
class LogHistory:
    """Users as a plan's units, from a decision log.

    A user is exposed at their first decision at or after `start`. What a column holds is said by its name:

    | column | per user, within the metric's window; a covariate: within its days before exposure |
    |---|---|
    | `KIND`, such as `clicked` | outcomes of that kind; for a proportion whether there was any |
    | `KIND_value` | the sum of their values |
    | `decisions`, `messages` | decisions; those that chose a message rather than silence |

    A covariate's name may end with `_pre` or, say, `_pre28`, which is not part of the kind.

    Attributes:
        exposed: `user_id`, `exposed_at`, by user.
        events: `user_id`, `kind`, `time`, `value`: decisions and outcomes, each once.
        start: UTC.
        end: the last time in the log.
    """

    exposed: pl.DataFrame
    events: pl.DataFrame
    start: datetime
    end: datetime

    @classmethod
    def of(cls, log: DecisionLog, plan: ExperimentPlan, *, start: datetime | None = None) -> LogHistory:
        """Read the log.

        Args:
            log: decisions and outcomes.
            plan: whose covariates say how much of the log has to lie before the start.
            start: UTC; None for as early as the covariates allow.

        Raises:
            InvalidInputError: if the plan's unit is another than the log's users.
            SupportError: if there is no decision after the start.
        """
        import polars as pl
        import pyarrow as pa

        if plan.unit != "user_id":
            raise InvalidInputError(
                describe(
                    "unit", plan.unit, "must be 'user_id' for a decision log", "Build the frame, use from_history."
                )
            )

        made = pl.DataFrame(pa.Table.from_batches(log.decision_batches(["user_id", "decided_at", "action"])))
        told = pl.DataFrame(log.outcomes()).unique("outcome_id")
        if made.is_empty():
            raise SupportError(describe("decisions", 0, "must be at least 1"))
        decided = pl.col("decided_at")
        before = max((item.days - item.end_day for item in plan.covariates), default=0)
        start = made.select(decided.min()).item() + timedelta(days=before) if start is None else start
        exposed = (
            made.filter(decided >= start).group_by("user_id").agg(decided.min().alias("exposed_at")).sort("user_id")
        )
        if exposed.is_empty():
            raise SupportError(
                describe("decisions after the start", 0, "must be at least 1", f"The log has none from {start} on.")
            )
        shaped = [
            frame.select("user_id", kind, pl.col(time).alias("time"), value.cast(pl.Float64).alias("value"))
            for frame, kind, time, value in (
                (made, pl.lit(DECISIONS).alias("kind"), "decided_at", pl.lit(0.0)),
                (made.filter(pl.col("action") != 0), pl.lit(MESSAGES).alias("kind"), "decided_at", pl.lit(0.0)),
                (told, pl.col("kind"), "occurred_at", pl.col("value").fill_null(0.0)),
            )
        ]
        events = pl.concat(shaped)
        return cls(exposed, events, start, events.select(pl.col("time").max()).item())

    @property
    def units_per_day(self) -> float:
        """Users exposed over the days of the log from the start on: those seen before come again, so it falls."""
        return float(self.exposed.height / max((self.end - self.start) / timedelta(days=1), 1.0))

    def columns(self, metric: Metric) -> dict[str, FloatArray]:
        """The metric's columns, over the users whose window ends within the log.

        Raises:
            UnknownNameError: if a column names no kind of outcome.
            SupportError: if no user's window ends within the log.
        """
        import polars as pl

        days = 0 if metric.window is None else metric.window.matures_after
        units = self.exposed.filter(pl.col("exposed_at") + timedelta(days=days) <= self.end)
        if units.is_empty():
            raise SupportError(
                describe(
                    f"users whose window of {days} days ends within the log, for metric {metric.name!r}",
                    0,
                    "must be at least 1",
                    "Take a longer log, an earlier start or a shorter window.",
                )
            )
        first, last = (None, None) if metric.window is None else (metric.window.start_day, days)
        found = {name: self._column(name, units, first or 0, last) for name in metric.outcomes}
        if metric.kind == "proportion":
            found[metric.numerator] = np.minimum(found[metric.numerator], 1.0)
        for item in metric.covariates:
            kind = _PRE.sub("", item.column)
            found[item.column] = self._column(kind, units, item.end_day - item.days, item.end_day)
        return found

    def _column(self, name: str, units: pl.DataFrame, first: int, last: int | None) -> FloatArray:
        """Counts or values of a kind in [exposure + first, exposure + last) days, one for each unit."""
        import polars as pl

        kind = name.removesuffix(_VALUE)
        known = {*STANDARD_KINDS, DECISIONS, MESSAGES, *self.events.get_column("kind").unique().to_list()}
        if kind not in known:
            raise unknown_name("column", name, {*known, *(item + _VALUE for item in known)})
        since = pl.col("time") - pl.col("exposed_at")
        inside = since >= timedelta(days=first)
        if last is not None:
            inside &= since < timedelta(days=last)
        told = (
            self.events.lazy()
            .filter(pl.col("kind") == kind)
            .join(units.lazy(), on="user_id")
            .filter(inside)
            .group_by("user_id")
            .agg((pl.col("value").sum() if kind != name else pl.len()).cast(pl.Float64).alias("found"))
        )
        joined = units.lazy().join(told, on="user_id", how="left", maintain_order="left").collect()
        return np.asarray(joined.get_column("found").fill_null(0.0).to_numpy())
