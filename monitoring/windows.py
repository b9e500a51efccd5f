"""A window of the decision log as flat columns, sampled to a bounded number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog, accept
from monitoring.report import digest

_NOT_COMPARED = ("expires_at",)


@dataclass(frozen=True, eq=False)
class Window:
    """Some decisions of a log, one row each, n rows in order of time.

    Attributes:
        log: the sampled decisions (sorted by `decided_at`, `decision_id`) with their outcomes.
        user: (n,) user ids. They never leave this object: reports hold counts only.
        columns: name → (n,) float64 with NaN for missing, or object of strings with None for missing.
        groups: name → group (see `monitoring.rules.GROUPS`).
        policies: every `name@version` among the rows.
        rows_total: decisions in the log before sampling.
        first_at, last_at: time span of the rows, ISO 8601; None when there are none.
        digest: identifies the log (number of decisions and their time span), whatever was sampled.
        notes: what was left out, one sentence each.
    """

    log: DecisionLog
    user: NDArray[np.str_]
    columns: dict[str, NDArray[np.generic]]
    groups: dict[str, str]
    policies: tuple[str, ...]
    rows_total: int
    first_at: str | None
    last_at: str | None
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of decisions in the window."""
        return len(self.user)

    @property
    def users(self) -> int:
        """Number of distinct users."""
        return len(np.unique(self.user))


def read_window(
    log: DecisionLog, *, maximum_rows: int, rng: np.random.Generator, since: datetime | None = None
) -> Window:
    """Flatten a decision log into columns.

    Context features become `context.NAME`. A decision offers many candidates; one of them other than silence, drawn
    uniformly with `rng`, stands for the decision in the `candidate.NAME` columns: so rows stay decisions, and what is
    compared is the mix of what was on offer. What was chosen is in `action.NAME`.

    Args:
        log: read in batches; only the sampled rows are held.
        maximum_rows: larger logs are sampled uniformly, without replacement.
        rng: draws the sample and the candidates.
        since: leave out decisions before this time; None keeps all.

    Raises:
        InvalidInputError: if a column that every log has is missing, or more sampled rows break the format than
            `homing.log.accept` bears.
    """
    sampled, total, span = _sample(log, maximum_rows, rng, since)
    # As in training, rows that break the format are left out, and those of a decision that was exported twice but one.
    accepted, checked = accept(DecisionLog.from_tables(sampled, _outcomes_of(log, sampled)), None)
    decisions, notes = accepted.decisions(), ()
    if checked.reasons:
        most = max(checked.reasons, key=checked.reasons.__getitem__)
        notes = (
            f"{checked.rejected_decisions:,} of {checked.n_decisions:,} sampled decisions and "
            f"{checked.rejected_outcomes:,} of {checked.n_outcomes:,} outcomes break the format and were left out, "
            f"most often: {most}. Run: homing log validate PATH.",
        )
    identity = digest(total, span)
    if not decisions.num_rows:
        empty = DecisionLog.from_tables(decisions)
        none = np.empty(0, dtype=str)
        return Window(empty, none, {}, {}, (), total, None, None, identity, notes)
    order = pc.sort_indices(decisions, sort_keys=[("decided_at", "ascending"), ("decision_id", "ascending")])
    decisions = decisions.take(order).combine_chunks()
    columns: dict[str, NDArray[np.generic]] = {}
    groups: dict[str, str] = {}

    def put(group: str, name: str, values: pa.Array | NDArray[np.generic]) -> None:
        columns[name] = _flat(values) if isinstance(values, pa.Array) else values
        groups[name] = group

    context = _array(decisions["context"])
    for i in range(context.type.num_fields):
        put("context", f"context.{context.type.field(i).name}", pc.struct_field(context, [i]))
    candidates, action = _array(decisions["candidates"]), decisions["action"].to_numpy()
    starts, counts = _spans(candidates)
    offered = candidates.flatten()
    put("candidates", "candidates.count", (counts - 1).astype(np.float64))
    drawn = starts + 1 + np.floor(rng.random(len(starts)) * np.maximum(counts - 1, 1)).astype(np.int64)
    some = offered.take(pa.array(drawn, mask=counts < 2))
    names = [offered.type.field(i).name for i in range(offered.type.num_fields)]
    for name in names:
        if name not in _NOT_COMPARED:
            put("candidates", f"candidate.{name}", pc.struct_field(some, name))
    if "expires_at" in names:
        left = pc.struct_field(some, "expires_at").cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
        put("candidates", "candidate.hours_to_expiry", (left - _micros(decisions["decided_at"])) / 3.6e9)
    eligible = _array(decisions["eligible"])
    flags = eligible.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    flag_starts, flag_counts = _spans(eligible)
    running = np.concatenate([[0.0], np.cumsum(flags)])
    # Silence is left out: it is always eligible, and would dilute the rate where few candidates are offered.
    messages = running[flag_starts + flag_counts] - running[flag_starts + 1]
    rate = np.where(flag_counts > 1, messages / np.maximum(flag_counts - 1, 1), np.nan)
    put("eligibility", "eligible.share", rate)
    chosen = offered.take(pa.array(starts + np.clip(action, 0, counts - 1)))
    for name in ("message_id", "channel"):
        put("action", f"action.{name}", pc.struct_field(chosen, name))
    put("propensity", "propensity", decisions["propensity"].to_numpy().astype(np.float64))
    times = decisions["decided_at"]
    return Window(
        log=DecisionLog.from_tables(decisions, accepted.outcomes()),
        user=decisions["user_id"].to_numpy().astype(str),
        columns=columns,
        groups=groups,
        policies=tuple(sorted(pc.unique(decisions["policy"]).to_pylist())),
        rows_total=total,
        first_at=times[0].as_py().isoformat(timespec="seconds"),
        last_at=times[-1].as_py().isoformat(timespec="seconds"),
        digest=identity,
        notes=notes,
    )


