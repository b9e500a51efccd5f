"""Switchback experiments: a cluster takes turns, and what is randomised is a cluster in a period."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from homing.errors import InvalidInputError, describe
from homing.experiments.statistics.frames import as_lazy

#: The column that `switchback_periods` adds: a plan's `cluster`.
TURN = "turn"


def switchback_periods(
    frame: Any, *, cluster: str, time: str, start: datetime, period: timedelta, burn_in: timedelta
) -> Any:
    """Rows with the turn (cluster × period) that they fall into, without the beginning of each turn.

    Where units of a cluster share something (couriers, inventory, one inbox), a whole cluster is given one variant for
    a period, then another. The unit of randomisation is the turn: set a plan's `cluster="turn"`, and variances are by
    turn. What the period before has left behind (messages still unread, orders under way) is left out: rows within
    `burn_in` of the start of their turn. It must be as long as effects last, or they leak into the other variant
    (Bojinov, Simchi-Levi and Zhao 2023, "Design and Analysis of Switchback Experiments", Management Science 69).

    Wrong to use for effects that stay, such as opting out: no burn-in outlasts them.

    Args:
        frame: as `SufficientStatistics.from_frame` takes; one row per unit of analysis.
        cluster: column of the cluster, such as a market.
        time: column of the row's time.
        start: of the first period; rows before it are an error.
        period: length of a turn.
        burn_in: taken away at the start of every turn, shorter than the period.

    Returns:
        A polars.LazyFrame with the column `turn`: the cluster and the number of the period.

    Raises:
        InvalidInputError: if a column is missing, a row is before the start, or the burn-in leaves nothing.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"market": ["a", "a", "a"], "at": [datetime(2026, 1, 1, h) for h in (0, 5, 13)]})
        >>> switchback_periods(frame, cluster="market", time="at", start=datetime(2026, 1, 1),
        ...                    period=timedelta(hours=6), burn_in=timedelta(hours=1)).collect()["turn"].to_list()
        ['a:0', 'a:2']
    """
    import polars as pl

    if not timedelta(0) <= burn_in < period:
        raise InvalidInputError(
            describe("burn_in", str(burn_in), f"must be >= 0 and shorter than the period, {period}")
        )
    rows = as_lazy(frame)
    schema = rows.collect_schema()
    for name in (cluster, time):
        if name not in schema:
            raise InvalidInputError(describe("missing column", name, "must be in the data"))
    since = (pl.col(time) - pl.lit(start).cast(schema[time])).dt.total_microseconds()
    early = int(rows.select((since < 0).sum()).collect().item())
    if early:
        raise InvalidInputError(describe("rows before the start", early, "must be 0", "Start earlier, or drop them."))
    microsecond = timedelta(microseconds=1)
    number = since // (period // microsecond)
    kept = since % (period // microsecond) >= burn_in // microsecond
    return rows.filter(kept).with_columns((pl.col(cluster).cast(pl.String) + ":" + number.cast(pl.String)).alias(TURN))
