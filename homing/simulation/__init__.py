"""Worlds with known truth: users who live on with or without messages, so that learners and estimators can be checked.

A `World` advances all its users together; `log_decisions` writes what a policy did in it as a decision log, and
`true_value` tells what a policy is truly worth there.
"""

from __future__ import annotations

from homing.simulation.acting import AnyPolicy, Mixture, ObservationPolicy, OraclePolicy, decider
from homing.simulation.delivery import Delivery
from homing.simulation.encode import ObservationEncoder, plain_encoder
from homing.simulation.log import log_decisions
from homing.simulation.registry import WORLDS, make_world, world_names
from homing.simulation.rollout import Rollout, simulate, true_difference, true_value, true_values
from homing.simulation.slices import Slices
from homing.simulation.twins import Individual, Twins, twins
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
from homing.simulation.wrappers import Delayed, Drifting, Noisy, Restricted, Wrapped

__all__ = [
    "PADDING",
    "UNLINKED",
    "WORLDS",
    "AnyPolicy",
    "Catalogue",
    "Delayed",
    "Delivery",
    "Drifting",
    "Events",
    "Feature",
    "Individual",
    "Mixture",
    "Noisy",
    "Observation",
    "ObservationEncoder",
    "ObservationPolicy",
    "OraclePolicy",
    "Outcomes",
    "Restricted",
    "Rollout",
    "Slices",
    "Twins",
    "World",
    "Wrapped",
    "check_actions",
    "check_world",
    "decider",
    "log_decisions",
    "make_world",
    "plain_encoder",
    "simulate",
    "true_difference",
    "true_value",
    "true_values",
    "twins",
    "world_names",
]
