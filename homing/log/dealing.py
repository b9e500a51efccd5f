"""`write_parts`: a decision log of any size becomes parts of whole users, and is never in memory as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe
from homing.log.build import COLUMNS, build_dataset_with_report
from homing.log.columns import times
from homing.log.conform import conform
from homing.log.decision_log import DecisionLog
from homing.log.features import FeatureEncoder
from homing.log.ids import new_id
from homing.log.join import JoinReport
from homing.log.objectives import Objectives
from homing.log.parted import PARTS, Part, PartedDataset
from homing.log.parts import Part as LogPart
from homing.log.schema import OUTCOMES_SCHEMA

#: A part takes this share of the memory that may be used: training also needs its tensors, and what it judges by.
PART_SHARE = 1 / 16
#: Whole parts are held out for stopping, and each worker needs one: there are at least so many.
FEWEST_PARTS = 10
#: And rows that are sorted by part at a time, as they stand in the log.
BATCH_SHARE = 1 / 16

#: Record batches of one part: the file, and the batch's number in it.
Slices = list[tuple[Path, int]]
#: By part, slices of decisions and of outcomes.
Piles = dict[int, tuple[Slices, Slices]]
#: Number of rows, mean (m,), and sum of squared deviations from it (m,).
Moments = tuple[int, NDArray[np.float64], NDArray[np.float64]]


def write_parts(
    log: DecisionLog,
    objectives: Objectives,
    directory: str | Path,
    *,
    memory_mib: float = 1024.0,
    until: datetime | int | None = None,
    encoder: FeatureEncoder | None = None,
    engine: str | Engine = "process",
) -> PartedDataset:
    """Encode a log, attribute its outcomes and write it as parts of whole users, in bounded memory.

    Users are dealt to parts by a hash of their id: first the rows of each file go to the parts that they belong to,
    then each part is built as `build_dataset` does. Rows, rewards and features are those of `build_dataset` on the
    whole log, in another order. An outcome that names another user's decision counts as an orphan here, as that
    decision is in another part; neither joins.

    Args:
        log: pass it through `accept` first if it may break the format. On engine `ray` its files must be readable by
            all machines; what Ray Data reads is a log by `homing.engines.ray.blocks`.
        objectives: one reward column each.
        directory: a folder for the parts that holds none yet; needs room for the log twice.
        memory_mib: what preparation and training are meant to take beyond the libraries themselves; it sizes the parts.
        until: as for `build_dataset`.
        encoder: of a policy or of another part of the data; fitted on this log when not given.
        engine: `process`, `ray`, or an `Engine`.

    Raises:
        InvalidInputError: if the log is empty, a row breaks the data set's bounds, or parts are there already.

    Example:
        >>> import tempfile
        >>> from homing.policies import UniformPolicy
        >>> from homing.simulation import log_decisions, make_world
        >>> world = make_world("linkedin")
        >>> log = log_decisions(world, UniformPolicy(), days=2, n_users=50)
        >>> parts = write_parts(log, world.log_objectives, tempfile.mkdtemp())
        >>> parts.n == log.n_decisions, parts.n_users, len(parts.parts)
        (True, 50, 10)
    """
    check_positive("memory_mib", memory_mib)
    directory = Path(directory).absolute()
    if (directory / PARTS).exists():
        raise InvalidInputError(describe("directory", str(directory), f"must not hold {PARTS}", "Give an empty one."))
    encoder = FeatureEncoder.fit(log) if encoder is None else encoder
    count, batch_rows = _sizes(log, objectives, encoder, memory_mib * 2**20)
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="rows-", dir=directory) as scratch:
        dealer = _Dealer(Path(scratch), log.schema, count, batch_rows)
        builder = _Builder(directory, objectives, encoder, until)
        items = [*(_Item(0, i, part) for i, part in enumerate(log.decision_parts)),
                 *(_Item(1, i, part) for i, part in enumerate(log.outcome_parts))]  # fmt: skip
        shares = get_engine(engine).map_reduce(items, dealer.piles, _merged, builder.build)
    built = sorted((each for share in shares for each in share), key=lambda each: each.part.folder)
    if not built:
        raise InvalidInputError(describe("decisions", 0, "must be >= 1", "The log holds no decision."))
    rows, mean, squares = reduce(_pooled, (each.moments for each in built))
    parted = PartedDataset(
        directory,
        tuple(each.part for each in built),
        objectives.names,
        (len(encoder.context_names), len(encoder.candidate_names)),
        encoder,
        tuple(mean.tolist()),
        tuple(np.sqrt(squares / rows).tolist()),
        reduce(_summed, (each.report for each in built)).to_dict(),
    )
    parted.save()
    return parted


def _sizes(log: DecisionLog, objectives: Objectives, encoder: FeatureEncoder, memory: float) -> tuple[int, int]:
    """How many parts, and how many rows of the log at once; told from its first rows."""
    first = next((batch for batch in log.decision_batches(list(COLUMNS), batch_rows=1024) if len(batch)), None)
    if first is None:
        raise InvalidInputError(describe("decisions", 0, "must be >= 1", "The log holds no decision."))
    store = encoder.encode_candidates(first.column("candidates"), times(first.column("decided_at"), len(first)))
    k = store.shape[1]
    # Eligible flags and probabilities are padded; then seven numbers, and the rewards.
    fixed = 4 * len(encoder.context_names) + 9 * k + 8 * (7 + len(objectives.names))
    encoded = fixed + (store.codes.nbytes + store.numeric.nbytes) / len(first)
    count = max(int(np.ceil(log.n_decisions * encoded / (PART_SHARE * memory))), FEWEST_PARTS)
    return count, max(int(BATCH_SHARE * memory / (first.nbytes / len(first))), 256)


@dataclass(frozen=True)
class _Item:
    """A part of one of the log's tables: 0 for decisions, 1 for outcomes; and its number there."""

    table: int
    number: int
    part: LogPart


