"""A unit's fixed places in [0, 1): one for each purpose, the same for ever, on every machine, in batch and online.

The hash is part of the format and never changes:

1. An id is its text in UTF-8; a whole number is its decimal digits, so that 17 and "17" are one unit.
2. Its 64 bits: FNV-1a (offset cbf29ce484222325, prime 100000001b3) over the bytes.
3. A purpose's key: BLAKE2b with a digest of 8 bytes, big-endian, over the purpose's parts in UTF-8, joined by the
   byte 1f.
4. The place: mix(mix(id bits xor key) xor key) with mix the finaliser of SplitMix64; its upper 53 bits over 2^53.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe

if TYPE_CHECKING:
    import pyarrow as pa

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_STEP = "Pass text or whole numbers, none missing: an id must mean the same unit everywhere."


def unit_bits(unit_ids: Any) -> NDArray[np.uint64]:
    """(n,), 64 bits of each unit's id, from which all its places are made; step 1 and 2.

    Args:
        unit_ids: (n,), text or whole numbers: a list, a NumPy or Arrow array, a Polars or pandas series.

    Raises:
        InvalidInputError: if an id is missing, empty, or neither text nor a whole number.

    References:
        Fowler, Noll and Vo, "The FNV non-cryptographic hash algorithm", RFC 9923.

    Example:
        >>> [f"{bits:016x}" for bits in unit_bits(["a", "foobar"]).tolist()]
        ['af63dc4c8601ec8c', '85944171f73967e8']
        >>> bool(unit_bits([17])[0] == unit_bits(["17"])[0])
        True
    """
    start, length, data = _utf8(unit_text(unit_ids))
    out = np.full(len(start), _OFFSET)
    # The longest first: those that still have a byte at a position are then a prefix.
    order = np.argsort(-length, kind="stable")
    start, bits = start[order], out[order]
    remaining = len(start) - np.searchsorted(length[order][::-1], np.arange(length.max(initial=0)), side="right")
    for position, count in enumerate(remaining.tolist()):
        bits[:count] = (bits[:count] ^ data[start[:count] + position]) * _PRIME
    out[order] = bits
    return out


def place(bits: NDArray[np.uint64], *purpose: str) -> NDArray[np.float64]:
    """(n,), where units lie in [0, 1) for a purpose: uniform over units, independent between purposes; step 3 and 4.

    A unit belongs to a share s when its place is below s: raising s only adds units.

    Args:
        bits: (n,), of `unit_bits`.
        purpose: its parts, such as "experiment", name, salt, "variant".

    References:
        Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", for the finaliser (Stafford's
        variant 13 of MurmurHash3's).

    Example:
        >>> place(unit_bits(["u1", "u2"]), "experiment", "greeting", "", "variant").round(6).tolist()
        [0.761988, 0.188703]
    """
    digest = hashlib.blake2b("\x1f".join(purpose).encode(), digest_size=8).digest()
    key = np.uint64(int.from_bytes(digest, "big"))
    mixed = _mix(_mix(bits ^ key) ^ key)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def unit_text(unit_ids: Any) -> pa.LargeStringArray:
    """(n,), ids as text, none missing or empty; step 1.

    Raises:
        InvalidInputError: as in `unit_bits`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(unit_ids, str | bytes):
        raise InvalidInputError(describe("unit ids", unit_ids, "must be an array or a list", "Put one id in a list."))
    try:
        array = unit_ids.to_arrow() if hasattr(unit_ids, "to_arrow") else unit_ids
        array = array if isinstance(array, pa.Array | pa.ChunkedArray) else pa.array(array)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidInputError(describe("unit ids", "several types", "must be of one type", _STEP)) from error
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if array.null_count:
        row = array.is_null().to_pylist().index(True)
        raise InvalidInputError(describe(f"unit_id[{row}]", None, "must be given", _STEP))
    kind, known = array.type, (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if len(array) and not pa.types.is_integer(kind) and not any(is_text(kind) for is_text in known):
        raise InvalidInputError(describe("type of unit ids", str(kind), "must be text or whole numbers", _STEP))
    text = array.cast(pa.large_string())
    empty = pc.equal(text, "").to_numpy(zero_copy_only=False)
    if empty.any():
        raise InvalidInputError(describe(f"unit_id[{int(np.argmax(empty))}]", "", "must not be empty", _STEP))
    return text


def _utf8(text: pa.LargeStringArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """Where each id's bytes begin, how many they are, and all bytes."""
    if len(text) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    _, offsets, data = text.buffers()
    edges = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    return edges[:-1], np.diff(edges), np.frombuffer(data, dtype=np.uint8).astype(np.uint64)
