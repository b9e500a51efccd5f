"""Where work on many parts of a log is done, and training: here, or on a Ray cluster. An engine is an argument.

What is to be done is written once, and gives the same whichever engine runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from homing.engines.process import InProcess
from homing.errors import unknown_name

__all__ = ["ENGINES", "Engine", "InProcess", "get_engine"]

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


@runtime_checkable
class Engine(Protocol):
    """Runs work that falls into items and whose results fall into shares, and work that several processes do together.

    Attributes:
        here: whether work is done in this process.

    Example:
        >>> def lengths(words, shares):  # each share holds some first letters
        ...     pieces = [dict() for _ in range(shares)]
        ...     for word in words.split():
        ...         piece = pieces[ord(word[0]) % shares]
        ...         piece[word] = piece.get(word, 0) + 1
        ...     return pieces
        >>> def merge(one, other):
        ...     return {word: one.get(word, 0) + other.get(word, 0) for word in one | other}
        >>> get_engine("process").map_reduce(["to be", "or not to be"], lengths, merge, max)
        ['to']
    """

    @property
    def here(self) -> bool: ...

    def map_reduce(
        self,
        items: Sequence[Item],
        split: Callable[[Item, int], Sequence[Piece]],
        merge: Callable[[Piece, Piece], Piece],
        finish: Callable[[Piece], Result],
    ) -> list[Result]:
        """Split each item into as many pieces as there are shares, merge each share's pieces, and finish the shares.

        Every item is counted once, also where a machine is lost while it is at work. Which share a thing belongs to
        must depend on the thing alone, so that all that is known of it comes together. How many shares there are is
        the engine's business, and pieces come in any order.

        Args:
            items: at least one; where they leave this process, they and the functions must be picklable.
            split: of an item and the number of shares, a piece for each share.
            merge: of two pieces of a share; may change the first.
            finish: of what a share came to.

        Returns:
            One result for each share.

        Raises:
            HomingError: what `split`, `merge` or `finish` raised.
        """
        ...

    def together(self, work: Callable[[], Result], *, workers: int, gpus: bool, folder: Path | None) -> Result:
        """Do the same work in several processes at once, which reach each other through `torch.distributed`.

        Where a process dies, all begin again: work that lasts keeps what it has done, and goes on from there.

        Args:
            work: where it leaves this process, it must be picklable.
            workers: how many processes.
            gpus: whether each needs a GPU.
            folder: that all of them can reach; needed where they are elsewhere.

        Returns:
            What `work` returned in the first of them.

        Raises:
            HomingError: what `work` raised.
            InvalidInputError: if there cannot be so many.
        """
        ...


#: By name; other engines are passed as objects.
ENGINES = ("process", "ray")


def get_engine(engine: str | Engine) -> Engine:
    """The engine of that name, or the engine itself.

    Raises:
        UnknownNameError: if there is none.
    """
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "process":
        return InProcess()
    from homing.engines.ray import OnRay

    return OnRay()
