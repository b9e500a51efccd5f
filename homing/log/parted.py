"""`PartedDataset`: a data set larger than memory, as saved parts of whole users."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import CorruptFileError, InvalidInputError, describe
from homing.log.build import stack
from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder
from homing.log.store import MANIFEST, file_digest

PARTS = "parts.json"
FORMAT = 1
_AGAIN = "Write it again with write_parts."


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        folder: its name in the folder of all.
        rows: decisions.
        users: distinct ones; none stands in another part.
        digest: of its manifest.
    """

    folder: str
    rows: int
    users: int
    digest: str


@dataclass(frozen=True, eq=False)
class PartedDataset:
    """Parts of one data set on disk: the same encoder and objectives, users dealt at random; `write_parts` makes it.

    Learners over transitions are fitted on it with one part at a time in memory.

    Attributes:
        directory: that holds `parts.json` and a folder a part.
        parts: in order.
        objectives: names of the reward columns.
        shape: (d, c), context and candidate columns.
        encoder: how raw features became columns.
        reward_mean, reward_std: (m,), of all decisions.
        join: what became of every outcome and decision, see `JoinReport`.
    """

    directory: Path
    parts: tuple[Part, ...]
    objectives: tuple[str, ...]
    shape: tuple[int, int]
    encoder: FeatureEncoder
    reward_mean: tuple[float, ...]
    reward_std: tuple[float, ...]
    join: Mapping[str, Any]

    @classmethod
    def load(cls, directory: str | Path) -> PartedDataset:
        """Open a folder that `write_parts` wrote; rows are read part by part when they are asked for.

        Raises:
            InvalidInputError: if the folder holds no parts.
            CorruptFileError: if `parts.json` is damaged.
        """
        directory = Path(directory).absolute()
        path = directory / PARTS
        if not path.is_file():
            step = "Give a folder that write_parts wrote."
            raise InvalidInputError(describe("folder", str(directory), f"must hold {PARTS}", step))
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise InvalidInputError(describe("format of parts", str(path), f"must be {FORMAT}", _AGAIN))
            listed = tuple(Part(**item) for item in found.pop("parts"))
            names = ("objectives", "shape", "reward_mean", "reward_std")
            objectives, shape, mean, std = (tuple(found.pop(name)) for name in names)
            encoder = FeatureEncoder.from_dict(found.pop("encoder"))
            return cls(directory, listed, objectives, shape, encoder, mean, std, found["join"])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise CorruptFileError(describe("file", str(path), "must be whole", _AGAIN)) from error

    @staticmethod
    def is_at(directory: str | Path) -> bool:
        """Whether a folder holds parts."""
        return (Path(directory) / PARTS).is_file()

    def save(self) -> None:
        """Write `parts.json`, which makes the parts a data set."""
        data = asdict(self) | {"format": FORMAT, "encoder": self.encoder.to_dict(), "join": dict(self.join)}
        del data["directory"]
        temporary = self.directory / f".{PARTS}"
        temporary.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
        temporary.replace(self.directory / PARTS)

    @property
    def n(self) -> int:
        """Number of decisions."""
        return sum(part.rows for part in self.parts)

    @property
    def n_users(self) -> int:
        """Number of distinct users."""
        return sum(part.users for part in self.parts)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the parts' digests."""
        return hashlib.sha256("".join(part.digest for part in self.parts).encode()).hexdigest()

    def folder(self, number: int) -> Path:
        """Where a part is."""
        return self.directory / self.parts[number].folder

    def part(self, number: int) -> LoggedDataset:
        """A part in memory; without its encoder, which stands here.

        Raises:
            CorruptFileError: if it is missing, or its bytes are not those that were written.
        """
        found = LoggedDataset.load(self.folder(number))
        if file_digest(self.folder(number) / MANIFEST) != self.parts[number].digest:
            raise CorruptFileError(describe("part", str(self.folder(number)), "is not the one that was listed", _AGAIN))
        return found

    def sample(self, rows: int) -> LoggedDataset:
        """Whole users drawn at random, as one data set: the first parts, at least one, of at most `rows` in all."""
        count = max(int((np.cumsum([part.rows for part in self.parts]) <= rows).sum()), 1)
        return replace(concat([self.part(number) for number in range(count)]), encoder=self.encoder)


def concat(parts: Sequence[LoggedDataset]) -> LoggedDataset:
    """Data sets of different users and the same columns as one, row after row.

    Example:
        >>> one, other = (
        ...     LoggedDataset(context=np.zeros((1, 1)), candidates=np.zeros((1, k, 1)), eligible=np.ones((1, k), bool),
        ...     action=[0], propensity=[1.0], reward=[[0.0]], objectives=("clicked",), user=[name], time=[0])
        ...     for name, k in (("a", 2), ("b", 3)))
        >>> both = concat([one, other])
        >>> both.eligible.tolist(), both.user_ids.tolist()
        ([[True, True, False], [True, True, True]], ['a', 'b'])
    """
    if len(parts) == 1:
        return parts[0]
    k, first = max(part.k for part in parts), parts[0]
    starts = np.cumsum([0, *(0 if part.user_ids is None else len(part.user_ids) for part in parts)])
    probs = [part.probs for part in parts if part.probs is not None]
    return LoggedDataset(
        context=np.concatenate([part.context for part in parts]),
        candidates=stack([part.candidates for part in parts]),
        eligible=np.concatenate([_widened(part.eligible, k) for part in parts]),
        action=np.concatenate([part.action for part in parts]),
        propensity=np.concatenate([part.propensity for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        objectives=first.objectives,
        user=np.concatenate([part.user + start for part, start in zip(parts, starts, strict=False)]),
        time=np.concatenate([part.time for part in parts]),
        user_ids=np.concatenate([part.user_ids for part in parts if part.user_ids is not None]),
        probs=np.concatenate([_widened(p, k) for p in probs]) if len(probs) == len(parts) else None,
    )


def _widened(array: NDArray[Any], k: int) -> NDArray[Any]:
    return np.pad(array, ((0, 0), (0, k - array.shape[1])))
