"""What a policy is truly worth in a world: users live through a horizon, and everything that happens is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_count, check_one_of, check_probability
from homing.errors import InvalidInputError, describe, unknown_name
from homing.estimates import Estimate, interval
from homing.log import FeatureEncoder
from homing.simulation.acting import AnyPolicy, decider, play
from homing.simulation.checks import check_seed
from homing.simulation.world import FloatArray, IntArray, World

#: Called after each day with the days that are done and those there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Rollout:
    """What happened to each user under one policy: N users, m objectives.

    Attributes:
        world: its name.
        objectives: names of the m columns.
        weights: what the world's owner counts each objective.
        horizon_days: length.
        seed: of the world and of the policy's draws.
        total: float64 (N, m), sum over the horizon, discounted if asked for.
        by_day: float64 (horizon_days, m), mean over users of each day's sum, never discounted.
        by_day_std_error: float64 (horizon_days, m), standard errors of these means.
        decisions: int64 (N,), how often a user was decided about.
        sends: int64 (N,), how often the choice was not silence.
        discount_per_day: what a day's delay multiplies a reward by; 1 for none.
    """

    world: str
    objectives: tuple[str, ...]
    weights: dict[str, float]
    horizon_days: int
    seed: int
    total: FloatArray
    by_day: FloatArray
    by_day_std_error: FloatArray
    decisions: IntArray
    sends: IntArray
    discount_per_day: float = 1.0

    @property
    def n_users(self) -> int:
        """Number of users, N."""
        return len(self.total)

    def value(
        self, objective: str | None = None, *, weights: Mapping[str, float] | None = None, level: float = 0.95
    ) -> Estimate:
        """Mean over users of what a user brings over the horizon, with its Monte-Carlo interval.

        The interval is that of a mean of independent users (Student's t): it tells how far the number is from the
        world's expectation over users and chance, and vanishes with more users.

        Args:
            objective: one of the objectives; the weighted sum of all when None.
            weights: of each objective, those that are not named count 0; the world's own when None.
            level: of the interval.

        Raises:
            UnknownNameError: if there is no such objective.
        """
        return _mean(self._worth(objective, weights), level)

    def values(self, *, level: float = 0.95) -> dict[str, Estimate]:
        """The value of each objective by itself."""
        return {name: self.value(name, level=level) for name in self.objectives}

    def minus(
        self,
        other: Rollout,
        objective: str | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        level: float = 0.95,
    ) -> Estimate:
        """This policy's value minus another's, paired by user: both met the same users and the same chance.

        Raises:
            InvalidInputError: if the other is of another world, seed, horizon or number of users.
        """
        for name in ("world", "seed", "n_users", "horizon_days", "discount_per_day"):
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                step = "Simulate both with the same arguments."
                raise InvalidInputError(describe(f"{name} of the other rollout", others, f"must be {mine!r}", step))
        return _mean(self._worth(objective, weights) - other._worth(objective, weights), level)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for strict JSON; users are told by their mean."""
        return {
            "world": self.world,
            "horizon_days": self.horizon_days,
            "n_users": self.n_users,
            "seed": self.seed,
            "discount_per_day": self.discount_per_day,
            "weights": dict(self.weights),
            "value": self.value().to_dict(),
            "values": {name: estimate.to_dict() for name, estimate in self.values().items()},
            "sends_per_user": float(self.sends.mean()),
            "by_day": {name: self.by_day[:, i].tolist() for i, name in enumerate(self.objectives)},
            "by_day_std_error": {name: self.by_day_std_error[:, i].tolist() for i, name in enumerate(self.objectives)},
        }

    def _worth(self, objective: str | None, weights: Mapping[str, float] | None) -> FloatArray:
        if objective is not None:
            return self.total[:, self.objectives.index(check_one_of("objective", objective, self.objectives))]
        return self.total @ objective_weights(self.objectives, self.weights if weights is None else weights)


def objective_weights(objectives: tuple[str, ...], weights: Mapping[str, float]) -> FloatArray:
    """Weights (m,) in the order of the objectives; 0 for those that are not named.

    Raises:
        UnknownNameError: for a name that is no objective.
        InvalidInputError: for a weight that is no finite number.

    Example:
        >>> objective_weights(("clicked", "session"), {"session": 2.0}).tolist()
        [0.0, 2.0]
    """
    for name in weights:
        if name not in objectives:
            raise unknown_name("objective", name, objectives)
        value = weights[name]
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise InvalidInputError(describe(f"weight of {name}", value, "must be a finite number"))
    return np.array([float(weights.get(name, 0.0)) for name in objectives])


def simulate(
    world: World,
    policy: AnyPolicy,
    *,
    horizon_days: int,
    n_users: int = 10_000,
    seed: int = 0,
    encoder: FeatureEncoder | None = None,
    policy_weights: ArrayLike | None = None,
    discount_per_day: float = 1.0,
    progress: Progress | None = None,
) -> Rollout:
    """Let a policy run for some days from a fresh start; the world itself is left as it is.

    Args:
        world: of which a copy is used.
        policy: see `homing.simulation.decider`.
        horizon_days: length, >= 1.
        n_users: N; the interval shrinks with its root.
        seed: of users, chance and the policy's draws. The same seed gives policies the same of all three.
        encoder: of the features, for policies that bring none.
        policy_weights: (m,), the importance of objectives that the policy is asked to follow; None for its own.
        discount_per_day: in (0, 1].
        progress: told after each day how many are done, of how many.

    Raises:
        InvalidInputError: if a number is out of its bounds, or a policy chooses what is not eligible.

    Example:
        >>> from homing.policies import SilencePolicy, UniformPolicy
        >>> from homing.simulation import make_world
        >>> world = make_world("linkedin")
        >>> random = simulate(world, UniformPolicy(), horizon_days=7, n_users=500)
        >>> silence = simulate(world, SilencePolicy(), horizon_days=7, n_users=500)
        >>> difference = random.minus(silence, "visits")
        >>> 0 < difference.lower < difference.value
        True
    """
    horizon_days, n_users = check_count("horizon_days", horizon_days), check_count("n_users", n_users, least=2)
    seed = check_seed(seed)
    if not isinstance(discount_per_day, int | float | np.number) or not 0.0 < discount_per_day <= 1.0:
        raise InvalidInputError(describe("discount_per_day", discount_per_day, "must be in (0, 1]"))
    steps = steps_of(world, horizon_days)
    world = world.copy()
    world.reset(n_users, seed)
    decide = decider(world, policy, encoder=encoder, weights=policy_weights)
    m = len(world.objectives)
    out = Rollout(
        world.name, world.objectives, dict(world.weights), horizon_days, seed, np.zeros((n_users, m)),
        np.zeros((horizon_days, m)), np.zeros((horizon_days, m)), np.zeros(n_users, dtype=np.int64),
        np.zeros(n_users, dtype=np.int64), float(discount_per_day),
    )  # fmt: skip
    today = np.zeros((n_users, m))
    for step in play(world, decide, steps=steps, n_users=n_users, seed=seed):
        day = step.index * horizon_days // steps
        user = step.observation.user
        today += step.outcomes.reward
        out.decisions[user] += 1
        out.sends[user] += step.action > 0
        if (step.index + 1) * horizon_days // steps > day:
            out.total[...] += today * discount_per_day**day
            out.by_day[day] = today.mean(axis=0)
            out.by_day_std_error[day] = today.std(axis=0, ddof=1) / np.sqrt(n_users)
            today[...] = 0.0
            if progress is not None:
                progress(day + 1, horizon_days)
    return out


def true_value(
    world: World,
    policy: AnyPolicy,
    *,
    horizon_days: int,
    n_users: int = 10_000,
    seed: int = 0,
    objective: str | None = None,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
    **options: Any,
) -> Estimate:
    """What a policy is worth per user over a horizon, with its Monte-Carlo interval.

    Args:
        world: the truth.
        policy: see `homing.simulation.decider`.
        horizon_days: over which rewards are summed.
        n_users: of the simulation; the interval shrinks with its root.
        seed: use another than that of the log that the policy was trained on: other users, other chance.
        objective: the value of one objective.
        weights: of each objective, for the value of their sum; the world's own when neither is given.
        level: of the interval.
        options: `encoder`, `policy_weights`, `discount_per_day`, `progress`; see `simulate`.

    Example:
        >>> from homing.policies import UniformPolicy
        >>> from homing.simulation import make_world
        >>> estimate = true_value(make_world("linkedin"), UniformPolicy(), horizon_days=5, n_users=2000)
        >>> estimate.lower < estimate.value < estimate.upper
        True
    """
    rollout = simulate(world, policy, horizon_days=horizon_days, n_users=n_users, seed=seed, **options)
    return rollout.value(objective, weights=weights, level=level)


def true_values(
    world: World,
    policy: AnyPolicy,
    *,
    horizon_days: int,
    n_users: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
    **options: Any,
) -> dict[str, Estimate]:
    """What a policy is worth per user in each objective; see `true_value`."""
    rollout = simulate(world, policy, horizon_days=horizon_days, n_users=n_users, seed=seed, **options)
    return rollout.values(level=level)


def true_difference(
    world: World,
    policy: AnyPolicy,
    baseline: AnyPolicy,
    *,
    horizon_days: int,
    n_users: int = 10_000,
    seed: int = 0,
    objective: str | None = None,
    weights: Mapping[str, float] | None = None,
    level: float = 0.95,
    **options: Any,
) -> Estimate:
    """The value of one policy minus that of another, paired: both meet the same users and the same chance.

    What differs is only what their decisions change, so the interval is much narrower than that of two values apart.

    Example:
        >>> from homing.policies import SilencePolicy, UniformPolicy
        >>> from homing.simulation import make_world
        >>> world = make_world("linkedin")
        >>> same = true_difference(world, UniformPolicy(), UniformPolicy(), horizon_days=2, n_users=100)
        >>> same.value, same.std_error
        (0.0, 0.0)
    """
    one, other = (
        simulate(world, each, horizon_days=horizon_days, n_users=n_users, seed=seed, **options)
        for each in (policy, baseline)
    )
    return one.minus(other, objective, weights=weights, level=level)


def steps_of(world: World, days: int) -> int:
    """Steps in some days.

    Raises:
        InvalidInputError: if these are no whole steps.
    """
    steps = days * 24.0 / world.step_hours
    if abs(steps - round(steps)) > 1e-9 or round(steps) < 1:
        bound = f"must be whole steps of {world.step_hours:g} hours"
        raise InvalidInputError(describe("days", days, bound, "Choose another number of days."))
    return round(steps)


def _mean(worth: FloatArray, level: float) -> Estimate:
    check_probability("level", level)
    mean = float(worth.mean())
    return interval(mean, (worth - mean) / len(worth), level)
