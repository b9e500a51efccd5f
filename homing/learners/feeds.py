"""Where the training loop takes transitions from: a log in memory, or parts of one on disk, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.transitions import Gaps, Transitions
from homing.learners.workers import Workers
from homing.log import LoggedDataset


@dataclass(frozen=True, eq=False)
class Piece:
    """Transitions in memory.

    Attributes:
        transitions: of whole users.
        rows: int64 (r,), those that may be drawn.
        weight: of their mean gradient in the sum over workers. With it, every transition of the log counts alike in the
            long run, however many there are in the piece that it is in.
    """

    transitions: Transitions
    rows: torch.Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Visit:
    """Some steps on one piece: its number among those of a worker, and how many steps."""

    piece: int
    steps: int


class Feed(Protocol):
    """Transitions by the piece.

    Attributes:
        rows: how many there are to train on, those of all workers.
    """

    @property
    def rows(self) -> int: ...

    def held_out(self, limit: int, generator: torch.Generator, workers: Workers) -> list[Piece]:
        """About `limit` transitions of other users at most; each worker's are its own."""
        ...

    def visits(self, number: int, steps: int, length: int, batch_rows: int, workers: Workers) -> list[Visit]:
        """Where the steps of a round are taken; they depend on the arguments alone.

        Args:
            number: of the round, from 0.
            steps: that are to be taken, <= `length`.
            length: steps of a whole round.
            batch_rows: transitions of a step, those of all workers.
            workers: this one.
        """
        ...

    def piece(self, number: int, workers: Workers) -> Piece:
        """A piece that `visits` named; nothing else of the feed may be held meanwhile."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """The whole log as one piece.

    Attributes:
        transitions: of the log.
        train, held: int64, rows to learn from and rows of other users to judge by.
    """

    transitions: Transitions
    train: NDArray[np.int64]
    held: NDArray[np.int64]

    @property
    def rows(self) -> int:
        return len(self.train)

    def held_out(self, limit: int, generator: torch.Generator, workers: Workers) -> list[Piece]:
        """See `Feed.held_out`."""
        rows = torch.from_numpy(self.held)[torch.randperm(len(self.held), generator=generator)[:limit]]
        return [Piece(self.transitions, rows)]

    def visits(self, number: int, steps: int, length: int, batch_rows: int, workers: Workers) -> list[Visit]:
        """See `Feed.visits`."""
        return [Visit(0, steps)]

    def piece(self, number: int, workers: Workers) -> Piece:
        """See `Feed.piece`."""
        return Piece(self.transitions, torch.from_numpy(self.train))


@dataclass(frozen=True)
class Stored:
    """A saved data set of whole users: its folder, and how many of its transitions may be drawn."""

    folder: Path
    rows: int


@dataclass(frozen=True, eq=False)
class OnDisk:
    """Parts of a log as saved data sets, each of whole users; a worker holds one of its own parts at a time.

    A worker goes through its parts in random orders. Users were dealt to parts at random, so that a part is a sample of
    users; in a visit, minibatches are drawn from it alone, for about as many steps as a pass over it takes.

    Attributes:
        train: parts to learn from; every `workers.size`-th is a worker's own.
        held: parts of other users.
        gone_after_days, ends_at: as for `Gaps.of`, of the whole log.
        every: whether a user's last decision may be drawn too, of which nobody knows what followed.
        seed: of the orders.
        device: where transitions go.
        cache_bytes: padded candidates of a part are kept up to this size; None for `cache_limit`.
    """

    train: tuple[Stored, ...]
    held: tuple[Stored, ...]
    gone_after_days: float
    ends_at: int
    every: bool
    seed: int
    device: str
    cache_bytes: int | None = None
    _open: dict[int, Piece] = field(default_factory=dict, init=False, repr=False)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.train)

    def held_out(self, limit: int, generator: torch.Generator, workers: Workers) -> list[Piece]:
        """See `Feed.held_out`; the same transitions, whatever the number of workers."""
        total = sum(part.rows for part in self.held)
        out = []
        for part in self.held:
            data, gaps = self._load(part)
            known = self._known(gaps)
            order = torch.randperm(len(known), generator=generator).numpy()
            some = known[order[: -(-min(limit, total) * len(known) // total)]][workers.rank :: workers.size]
            # Whole journeys are not needed: each decision and the one that follows it.
            kept, place = np.unique(np.concatenate([some, gaps.next[some]]), return_inverse=True)
            rows = torch.from_numpy(place[: len(some)])
            out.append(Piece(self._transitions(data.take(kept), gaps.take(kept)), rows))
        return out

    def visits(self, number: int, steps: int, length: int, batch_rows: int, workers: Workers) -> list[Visit]:
        """See `Feed.visits`."""
        parts = len(self._own(workers))
        # Steps of a pass over a part, and so of a visit; a worker with one part stays on it.
        of_part = self.rows * workers.size / (len(self.train) * batch_rows)
        count = min(max(round(length / of_part), 1), len(self.train) // workers.size)
        out = []
        for j in range(count):
            turn, place = divmod(number * count + j, parts)
            order = np.random.default_rng([self.seed, workers.rank, turn]).permutation(parts)
            out.append(Visit(int(order[place]), steps // count + (j < steps % count)))
        return out

    def piece(self, number: int, workers: Workers) -> Piece:
        """See `Feed.piece`."""
        if number not in self._open:
            self._open.clear()
            own = self._own(workers)
            data, gaps = self._load(own[number])
            rows = self._known(gaps)
            weight = len(own) * len(rows) / self.rows
            self._open[number] = Piece(self._transitions(data, gaps), torch.from_numpy(rows), weight)
        return self._open[number]

    def _own(self, workers: Workers) -> Sequence[Stored]:
        if workers.size > len(self.train):
            bound = f"must be <= {len(self.train)}, the parts to train on"
            raise InvalidInputError(describe("workers", workers.size, bound, "Write the log in more parts."))
        return self.train[workers.rank :: workers.size]

    def _load(self, part: Stored) -> tuple[LoggedDataset, Gaps]:
        data = LoggedDataset.load(part.folder)
        return data, Gaps.of(data, self.gone_after_days, ends_at=self.ends_at)

    def _known(self, gaps: Gaps) -> NDArray[np.int64]:
        return np.arange(len(gaps.next)) if self.every else np.flatnonzero(~gaps.truncated)

    def _transitions(self, data: LoggedDataset, gaps: Gaps) -> Transitions:
        return Transitions.of(data, gaps, torch.device(self.device), cache_bytes=self.cache_bytes)
