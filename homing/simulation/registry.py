"""Worlds by name: a new one is a module and a line here."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, cast

from homing.errors import unknown_name
from homing.simulation.world import World

#: Name → module and class; imported when first made.
WORLDS: dict[str, tuple[str, str]] = {
    "duolingo": ("duolingo", "DuolingoWorld"),
    "impatient": ("impatient", "ImpatientWorld"),
    "linkedin": ("linkedin", "LinkedInWorld"),
    "messaging": ("messaging", "MessagingWorld"),
    "step-count": ("step_count", "StepCountWorld"),
}


def world_names() -> tuple[str, ...]:
    """All worlds by name."""
    return tuple(sorted(WORLDS))


def make_world(name: str, **params: Any) -> World:
    """Build a world by name.

    Args:
        name: see `world_names`.
        params: the world's parameters.

    Raises:
        UnknownNameError: for an unknown world or parameter, with the nearest name.
    """
    if name not in WORLDS:
        raise unknown_name("world", name, WORLDS)
    module, attribute = WORLDS[name]
    cls = getattr(import_module(f"homing.simulation.{module}"), attribute)
    known = inspect.signature(cls).parameters
    for key in params:
        if key not in known:
            raise unknown_name(f"parameter of {name}", key, known)
    return cast(World, cls(**params))
