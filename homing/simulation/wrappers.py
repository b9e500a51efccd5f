"""Worlds around worlds: noise, drift, delay and missing support, each a class of its own, in any order.

What a wrapper changes is what is seen or reported; what happens, and what it is worth, stays the inner world's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of, check_positive
from homing.errors import InvalidInputError, describe, unknown_name
from homing.log import Objectives
from homing.log.schema import CANDIDATE_NAMES
from homing.simulation.acting import AnyPolicy
from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, uniform
from homing.simulation.log import check_logged
from homing.simulation.world import Events, Feature, FloatArray, IntArray, Observation, Outcomes, World, check_actions

#: Purposes of draws, far from those of worlds; those of noise take a number for each column after theirs.
_CONTEXT, _VALUE, _FEATURES, _DELAY = 1 << 43, 1 << 44, 1 << 45, 1 << 46
#: Keeps the draws of a wrapper inside of another of its kind apart from that one's.
_NESTED = 0x9E5


class Wrapped:
    """A world that passes everything on; a subclass changes what it is about.

    Attributes:
        inner: the world inside.
    """

    def __init__(self, world: World) -> None:
        self.inner: World = world
        self.name = world.name
        self.start = world.start
        self.step_hours = world.step_hours
        self.catalogue = world.catalogue
        self.context_features = world.context_features
        self.candidate_features = world.candidate_features
        self.objectives = world.objectives
        self.weights = world.weights
        self.kinds = world.kinds
        #: What tells its draws from those of others of its kind: how many of them are inside.
        self._place: tuple[int, ...] = (sum(type(layer) is type(self) for layer in layers_of(world)),)
        #: Of the world, from the last reset on; None before.
        self._seed: int | None = None
        self._seen: Observation | None = None
        self._shown: Observation | None = None

    @property
    def chance(self) -> int:
        """Seed of draws of its own: the world's, or another one where several of its kind are around it."""
        seed = 0 if self._seed is None else int(self._seed)
        if self._place == (0,):
            return seed
        return int(np.random.default_rng((seed, *self._place, _NESTED)).integers(2**62))

    @property
    def bare(self) -> World:
        """The innermost world: where the truth is, for oracles and tests."""
        return innermost(self.inner)

    @property
    def log_objectives(self) -> Objectives:
        """How the inner world's objectives are read off a log; see `LoggedWorld`."""
        return check_logged(self.inner).log_objectives

    def behaviour_policy(self) -> AnyPolicy:
        """What logs the inner world; see `LoggedWorld`."""
        return check_logged(self.inner).behaviour_policy()

    @property
    def t(self) -> int:
        """Index of the current step."""
        return self.inner.t

    @property
    def observation(self) -> Observation:
        """The current step as this world shows it; see `World.observation`."""
        seen = self.inner.observation
        if self._shown is None or self._seen is not seen:
            self._seen, self._shown = seen, self._show(seen)
        return self._shown

    def reset(self, n_users: int, seed: int) -> Observation:
        """Begin anew; see `World.reset`."""
        self.inner.reset(n_users, seed)
        self._seed, self._seen, self._shown = seed, None, None
        self._begin()
        return self.observation

    def step(self, action: IntArray) -> Outcomes:
        """Act; see `World.step`."""
        outcomes = self.inner.step(check_actions(action, self.observation.eligible))
        return self._after(outcomes)

    def copy(self) -> Self:
        """A second world in the same state; see `World.copy`."""
        twin = copy.copy(self)
        twin.inner = self.inner.copy()
        return twin

    def with_chance(self, seed: int) -> Self:
        """A copy that meets other chance from now on; see `World.with_chance`."""
        twin = copy.copy(self)
        twin.inner, twin._seed = self.inner.with_chance(seed), seed
        twin._seen = twin._shown = None
        return twin

    def _begin(self) -> None:
        """What begins anew with a reset."""

    def _show(self, seen: Observation) -> Observation:
        """What is shown of what the inner world shows."""
        return seen

    def _after(self, outcomes: Outcomes) -> Outcomes:
        """What is told of what the inner world tells; its clock is a step ahead by now."""
        return outcomes


