"""What can be learnt from observations at best: the same class of policy, from effects that only a simulator can show.

Every user is lived through twice, with the same chance: at one random moment one twin gets a message at random and the
other silence, and the policy decides in all else. What differs in the sixty days that follow is the message's effect in
this state, without the noise that a log has, for as many users as one likes. Regressed on what a policy can observe, it
is a step of policy improvement; then the next round is played under the new policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.learners.lasting import pace_of
from homing.learners.logistic import newton
from homing.log import FeatureEncoder
from homing.policies import Effects, GreedyPolicy, LinearRewardModel, Policy, StructuredAdvantage
from homing.simulation import AnyPolicy, World
from homing.simulation.acting import decider, draw
from homing.simulation.encode import ObservationEncoder

FloatArray = NDArray[np.float64]
#: The message comes within the first days, and its effect is seen for the days that follow.
START_DAYS, SEEN_DAYS = 45, 60
RIDGE = 1_000.0


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of twins: context (p, d), message (p, c), effect on weighted reward on the first day and after it, what the
    silent twin brought a day, and whether the message was clicked, each (p,)."""

    context: NDArray[np.float32]
    message: NDArray[np.float32]
    at_once: FloatArray
    later: FloatArray
    pace: FloatArray
    clicked: NDArray[np.bool_]

    @classmethod
    def concat(cls, parts: list[Pairs]) -> Pairs:
        """All of them."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def twins(world: World, policy: AnyPolicy, encoder: FeatureEncoder, n_users: int, seed: int) -> Pairs:
    """One pair for each user who is decided on at all, at a moment of their own."""
    rng = np.random.default_rng((seed, 0x07A))
    steps_a_day = round(24.0 / world.step_hours)
    weights = np.array([world.weights[name] for name in world.objectives])
    one, other = world.copy(), world.copy()
    one.reset(n_users, seed)
    other.reset(n_users, seed)
    decide, encode = decider(world, policy, encoder=encoder), ObservationEncoder(encoder, world)
    begin = rng.integers(0, START_DAYS * steps_a_day, n_users)
    at = np.full(n_users, -1)
    context = np.zeros((n_users, len(encoder.context_names)), dtype=np.float32)
    message = np.zeros((n_users, len(encoder.candidate_names)), dtype=np.float32)
    effect, pace = np.zeros((n_users, 2)), np.zeros(n_users)
    clicked = np.zeros(n_users, dtype=bool)
    for step in range((START_DAYS + SEEN_DAYS) * steps_a_day):
        mine, theirs = one.observation, other.observation
        action, _ = draw(decide(one), mine, n_users, seed, step)
        instead = action.copy() if step == 0 else draw(decide(other), theirs, n_users, seed, step)[0]
        rows = np.flatnonzero(mine.eligible[:, 1:].any(axis=1) & (at[mine.user] < 0) & (begin[mine.user] <= step))
        if len(rows):
            able = mine.eligible[rows].copy()
            able[:, 0] = False
            chosen = np.argmax(able.cumsum(axis=1) > (rng.random(len(rows)) * able.sum(axis=1))[:, None], axis=1)
            user, some = mine.user[rows], mine.rows(rows)
            context[user] = encode.context(some)
            message[user] = encode.candidates(some)[np.arange(len(rows)), chosen]
            at[user], action[rows], instead[np.searchsorted(theirs.user, user)] = step, chosen, 0
        gained, silent = one.step(action).reward, other.step(instead).reward
        since = step - at
        on = np.flatnonzero((at >= 0) & (since < SEEN_DAYS * steps_a_day))
        difference = (gained[on] - silent[on]) @ weights
        effect[on, (since[on] >= steps_a_day).astype(int)] += difference
        pace[on] += silent[on] @ np.maximum(weights, 0.0) / SEEN_DAYS
        now = on[since[on] == 0]
        clicked[now] = gained[now, world.objectives.index("clicked")] > 0
    met = at >= 0
    return Pairs(context[met], message[met], effect[met, 0], effect[met, 1], pace[met], clicked[met])


def improved(pairs: Pairs) -> Policy:
    """The policy that does best by these effects, as `structured` would describe it."""
    x, c = pairs.context, pairs.message
    n, d, width = len(x), x.shape[1], 1 + x.shape[1] + c.shape[1]
    columns = np.concatenate([np.ones((n, 1), dtype=np.float32), x, c], axis=1)
    chance = newton(columns, pairs.clicked, 100.0, np.zeros(width)).astype(np.float32)
    response = LinearRewardModel(
        np.zeros((1, c.shape[1], d)), chance[None, 1 + d :], chance[None, 1 : 1 + d], chance[:1], ("logit",),
        np.ones(1), np.zeros(1), np.ones(1),
    )  # fmt: skip
    clicks = response.predict(x, c[:, None])[:, 0]
    pace = pace_of(x, pairs.pace)
    each = pace.of(x)
    z = np.concatenate([columns, clicks * columns], axis=1).astype(np.float64)
    now = _ridge(z, pairs.at_once, 1.0 / each)
    sticks = _ridge(z * each[:, None], pairs.later, 1.0 / each)
    return GreedyPolicy(
        StructuredAdvantage(
            response, _as_effects(now, d), _as_effects(sticks, d), np.zeros((0, 1, 1 + d)), np.zeros(0, dtype=np.int64),
            np.zeros(1 + c.shape[1]), np.ones(1), pace=pace.linear, least_pace=pace.least,
        )
    )  # fmt: skip


def improve(world: World, encoder: FeatureEncoder, policy: AnyPolicy, users: int, number: int, batch: int) -> Policy:
    """One step of policy iteration from a policy, with users of its own for each step's number."""
    seeds = range(2_000_000 + 1_000 * number, 2_000_000 + 1_000 * number + users // batch)
    return improved(Pairs.concat([twins(world, policy, encoder, batch, seed) for seed in seeds]))


def _ridge(z: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    gram = z.T @ (weight[:, None] * z)
    scale = np.sqrt(np.diag(gram) / len(y)) + 1e-9
    gram /= np.outer(scale, scale)
    gram[np.diag_indices(len(gram))] += RIDGE
    out: FloatArray = np.linalg.solve(gram, z.T @ (weight * y) / scale) / scale
    return out


def _as_effects(theta: FloatArray, d: int) -> Effects:
    parts = theta.reshape(2, 1, -1)
    return Effects(parts[:, :, 0], parts[:, :, 1 : 1 + d], parts[:, :, 1 + d :])
