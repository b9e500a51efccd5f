"""The exposure log: which unit met which variant when; with the outcomes, all that an analysis needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.errors import CorruptFileError, InvalidInputError, describe
from homing.experiments.assignment import Assignment
from homing.experiments.hashing import unit_text

if TYPE_CHECKING:
    import pyarrow as pa

    from homing.experiments.plan import ExperimentPlan

COLUMNS = ("unit_id", "experiment", "variant", "exposed_at", "plan_digest")


def exposure_schema() -> pa.Schema:
    """Columns and types: ids as text, times in UTC to the microsecond."""
    import pyarrow as pa

    types = {"exposed_at": pa.timestamp("us", tz="UTC")}
    return pa.schema([pa.field(name, types.get(name, pa.string()), nullable=False) for name in COLUMNS])


def expose(assignment: Assignment, plan: ExperimentPlan, unit_ids: Any, exposed_at: Any) -> pa.Table:
    """Exposure rows of units that reached the point where variants differ; units outside of the experiment have none.

    Log a unit when it could first see a difference, in every variant alike, and not when it was assigned: whoever never
    came that far dilutes every effect, and whoever is counted in one variant only is a sample ratio mismatch.

    Args:
        assignment: of the experiment.
        plan: its plan, whose digest each row carries.
        unit_ids: (n,), text or whole numbers; the same unit may come again.
        exposed_at: (n,) or one, UTC: datetimes or NumPy datetime64.

    Returns:
        (m,) rows of `exposure_schema`, first exposures only, in order of time.

    Raises:
        InvalidInputError: if an id or a time is missing or the assignment is of another experiment.

    Example:
        >>> from homing.experiments import ExperimentPlan, Metric
        >>> plan = ExperimentPlan("greeting", [Metric("visits", "mean", "visits")], salt="s")
        >>> rows = expose(Assignment.of(plan), plan, ["u1", "u2", "u1"], np.datetime64("2026-03-01T10:00"))
        >>> rows.select(["unit_id", "variant"]).to_pylist()
        [{'unit_id': 'u1', 'variant': 'control'}, {'unit_id': 'u2', 'variant': 'treatment'}]
    """
    import pyarrow as pa

    if assignment.experiment != plan.name:
        raise InvalidInputError(
            describe("experiment of the assignment", assignment.experiment, f"must be {plan.name!r}, the plan's")
        )
    ids = unit_text(unit_ids)
    codes = assignment.codes(ids)
    times = _times(exposed_at, len(codes))
    inside = np.flatnonzero(codes >= 0)
    names = np.array(list(assignment.variants), dtype=object)
    columns = {
        "unit_id": ids.take(pa.array(inside)).cast(pa.string()),
        "experiment": pa.array([plan.name] * len(inside), pa.string()),
        "variant": pa.array(names[codes[inside]], pa.string()),
        "exposed_at": pa.array(times[inside]).cast(pa.timestamp("us", tz="UTC")),
        "plan_digest": pa.array([plan.digest] * len(inside), pa.string()),
    }
    return merge_exposures(pa.table(columns, schema=exposure_schema()))


def merge_exposures(*tables: Any) -> pa.Table:
    """One log of several: each unit's first exposure to each experiment, in order of time, whatever the order came in.

    Args:
        tables: Arrow tables or Polars frames with the columns of `exposure_schema`.

    Raises:
        InvalidInputError: if a column is missing, a unit has two variants of an experiment, or an experiment two plans.

    Example:
        >>> from homing.experiments import ExperimentPlan, Metric
        >>> plan = ExperimentPlan("greeting", [Metric("visits", "mean", "visits")])
        >>> at = Assignment.of(plan)
        >>> late, early = (expose(at, plan, ["u1"], np.datetime64(day)) for day in ("2026-03-02", "2026-03-01"))
        >>> sorted({str(at.date()) for at in merge_exposures(late, early)["exposed_at"].to_pylist()})
        ['2026-03-01']
    """
    import polars as pl

    frames = [item if isinstance(item, pl.DataFrame) else pl.DataFrame(item) for item in tables]
    for frame in frames:
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            step = f"An exposure log has {', '.join(COLUMNS)}."
            raise InvalidInputError(describe("missing columns", missing, "must be there", step))
    if not frames:
        return exposure_schema().empty_table()
    rows = pl.concat([frame.select(COLUMNS) for frame in frames]).sort("exposed_at", "experiment", "unit_id")
    kept = rows.group_by("experiment", "unit_id", maintain_order=True).agg(
        pl.col("variant").first(), pl.col("exposed_at").first(), pl.col("plan_digest").first(),
        pl.col("variant").n_unique().alias("variants"),
    )  # fmt: skip
    torn = kept.filter(pl.col("variants") > 1)
    if torn.height:
        bound = f"must be 0, one is {torn['unit_id'][0]!r} of {torn['experiment'][0]!r}"
        step = "Assign by the unit's id alone; a salt, a layer or shares changed after the start?"
        raise InvalidInputError(describe("units in two variants of an experiment", torn.height, bound, step))
    plans = rows.group_by("experiment").agg(pl.col("plan_digest").unique().sort())
    torn = plans.filter(pl.col("plan_digest").list.len() > 1)
    if torn.height:
        step = "A plan that changes after its start is another experiment: give it another name."
        name, digests = torn["experiment"][0], torn["plan_digest"][0].to_list()
        raise InvalidInputError(describe(f"plans of experiment {name!r}", digests, "must be one", step))
    return kept.select(COLUMNS).to_arrow().cast(exposure_schema())


@dataclass
class ExposureLog:
    """Exposures of one experiment as they happen: the online twin of `expose`, with the same rows.

    Not safe for threads; a service keeps one for each worker and merges the files (`merge_exposures`).

    Attributes:
        assignment: of the experiment.
        plan: its plan.

    Example:
        >>> from homing.experiments import ExperimentPlan, Metric
        >>> plan = ExperimentPlan("greeting", [Metric("visits", "mean", "visits")])
        >>> log = ExposureLog(Assignment.of(plan), plan)
        >>> at = datetime(2026, 3, 1, 10, tzinfo=UTC)
        >>> log.expose("u1", at) == log.expose("u1", at) == Assignment.of(plan).variant("u1"), len(log)
        (True, 1)
    """

    assignment: Assignment
    plan: ExperimentPlan

    def __post_init__(self) -> None:
        self._first: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._first)

    def expose(self, unit_id: str | int, at: datetime) -> str | None:
        """The unit's variant, with its first exposure kept; None, and nothing kept, where it takes no part."""
        variant = self.assignment.variant(unit_id)
        if variant is None:
            return None
        moment, unit = _utc(at), str(unit_id)
        self._first[unit] = min(moment, self._first.get(unit, moment))
        return variant

    def table(self) -> pa.Table:
        """Everything so far, as of `exposure_schema`."""
        times = np.array([np.datetime64(at.replace(tzinfo=None), "us") for at in self._first.values()], dtype="M8[us]")
        return expose(self.assignment, self.plan, list(self._first), times)


