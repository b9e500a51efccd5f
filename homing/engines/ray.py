"""Items as tasks of a Ray cluster, and a shuffle between them: nothing passes through this process but results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

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
        retries: how often a task is run again that was lost.
    """

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


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise missing_dependency("ray", "scale") from error
    return ray


def _connect(ray: Any) -> None:
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
