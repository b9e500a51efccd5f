"""What both sides do: users live for some days, and everybody who is asked gets the last eligible message."""

from __future__ import annotations

import numpy as np

from homing.simulation.messaging import MessagingWorld
from homing.simulation.messaging.parameters import STEPS_A_DAY


def begin(n_users: int) -> MessagingWorld:
    """A world with its users drawn."""
    world = MessagingWorld()
    world.reset(n_users, seed=1)
    return world


def live(world: MessagingWorld, days: int) -> float:
    """Sessions of all users; observations are built in each step. The world itself is left as it is."""
    world = world.copy()
    column = world.objectives.index("sessions")
    total = 0.0
    for _ in range(days * STEPS_A_DAY):
        eligible = world.observation.eligible
        action = eligible.shape[1] - 1 - eligible[:, ::-1].argmax(axis=1)
        total += float(world.step(np.asarray(action)).reward[:, column].sum())
    return total
