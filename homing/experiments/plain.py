"""Frozen dataclasses as plain YAML and back; unknown keys are refused with the nearest known one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from homing.errors import InvalidInputError, UnknownNameError, describe, unknown_name
from homing.plain_yaml import load_yaml

T = TypeVar("T")


def to_plain(value: Any, *, whole: bool = False) -> Any:
    """A dataclass as a mapping of what differs from its defaults, or of the whole; tuples as lists.

    >>> from homing.experiments import Window
    >>> to_plain(Window(days=7)), to_plain(Window(days=7), whole=True)
    ({'days': 7}, {'days': 7, 'start_day': 0})
    """
    if hasattr(type(value), "__dataclass_fields__"):
        return {
            field.name: to_plain(getattr(value, field.name), whole=whole)
            for field in fields(value)
            if whole or field.default is MISSING or getattr(value, field.name) != field.default
        }
    if isinstance(value, tuple | list):
        return [to_plain(item, whole=whole) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item, whole=whole) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def ordered(value: Any) -> Any:
    """Plain data as it is digested: mappings as lists of items, whose order counts, and every number as a float.

    >>> ordered({"b": 1, "a": True}) == ordered({"b": 1.0, "a": True}), ordered({"b": 1, "a": True})
    (True, [['b', 1.0], ['a', True]])
    """
    if isinstance(value, Mapping):
        return [[key, ordered(item)] for key, item in value.items()]
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_keys(where: str, data: Any, known: list[str], needed: list[str]) -> dict[str, Any]:
    """The mapping itself, if all its keys are known and all needed ones are there."""
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise InvalidInputError(describe(where, data, "must map names to values", f"Known: {', '.join(known)}."))
    for key in data:
        if key not in known:
            raise unknown_name(f"{where}: key", key, known)
    for key in needed:
        if key not in data:
            raise InvalidInputError(describe(f"{where}: {key}", None, "must be given"))
    return dict(data)


def build(kind: type[T], data: Any, where: str, **readers: Any) -> T:
    """A dataclass from a mapping of its fields; `readers` make the fields that are not plain.

    Raises:
        UnknownNameError: for an unknown key.
        InvalidInputError: if a field is missing or breaks its bound.
    """
    known = fields(kind)  # type: ignore[arg-type]
    needed = [item.name for item in known if item.default is MISSING and item.default_factory is MISSING]
    given = check_keys(where, data, [item.name for item in known], needed)
    made = {
        key: readers[key](value, f"{where}.{key}") if key in readers and value is not None else _frozen(value)
        for key, value in given.items()
    }
    try:
        return kind(**made)
    except (InvalidInputError, UnknownNameError) as error:
        raise type(error)(f"{where}: {error}") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_yaml(path: str | Path, what: str) -> Any:
    """The content of a YAML file in which no key is written twice.

    Raises:
        InvalidInputError: if it cannot be read or is not YAML.
    """
    path = Path(path)
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(describe(f"{what} file", str(path), f"cannot be read ({error})")) from error
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InvalidInputError(describe(f"{what} file", str(path), f"must be YAML ({where})")) from error
