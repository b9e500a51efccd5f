"""A second peer: one object with plain numbers and lists for each user, as a hand-written environment would have.

It runs the same functions as Python and draws the same numbers (compiled), so that its users live the same lives.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.measure import report
from benchmarks.simulation_speed.life import begin
from benchmarks.simulation_speed.uncompiled import uncompile
from homing.simulation.messaging import MessagingWorld, dynamics, seeing
from homing.simulation.messaging.parameters import STEPS_A_DAY


def plain(record: Any) -> SimpleNamespace:
    """A record's fields as numbers, lists, or (where there are two dimensions) a dictionary by position."""
    out = {}
    for name in record.dtype.names:
        value = np.asarray(record[name])
        if value.ndim == 2:
            out[name] = {place: int(one) for place, one in np.ndenumerate(value)}
        else:
            out[name] = value.tolist()
    return SimpleNamespace(**out)


def lives(world: MessagingWorld, days: int) -> float:
    """Sessions of all users, one user after the other."""
    d, k = len(world.context_features), world.observation.message.shape[1]
    seasons = [world._season(step) for step in range(days * STEPS_A_DAY)]
    p = [plain(world._numbers[0])]
    column = world.objectives.index("sessions")
    log = np.recarray(dynamics.MOST_EVENTS, dynamics.EVENT)
    total = 0.0
    for u in range(world.n_users):
        user = [plain(world.state[u])]
        for step, season in enumerate(seasons):
            asked = [False]
            seeing.find_asked(p, user, step, asked, 0, 1)
            sent = 0
            if asked[0]:
                context, message, value = np.empty((1, d)), np.empty((1, k), np.int64), np.empty((1, k))
                expires, features, eligible = np.empty((1, k)), np.empty((1, k, 3)), np.empty((1, k), np.bool_)
                seeing.show(p, user, step, [0], context, message, value, expires, features, eligible, 0, 1)
                sent = int(message[0, np.flatnonzero(eligible[0])[-1]])
            if user[0].alive:
                reward = [0.0] * len(world.objectives)
                dynamics.live(p[0], user[0], season, world.seed, u, sent, reward, log, 0)
                total += reward[column]
    return total


uncompile()
world = begin(int(sys.argv[1]))
lives(world, 1)  # the draws are compiled, or read from disk
report(lambda: lives(world, int(sys.argv[2])))
