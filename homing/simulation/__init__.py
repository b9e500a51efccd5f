"""Worlds with known truth: users who live on with or without messages, so that learners and estimators can be checked.

A `World` advances all its users together; `log_decisions` writes what a policy did in it as a decision log, and
`true_value` tells what a policy is truly worth there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homing.simulation.acting import AnyPolicy, Mixture, ObservationPolicy, OraclePolicy, decider
    from homing.simulation.baselines import HighestValueRule
    from homing.simulation.counterfactuals import Individual, Twins, twins
    from homing.simulation.delivery import Delivery
    from homing.simulation.encode import ObservationEncoder, plain_encoder
    from homing.simulation.export import Export, export_world
    from homing.simulation.log import LoggedWorld, log_decisions
    from homing.simulation.registry import WORLDS, make_world, world_names
    from homing.simulation.rollout import Rollout, simulate, true_difference, true_value, true_values
    from homing.simulation.scores import Score, Scores, score_policies
    from homing.simulation.slices import Slices
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

#: Names that are imported when first used: worlds need Numba, and the command line does not need worlds.
_LATER = {
    "AnyPolicy": "acting",
    "Catalogue": "world",
    "Delayed": "wrappers",
    "Delivery": "delivery",
    "Drifting": "wrappers",
    "Events": "world",
    "Export": "export",
    "Feature": "world",
    "HighestValueRule": "baselines",
    "Individual": "counterfactuals",
    "LoggedWorld": "log",
    "Mixture": "acting",
    "Noisy": "wrappers",
    "Observation": "world",
    "ObservationEncoder": "encode",
    "ObservationPolicy": "acting",
    "OraclePolicy": "acting",
    "Outcomes": "world",
    "PADDING": "world",
    "Restricted": "wrappers",
    "Rollout": "rollout",
    "Score": "scores",
    "Scores": "scores",
    "Slices": "slices",
    "Twins": "counterfactuals",
    "UNLINKED": "world",
    "WORLDS": "registry",
    "World": "world",
    "Wrapped": "wrappers",
    "check_actions": "world",
    "check_world": "world",
    "decider": "acting",
    "export_world": "export",
    "log_decisions": "log",
    "make_world": "registry",
    "plain_encoder": "encode",
    "score_policies": "scores",
    "simulate": "rollout",
    "true_difference": "rollout",
    "true_value": "rollout",
    "true_values": "rollout",
    "twins": "counterfactuals",
    "world_names": "registry",
}

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
    "Export",
    "Feature",
    "HighestValueRule",
    "Individual",
    "LoggedWorld",
    "Mixture",
    "Noisy",
    "Observation",
    "ObservationEncoder",
    "ObservationPolicy",
    "OraclePolicy",
    "Outcomes",
    "Restricted",
    "Rollout",
    "Score",
    "Scores",
    "Slices",
    "Twins",
    "World",
    "Wrapped",
    "check_actions",
    "check_world",
    "decider",
    "export_world",
    "log_decisions",
    "make_world",
    "plain_encoder",
    "score_policies",
    "simulate",
    "true_difference",
    "true_value",
    "true_values",
    "twins",
    "world_names",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"homing.simulation.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