def _sample(
    log: DecisionLog, maximum_rows: int, rng: np.random.Generator, since: datetime | None
) -> tuple[pa.Table, int, tuple[int, int] | None]:
    """At most `maximum_rows` decisions from `since` on, uniformly; how many there are, and their time span."""
    parts_of_time = [
        batch.column("decided_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
        for batch in log.decision_batches(columns=["decided_at"])
    ]
    times = np.concatenate([np.empty(0, np.int64), *parts_of_time])
    wanted = np.flatnonzero(times >= (-(2**62) if since is None else int(since.timestamp() * 1e6)))
    total = len(wanted)
    span = (int(times[wanted].min()), int(times[wanted].max())) if total else None
    if total > maximum_rows:
        wanted = np.sort(rng.choice(wanted, maximum_rows, replace=False))
    parts, start = [], 0
    for batch in log.decision_batches():
        low, high = np.searchsorted(wanted, [start, start + batch.num_rows])
        if high > low:
            parts.append(batch.take(pa.array(wanted[low:high] - start)))
        start += batch.num_rows
    return pa.Table.from_batches(parts, schema=log.schema), total, span


def _outcomes_of(log: DecisionLog, decisions: pa.Table) -> pa.Table | None:
    """The outcomes of the sampled decisions, and the users' outcomes that name no decision."""
    ids, users, parts = _array(decisions["decision_id"]), _array(decisions["user_id"]), []
    for batch in log.outcome_batches():
        table = pa.table(batch)
        linked = pc.is_in(table["decision_id"], value_set=ids)
        unlinked = pc.and_(pc.is_null(table["decision_id"]), pc.is_in(table["user_id"], value_set=users))
        parts.append(table.filter(pc.or_(linked, unlinked)))
    return pa.concat_tables(parts) if parts else None


def _array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def _spans(lists: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and length of each list within `lists.flatten()`."""
    counts = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
    if (counts < 1).any():
        row = int(np.argmax(counts < 1))
        raise InvalidInputError(
            describe(
                f"decisions[{row}]", "no candidates", "must offer at least silence", "Run: homing log validate PATH."
            )
        )
    return np.cumsum(counts) - counts, counts


def _micros(times: pa.ChunkedArray) -> NDArray[np.float64]:
    return _array(times).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy().astype(np.float64)


def _flat(values: pa.Array) -> NDArray[np.generic]:
    """float64 with NaN, or object with None."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values.cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
