"""Whether a user stands in two parts of a population: each would be planned for as if there were no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe


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
    """64 bits of each id: whole numbers as they are, others mixed from their texts' bytes.

    >>> len(set(hashed(np.array(["ann", "bob", "ann"], dtype=object)).tolist()))
    2
    """
    if ids.dtype.kind in "iu":
        return ids.astype(np.int64).view(np.uint64)
    texts = np.array([str(item).encode() for item in ids], dtype=np.bytes_)
    width = -(-max(1, texts.dtype.itemsize) // 8) * 8
    words = texts.astype(f"S{width}").view(np.uint64).reshape(len(texts), -1)
    out = np.full(len(texts), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in words.T:
        out = (out ^ column) * np.uint64(0xBF58476D1CE4E5B9)
        out ^= out >> np.uint64(29)
    return out


def between(ids: NDArray[Any]) -> list[Any] | None:
    """The first and the last of a part's users by their order; None where they are neither numbers nor texts."""
    if not len(ids) or not (ids.dtype.kind in "iu" or isinstance(ids[0], str)):
        return None
    return [ids.min(), ids.max()] if ids.dtype.kind == "O" else [int(ids.min()), int(ids.max())]
