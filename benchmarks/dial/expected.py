"""What users live through, with the last draw of what is rare taken out of it.

Whether a user converts, closes a channel or leaves is drawn in the end, with a chance that the world knows. What is
counted here is that chance, not the draw: the mean is the same (E[r] = E[E[r | what led to it]], Rao and Blackwell) and
two lives that hardly differ are told apart by far fewer users. Nobody leaves the world that they live in; instead all
that happens counts by the probability that the user is still there, the product of not having left in the steps before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.simulation.acting import AnyPolicy, decider, draw
from homing.simulation.messaging import MessagingParameters, MessagingWorld
from homing.simulation.messaging.parameters import DOMAINS, PREMIUM_OFFER, STEPS_A_DAY

FloatArray = NDArray[np.float64]
#: Of which lives are told.
DIALLED = ("sessions", "converted", "churned", "opted_out")


@dataclass(frozen=True, eq=False)
class Life:
    """What N users live through.

    Attributes:
        total: float64 (N, 4), expected sums of `DIALLED`.
        sends: float64 (N,), messages.
    """

    total: FloatArray
    sends: FloatArray


def live(
    policy: AnyPolicy,
    weights: FloatArray | None,
    *,
    days: int,
    n_users: int,
    seed: int,
    parameters: MessagingParameters | None = None,
) -> Life:
    """Let a policy decide about users of `MessagingWorld` for some days.

    Args:
        policy: an artifact with its features, or one that needs none.
        weights: (m,), of the world's objectives, that it is asked to follow; None for its own.
        days: length.
        n_users: N.
        seed: of users, chance and the policy's draws, the same for all policies.
        parameters: of the world; None for its own.
    """
    p = parameters or MessagingParameters()
    world = MessagingWorld(replace(p, churn_per_day=0.0))
    world.reset(n_users, seed)
    decide = decider(world, policy, weights=weights)
    clicked, came, cancelled = (world.objectives.index(name) for name in ("clicked", "sessions", "cancelled"))
    offers = np.array([domain == DOMAINS[PREMIUM_OFFER] for domain in world.catalogue.domain])
    there, out = np.ones(n_users), Life(np.zeros((n_users, len(DIALLED))), np.zeros(n_users))
    for index in range(days * STEPS_A_DAY):
        seen, truth = world.observation, world.truth()
        action, _ = draw(decide(world), seen, n_users, seed, index)
        chosen, user = (np.arange(len(seen)), action), seen.user
        free, intent = ~world.state.premium, world.state.intent.copy()
        reward = world.step(action).reward
        # What was clicked in this step counts in it already; only what is kept of it for the next step has faded.
        worth = np.where(offers[seen.message[chosen]], truth.relevance[chosen], 0.0) * reward[user, clicked]
        intent[user] += p.intent_clicked * worth * (1.0 - intent[user])
        habit = _before_fading(world.state.habit, p.habit_half_life_days)
        disengagement = _before_fading(world.state.disengagement, p.disengagement_half_life_days)
        converts = p.conversion_per_session * np.exp(p.conversion_habit * (habit - 0.5))
        converts *= (1.0 + p.intent_factor * intent) * free * reward[:, came]
        pays = world.state.premium | (reward[:, cancelled] > 0)
        leaves = np.exp(p.leave_disengagement * disengagement - p.leave_habit * (habit - 0.5))
        leaves *= p.churn_per_day / STEPS_A_DAY * np.where(pays, p.churn_premium_factor, 1.0)
        closes = np.zeros(n_users)
        closes[user] = truth.opt_out[chosen]
        out.total[...] += there[:, None] * np.column_stack([reward[:, came], converts, leaves, closes])
        out.sends[user] += there[user] * (action > 0)
        there *= 1.0 - leaves
    return out


def _before_fading(state: FloatArray, half_life_days: float) -> FloatArray:
    """A state as it was in the step that has just ended."""
    out: FloatArray = state * 2.0 ** (1.0 / STEPS_A_DAY / half_life_days)
    return out
