"""Whether a user stands in two parts of a population: each would be planned for as if there were no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe

#: Ids whose digests are made at once.
_PIECE = 2**16


def overlap(looks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some user could stand in two parts: not where users rise from part to part, in whatever order."""
    ranges = [look["between"] for look in looks if look["users"]]
    if any(item is None for item in ranges):
        return len(ranges) > 1
    ranges = sorted(ranges)
    return any(one[1] >= other[0] for one, other in pairwise(ranges))


def check_once(files: Sequence[Path]) -> None:
    """Refuse a user whose rows stand in two parts: each would be planned for as if there were no other.

    Args:
        files: a part's users each, with their hashes; some 16 bytes a user are held.
    """
    import pyarrow.parquet as pq

    hashes = [pq.read_table(file, columns=["hash"])["hash"].to_numpy() for file in files]
    every = np.sort(np.concatenate(hashes))
    twice = every[1:][every[1:] == every[:-1]]
    if not len(twice):
        return
    seen: dict[Any, Path] = {}
    for file in files:
        table = pq.read_table(file)
        for user in table.filter(np.isin(table["hash"].to_numpy(), twice))["user"].to_pylist():
            if user in seen:
                step = "Sort the rows by user; each user's candidates must stand together."
                raise InvalidInputError(describe("user", user, "occurs twice, with others between", step))
            seen[user] = file


def hashed(ids: NDArray[Any]) -> NDArray[np.uint64]:
    """64 bits of each id, whatever stands beside it: whole numbers as they are, digests of others' texts.

    >>> len(set(hashed(np.array(["ann", "bob", "ann"], dtype=object)).tolist()))
    2
    """
    if ids.dtype.kind == "f" and (ids == np.floor(ids)).all() and (np.abs(ids) < 2**63).all():
        ids = ids.astype(np.int64)  # one file's 1 is another's 1.0, where somewhere a number was missing
    if ids.dtype.kind in "iu":
        return ids.astype(np.int64).view(np.uint64)
    import pyarrow as pa

    from homing.log.seen import id_digests

    # In pieces, for a digest takes some eight times the memory of its text.
    pieces = [ids[begin : begin + _PIECE] for begin in range(0, len(ids), _PIECE)]
    digests = [id_digests(pa.array([str(item) for item in piece], pa.string())) for piece in pieces]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *digests])


def between(ids: NDArray[Any]) -> list[Any] | None:
    """The first and the last of a part's users by their order; None where they are neither numbers nor texts."""
    if not len(ids) or not (ids.dtype.kind in "iu" or isinstance(ids[0], str)):
        return None
    return [ids.min(), ids.max()] if ids.dtype.kind == "O" else [int(ids.min()), int(ids.max())]