@dataclass(frozen=True)
class _Dealer:
    """Sorts rows by the part that their user belongs to.

    Attributes:
        folder: for what was sorted.
        schema: of decisions.
        count: of parts.
        batch_rows: that are sorted at a time.
    """

    folder: Path
    schema: pa.Schema
    count: int
    batch_rows: int

    def piles(self, item: _Item, shares: int) -> list[Piles]:
        """One file of record batches, each of one part; where they are, by share of the parts."""
        out: list[Piles] = [{} for _ in range(shares)]
        path = self.folder / f"{('decisions', 'outcomes')[item.table]}-{item.number}.arrow"
        schema = OUTCOMES_SCHEMA
        if item.table == 0:
            schema = pa.schema([self.schema.field(name) for name in COLUMNS], self.schema.metadata)
        # Should the task be lost and run again, nobody reads half a file.
        unfinished, written = path.with_suffix(f".{new_id()}"), 0
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for part, rows in self._sorted(item, schema):
                writer.write_batch(rows)
                out[part % shares].setdefault(part, ([], []))[item.table].append((path, written))
                written += 1
        unfinished.replace(path)
        return out

    def _sorted(self, item: _Item, schema: pa.Schema) -> Iterator[tuple[int, pa.RecordBatch]]:
        for batch in item.part.batches(schema.names, self.batch_rows):
            batch = conform(batch, schema)
            if batch.column("user_id").null_count:
                step = "Pass the log through `accept` first."
                raise InvalidInputError(describe(f"user_id in {item.part.name}", None, "must be given", step))
            part = _part_of(batch.column("user_id"), self.count)
            order = np.argsort(part, kind="stable")
            there, starts = np.unique(part[order], return_index=True)
            rows = batch.take(pa.array(order))
            for number, start, stop in zip(there, starts, [*starts[1:], len(order)], strict=True):
                yield int(number), rows.slice(start, stop - start)


