"""Identifiers: time-ordered ids for decisions and outcomes, and stable shares of users."""

from __future__ import annotations

import hashlib
import secrets
import time

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe


def new_ids(at_us: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """One UUIDv7 for each moment: sorting the ids sorts the moments, to the millisecond.

    Args:
        at_us: int64 (n,), microseconds since 1970-01-01 UTC, not before it.
        rng: draws the random bits, so that a seeded run writes the same ids again.

    Returns:
        n strings of 36 characters.

    References:
        RFC 9562, section 5.7.

    Example:
        >>> ids = new_ids(np.array([0, 1_700_000_000_000_000]), np.random.default_rng(0))
        >>> ids[0][:15], ids[0][14], ids == sorted(ids)
        ('00000000-0000-7', '7', True)
    """
    at_us = np.asarray(at_us, dtype=np.int64)
    if len(at_us) and (at_us.min() < 0 or at_us.max() >= 2**48 * 1000):
        bad = int(at_us[np.argmax((at_us < 0) | (at_us >= 2**48 * 1000))])
        raise InvalidInputError(describe("at_us", bad, "must be microseconds since 1970-01-01 UTC, >= 0"))
    octets = np.empty((len(at_us), 16), dtype=np.uint8)
    milliseconds = (at_us // 1000).astype(np.uint64)
    for place in range(6):
        octets[:, place] = (milliseconds >> np.uint64(8 * (5 - place))).astype(np.uint8)
    octets[:, 6:] = rng.integers(0, 256, size=(len(at_us), 10), dtype=np.uint8)
    return _as_text(octets)


def new_id(rng: np.random.Generator | None = None) -> str:
    """A UUIDv7 of this moment; unpredictable, unless `rng` draws its random bits.

    >>> first = new_id(np.random.default_rng(0))
    >>> len(first), first[14]
    (36, '7')
    """
    if rng is not None:
        return new_ids(np.array([time.time_ns() // 1000]), rng)[0]
    octets = np.frombuffer((time.time_ns() // 1_000_000).to_bytes(6, "big") + secrets.token_bytes(10), dtype=np.uint8)
    return _as_text(octets.reshape(1, 16).copy())[0]


def _as_text(octets: NDArray[np.uint8]) -> list[str]:
    octets[:, 6] = (octets[:, 6] & 0x0F) | 0x70  # version 7
    octets[:, 8] = (octets[:, 8] & 0x3F) | 0x80  # variant of RFC 9562
    digits = octets.tobytes().hex()
    texts = (digits[start : start + 32] for start in range(0, len(digits), 32))
    return [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts]


def user_hash_share(user_id: str, salt: str) -> float:
    """A user's fixed place in [0, 1): the same for ever, uniform over users, independent between salts.

    A user belongs to a share s of the users (an evaluation part, a holdout) when the place is below s; raising s later
    only adds users.

    Args:
        user_id: the id as it stands in the log.
        salt: names the purpose; each purpose needs its own, otherwise their shares are the same users.

    References:
        BLAKE2b, RFC 7693; the first 53 bits of the digest of salt, a zero byte and the id.

    Example:
        >>> round(user_hash_share("u1", "homing"), 6) == round(user_hash_share("u1", "homing"), 6)
        True
        >>> 0 <= user_hash_share("u1", "evaluation") < 1
        True
    """
    digest = hashlib.blake2b(salt.encode() + b"\0" + user_id.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
