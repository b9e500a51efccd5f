"""Worlds with known truth: users who live on with or without messages, so that learners and estimators can be checked.

A `World` advances all its users together; `log_decisions` writes what a policy did in it as a decision log, and
`true_value` tells what a policy is truly worth there.
"""

from __future__ import annotations

from homing.simulation.registry import WORLDS, make_world, world_names
from homing.simulation.world import (
    PADDING,
    UNLINKED,
    Catalogue,
    Events,
    Feature,
    Observation,
    Outcomes,
    World,
    check_actions,
    check_world,
)

__all__ = [
    "PADDING",
    "UNLINKED",
    "WORLDS",
    "Catalogue",
    "Events",
    "Feature",
    "Observation",
    "Outcomes",
    "World",
    "check_actions",
    "check_world",
    "make_world",
    "world_names",
]
