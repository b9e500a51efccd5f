"""The messaging world without compilation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

MODULES = ("users", "responses", "opportunities", "dynamics", "seeing", "world")


@pytest.fixture
def as_plain_python(monkeypatch: pytest.MonkeyPatch) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A context in which every compiled function of the world is the Python function behind it."""

    @contextlib.contextmanager
    def plain() -> Iterator[None]:
        with monkeypatch.context() as patch:
            for module in (import_module(f"homing.simulation.messaging.{name}") for name in MODULES):
                for name, value in list(vars(module).items()):
                    if hasattr(value, "py_func") and value.__module__.startswith("homing.simulation.messaging"):
                        patch.setattr(module, name, value.py_func)
            yield

    return plain
