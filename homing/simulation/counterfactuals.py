"""Counterfactual twins: the same user at the same moment with another action, and the same chance in all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_count, check_one_of, check_probability
from homing.errors import InvalidInputError, describe
from homing.estimates import Estimate, interval, t_quantile
from homing.log import FeatureEncoder
from homing.simulation.acting import AnyPolicy, Decider, decider, draw, play
from homing.simulation.checks import check_seed
from homing.simulation.rollout import objective_weights, steps_of
from homing.simulation.world import FloatArray, IntArray, Observation, World


@dataclass(frozen=True, eq=False)
class Individual:
    """Each pair's expected effect, with intervals over chance: P pairs.

    Attributes:
        value: float64 (P,), mean over replicates.
        std_error: float64 (P,).
        lower: float64 (P,).
        upper: float64 (P,).
        level: nominal coverage of each interval by itself, not of all together.
    """

    value: FloatArray
    std_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for strict JSON."""
        names = ("value", "std_error", "lower", "upper")
        return {"level": self.level, **{name: getattr(self, name).tolist() for name in names}}


@dataclass(frozen=True, eq=False)
class Twins:
    """What an action changed in all that follows: P pairs of a user and an action, R replicates, m objectives.

    Attributes:
        objectives: names of the m columns.
        weights: what the world's owner counts each objective.
        horizon_days: over which rewards are summed, the step of the action included.
        user: int64 (P,).
        action: int64 (P,), column of the observation.
        message: int64 (P,), row of the catalogue.
        instead: the action that it is compared with.
        effect: float64 (R, P, m), reward with the action minus reward with the other.
    """

    objectives: tuple[str, ...]
    weights: dict[str, float]
    horizon_days: int
    user: IntArray
    action: IntArray
    message: IntArray
    instead: int
    effect: FloatArray

    def average(
        self,
        objective: str | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        where: ArrayLike | None = None,
        level: float = 0.95,
    ) -> Estimate:
        """Mean effect over pairs, with an interval over users and chance (clustered by user).

        Args:
            objective: one of the objectives; the weighted sum of all when None.
            weights: of each objective; the world's own when None.
            where: bool (P,), which pairs to average over; all when None. `twins.message == 3`, say.
            level: of the interval.

        Raises:
            SupportError: if the pairs are of fewer than two users.
            InvalidInputError: if `where` is no mask of the pairs.
        """
        check_probability("level", level)
        chosen = np.ones(len(self.user), dtype=bool) if where is None else np.asarray(where)
        if chosen.dtype != bool or chosen.shape != self.user.shape:
            shape = f"{chosen.dtype} {chosen.shape}"
            raise InvalidInputError(describe("where", shape, f"must be bool {self.user.shape}, one for each pair"))
        effect = self._worth(objective, weights)[:, chosen].mean(axis=0)
        mean = float(effect.mean()) if len(effect) else 0.0
        user = np.unique(self.user[chosen], return_inverse=True)[1]
        psi = np.bincount(user, weights=(effect - mean) / max(len(effect), 1)).astype(np.float64)
        return interval(mean, psi, level)

    def individual(
        self, objective: str | None = None, *, weights: Mapping[str, float] | None = None, level: float = 0.95
    ) -> Individual:
        """Each pair's expected effect, with Student's t intervals over replicates.

        Raises:
            InvalidInputError: if there is one replicate, which says what happened and not what was to be expected.
        """
        count = len(self.effect)
        if count < 2:
            step = "Call twins(..., replicates=30)."
            raise InvalidInputError(describe("replicates", count, "must be >= 2 for intervals", step))
        effect = self._worth(objective, weights)
        value, error = effect.mean(axis=0), effect.std(axis=0, ddof=1) / np.sqrt(count)
        half = t_quantile(level, count - 1) * error
        return Individual(value, error, value - half, value + half, level)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for strict JSON: averages over all pairs."""
        return {
            "horizon_days": self.horizon_days,
            "pairs": len(self.user),
            "replicates": len(self.effect),
            "average": self.average().to_dict(),
            "averages": {name: self.average(name).to_dict() for name in self.objectives},
        }

    def _worth(self, objective: str | None, weights: Mapping[str, float] | None) -> FloatArray:
        """(R, P)."""
        if objective is not None:
            column = self.objectives.index(check_one_of("objective", objective, self.objectives))
            one: FloatArray = self.effect[:, :, column]
            return one
        out: FloatArray = self.effect @ objective_weights(self.objectives, self.weights if weights is None else weights)
        return out


def twins(
    world: World,
    user: ArrayLike,
    action: ArrayLike,
    *,
    policy: AnyPolicy,
    horizon_days: int,
    instead: int = 0,
    replicates: int = 1,
    seed: int = 0,
    encoder: FeatureEncoder | None = None,
    policy_weights: ArrayLike | None = None,
) -> Twins:
    """The effect of one action now on everything within a horizon, for many pairs of user and action at once.

    From the world's current state two futures are played: in one the user gets `action` in this step, in the other
    `instead`; afterwards a policy decides in both. Chance and the policy's draws are the same, so what differs is what
    the action caused. All users live on together, and their futures do not touch each other; so a pass is shared by as
    many pairs as there are users.

    One replicate is what *would have happened*, in the world's own chance; the mean over many is what was *to be
    expected* for this user in this state.

    Args:
        world: after `reset` or `step`; it is left as it is.
        user: int (P,), users of the current observation; one may come several times.
        action: int (P,), an eligible column for each.
        policy: that decides after this step.
        horizon_days: over which rewards are summed, this step included.
        instead: the column to compare with, for all; silence by default.
        replicates: futures for each pair; all but the first in another chance (`World.with_chance`).
        seed: of the policy's draws and of the replicates' chance.
        encoder: of the features, for policies that bring none.
        policy_weights: (m,), the importance of objectives that the policy is asked to follow.

    Raises:
        InvalidInputError: if a user is not in the observation, or an action is not eligible.

    Example:
        >>> from homing.policies import SilencePolicy
        >>> from homing.simulation import make_world
        >>> world = make_world("linkedin")
        >>> seen = world.reset(n_users=2000, seed=0)
        >>> asked = seen.user[seen.eligible[:, 1]]
        >>> sent = twins(world, asked, np.ones(len(asked), int), policy=SilencePolicy(), horizon_days=2)
        >>> sent.average("visits").lower > 0
        True
    """
    seen = world.observation
    instead = check_count("instead", instead, least=0)
    users, actions = _check_pairs(seen, user, action, instead)
    horizon_days, replicates = check_count("horizon_days", horizon_days), check_count("replicates", replicates)
    steps, seed = steps_of(world, horizon_days), check_seed(seed)
    decide = decider(world, policy, encoder=encoder, weights=policy_weights)
    rows = np.searchsorted(seen.user, users)
    n_users = len(world.copy().step(np.zeros(len(seen), dtype=np.int64)).reward)
    # The pairs of one user go into different passes: in each, a user has one future.
    order = np.argsort(users, kind="stable")
    first = np.searchsorted(users[order], users[order])
    turn = np.empty(len(users), dtype=np.int64)
    turn[order] = np.arange(len(users)) - first
    effect = np.empty((replicates, len(users), len(world.objectives)))
    for replicate in range(replicates):
        chance = seed + replicate
        begin = world if replicate == 0 else world.with_chance(_chance(seed, replicate))
        without = _future(begin, decide, rows, np.full(len(rows), instead), steps, n_users, chance)[users]
        for number in range(int(turn.max(initial=-1)) + 1):
            pair = turn == number
            total = _future(begin, decide, rows[pair], actions[pair], steps, n_users, chance)
            effect[replicate, pair] = total[users[pair]] - without[pair]
    return Twins(
        world.objectives, dict(world.weights), horizon_days, users, actions, seen.message[rows, actions], instead,
        effect,
    )  # fmt: skip


def _future(
    world: World, decide: Decider, rows: IntArray, forced: IntArray, steps: int, n_users: int, seed: int
) -> FloatArray:
    """All users' rewards (N, m) when some rows' first actions are given."""
    world = world.copy()
    now = world.t  # steps of a run that led here with the same seed have had the draws before
    action, _ = draw(decide(world), world.observation, n_users, seed, now)
    action[rows] = forced
    total = world.step(action).reward.copy()
    for step in play(world, decide, steps=steps - 1, n_users=n_users, seed=seed, first=now + 1):
        total += step.outcomes.reward
    return total


def _chance(seed: int, replicate: int) -> int:
    return int(np.random.default_rng((seed, replicate, 0x7E1)).integers(2**62))


def _check_pairs(seen: Observation, user: ArrayLike, action: ArrayLike, instead: int) -> tuple[IntArray, IntArray]:
    users, actions = np.asarray(user), np.asarray(action)
    whole = all(np.issubdtype(array.dtype, np.integer) and array.ndim == 1 for array in (users, actions))
    if not whole or len(users) != len(actions) or not len(users):
        shapes = f"{users.dtype} {users.shape}, {actions.dtype} {actions.shape}"
        raise InvalidInputError(describe("user and action", shapes, "must be integers (P,), one action for each user"))
    absent = ~np.isin(users, seen.user)
    if absent.any():
        bound = "must be a user of the current observation"
        raise InvalidInputError(describe(f"user[{int(np.argmax(absent))}]", int(users[absent][0]), bound))
    row = np.searchsorted(seen.user, users)
    for name, column in (("action", actions), ("instead", np.full(len(users), instead))):
        bad = ~_eligible(seen, row, column)
        if bad.any():
            pair = int(np.argmax(bad))
            allowed = np.flatnonzero(seen.eligible[row[pair]]).tolist()
            bound = f"must be eligible for user {users[pair]}: one of {allowed}"
            raise InvalidInputError(describe(f"{name}[{pair}]", int(column[pair]), bound))
    return users.astype(np.int64), actions.astype(np.int64)


def _eligible(seen: Observation, row: IntArray, column: IntArray) -> NDArray[np.bool_]:
    inside = (column >= 0) & (column < seen.eligible.shape[1])
    out: NDArray[np.bool_] = inside & seen.eligible[row, np.where(inside, column, 0)]
    return out