class Noisy(Wrapped):
    """Features and value signals are seen with noise, drawn anew in each step; what happens does not know of it.

    Args:
        world: the world inside.
        context: standard deviation of what is added to a number, by feature, in its own unit.
        features: the same for candidates.
        value: standard deviation of the logarithm of the factor by which each value signal is off.

    Raises:
        UnknownNameError: for a feature that the world does not have.
        InvalidInputError: for one that is no number, or a negative deviation.

    Example:
        >>> from homing.simulation import make_world
        >>> world = Noisy(make_world("linkedin"), context={"activeness": 0.1}, value=0.2)
        >>> shown, true = world.reset(100, seed=0), world.bare.observation
        >>> bool(0.07 < (shown.context - true.context)[:, 3].std() < 0.13)
        True
    """

    def __init__(
        self,
        world: World,
        *,
        context: Mapping[str, float] | None = None,
        features: Mapping[str, float] | None = None,
        value: float = 0.0,
    ) -> None:
        super().__init__(world)
        self._context = _deviations("context", context or {}, world.context_features)
        self._features = _deviations("features", features or {}, world.candidate_features)
        self._value = _deviation("value", value)

    def _show(self, seen: Observation) -> Observation:
        noise = self._noise(seen, _CONTEXT, self._context)
        n, k = seen.message.shape
        deviations = np.tile(self._features, k)
        more = self._noise(seen, _FEATURES, deviations).reshape(n, k, len(self._features))
        factor = np.exp(self._noise(seen, _VALUE, np.full(k, self._value)))
        return replace(seen, context=seen.context + noise, features=seen.features + more, value=seen.value * factor)

    def _noise(self, seen: Observation, stream: int, deviation: FloatArray) -> FloatArray:
        return _normals(self.chance, seen.user, self.t, stream, deviation)


class Restricted(Wrapped):
    """Some messages are never eligible: a log from here says nothing of them, whatever the policy (deficient support).

    Their true values are those of the world without this wrapper.

    Args:
        world: the world inside.
        message_id: messages that are withheld.
        campaign: whole campaigns.
        domain: whole domains.
        channel: whole channels.
        slot: whole slots.

    Raises:
        UnknownNameError: for a name that is not in the catalogue.

    Example:
        >>> from homing.simulation import make_world
        >>> world = Restricted(make_world("linkedin"), channel={"push"})
        >>> bool(world.reset(100, seed=0).eligible[:, 1:].any())
        False
    """

    def __init__(
        self,
        world: World,
        *,
        message_id: Collection[str] = (),
        campaign: Collection[str] = (),
        domain: Collection[str] = (),
        channel: Collection[str] = (),
        slot: Collection[str] = (),
    ) -> None:
        super().__init__(world)
        self._withheld = np.zeros(len(world.catalogue), dtype=bool)
        for name, withheld in zip(CANDIDATE_NAMES, (message_id, campaign, domain, channel, slot), strict=True):
            column = getattr(world.catalogue, name)
            if isinstance(withheld, str):
                raise InvalidInputError(describe(name, withheld, "must be a set of names", f"Write {{{withheld!r}}}."))
            for one in withheld:
                check_one_of(name, one, column[1:])
            self._withheld[1:] |= np.isin(column[1:], list(withheld))

    def _show(self, seen: Observation) -> Observation:
        # Padding reads the last message, and is not eligible anyway.
        return replace(seen, eligible=seen.eligible & ~self._withheld[seen.message])


class Delayed(Wrapped):
    """Outcomes of some kinds become events later than they count; rewards stay where they are.

    The delay is exponential. An event is told in the step in which its later moment falls: a log that ends before does
    not have it. (For outcomes that happen in time and reach the log late, see `Delivery`.)

    Args:
        world: the world inside.
        mean_hours: of the delay, by outcome kind.

    Raises:
        UnknownNameError: for a kind that the world does not have.

    Example:
        >>> from homing.policies import UniformPolicy
        >>> from homing.simulation import log_decisions, make_world
        >>> prompt = make_world("linkedin")
        >>> late = Delayed(prompt, {"session": 48.0})
        >>> runs = [log_decisions(one, UniformPolicy(), days=7, n_users=200).n_outcomes for one in (prompt, late)]
        >>> runs[1] < runs[0]
        True
    """

    def __init__(self, world: World, mean_hours: Mapping[str, float]) -> None:
        super().__init__(world)
        self._mean = np.zeros(len(world.kinds))
        for kind, mean in mean_hours.items():
            self._mean[world.kinds.index(check_one_of("kind", kind, world.kinds))] = check_positive(kind, mean)
        self._waiting = Events.none()

    def _begin(self) -> None:
        self._waiting = Events.none()

    def _after(self, outcomes: Outcomes) -> Outcomes:
        new = outcomes.events
        hours = new.hours + self._mean[new.kind] * _exponentials(self.chance, new.user, self.t, _DELAY + new.kind)
        together = Events.concat(self._waiting, replace(new, hours=hours))
        # A delayed event comes with the step it falls into; what is not delayed comes as it was.
        here = together.hours < self.t * self.step_hours
        here[len(self._waiting) :] |= self._mean[new.kind] == 0.0
        self._waiting = _select(together, ~here)
        return replace(outcomes, events=_select(together, here))


