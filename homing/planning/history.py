"""Past horizons' requests by the hour: from a table of counts, or counted from a decision log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, unknown_name

#: With fewer days a guess from them is as good as none.
LEAST_DAYS = 10
COLUMNS = ("day", "hour", "requests")
_HOUR = timedelta(hours=1)


def read_history(path: str | Path, *, start: datetime, hours: float = 24.0) -> NDArray[np.float64]:
    """Requests (days, hours) of past horizons.

    When it is wrong to use: with days that differ in a way which is known beforehand (Sundays among workdays); keep to
    those that are like the one to come.

    Args:
        path: a decision log's folder, or a table, `.csv` or Parquet. A log's requests are its decisions, by
            `decided_at`; its first and last horizon are seldom whole, and left out, as are those without any. A table
            has the columns `day` (of any type), `hour` (whole hours since the horizon began: 0, 1, …) and `requests`,
            with a row for each hour of each day, also where no request came.
        start: when some horizon begins, UTC; all others begin whole horizons before or after.
        hours: how long one is, a whole number >= 2.

    Raises:
        InvalidInputError: if it cannot be read, an hour is missing or occurs twice, a count is no number >= 0, or there
            are fewer than ten days, or no requests at all.
        UnknownNameError: if a column is not there.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "past.csv")
        >>> rows = [f"{day},{hour},{100 + 10 * day + hour}" for day in range(10) for hour in range(24)]
        >>> written = file.write_text("\\n".join(["day,hour,requests", *rows]))
        >>> read_history(file, start=datetime(2026, 11, 23, tzinfo=UTC))[:2, :3].tolist()
        [[100.0, 101.0, 102.0], [110.0, 111.0, 112.0]]
    """
    if hours != int(hours) or hours < 2:
        bound = "must be a whole number >= 2: a history is told by the hour"
        raise InvalidInputError(describe("hours of the horizon", hours, bound, "Leave `history` out."))
    path = Path(path)
    found = _counted(path, start, int(hours)) if (path / "decisions").is_dir() else _listed(path, int(hours))
    if len(found) < LEAST_DAYS:
        bound = f"must be >= {LEAST_DAYS}"
        raise InvalidInputError(
            describe(f"days of {path.name}", len(found), bound, "Leave `history` out until there are more.")
        )
    if not found.any():
        step = "Leave `history` out until there are some."
        raise InvalidInputError(describe(f"requests of {path.name}", 0, "must be > 0 in some hour", step))
    return found


def _counted(path: Path, start: datetime, hours: int) -> NDArray[np.float64]:
    """Of a decision log."""
    from homing.log import read_log
    from homing.log.columns import times

    begin = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    counts: dict[int, NDArray[np.float64]] = {}
    for batch in read_log(path).decision_batches(columns=["decided_at"]):
        if batch.column("decided_at").null_count:
            raise InvalidInputError(describe(f"{path.name}: decided_at", None, "must be given in every decision"))
        at = (times(batch.column("decided_at"), batch.num_rows) - begin) // (_HOUR // timedelta(microseconds=1))
        for hour, count in zip(*np.unique(at, return_counts=True), strict=True):
            counts.setdefault(int(hour) // hours, np.zeros(hours))[int(hour) % hours] += count
    return np.array([counts[day] for day in sorted(counts)[1:-1]]).reshape(-1, hours)


def _listed(path: Path, hours: int) -> NDArray[np.float64]:
    """Of a table."""
    table = _table(path)
    missing = next((name for name in COLUMNS if name not in table.column_names), None)
    if missing is not None:
        raise unknown_name(f"column of {path.name}", missing, table.column_names)
    days, hour_of, requests = (table[name].to_pylist() for name in COLUMNS)
    found: dict[Any, NDArray[np.float64]] = {}
    for row, (day, hour, count) in enumerate(zip(days, hour_of, requests, strict=True)):
        if day is None:
            raise InvalidInputError(describe(f"{path.name}: day[{row}]", None, "must be given"))
        if isinstance(hour, bool) or not isinstance(hour, int | float) or hour not in range(hours):
            bound = f"must be a whole number in 0 … {hours - 1}, hours since the horizon began"
            raise InvalidInputError(describe(f"{path.name}: hour[{row}]", hour, bound))
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < np.inf:
            raise InvalidInputError(describe(f"{path.name}: requests[{row}]", count, "must be a finite number >= 0"))
        counts = found.setdefault(day, np.full(hours, np.nan))
        if not np.isnan(counts[int(hour)]):
            bound = f"must occur once for day {day!s}"
            raise InvalidInputError(describe(f"{path.name}: hour[{row}]", hour, bound, "Sum its requests."))
        counts[int(hour)] = count
    for day, counts in found.items():
        if np.isnan(counts).any():
            bound = f"must have hour {int(np.isnan(counts).argmax())}, too"
            step = "Write 0 where no request came, and leave out days that are not whole."
            raise InvalidInputError(describe(f"{path.name}: day", str(day), bound, step))
    return np.array(list(found.values())).reshape(-1, hours)


def _table(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        return pa.csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        why = " ".join(str(error).split())
        bound = f"must be a decision log, or a table in CSV or Parquet that can be read ({why})"
        raise InvalidInputError(describe("history", str(path), bound, "See docs/guides/planning.md.")) from error