def write_exposures(table: pa.Table, path: str | Path) -> None:
    """Write exposures to a Parquet file whose pages have checksums; it appears whole or not at all."""
    import pyarrow.parquet as pq

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(table.cast(exposure_schema()), unfinished, compression="zstd", write_page_checksum=True)
    unfinished.replace(path)


def read_exposures(*paths: str | Path) -> pa.Table:
    """Files of exposures as one log, each unit's first exposure.

    Raises:
        CorruptFileError: if a file's bytes do not match its checksums.
        InvalidInputError: as in `merge_exposures`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for path in paths:
        try:
            tables.append(pq.read_table(path, page_checksum_verification=True))
        except (pa.ArrowInvalid, OSError) as error:
            step = "Restore it from where it came; what is damaged cannot be analysed."
            raise CorruptFileError(describe("file", str(path), f"cannot be read ({error})", step)) from error
    return merge_exposures(*tables)


def for_analysis(table: Any, plan: ExperimentPlan) -> Any:
    """A plan's exposures as `SufficientStatistics.from_frame` takes them: the plan's unit column, variant, exposed_at.

    Raises:
        InvalidInputError: if the log has other plans' exposures under the plan's name, or none at all.
    """
    import polars as pl

    rows = (table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)).filter(pl.col("experiment") == plan.name)
    if rows.height == 0:
        raise InvalidInputError(describe(f"exposures of {plan.name!r}", 0, "must be at least 1", "Is this its log?"))
    others = rows.filter(pl.col("plan_digest") != plan.digest)["plan_digest"].unique().to_list()
    if others:
        step = "Analyse under the plan that was running; a plan that changes is another experiment."
        raise InvalidInputError(describe("plan_digest of exposures", others[0], f"must be {plan.digest}", step))
    return rows.select(pl.col("unit_id").alias(plan.unit), "variant", "exposed_at")


def _times(exposed_at: Any, count: int) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """(n,), naive UTC to the microsecond."""
    given = np.asarray(exposed_at.to_numpy() if hasattr(exposed_at, "to_numpy") else exposed_at)
    if given.dtype == object:
        moments = [at if at is None else _utc(at).replace(tzinfo=None) for at in given.reshape(-1).tolist()]
        given = np.array(moments, dtype="M8[us]").reshape(given.shape)
    if given.dtype.kind != "M":
        step = "Pass datetimes in UTC."
        raise InvalidInputError(describe("type of exposed_at", str(given.dtype), "must be a time", step))
    times = np.broadcast_to(given.astype("M8[us]"), (count,))
    if np.isnat(times).any():
        row = int(np.argmax(np.isnat(times)))
        raise InvalidInputError(describe(f"exposed_at[{row}]", None, "must be given", "When did the unit see it?"))
    return times


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise InvalidInputError(describe("exposed_at", at, "must say its time zone", "For example tzinfo=UTC."))
    return at.astimezone(UTC)
