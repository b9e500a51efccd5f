"""A log in parts made ready for learners over transitions: looked at once, part by part, and split by whole parts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.examples import seed_of
from homing.learners.feeds import Feed, OnDisk, Stored
from homing.learners.findings import Ranges
from homing.learners.learner import objective_weights
from homing.learners.prepared import mean_and_unit
from homing.learners.training import Loop
from homing.learners.transitions import LONGEST_GAPS, MICROSECONDS_PER_DAY, ORDINARY_GAPS, Gaps
from homing.log import Batch, LoggedDataset, PartedDataset

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
#: Returns are put on a scale by about as many decisions, at most; and so are a policy's advantages.
SCALE_ROWS = 2**18


@dataclass(frozen=True, eq=False)
class PreparedParts:
    """What `Prepared` is, of a log in parts: users were dealt to parts at random, so whole parts are held out.

    Attributes:
        parts: the log.
        ends_at: its last decision, microseconds since 1970.
        gone_after_days: as for `Gaps.of`, of the whole log; below 0 where no user decided twice.
        truncated: decisions of each part of which nobody knows what followed.
        train, held: numbers of parts.
        weights: (m,).
        warnings: named, for the report.
        seed: of minibatches, drawn once.
    """

    parts: PartedDataset
    ends_at: int
    gone_after_days: float
    truncated: list[int]
    train: list[int]
    held: list[int]
    weights: FloatArray
    warnings: dict[str, str]
    seed: int

    @classmethod
    def of(
        cls,
        parts: PartedDataset,
        weights: Mapping[str, float] | None,
        rng: np.random.Generator,
        *,
        validation_share: float,
        gone_after_days: float | None,
        rewards: bool = True,
    ) -> PreparedParts:
        """Read each part once, and choose parts to hold out; `rewards` says whether they are learnt from."""
        count = len(parts.parts)
        if count < 2:
            raise InvalidInputError(describe("parts", count, "must be >= 2", "Write the log in more parts."))
        importance = objective_weights(parts, weights)
        seen = _Seen.of(parts)
        gone = seen.gone_after_days() if gone_after_days is None else gone_after_days
        if not seen.longest.size:
            gone = -1.0
        cut = [(seen.ends_at - last) / MICROSECONDS_PER_DAY <= gone for last in seen.last]
        ended = np.concatenate([reward[~each] for reward, each in zip(seen.last_reward, cut, strict=True)])
        warnings = seen.ranges.findings(parts.objectives, importance, rewards=rewards)
        if rewards:
            warnings |= seen.ranges.cut_off(parts.objectives, ended)
        for name, text in warnings.items():
            logger.warning("%s: %s", name, text)
        order = rng.permutation(count).tolist()
        held = min(max(round(validation_share * count), 1), count - 1)
        truncated = [int(each.sum()) for each in cut]
        found = cls(
            parts, seen.ends_at, gone, truncated, sorted(order[held:]), sorted(order[:held]), importance, warnings,
            seed_of(rng),
        )  # fmt: skip
        for name, numbers in (("training", found.train), ("held-out", found.held)):
            if not any(found._known(i) for i in numbers):
                step = "Gather a longer log, or pass gone_after_days where users have left."
                raise InvalidInputError(describe(f"{name} decisions with a known future", 0, "must be >= 1", step))
        return found

    @property
    def form(self) -> tuple[int, int]:
        """Context columns d and candidate columns c."""
        return self.parts.shape

    @property
    def bandit(self) -> bool:
        """Whether nothing ever follows on a decision."""
        return self.gone_after_days < 0

    def key(self) -> dict[str, Any]:
        """What tells this log and split from others, for checkpoints."""
        split = hashlib.sha256(str(self.held).encode()).hexdigest()
        log = {"data": self.parts.fingerprint, "split": split, "gone_after_days": self.gone_after_days}
        return {**log, "weights": self.weights.tolist()}

    def feed(self, loop: Loop, *, every: bool = False) -> Callable[[Path | None], Feed]:
        """Gives the transitions to the training loop; `every` as in `OnDisk`."""
        train, held = (
            tuple(
                Stored(self.parts.folder(i), rows)
                for i in numbers
                if (rows := self.parts.parts[i].rows if every else self._known(i))
            )
            for numbers in (self.train, self.held)
        )
        # Candidates stay ragged, so that a part in memory is hardly larger than on disk.
        feed = OnDisk(
            train, held, self.gone_after_days, self.ends_at, every, self.seed, loop.device, cache_bytes=0
        )  # fmt: skip
        return lambda folder: feed

    def scale(self, gamma: float) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation (m,) of discounted returns: where values start, and their unit; of some users."""
        found = []
        for number in self._some(self.train):
            data, gaps = self._part(number)
            found.append(gaps.returns(data.reward, gamma, data.user)[~gaps.truncated])
        return mean_and_unit(np.concatenate(found))

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """Some held-out decisions whose future is known, `size` at a time."""
        for number in self._some(self.held):
            data, gaps = self._part(number)
            rows = np.flatnonzero(~gaps.truncated)
            for begin in range(0, len(rows), size):
                yield data.rows(rows[begin : begin + size])

    def settings(self) -> dict[str, Any]:
        """What was found in the log, for the report."""
        return {
            "transitions": sum(self._known(i) for i in self.train),
            "held-out transitions": sum(self._known(i) for i in self.held),
            "terminal": self.parts.n_users - sum(self.truncated),
            "truncated": sum(self.truncated),
            "gone_after_days": max(self.gone_after_days, 0.0),
            "parts": len(self.train),
            "held-out parts": len(self.held),
        }

    def _known(self, number: int) -> int:
        return self.parts.parts[number].rows - self.truncated[number]

    def _some(self, numbers: list[int]) -> list[int]:
        """As many of them as have `SCALE_ROWS` decisions, at least one."""
        rows = np.cumsum([self.parts.parts[i].rows for i in numbers])
        return numbers[: max(int((rows <= SCALE_ROWS).sum()), 1)]

    def _part(self, number: int) -> tuple[LoggedDataset, Gaps]:
        data = self.parts.part(number)
        return data, Gaps.of(data, self.gone_after_days, ends_at=self.ends_at)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one pass over the parts shows.

    Attributes:
        ranges: for warnings.
        ends_at: the last decision.
        last: of each part, when its users decided last, int64 (users,).
        last_reward: what that brought, float64 (users, m).
        longest: the longest gaps between decisions in days, ascending: as many as the quantile needs.
        n_gaps: how many gaps there are.
    """

    ranges: Ranges
    ends_at: int
    last: list[NDArray[np.int64]]
    last_reward: list[FloatArray]
    longest: FloatArray
    n_gaps: int

    @classmethod
    def of(cls, parts: PartedDataset) -> _Seen:
        n_gaps = parts.n - parts.n_users
        needed = n_gaps - int(ORDINARY_GAPS * max(n_gaps - 1, 0))
        ranges: list[Ranges] = []
        last: list[NDArray[np.int64]] = []
        last_reward: list[FloatArray] = []
        longest = np.zeros(0)
        for number in range(len(parts.parts)):
            data = parts.part(number)
            gaps = Gaps.of(data, 0.0, ends_at=int(data.time.max()))
            ends = gaps.next == np.arange(data.n)
            ranges.append(Ranges.of(data, gaps))
            last.append(data.time[ends])
            last_reward.append(data.reward[ends])
            longest = np.sort(np.concatenate([longest, gaps.days[~ends]]))[-needed:]
        ends_at = max(int(times.max()) for times in last)
        longest = longest if n_gaps else longest[:0]
        return cls(reduce(Ranges.merged, ranges), ends_at, last, last_reward, longest, n_gaps)

    def gone_after_days(self) -> float:
        """As `Gaps.of` takes it from a log: the quantile lies among the longest gaps."""
        if not self.n_gaps:
            return -1.0
        place = ORDINARY_GAPS * (self.n_gaps - 1) - (self.n_gaps - len(self.longest))
        return LONGEST_GAPS * float(np.interp(place, np.arange(len(self.longest)), self.longest))
