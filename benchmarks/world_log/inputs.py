"""The same decisions for both sides: some steps of the reference world under its behaviour policy."""

from __future__ import annotations

import numpy as np

from homing.simulation import World, decider, make_world
from homing.simulation.acting import Step, play
from homing.simulation.log import check_logged

SEED = 0


def steps(n_users: int) -> tuple[World, list[Step]]:
    """A day of decisions."""
    world = check_logged(make_world("messaging"))
    world.reset(n_users, SEED)
    decide = decider(world, world.behaviour_policy())
    return world, list(play(world, decide, steps=4, n_users=n_users, seed=SEED))


def total(context: np.ndarray, candidates: np.ndarray) -> float:
    return float(context.sum(dtype=np.float64) + candidates.sum(dtype=np.float64))
