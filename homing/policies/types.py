"""Everything that an artifact may hold, by name: a new type is one decorated frozen dataclass.

The fields of the dataclass are its whole state: NumPy arrays become tensors, registered types nest, all else is JSON.
`__post_init__` is the one place where values are checked, whether they come from a person or from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, TypeVar

from homing.errors import UnknownNameError, unknown_name

T = TypeVar("T")

_TYPES: dict[str, type[Any]] = {}


def register(name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: artifacts may hold this dataclass under `name`.

    Example:
        >>> type_named("uniform").__name__
        'UniformPolicy'
    """

    def add(cls: type[T]) -> type[T]:
        assert is_dataclass(cls), f"{cls.__name__} must be a dataclass: its fields are what is saved"
        assert name not in _TYPES, f"two types are called {name!r}"
        _TYPES[name] = cls
        return cls

    return add


def type_names() -> tuple[str, ...]:
    """The names of all registered types, sorted."""
    return tuple(sorted(_TYPES))


def type_named(name: str) -> type[Any]:
    """The class behind a name.

    Raises:
        UnknownNameError: if there is none, with the nearest name.
    """
    if name not in _TYPES:
        raise unknown_name("type", name, _TYPES)
    return _TYPES[name]


def name_of(value: object) -> str | None:
    """The name under which the type of `value` is registered, or None."""
    return next((name for name, cls in _TYPES.items() if type(value) is cls), None)


def registered_name(value: object) -> str:
    """The same, where it must have one.

    Raises:
        UnknownNameError: if the type is not registered.
    """
    name = name_of(value)
    if name is None:
        raise UnknownNameError(
            f"type == {type(value).__name__!r}, must be registered to be saved. "
            "Decorate the class with homing.policies.register."
        )
    return name
