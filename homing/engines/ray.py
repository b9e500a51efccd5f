"""Items as tasks of a Ray cluster, with a shuffle between them, and processes that train together by Ray Train.

Nothing passes through this process but results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pyarrow as pa

from homing.checks import check_positive
from homing.errors import HomingError, InvalidInputError, describe, missing_dependency

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


@dataclass(frozen=True)
class OnRay:
    """Runs on the Ray cluster that this process is connected to; connects as `ray.init` does where it is not yet.

    A task whose worker or machine dies is run again from its item, and what was lost with it too: Ray keeps the lineage
    of what tasks return, and a task's return counts once. An item that is an object reference is fetched by its task.

    Attributes:
        shares: how many tasks merge; None for one a CPU of the cluster, at most one an item.
        retries: how often a task is run again that was lost, and processes that work together of which one was.
        here: False.
    """

    here: ClassVar[bool] = False

    shares: int | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        if self.shares is not None:
            check_positive("shares", self.shares)

    def map_reduce(
        self,
        items: Sequence[Item],
        split: Callable[[Item, int], Sequence[Piece]],
        merge: Callable[[Piece, Piece], Piece],
        finish: Callable[[Piece], Result],
    ) -> list[Result]:
        """See `Engine.map_reduce`."""
        if not items:
            raise InvalidInputError(describe("items", [], "must be at least one"))
        ray = _ray()
        _connect(ray)
        shares = self.shares or min(len(items), max(1, int(ray.cluster_resources().get("CPU", 1))))

        def mapped(item: Item, work: Callable[[Item, int], Sequence[Piece]]) -> Any:
            pieces = work(item, shares)
            return pieces[0] if shares == 1 else tuple(pieces)

        def reduced(
            join: Callable[[Piece, Piece], Piece], last: Callable[[Piece], Result], first: Piece, *pieces: Piece
        ) -> Result:
            return last(reduce(join, pieces, first))

        map_task = ray.remote(max_retries=self.retries, num_returns=shares)(mapped)
        reduce_task = ray.remote(max_retries=self.retries)(reduced)
        work, join, last = ray.put(split), ray.put(merge), ray.put(finish)
        pieces = [map_task.remote(item, work) for item in items]
        columns = [pieces] if shares == 1 else list(zip(*pieces, strict=True))
        try:
            return list(ray.get([reduce_task.remote(join, last, *column) for column in columns]))
        except ray.exceptions.RayTaskError as error:
            # What a person can cause is told as it is, without the remote stack.
            if isinstance(error.cause, HomingError):
                raise error.cause from None
            raise

    def together(self, work: Callable[[], Result], *, workers: int, gpus: bool, folder: Path | None) -> Result:
        """See `Engine.together`; a worker takes a CPU of the cluster, and a GPU where asked."""
        if folder is None:
            raise InvalidInputError(describe("folder", None, "must be given", "Name one that all machines can reach."))
        ray = _ray()
        _connect(ray)
        from ray import train
        from ray.train.torch import TorchTrainer

        known = "GPU" if gpus else "CPU"
        if workers > (there := int(ray.cluster_resources().get(known, 0))):
            step = "They would wait for ever: take fewer, or a larger cluster."
            raise InvalidInputError(describe("workers", workers, f"must be <= {there}, the cluster's {known}s", step))

        def loop() -> Result:
            return work()

        attempt = 0
        while True:
            trainer = TorchTrainer(
                loop,
                scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=gpus),
                run_config=train.RunConfig(name=f"attempt-{attempt}", storage_path=str(folder / "ray")),
            )
            try:
                done: Result = trainer.fit().return_value
                return done
            except train.WorkerGroupError as error:
                # What a person can cause would go wrong again. All else may be a worker that is gone: those that it
                # leaves behind raise errors of their own, which can be the first to be seen.
                for failure in error.worker_failures.values():
                    if isinstance(failure, HomingError):
                        raise failure from None
                if attempt == self.retries:
                    raise
                attempt += 1


@dataclass(frozen=True)
class Block:
    """A block of a Ray Data set as part of a log's table; it stays on the cluster until its rows are read."""

    name: str
    schema: pa.Schema
    n_rows: int
    n_bytes: int
    reference: Any

    def batches(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Rows in order; fetched by the process that reads them."""
        table = _ray().get(self.reference)
        names = [name for name in table.column_names if columns is None or name in columns]
        yield from table.select(names).to_batches(max_chunksize=batch_rows)


def blocks(dataset: Any, name: str = "block") -> list[Block]:
    """The blocks of a Ray Data set, as `DecisionLog` takes its parts; what Ray Data reads is a log so.

    Args:
        dataset: a `ray.data.Dataset` with the columns of the log's `decisions` or `outcomes`. Where it was read from
            folders by day, pass `partitioning=None` to `ray.data.read_parquet`.
        name: of a block in messages, before its number.
    """
    ray = _ray()

    def described(table: pa.Table) -> tuple[pa.Schema, int, int]:
        return table.schema, table.num_rows, table.nbytes

    references = dataset.to_arrow_refs()
    task = ray.remote(described)
    found = ray.get([task.remote(reference) for reference in references])
    return [
        Block(f"{name} {i}", schema, n_rows, n_bytes, reference)
        for i, ((schema, n_rows, n_bytes), reference) in enumerate(zip(found, references, strict=True))
    ]


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise missing_dependency("ray", "scale") from error
    return ray


def _connect(ray: Any) -> None:
    if not ray.is_initialized():
        # A cluster that is started for us alone reports to nobody. Nor by OpenTelemetry: its thread outlives
        # `ray.shutdown` where Ray is started again, and may bring the process down as it ends.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_enable_open_telemetry", "0")
        ray.init(include_dashboard=False, log_to_driver=False)
