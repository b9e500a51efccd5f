"""`Card`: what a data set says about itself, and how its files are found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homing.errors import CorruptFileError, HomingError, InvalidInputError, describe


@dataclass(frozen=True)
class Card:
    """The static part of a data set's description.

    Attributes:
        name: how it is loaded: `load(name)`.
        title: one line for people.
        source: who published it, and where people get it.
        licence: under which terms; "none stated" is said so.
        randomisation: how actions were chosen and where the propensities come from.
        caveats: what not to conclude from it, one sentence each.
        files: what `path` must point to.
        needs_path: whether people must get the files themselves.
        weights: importance of each objective when a learner is not told otherwise.
        learner: what is trained when nobody says otherwise.
        settings: of learners on this data set, by learner.
    """

    name: str
    title: str
    source: str
    licence: str
    randomisation: str
    caveats: tuple[str, ...]
    files: str
    needs_path: bool = True
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    learner: str = "doubly-robust"
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


def missing_path(card: Card, path: Path | None) -> InvalidInputError:
    """The error for a path that is not given or does not exist: says where people get the data."""
    bound = f"must be {card.files}"
    if path is None:
        bound += f", which Homing does not ship (licence: {card.licence})"
    how = f"Get it from {card.source} Then pass path=… (make run: DATA=…; homing datasets: --path …)."
    return InvalidInputError(describe(f"path of {card.name}", None if path is None else str(path), bound, how))


def find_file(card: Card, path: str | Path | None, suffixes: Collection[str]) -> Path:
    """The file that `path` names, or the only file with one of `suffixes` in the folder that it names.

    Raises:
        InvalidInputError: if there is none, or more than one; the message says where people get the data.
    """
    if path is None:
        raise missing_path(card, None)
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise missing_path(card, path)
    found = sorted(item for item in path.iterdir() if item.is_file() and item.suffix.lower() in suffixes)
    if not found:
        raise missing_path(card, path)
    if len(found) > 1:
        names = ", ".join(item.name for item in found)
        bound = f"must hold one file with the suffix {' or '.join(sorted(suffixes))}, holds {names}"
        raise InvalidInputError(describe(f"path of {card.name}", str(path), bound, "Pass the file itself."))
    return found[0]


def check_columns(card: Card, where: str, columns: Collection[str], needed: Collection[str]) -> None:
    """Refuse a table that lacks a column, naming all that are missing."""
    missing = [name for name in needed if name not in columns]
    if missing:
        bound = f"must hold the columns {', '.join(needed)}"
        raise InvalidInputError(
            describe(
                f"columns of {where}",
                sorted(columns),
                f"{bound}; missing: {', '.join(missing)}",
                f"path of {card.name} must be {card.files}.",
            )
        )


def unreadable(path: str | Path, error: Exception) -> HomingError:
    """The error for a file that the reader refuses."""
    reason = str(error).split("\n")[0]
    return CorruptFileError(
        describe("file", Path(path).name, f"must be readable ({reason})", "Get a fresh copy of the file.")
    )
