"""A digest over a Parquet file's footer, inside the footer: page checksums cover the pages, this covers the rest.

Parquet protects pages only. A flipped bit in the footer can rename a column, drop a row group, or make the reader
abort the process; so it is checked before anything parses it. Other readers see one more key of metadata.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from homing.errors import CorruptFileError, describe

#: Key of the file metadata whose value is the digest, in hexadecimal.
SEAL_KEY = b"homing.seal"
#: What stands there while the digest is computed, and until `seal` replaces it.
BLANK = b"0" * 32
#: Thrift's compact encoding between a key and its value of 32 bytes: next field, a string, of that length.
_BETWEEN = b"\x18\x20"
_MAGIC = b"PAR1"
#: Footers are a few kilobytes; a length beyond this is damage.
_LONGEST_FOOTER = 2**28


def seal(path: Path) -> None:
    """Replace the blank seal of a finished file by the digest of its footer.

    Raises:
        CorruptFileError: the file has no blank seal where one was written.
    """
    footer, start = read_footer(path, path.name)
    place = _place(footer)
    if place is None or footer[place : place + len(BLANK)] != BLANK:
        raise corrupt(path.name, "it was written without a place for its seal")
    with path.open("r+b") as file:
        file.seek(start + place)
        file.write(_digest(footer))


def check_seal(path: Path, name: str) -> None:
    """Check a file's footer against its seal; a file of another writer has none, and passes.

    Raises:
        CorruptFileError: the footer is not what was written, or the file is truncated.
    """
    footer, _ = read_footer(path, name)
    place = _place(footer)
    if place is None:
        return
    blank = footer[:place] + BLANK + footer[place + len(BLANK) :]
    if footer[place : place + len(BLANK)] != _digest(blank):
        raise corrupt(name, "its footer does not match its seal")


def read_footer(path: Path, name: str) -> tuple[bytes, int]:
    """A Parquet file's footer, and where it starts.

    Raises:
        CorruptFileError: there is none: the file is truncated, empty, or something else.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 12:
            raise corrupt(name, f"it is {size} bytes long, too short to be Parquet")
        file.seek(size - 8)
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC:
            raise corrupt(name, "it does not end as Parquet does: it is truncated, or something else")
        if length > min(size - 12, _LONGEST_FOOTER):
            raise corrupt(name, f"its footer would be {length} bytes of {size}")
        file.seek(size - 8 - length)
        return file.read(length), size - 8 - length


def corrupt(name: str, reason: str) -> CorruptFileError:
    """The error for a file that is refused as a whole."""
    bound = f"must be an intact Parquet file, but {reason}"
    return CorruptFileError(describe("file", name, bound, "It is refused, nothing of it is read: restore it."))


def _place(footer: bytes) -> int | None:
    """Where the seal's value starts in the footer; None where there is no seal."""
    found = footer.rfind(SEAL_KEY + _BETWEEN)
    place = found + len(SEAL_KEY) + len(_BETWEEN)
    return None if found < 0 or place + len(BLANK) > len(footer) else place


def _digest(footer: bytes) -> bytes:
    return hashlib.blake2b(footer, digest_size=len(BLANK) // 2).hexdigest().encode()
