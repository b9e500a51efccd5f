"""`build_dataset`: a decision log and objectives become a `LoggedDataset`. The log is read in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log.candidates import CandidateStore
from homing.log.columns import times
from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder
from homing.log.join import DecisionKeys, JoinReport, join_outcomes
from homing.log.objectives import Objectives

COLUMNS = (
    "decision_id", "user_id", "decided_at", "context", "candidates", "eligible", "action", "propensity", "propensities",
)  # fmt: skip


def build_dataset(
    log: Any,
    objectives: Objectives,
    *,
    until: datetime | int | None = None,
    encoder: FeatureEncoder | None = None,
) -> LoggedDataset:
    """Encode features, attribute outcomes, order the rows by (decided_at, decision_id).

    Wrong to use on decisions whose outcomes are still coming in without `until`: their rewards would be too small.

    Args:
        log: a `DecisionLog`; pass it through `accept` first if it may break the format.
        objectives: one reward column each.
        until: a datetime with a time zone, or microseconds since 1970. Outcomes from then on are not seen, and
            decisions whose longest window ends after it are left out. None takes the log as complete.
        encoder: of a policy or of another part of the data; fitted on this log when not given.

    Returns:
        The dataset, with its encoder, user ids, and the logged distributions where every row has one.

    Raises:
        InvalidInputError: if the log is empty or a row breaks the dataset's bounds.
    """
    return build_dataset_with_report(log, objectives, until=until, encoder=encoder)[0]


def build_dataset_with_report(
    log: Any,
    objectives: Objectives,
    *,
    until: datetime | int | None = None,
    encoder: FeatureEncoder | None = None,
) -> tuple[LoggedDataset, JoinReport]:
    """The same as `build_dataset`, with what became of every outcome and decision."""
    encoder = FeatureEncoder.fit(log) if encoder is None else encoder
    parts = _Parts()
    for batch in log.decision_batches(columns=list(COLUMNS)):
        if batch.num_rows:
            parts.add(batch, encoder)
    if not parts.time:
        raise InvalidInputError(describe("decisions", 0, "must be >= 1", "The log holds no decision."))
    rows = parts.together()
    ranks = _ranks(rows.decision_id)
    order, duplicates = _first_of_each(ranks, np.lexsort((ranks, rows.time)))
    user, user_ids = _users(rows.user_id)
    keys = DecisionKeys(rows.decision_id.take(pa.array(order)), user[order], user_ids, rows.time[order])
    reward, kept, report = join_outcomes(keys, log.outcomes(), objectives, until=until)
    report = replace(report, decisions=report.decisions + duplicates, duplicate_decisions=duplicates)
    if not kept.any():
        bound = "must be >= 1 whose outcome windows are closed at `until`"
        raise InvalidInputError(
            describe("decisions", 0, bound, f"{report.decisions} are open: wait, or shorten the windows.")
        )
    chosen = order[kept]
    store = rows.candidates.take(chosen)
    k = store.shape[1]
    dataset = LoggedDataset(
        context=rows.context[chosen],
        candidates=store,
        eligible=_pad(rows.eligible, rows.candidates.offsets, chosen, k, False).astype(bool),
        action=rows.action[chosen],
        propensity=rows.propensity[chosen],
        reward=reward[kept],
        objectives=objectives.names,
        user=user[chosen],
        time=rows.time[chosen],
        encoder=encoder,
        user_ids=np.asarray(user_ids.to_pylist(), dtype=str),
        probs=None if rows.probs is None else _pad(rows.probs, rows.candidates.offsets, chosen, k, 0.0),
    )
    return dataset, report


@dataclass
class _Parts:
    """Columns of the log as they are read, one entry a batch."""

    decision_id: list[pa.Array] = field(default_factory=list)
    user_id: list[pa.Array] = field(default_factory=list)
    time: list[NDArray[np.int64]] = field(default_factory=list)
    context: list[NDArray[np.float32]] = field(default_factory=list)
    candidates: list[CandidateStore] = field(default_factory=list)
    eligible: list[NDArray[np.bool_]] = field(default_factory=list)
    action: list[NDArray[np.int64]] = field(default_factory=list)
    propensity: list[NDArray[np.float64]] = field(default_factory=list)
    probs: list[NDArray[np.float64]] | None = field(default_factory=list)

    def add(self, batch: pa.RecordBatch, encoder: FeatureEncoder) -> None:
        start = sum(len(time) for time in self.time)
        for name in ("decision_id", "user_id", "decided_at", "candidates", "eligible", "action", "propensity"):
            column = batch.column(name)
            if column.null_count:
                row = start + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                raise InvalidInputError(
                    describe(f"{name}[{row}]", None, "must be given", "Pass the log through `accept` first.")
                )
        time = times(batch.column("decided_at"), batch.num_rows)
        store = encoder.encode_candidates(batch.column("candidates"), time)
        self.decision_id.append(batch.column("decision_id"))
        self.user_id.append(batch.column("user_id").dictionary_encode())
        self.time.append(time)
        self.context.append(encoder.encode_context(batch.column("context")))
        self.candidates.append(store)
        self.eligible.append(_flat("eligible", batch.column("eligible"), store, start).astype(bool))
        self.action.append(batch.column("action").to_numpy(zero_copy_only=False).astype(np.int64))
        self.propensity.append(batch.column("propensity").to_numpy(zero_copy_only=False).astype(np.float64))
        if batch.column("propensities").null_count:
            self.probs = None
        if self.probs is not None:
            self.probs.append(_flat("propensities", batch.column("propensities"), store, start).astype(np.float64))

    def together(self) -> _Rows:
        """All batches as one; each column's are let go once it is whole, so that little is there twice."""
        return _Rows(
            _drained(self.decision_id, pa.concat_arrays),
            _drained(self.user_id, lambda parts: pa.chunked_array(parts).unify_dictionaries().combine_chunks()),
            _drained(self.time, _concat),
            _drained(self.context, _concat),
            _drained(self.candidates, stack),
            _drained(self.eligible, _concat),
            _drained(self.action, _concat),
            _drained(self.propensity, _concat),
            None if self.probs is None else _drained(self.probs, _concat),
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """All rows of the log in the order of reading; `eligible` and `probs` flat, one entry a candidate."""

    decision_id: pa.Array
    user_id: pa.Array  # dictionary-coded
    time: NDArray[np.int64]
    context: NDArray[np.float32]
    candidates: CandidateStore
    eligible: NDArray[np.bool_]
    action: NDArray[np.int64]
    propensity: NDArray[np.float64]
    probs: NDArray[np.float64] | None


def _drained(parts: list[Any], concat: Callable[[list[Any]], Any]) -> Any:
    whole = concat(parts)
    parts.clear()
    return whole


def _concat(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def stack(stores: list[CandidateStore]) -> CandidateStore:
    """Candidates of many decisions after those of others."""
    counts = np.concatenate([store.counts for store in stores])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    codes, numeric = _concat([store.codes for store in stores]), _concat([store.numeric for store in stores])
    return CandidateStore(codes, stores[0].levels, numeric, offsets)


def _flat(name: str, lists: pa.Array, store: CandidateStore, start: int) -> NDArray[Any]:
    """The values of a list column, checked to have one entry for each candidate."""
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    if not np.array_equal(lengths, store.counts):
        row = int(np.argmax(lengths != store.counts))
        raise InvalidInputError(
            describe(
                f"len({name}[{start + row}])", int(lengths[row]), f"must be {store.counts[row]}, one per candidate"
            )
        )
    values = lists.flatten()
    if values.null_count:
        raise InvalidInputError(
            describe(f"{name} from row {start}", None, "must not be null", "Pass the log to `accept`.")
        )
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _pad(values: NDArray[Any], offsets: NDArray[np.int64], rows: NDArray[np.int64], k: int, fill: Any) -> NDArray[Any]:
    """The flat entries of `rows` as (len(rows), k)."""
    place = offsets[rows][:, None] + np.arange(k)[None, :]
    real = place < offsets[rows + 1][:, None]
    return np.asarray(np.where(real, values[np.minimum(place, len(values) - 1)], fill))


def _ranks(ids: pa.Array) -> NDArray[np.int64]:
    """Place of each id in their order, the same for equal ids: one sort of the strings, then integers."""
    by_id = pc.sort_indices(ids)
    ordered = ids.take(by_id)
    new = pc.not_equal(ordered[1:], ordered[:-1]).to_numpy(zero_copy_only=False)
    out = np.zeros(len(ids), dtype=np.int64)
    out[by_id.to_numpy()[1:]] = np.cumsum(new)
    return out


def _first_of_each(ranks: NDArray[np.int64], order: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Rows in order without further copies of a decision id, and how many those were."""
    extra = len(ranks) - int(ranks.max()) - 1
    if not extra:
        return order, 0
    return order[np.sort(np.unique(ranks[order], return_index=True)[1])], extra


def _users(coded: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """User codes in the order of their ids, so that they do not depend on the order of rows; and the ids."""
    by_id = pc.sort_indices(coded.dictionary)
    rank = np.empty(len(by_id), dtype=np.int64)
    rank[by_id.to_numpy()] = np.arange(len(by_id))
    return rank[coded.indices.to_numpy()], coded.dictionary.take(by_id)
