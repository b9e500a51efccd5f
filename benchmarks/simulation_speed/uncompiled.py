"""The messaging world's functions as Python."""

from __future__ import annotations

from importlib import import_module

from homing.simulation.compiled import as_python

ROOMS = [f"messaging.{name}" for name in ("users", "responses", "opportunities", "dynamics", "seeing", "world")]


def uncompile() -> None:
    """Put the Python function in the place of every compiled one, in all modules that name it; draws stay compiled."""
    for room in ROOMS:
        module = import_module(f"homing.simulation.{room}")
        for name, value in list(vars(module).items()):
            if hasattr(value, "py_func") and not value.__module__.endswith(".draws"):
                setattr(module, name, as_python(value))
