"""What policies are worth decision by decision, in the states that the logging policy brings users into.

That is what an off-policy preview estimates: each decision is taken by the policy, all before it by the one that
logged, and what happens until the user's next decision counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from homing.simulation import World

FloatArray = NDArray[np.float64]
Decide = Callable[[World], FloatArray]


def per_decision(
    world: World, logging: Decide, policies: Sequence[Decide], *, steps: int, n_users: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Each policy's mean rewards a decision less those of the logging policy (p, m), and their standard errors.

    At each step a copy of the world takes a policy's actions; in it users wait until they would be asked again. All
    futures share chance, so that only what the actions change differs.

    Args:
        world: of which a copy is used.
        logging: probabilities of the policy that logs.
        policies: of those that are judged.
        steps: of the log; what happens after its end does not count.
        n_users: N.
        seed: of users, chance and draws.
    """
    world, rng = world.copy(), np.random.default_rng(seed)
    world.reset(n_users, seed)
    totals, decisions = np.zeros((len(policies), n_users, len(world.objectives))), np.zeros(n_users)
    for step in range(steps):
        seen = world.observation
        decisions[seen.user] += 1
        draws = rng.random(len(seen))  # the same for all: where probabilities agree, so do actions
        taken = _drawn(logging(world), draws)
        base = _until_next(world, taken, steps - step)
        for p, decide in enumerate(policies):
            totals[p] += _until_next(world, _drawn(decide(world), draws), steps - step) - base
        world.step(taken)
    mean = totals.sum(axis=1) / decisions.sum()
    left = totals - mean[:, None] * decisions[:, None]  # a ratio of means, linearised
    return mean, np.sqrt((left**2).sum(axis=1)) / decisions.sum()


def _drawn(probs: FloatArray, draws: FloatArray) -> NDArray[np.int64]:
    edges = probs.cumsum(axis=1)
    out: NDArray[np.int64] = (edges[:, :-1] <= draws[:, None] * edges[:, -1:]).sum(axis=1)
    return out


def _until_next(world: World, action: NDArray[np.int64], steps: int) -> FloatArray:
    """Rewards (N, m) of those who are asked now, until they are asked again or the log ends."""
    other = world.copy()
    waiting = np.zeros(world.n_users, dtype=bool)
    waiting[other.observation.user] = True
    out = np.zeros((len(waiting), len(world.objectives)))
    for _ in range(steps):
        reward = other.step(action).reward
        out[waiting] += reward[waiting]
        seen = other.observation
        waiting[seen.user] = False
        if not waiting.any():
            break
        action = np.zeros(len(seen), dtype=np.int64)
    return out
