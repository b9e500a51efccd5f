"""A log made ready for learners over transitions: looked at, and split by user."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.examples import seed_of, validation_rows
from homing.learners.feeds import Feed, InMemory, OnDisk, Stored
from homing.learners.findings import Ranges
from homing.learners.learner import objective_weights
from homing.learners.training import Loop
from homing.learners.transitions import Gaps, Transitions
from homing.log import Batch, LoggedDataset

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A log ready for learners over transitions.

    Attributes:
        dataset: the log.
        device: where its tensors go.
        gaps: where journeys go on and end.
        held: bool (n,), the rows of users who are held out.
        train, held_out: rows whose future is known, of different users.
        weights: (m,).
        warnings: named, for the report.
        seed: of minibatches, drawn once.
        key: what tells this log and split from others, for checkpoints; costs a pass over the data.
    """

    dataset: LoggedDataset
    device: str
    gaps: Gaps
    held: NDArray[np.bool_]
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    weights: FloatArray
    warnings: dict[str, str]
    seed: int
    key: Callable[[], dict[str, Any]]

    @classmethod
    def of(
        cls,
        dataset: LoggedDataset,
        weights: Mapping[str, float] | None,
        rng: np.random.Generator,
        *,
        validation_share: float,
        gone_after_days: float | None,
        device: str,
        rewards: bool = True,
    ) -> Prepared:
        """Look at the log and split its users; `rewards` says whether they are learnt from."""
        importance = objective_weights(dataset, weights)
        gaps = Gaps.of(dataset, gone_after_days)
        ranges = Ranges.of(dataset, gaps)
        warnings = ranges.findings(dataset.objectives, importance, rewards=rewards)
        if rewards:
            warnings |= ranges.cut_off(dataset.objectives, dataset.reward[gaps.terminal])
        for name, text in warnings.items():
            logger.warning("%s: %s", name, text)
        held = validation_rows(dataset.user, validation_share, rng)
        train, held_out = np.flatnonzero(~held & ~gaps.truncated), np.flatnonzero(held & ~gaps.truncated)
        for name, rows in (("training", train), ("held-out", held_out)):
            if not len(rows):
                raise InvalidInputError(
                    describe(
                        f"{name} decisions with a known future",
                        0,
                        "must be >= 1",
                        "Gather a longer log, or pass gone_after_days where users have left.",
                    )
                )
        seed = seed_of(rng)

        def key() -> dict[str, Any]:
            split = hashlib.sha256(held.tobytes()).hexdigest()
            log = {"data": dataset.fingerprint, "split": split, "gone_after_days": gaps.gone_after_days}
            return {**log, "weights": importance.tolist()}

        return cls(dataset, device, gaps, held, train, held_out, importance, warnings, seed, key)

    @cached_property
    def transitions(self) -> Transitions:
        """The log's tensors; made where they are used."""
        return Transitions.of(self.dataset, self.gaps, torch.device(self.device))

    @property
    def form(self) -> tuple[int, int]:
        """Context columns d and candidate columns c."""
        return self.dataset.context.shape[1], self.dataset.candidates.shape[2]

    @property
    def bandit(self) -> bool:
        """Whether nothing ever follows on a decision."""
        return bool((self.gaps.terminal | self.gaps.truncated).all())

    def feed(self, loop: Loop, *, every: bool = False) -> Callable[[Path | None], Feed]:
        """Gives the transitions to the training loop; `every` as in `OnDisk`."""
        train, held = (np.flatnonzero(~self.held), np.flatnonzero(self.held)) if every else (self.train, self.held_out)

        def feed(folder: Path | None) -> Feed:
            if folder is None:
                return InMemory(self.transitions, train, held)
            return self._stored(folder, loop, every)

        return feed

    def _stored(self, folder: Path, loop: Loop, every: bool) -> Feed:
        """The log as a part of training users for each worker, and one of held-out users."""
        share = np.unique(self.dataset.user, return_inverse=True)[1] % loop.workers
        share[self.held] = loop.workers
        stored = []
        for number in range(loop.workers + 1):
            rows = np.flatnonzero(share == number)
            if not len(rows):
                bound = "must be at most the users to train on"
                raise InvalidInputError(describe("workers", loop.workers, bound, "Take fewer."))
            part = replace(self.dataset.take(rows), encoder=None, user_ids=None)
            part.save(folder / f"part-{number}")
            known = len(rows) if every else int((~self.gaps.truncated[rows]).sum())
            stored.append(Stored(folder / f"part-{number}", known))
        ends_at = int(self.dataset.time.max())
        gone = -1.0 if self.gaps.gone_after_days == 0.0 and self.bandit else self.gaps.gone_after_days
        return OnDisk(tuple(stored[:-1]), (stored[-1],), gone, ends_at, every, self.seed, loop.device)

    def scale(self, gamma: float) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation (m,) of the log's discounted returns: where values start, and their unit."""
        returns = self.gaps.returns(self.dataset.reward, gamma, self.dataset.user)[self.train]
        return mean_and_unit(returns)

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """Held-out decisions whose future is known, `size` at a time."""
        for begin in range(0, len(self.held_out), size):
            yield self.dataset.rows(self.held_out[begin : begin + size])

    def settings(self) -> dict[str, Any]:
        """What was found in the log, for the report."""
        return {
            "transitions": len(self.train),
            "held-out transitions": len(self.held_out),
            "terminal": int(self.gaps.terminal.sum()),
            "truncated": int(self.gaps.truncated.sum()),
            "gone_after_days": self.gaps.gone_after_days,
        }


def mean_and_unit(returns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation (m,) of returns (n, m); 1 where they never vary."""
    deviation = returns.std(axis=0)
    return returns.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
