"""What decides in a world: a policy on encoded arrays, a rule on raw observations, or an oracle that sees the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.errors import InvalidInputError, describe
from homing.log import FeatureEncoder
from homing.policies import Policy, PolicyArtifact, sample_actions
from homing.simulation.encode import ObservationEncoder
from homing.simulation.world import IntArray, Observation, Outcomes, World

#: Probabilities (n, k) for the users of a world's current observation.
Decider = Callable[[World], NDArray[np.float64]]
#: Keeps the draws of actions apart from everything else that a seed is used for.
_ACTIONS = 0xAC7


@runtime_checkable
class ObservationPolicy(Protocol):
    """A rule that reads raw observations: what a product's own logic sees.

    Example:
        >>> class Newest:
        ...     def observation_probs(self, observation):
        ...         out = np.zeros(observation.eligible.shape)
        ...         last = observation.eligible.shape[1] - 1 - observation.eligible[:, ::-1].argmax(axis=1)
        ...         out[np.arange(len(out)), last] = 1.0
        ...         return out
        >>> isinstance(Newest(), ObservationPolicy)
        True
    """

    def observation_probs(self, observation: Observation) -> NDArray[np.float64]:
        """Probabilities (n, k): each row sums to 1, and is 0 where not eligible."""
        ...


@runtime_checkable
class OraclePolicy(Protocol):
    """A rule that reads the world itself, latent truth included: a bound for policies that do not."""

    def oracle_probs(self, world: World) -> NDArray[np.float64]:
        """Probabilities (n, k) for the users of `world.observation`; the world must be left as it is."""
        ...


@dataclass(frozen=True)
class Mixture:
    """Several policies, one of which is drawn anew for each decision; its probabilities are the true mixture's.

    Attributes:
        policies: of any kind that can act.
        shares: one for each, >= 0; they sum to 1.

    Example:
        >>> from homing.policies import SilencePolicy, UniformPolicy
        >>> Mixture((SilencePolicy(), UniformPolicy()), (0.9, 0.1)).shares
        (0.9, 0.1)
    """

    policies: tuple[AnyPolicy, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = all(isinstance(share, int | float | np.number) and share >= 0 for share in self.shares)
        fits = len(self.policies) == len(self.shares) > 0 and numbers
        if not fits or abs(sum(self.shares) - 1.0) > 1e-9:
            bound = f"must be {len(self.policies)} numbers >= 0 that sum to 1"
            raise InvalidInputError(describe("shares", self.shares, bound, "One share for each policy."))


AnyPolicy = Policy | ObservationPolicy | OraclePolicy | Mixture


def decider(
    world: World, policy: AnyPolicy, *, encoder: FeatureEncoder | None = None, weights: ArrayLike | None = None
) -> Decider:
    """How a policy decides in a world.

    Args:
        world: whose observations are to be decided on; copies of it may be passed to the result.
        policy: a `PolicyArtifact` is given the features that it was trained with; another `Policy` those of `encoder`;
            an `ObservationPolicy` the raw observation; an `OraclePolicy` the world.
        encoder: for policies that bring none; without it they see no features.
        weights: the importance of each objective, passed to policies that take it; None for the policy's own.

    Raises:
        InvalidInputError: if it is none of these.

    Example:
        >>> from homing.policies import UniformPolicy
        >>> from homing.simulation import make_world
        >>> world = make_world("linkedin")
        >>> decide = decider(world, UniformPolicy())
        >>> _ = world.reset(10, seed=0)
        >>> bool(np.allclose(decide(world).sum(axis=1), 1.0))
        True
    """
    if isinstance(policy, type):
        step = f"Write {policy.__name__}()."
        raise InvalidInputError(describe("policy", policy.__name__, "must be an object, not a class", step))
    if isinstance(policy, Mixture):
        parts = [decider(world, part, encoder=encoder, weights=weights) for part in policy.policies]
        shares = policy.shares
        return lambda at: np.sum([share * part(at) for share, part in zip(shares, parts, strict=True)], axis=0)
    if isinstance(policy, OraclePolicy):
        return policy.oracle_probs
    if isinstance(policy, ObservationPolicy):
        return lambda at: policy.observation_probs(at.observation)
    if not callable(getattr(policy, "action_probs", None)):
        bound = "must have action_probs, observation_probs or oracle_probs"
        raise InvalidInputError(describe("policy", type(policy).__name__, bound, "See homing.policies.Policy."))
    if isinstance(policy, PolicyArtifact) and policy.features is not None:
        encoder = FeatureEncoder.from_dict(policy.features)
    given = None if weights is None else np.asarray(weights, dtype=np.float64)
    if encoder is None:
        return lambda at: _blind(policy, at.observation, given)
    encode = ObservationEncoder(encoder, world)

    def decide(at: World) -> NDArray[np.float64]:
        seen = at.observation
        return policy.action_probs(encode.context(seen), encode.candidates(seen), seen.eligible, given)

    return decide


def _blind(policy: Policy, seen: Observation, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    n, k = seen.eligible.shape
    nothing = np.zeros((n, 0), dtype=np.float32)
    return policy.action_probs(nothing, np.zeros((n, k, 0), dtype=np.float32), seen.eligible, weights)


@dataclass(frozen=True, eq=False)
class Step:
    """One step as it went.

    Attributes:
        index: of the step, from 0.
        observation: what was seen, n rows.
        probs: (n, k), what was drawn from.
        action: (n,).
        propensity: (n,), the probability with which each action was drawn.
        outcomes: what it brought.
    """

    index: int
    observation: Observation
    probs: NDArray[np.float64]
    action: IntArray
    propensity: NDArray[np.float64]
    outcomes: Outcomes


def play(world: World, decide: Decider, *, steps: int, n_users: int, seed: int, first: int = 0) -> Iterator[Step]:
    """Let a policy act from the world's current step on; the draw for a user and step depends on nothing but the seed.

    Two policies that run with one seed meet common random numbers: where their probabilities agree, so do their
    actions, whoever else was asked.

    Args:
        world: after `reset` or `step`; it is advanced.
        decide: see `decider`.
        steps: how many.
        n_users: of the world.
        seed: of the draws.
        first: number of the first step.
    """
    for index in range(first, first + steps):
        seen = world.observation
        probs = decide(world)
        action, propensity = draw(probs, seen, n_users, seed, index)
        yield Step(index, seen, probs, action, propensity, world.step(action))


def draw(
    probs: NDArray[np.float64], seen: Observation, n_users: int, seed: int, step: int
) -> tuple[IntArray, NDArray[np.float64]]:
    """Actions and propensities (n,) of the users of one observation."""
    probs = np.asarray(probs)
    if probs.shape != seen.eligible.shape:
        bound = f"must be {seen.eligible.shape}, a probability for each candidate"
        raise InvalidInputError(describe("probs.shape", probs.shape, bound))
    return sample_actions(probs, _Everybody((seed, step, _ACTIONS), n_users, seen.user))


class _Everybody(np.random.Generator):
    """Draws a number for every user, and hands out those of some: who else is asked shifts nobody's draw."""

    def __init__(self, seed: tuple[int, ...], n_users: int, user: IntArray) -> None:
        super().__init__(np.random.PCG64(seed))
        self._n_users = n_users
        self._user = user

    def random(self, size: int) -> NDArray[np.float64]:  # type: ignore[override]  # what `sample_actions` asks for
        everybody = super().random(self._n_users)
        assert size == len(self._user)
        return everybody if size == self._n_users else everybody[self._user]