class Drifting(Wrapped):
    """The world changes at some day: from the first step at or after it on, another one goes on from its state.

    Args:
        world: until then.
        at_day: since the start, >= 0.
        change: takes the world in its state then, and returns the one that goes on: the same with other parameters, or
            a wrapper around it. It must show the same features and messages, and meets the same chance.

    Example:
        >>> from homing.simulation import make_world
        >>> world = Drifting(make_world("linkedin"), at_day=1, change=lambda w: Restricted(w, channel={"push"}))
        >>> _ = world.reset(100, seed=0)
        >>> for _ in range(6):
        ...     sends = world.observation.eligible[:, 1].any()
        ...     _ = world.step(np.zeros(100, dtype=np.int64))
        >>> bool(sends), bool(world.observation.eligible[:, 1].any())
        (True, False)
    """

    def __init__(self, world: World, *, at_day: float, change: Callable[[World], World]) -> None:
        if not at_day >= 0.0:
            raise InvalidInputError(describe("at_day", at_day, "must be >= 0"))
        super().__init__(world)
        self._before = world.copy()
        self._at_day = at_day
        self._change = change
        self._changed = False

    def reset(self, n_users: int, seed: int) -> Observation:
        """Begin anew, before the change; see `World.reset`."""
        self.inner, self._changed = self._before.copy(), False
        return super().reset(n_users, seed)

    def _begin(self) -> None:
        self._drift()

    def _after(self, outcomes: Outcomes) -> Outcomes:
        self._drift()
        return outcomes

    def _drift(self) -> None:
        if self._changed or self.inner.t * self.step_hours < self._at_day * 24.0:
            return
        changed = self._change(self.inner)
        if changed is None:
            raise InvalidInputError(describe("change", None, "must return the world that goes on"))
        for name in ("context_features", "candidate_features", "catalogue", "objectives", "kinds", "step_hours"):
            if getattr(changed, name) != getattr(self, name):
                step = "Change what happens, not what is declared."
                raise InvalidInputError(describe(f"{name} after the change", name, "must be as before", step))
        for layer in layers_of(changed):
            if layer._seed is None:  # it is new, and another of its kind may be around this one
                layer._seed, layer._place = self._seed, (*layer._place, 1 + self._place[0])
        self.inner, self._changed = changed, True


def _deviations(name: str, given: Mapping[str, float], features: tuple[Feature, ...]) -> FloatArray:
    """The deviation of each column; 0 where there is no noise."""
    names = [feature.name for feature in features]
    out = np.zeros(len(names))
    for key, value in given.items():
        if key not in names:
            raise unknown_name(f"{name} feature", key, names)
        feature = features[names.index(key)]
        if feature.kind != "number":
            raise InvalidInputError(describe(f"kind of feature {key!r}", feature.kind, "must be number to have noise"))
        out[names.index(key)] = _deviation(key, value)
    return out


def _deviation(name: str, value: float) -> float:
    if not isinstance(value, int | float | np.number) or not 0.0 <= value < np.inf:
        raise InvalidInputError(describe(f"deviation of {name}", value, "must be a finite number >= 0"))
    return float(value)


def innermost(world: World) -> World:
    """The world inside of all wrappers; the world itself where there is none."""
    while isinstance(world, Wrapped):
        world = world.inner
    return world


def layers_of(world: World) -> Iterator[Wrapped]:
    """The wrappers around a world, from the outermost on."""
    while isinstance(world, Wrapped):
        yield world
        world = world.inner


def _select(events: Events, keep: NDArray[np.bool_]) -> Events:
    return Events(*(column[keep] for column in vars(events).values()))


@compiled
def _normals(seed: int, user: IntArray, step: int, stream: int, deviation: FloatArray) -> FloatArray:
    """Normal numbers with each column's deviation, (n, len(deviation)); columns without noise draw nothing."""
    out = np.zeros((len(user), len(deviation)))
    for i in range(len(user)):
        for j in range(len(deviation)):
            if deviation[j] > 0.0:
                out[i, j] = deviation[j] * normal(seed, user[i], step, stream + j)
    return out


@compiled
def _exponentials(seed: int, user: IntArray, step: int, stream: IntArray) -> FloatArray:
    """Standard exponential numbers, (e,)."""
    out = np.empty(len(user))
    for i in range(len(user)):
        out[i] = -np.log(1.0 - uniform(seed, user[i], step, stream[i]))
    return out
