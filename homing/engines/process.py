"""One item after the other, in this process: memory is that of one item and of what has been merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from homing.errors import InvalidInputError, describe

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


@dataclass(frozen=True)
class InProcess:
    """Runs everything here and now, in one share.

    Attributes:
        here: True.
    """

    here: ClassVar[bool] = True

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
        whole = split(items[0], 1)[0]
        for item in items[1:]:
            whole = merge(whole, split(item, 1)[0])
        return [finish(whole)]

    def together(self, work: Callable[[], Result], *, workers: int, gpus: bool, folder: Path | None) -> Result:
        """See `Engine.together`; one process is all there is."""
        if workers != 1:
            raise InvalidInputError(describe("workers", workers, "must be 1 in one process", "Take engine='ray'."))
        return work()