def _part_of(ids: pa.Array, count: int) -> NDArray[np.int64]:
    """The part of each user (n,): 64 bits of BLAKE2b of the id, with a purpose of its own."""
    coded = ids.dictionary_encode()
    names = coded.dictionary.to_pylist()
    digests = b"".join(hashlib.blake2b(b"part\0" + name.encode(), digest_size=8).digest() for name in names)
    part = (np.frombuffer(digests, dtype=np.uint64) % np.uint64(count)).astype(np.int64)
    out: NDArray[np.int64] = part[coded.indices.to_numpy()]
    return out


def _merged(one: Piles, other: Piles) -> Piles:
    for part, (decisions, outcomes) in other.items():
        mine = one.setdefault(part, ([], []))
        mine[0].extend(decisions)
        mine[1].extend(outcomes)
    return one


@dataclass(frozen=True)
class _Built:
    """A part that was written, the moments of its rewards, and how its outcomes met decisions."""

    part: Part
    moments: Moments
    report: JoinReport


@dataclass(frozen=True)
class _Builder:
    """Makes a data set of each part's rows."""

    directory: Path
    objectives: Objectives
    encoder: FeatureEncoder
    until: datetime | int | None

    def build(self, piles: Piles) -> list[_Built]:
        """One part after the other, in memory of one."""
        return [self._part(number, *piles[number]) for number in sorted(piles) if piles[number][0]]

    def _part(self, number: int, decisions: Slices, outcomes: Slices) -> _Built:
        log = _Pile(decisions, outcomes)
        data, report = build_dataset_with_report(log, self.objectives, until=self.until, encoder=self.encoder)
        folder = f"part-{number:05}"
        # The encoder stands once, beside the parts.
        digest = replace(data, encoder=None).save(self.directory / folder)
        moments = data.n, data.reward.mean(axis=0), data.n * data.reward.var(axis=0)
        return _Built(Part(folder, data.n, data.n_users, digest), moments, report)


@dataclass(frozen=True)
class _Pile:
    """One part's rows, as `build_dataset` asks a log for them."""

    decisions: Slices
    outcome_slices: Slices

    def decision_batches(self, columns: Sequence[str]) -> list[pa.RecordBatch]:
        """All decisions, the slices put together: encoding costs by the batch."""
        found: list[pa.RecordBatch] = _table(self.decisions).combine_chunks().select(columns).to_batches()
        return found

    def outcomes(self) -> pa.Table:
        """All outcomes."""
        return _table(self.outcome_slices) if self.outcome_slices else OUTCOMES_SCHEMA.empty_table()


def _table(slices: Slices) -> pa.Table:
    """Record batches from their files, in an order that does not depend on which task wrote first."""
    numbers: dict[Path, list[int]] = {}
    for path, number in sorted(slices):
        numbers.setdefault(path, []).append(number)
    out = []
    for path, chosen in numbers.items():
        with pa.OSFile(str(path)) as source:
            reader = pa.ipc.open_file(source)
            out += [reader.get_batch(number) for number in chosen]
    return pa.Table.from_batches(out)


def _pooled(one: Moments, other: Moments) -> Moments:
    """Those of both (Chan, Golub & LeVeque 1983)."""
    rows, shift = one[0] + other[0], other[1] - one[1]
    mean = one[1] + shift * (other[0] / rows)
    return rows, mean, one[2] + other[2] + shift**2 * (one[0] * other[0] / rows)


def _summed(one: JoinReport, other: JoinReport) -> JoinReport:
    """Counts of both."""
    counts = {
        item.name: getattr(one, item.name) + getattr(other, item.name)
        for item in fields(JoinReport)
        if item.name not in ("until", "rows_with_outcome")
    }
    with_outcome = {name: count + other.rows_with_outcome[name] for name, count in one.rows_with_outcome.items()}
    return replace(one, **counts, rows_with_outcome=with_outcome)
