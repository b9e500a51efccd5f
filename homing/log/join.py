"""Outcomes to decisions: idempotent, whatever arrives twice, late or in another order.

Every outcome ends up in exactly one place of the `JoinReport`, so that nothing is lost in silence. Plain Arrow and
NumPy: hashing the ids is all that costs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log.columns import microseconds
from homing.log.objectives import Objective, Objectives

# Where an outcome ended up. The order is that of the checks: the first that holds is reported.
PLACES = (
    "duplicates", "after_until", "other_kinds", "orphans", "wrong_user", "unlinked", "before_decision", "late",
    "censored", "joined",
)  # fmt: skip
_PLACE = {name: code for code, name in enumerate(PLACES)}
_OUTCOME_ORDER = ("outcome_id", "occurred_at", "decision_id", "user_id", "kind", "value")


@dataclass(frozen=True)
class JoinReport:
    """What became of every outcome and every decision.

    `outcomes` is the sum of `joined`, `late`, `duplicates`, `orphans`, `wrong_user`, `unlinked`, `before_decision`,
    `after_until`, `censored` and `other_kinds`; `decisions` is the sum of `rows`, `censored_decisions` and
    `duplicate_decisions`.

    Attributes:
        outcomes: read from the log.
        joined: count for at least one objective of a decision that is in the data.
        late: occurred after the window of every objective that would count them.
        duplicates: further copies of an outcome id; the earliest copy is taken.
        orphans: their decision id is not in the log.
        wrong_user: their decision is another user's.
        unlinked: without a decision id, and no objective attributes them, or the user had no decision before.
        before_decision: occurred before the decision that they name.
        after_until: occurred at `until` or later.
        censored: belong to a decision that was left out because its window was open.
        other_kinds: no objective counts their kind.
        attributed: of the joined ones, those without a decision id.
        decisions: read from the log.
        rows: in the data.
        censored_decisions: left out: their longest window was not closed at `until`.
        duplicate_decisions: further copies of a decision id.
        rows_with_outcome: by objective, rows with at least one outcome.
        until: microseconds since 1970; None when the log was taken as complete.
    """

    outcomes: int = 0
    joined: int = 0
    late: int = 0
    duplicates: int = 0
    orphans: int = 0
    wrong_user: int = 0
    unlinked: int = 0
    before_decision: int = 0
    after_until: int = 0
    censored: int = 0
    other_kinds: int = 0
    attributed: int = 0
    decisions: int = 0
    rows: int = 0
    censored_decisions: int = 0
    duplicate_decisions: int = 0
    rows_with_outcome: dict[str, int] = field(default_factory=dict)
    until: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """A few lines for people."""
        rest = {name: getattr(self, name) for name in PLACES if name != "joined"}
        left = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in rest.items() if count)
        lines = [
            f"decisions {self.decisions:,}: rows {self.rows:,}, censored {self.censored_decisions:,},"
            f" duplicates {self.duplicate_decisions:,}",
            f"outcomes {self.outcomes:,}: joined {self.joined:,}" + (f", {left}" if left else ""),
        ]
        lines += [f"  {name}: {count:,} rows with an outcome" for name, count in self.rows_with_outcome.items()]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class DecisionKeys:
    """What the join needs of the decisions: n rows sorted by (decided_at, decision_id), no id twice."""

    decision_id: pa.Array  # string (n,)
    user: NDArray[np.int64]  # (n,) index into user_ids
    user_ids: pa.Array  # string, distinct
    time: NDArray[np.int64]  # (n,) microseconds since 1970


def join_outcomes(
    keys: DecisionKeys, outcomes: pa.Table, objectives: Objectives, *, until: datetime | int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], JoinReport]:
    """Compute the reward of every decision.

    Args:
        keys: of n decisions.
        outcomes: the log's outcomes, any order.
        objectives: m of them.
        until: outcomes at or after it are not seen; decisions whose longest window ends after it are not kept. None
            takes the log as complete.

    Returns:
        reward float64 (n, m), kept bool (n,), and the report. Permuting or repeating outcomes changes none of the
        first two.

    Example:
        >>> keys = DecisionKeys(pa.array(["d1"]), np.array([0]), pa.array(["u1"]), np.array([0]))
        >>> table = pa.table({"outcome_id": ["o1", "o1"], "decision_id": ["d1", "d1"], "user_id": ["u1", "u1"],
        ...     "kind": ["clicked", "clicked"], "occurred_at": [5, 5], "value": [1.0, 1.0]})
        >>> goal = Objectives.from_dict({"objectives": {"clicks":
        ...     {"kinds": ["clicked"], "window_hours": 1, "aggregate": "count"}}})
        >>> reward, kept, report = join_outcomes(keys, table, goal)
        >>> reward.tolist(), report.joined, report.duplicates
        ([[1.0]], 1, 1)
    """
    limit = None if until is None else microseconds("until", until)
    n = len(keys.time)
    kept = np.ones(n, dtype=bool)
    if limit is not None:
        kept = keys.time <= limit - objectives.longest_window_us
    table, duplicates = _drop_duplicates(outcomes)
    time = np.asarray(_numpy(pc.cast(table.column("occurred_at"), pa.int64())), dtype=np.int64)
    value = np.asarray(_numpy(pc.fill_null(table.column("value"), 1.0)), dtype=np.float64)
    user = _index_in(table.column("user_id"), keys.user_ids)
    decision = _index_in(table.column("decision_id"), keys.decision_id)
    linked = np.asarray(_numpy(table.column("decision_id").is_valid()), dtype=bool)
    kind = table.column("kind")
    row = decision
    if not linked.all() and any(objective.attribute_unlinked for _, objective in objectives.items()):
        row = np.where(linked, decision, _latest_decision(keys, user, time))

    place = np.full(table.num_rows, -1, dtype=np.int8)

    def put(name: str, where: NDArray[np.bool_]) -> None:
        place[where & (place < 0)] = _PLACE[name]

    if limit is not None:
        put("after_until", time >= limit)
    counts = np.zeros(table.num_rows, dtype=bool)  # for some objective by its kind
    takes = np.zeros(table.num_rows, dtype=bool)  # … and by its link
    in_window = np.zeros(table.num_rows, dtype=bool)
    elapsed = time - keys.time[np.maximum(row, 0)] if n else np.zeros(table.num_rows, dtype=np.int64)
    chosen: dict[str, NDArray[np.bool_]] = {}
    for name, objective in objectives.items():
        of_kind = _of_kinds(kind, objective)
        mine = of_kind & (linked | objective.attribute_unlinked)
        chosen[name] = mine & (row >= 0) & (elapsed >= 0) & (elapsed < objective.window_us)
        counts |= of_kind
        takes |= mine
        in_window |= chosen[name]
    put("other_kinds", ~counts)
    put("orphans", linked & (decision < 0))
    put("wrong_user", linked & (user != (keys.user[np.maximum(decision, 0)] if n else -1)))
    put("unlinked", ~linked & ~(takes & (row >= 0)))
    put("before_decision", elapsed < 0)
    put("late", ~in_window)
    put("censored", ~kept[np.maximum(row, 0)] if n else np.zeros(table.num_rows, dtype=bool))
    put("joined", np.ones(table.num_rows, dtype=bool))

    joined = place == _PLACE["joined"]
    # Sums of floats depend on their order; a fixed one makes them the same for any order of arrival.
    order = np.asarray(_numpy(pc.sort_indices(table.column("outcome_id"))), dtype=np.int64)
    order = order[joined[order]]
    order = order[np.lexsort((time[order], row[order]))]  # stable: ties stay in the order of their ids
    reward = np.zeros((n, len(objectives.names)))
    with_outcome: dict[str, int] = {}
    for column, (name, objective) in enumerate(objectives.items()):
        used = order[chosen[name][order]]
        reward[:, column], some = _aggregate(objective, row[used], value[used], n)
        with_outcome[name] = int((some & kept).sum())
    totals = {name: int((place == code).sum()) for name, code in _PLACE.items()}
    report = JoinReport(
        **{**totals, "duplicates": duplicates},
        outcomes=outcomes.num_rows,
        attributed=int((joined & ~linked).sum()),
        decisions=n,
        rows=int(kept.sum()),
        censored_decisions=n - int(kept.sum()),
        rows_with_outcome=with_outcome,
        until=limit,
    )
    return reward, kept, report


def _aggregate(
    objective: Objective, row: NDArray[np.int64], value: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    number = np.bincount(row, minlength=n).astype(np.float64)
    some = number > 0
    if objective.aggregate == "any":
        return some.astype(np.float64), some
    if objective.aggregate == "count":
        return number, some
    total: NDArray[np.float64] = np.bincount(row, weights=value, minlength=n).astype(np.float64)
    return (total if objective.aggregate == "sum" else total / np.maximum(number, 1.0)), some


def _drop_duplicates(outcomes: pa.Table) -> tuple[pa.Table, int]:
    """One row for each outcome id, the earliest; copies that differ are told apart by their other columns."""
    for name in ("outcome_id", "occurred_at"):
        column = outcomes.column(name)
        if column.null_count:
            row = int(np.argmax(_numpy(column.is_null())))
            raise InvalidInputError(
                describe(f"outcomes.{name}[{row}]", None, "must be given", "Pass the log through `accept` first.")
            )
    ids = outcomes.column("outcome_id")
    coded = ids.combine_chunks().dictionary_encode()
    codes = np.asarray(_numpy(coded.indices), dtype=np.int64)
    extra = len(codes) - len(coded.dictionary)
    if not extra:
        return outcomes, 0
    twice = np.bincount(codes)[codes] > 1
    copies = outcomes.filter(pa.array(twice))
    copies = copies.take(pc.sort_indices(copies, sort_keys=[(name, "ascending") for name in _OUTCOME_ORDER]))
    ids = copies.column("outcome_id").combine_chunks()
    first = np.ones(len(ids), dtype=bool)
    first[1:] = _numpy(pc.not_equal(ids[1:], ids[:-1]))
    return pa.concat_tables([outcomes.filter(pa.array(~twice)), copies.filter(pa.array(first))]), extra


def _latest_decision(keys: DecisionKeys, user: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of the user's last decision at or before each time, -1 when there is none; same moment: the last row."""
    by_user = np.argsort(keys.user, kind="stable")  # rows are in time order, so each user's stay so
    starts = np.searchsorted(keys.user[by_user], np.arange(len(keys.user_ids) + 1))
    # Ranks of times make (user, time) one integer, so that a single binary search finds the place.
    moments = np.unique(keys.time)
    width = len(moments) + 1
    ordered = keys.user[by_user] * width + np.searchsorted(moments, keys.time[by_user]) + 1
    wanted = user * width + np.searchsorted(moments, time, side="right")
    at = np.searchsorted(ordered, wanted, side="right") - 1
    found = (user >= 0) & (at >= starts[np.maximum(user, 0)]) if len(keys.user_ids) else np.zeros(len(user), bool)
    return np.where(found, by_user[np.maximum(at, 0)] if len(by_user) else -1, -1).astype(np.int64)


def _of_kinds(kind: pa.ChunkedArray, objective: Objective) -> NDArray[np.bool_]:
    return np.asarray(_numpy(pc.is_in(kind, value_set=pa.array(objective.kinds, pa.string()))), dtype=bool)


def _index_in(values: pa.ChunkedArray, known: pa.Array) -> NDArray[np.int64]:
    """Position of each value among `known`; -1 where it is not among them, or null."""
    found = pc.fill_null(pc.index_in(values, value_set=known, skip_nulls=True), -1)
    return np.asarray(_numpy(found), dtype=np.int64)


def _numpy(column: Any) -> NDArray[Any]:
    if isinstance(column, pa.ChunkedArray):
        return np.asarray(column.to_numpy())
    return np.asarray(column.to_numpy(zero_copy_only=False))
