"""Sums by user, whose rows may come in any order and in any part of a log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class UserSums:
    """Sums z (G, D) by user key, sorted; what is new is kept apart until it is as much as what is old."""

    def __init__(self) -> None:
        self._keys: NDArray[Any] = np.zeros(0, np.int64)
        self._z: FloatArray = np.zeros((0, 0))
        self._new: list[tuple[NDArray[Any], FloatArray]] = []
        self._waiting = 0

    def add(self, keys: NDArray[Any], z: FloatArray) -> None:
        if not len(keys):
            return
        self._new.append((keys, z))
        self._waiting += len(keys)
        if self._waiting > len(self._keys):  # so that each sum is moved a logarithmic number of times
            self._fold()

    def all(self) -> tuple[NDArray[Any], FloatArray]:
        self._fold()
        return self._keys, self._z

    def divided(self, shares: int) -> list[UserSums]:
        """Users in so many disjoint shares; which one a user is in depends on the key alone."""
        keys, z = self.all()
        # The upper half of a multiplicative hash: keys that are codes follow each other.
        mixed = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        share = mixed % np.uint64(shares)
        out = []
        for number in range(shares):
            inside = share == number
            one = UserSums()
            one.add(keys[inside], z[inside])
            out.append(one)
        return out

    def _fold(self) -> None:
        if not self._new:
            return
        parts = [*([(self._keys, self._z)] if len(self._keys) else []), *self._new]
        keys = np.concatenate([key for key, _ in parts])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        self._z = np.add.reduceat(np.concatenate([z for _, z in parts])[order], starts, axis=0)
        self._keys, self._new, self._waiting = keys[starts], [], 0


def user_keys(ids: Iterable[str]) -> NDArray[np.int64]:
    """Keys of user ids that are the same in every part of a log and on every machine: 64 bits of BLAKE2b.

    Two users of a hundred million share a key with a probability of 3 in 10,000; they would count as one cluster.

    >>> user_keys(["u1", "u2"]).tolist() == [user_keys(["u1"])[0], user_keys(["u2"])[0]]
    True
    """
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)
