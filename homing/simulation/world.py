"""The protocol of worlds, and what passes between a world and a policy: arrays over users, raw features by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import SILENCE, check_kind

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
#: In `Observation.message`: no candidate here.
PADDING = -1
#: In `Events.step`: not linked to a decision.
UNLINKED = -1


@dataclass(frozen=True)
class Feature:
    """One raw feature of users or of candidates; arrays hold numbers, codes of levels, or 0 and 1.

    Attributes:
        name: as in the decision log.
        levels: of a category; code i stands for `levels[i]`. Empty for a number or a flag.
        flag: whether it is a yes or no.

    Example:
        >>> Feature("platform", ("ios", "android")).kind
        'category'
    """

    name: str
    levels: tuple[str, ...] = ()
    flag: bool = False

    @property
    def kind(self) -> str:
        """`number`, `category` or `flag`."""
        return "flag" if self.flag else "category" if self.levels else "number"


@dataclass(frozen=True)
class Catalogue:
    """Everything that a world can send; row 0 is silence.

    Attributes:
        message_id: (M,), distinct.
        campaign: (M,).
        domain: (M,).
        channel: (M,).
        slot: (M,).
    """

    message_id: tuple[str, ...]
    campaign: tuple[str, ...]
    domain: tuple[str, ...]
    channel: tuple[str, ...]
    slot: tuple[str, ...]

    def __post_init__(self) -> None:
        columns = (self.message_id, self.campaign, self.domain, self.channel, self.slot)
        if any(len(column) != len(self.message_id) or column[:1] != (SILENCE,) for column in columns):
            raise InvalidInputError(
                describe("catalogue row 0", [column[:1] for column in columns], f"must be {SILENCE!r} in every column")
            )
        if len(set(self.message_id)) < len(self.message_id):
            raise InvalidInputError(describe("message_id", list(self.message_id), "must be distinct"))

    def __len__(self) -> int:
        return len(self.message_id)


@dataclass(frozen=True, eq=False)
class Observation:
    """What a policy sees at one step: a row for each user who is asked about, in ascending order.

    Attributes:
        user: int64 (n,), indices of users.
        context: float64 (n, d), columns as in `World.context_features`.
        message: int64 (n, k), rows of the catalogue; column 0 is silence, `PADDING` where there are fewer candidates.
        value: float64 (n, k), the generators' value signals, each in its own unit; 0 for silence.
        expires_hours: float64 (n, k), from now; NaN where a candidate does not expire.
        features: float64 (n, k, c), columns as in `World.candidate_features`.
        eligible: bool (n, k): silence always is, padding never.
    """

    user: IntArray
    context: FloatArray
    message: IntArray
    value: FloatArray
    expires_hours: FloatArray
    features: FloatArray
    eligible: BoolArray

    def __len__(self) -> int:
        return len(self.user)

    def rows(self, index: NDArray[np.generic]) -> Observation:
        """Some of the rows: a mask (n,) or ascending positions."""
        return Observation(
            self.user[index], self.context[index], self.message[index], self.value[index], self.expires_hours[index],
            self.features[index], self.eligible[index],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Events:
    """What happened, an entry each; what a decision log keeps as outcomes.

    Attributes:
        user: int64 (e,).
        kind: int64 (e,), position in `World.kinds`.
        hours: float64 (e,), since the world's start.
        value: float64 (e,).
        step: int64 (e,), the step whose decision for this user it follows from; `UNLINKED` where no one can tell.
    """

    user: IntArray
    kind: IntArray
    hours: FloatArray
    value: FloatArray
    step: IntArray

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: IntArray) -> Events:
        """Some of the events."""
        return Events(self.user[rows], self.kind[rows], self.hours[rows], self.value[rows], self.step[rows])

    @classmethod
    def none(cls) -> Events:
        """No event."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, np.zeros(0), np.zeros(0), empty)

    @classmethod
    def concat(cls, *parts: Events) -> Events:
        """The events of several, in their order."""
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([part.user for part in parts]), np.concatenate([part.kind for part in parts]),
            np.concatenate([part.hours for part in parts]), np.concatenate([part.value for part in parts]),
            np.concatenate([part.step for part in parts]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a step brought.

    Attributes:
        reward: float64 (N, m) for all N users of the world, columns as in `World.objectives`: what happened in this
            step, whatever caused it. Summed over steps it is the truth that policies are judged by.
        events: what is logged of it. A delayed consequence comes with the step in which it happens.
    """

    reward: FloatArray
    events: Events


@runtime_checkable
class World(Protocol):
    """Users who live on from step to step, with or without messages. The truth is known, and nothing else is hidden.

    All users are advanced together. A world is a function of its parameters, the seed and the actions: draws are
    addressed by (seed, user, step, purpose), so that two copies that are given different actions for one user differ in
    nothing else.

    Attributes:
        name: short, for logs and reports.
        start: when step 0 begins, UTC.
        step_hours: length of a step.
        catalogue: everything that it can send.
        context_features: columns of `Observation.context`.
        candidate_features: columns of `Observation.features`.
        objectives: columns of `Outcomes.reward`.
        weights: what the product's owner would count each objective, as {objective: weight}.
        kinds: outcome kinds of its events, as in the decision log.
    """

    name: str
    start: datetime
    step_hours: float
    catalogue: Catalogue
    context_features: tuple[Feature, ...]
    candidate_features: tuple[Feature, ...]
    objectives: tuple[str, ...]
    weights: dict[str, float]
    kinds: tuple[str, ...]

    def reset(self, n_users: int, seed: int) -> Observation:
        """Begin anew, and show step 0."""
        ...

    @property
    def t(self) -> int:
        """Index of the current step, 0 after `reset`."""
        ...

    @property
    def observation(self) -> Observation:
        """The current step, as `reset` or the last `step` left it."""
        ...

    def step(self, action: IntArray) -> Outcomes:
        """Act for the users of `observation`, and let a step's time pass.

        Args:
            action: int64 (n,), the chosen column of each row of `observation`.

        Raises:
            InvalidInputError: if an action is not eligible; nothing happens then.
        """
        ...

    def copy(self) -> Self:
        """A second world in the same state, which then goes its own way."""
        ...

    def with_chance(self, seed: int) -> Self:
        """A copy in the same state that meets other chance from now on: users stay who they are."""
        ...


def check_world(world: World) -> World:
    """Return the world if what it declares fits together.

    Raises:
        InvalidInputError: if names are missing or come twice, a kind is not one of the log's, or the start has no time
            zone.
    """
    for name in ("context_features", "candidate_features"):
        names = [feature.name for feature in getattr(world, name)]
        if len(set(names)) < len(names):
            raise InvalidInputError(describe(name, names, "must have distinct names"))
    if not world.objectives or set(world.weights) != set(world.objectives):
        raise InvalidInputError(describe("weights", world.weights, f"must name {', '.join(world.objectives)}"))
    for kind in world.kinds:
        check_kind(kind)
    if world.start.utcoffset() is None:
        step = "Write datetime(…, tzinfo=UTC): without one, logs would depend on where they are made."
        raise InvalidInputError(describe("start", world.start.isoformat(), "must have a time zone", step))
    return world


def check_actions(action: NDArray[np.integer], eligible: BoolArray) -> IntArray:
    """Return the actions (n,) as int64 if each is an eligible column.

    Raises:
        InvalidInputError: naming the first row that is not.

    Example:
        >>> check_actions(np.array([0, 1]), np.array([[True, False], [True, True]])).tolist()
        [0, 1]
    """
    n, k = eligible.shape
    out = np.asarray(action)
    if out.shape != (n,) or not np.issubdtype(out.dtype, np.integer):
        raise InvalidInputError(
            describe("action", f"{out.dtype} {out.shape}", f"must be integers of shape ({n},)", "One for each row.")
        )
    out = out.astype(np.int64)
    inside = (out >= 0) & (out < k)
    bad = ~(inside & eligible[np.arange(n), np.where(inside, out, 0)])
    if bad.any():
        row = int(np.argmax(bad))
        allowed = np.flatnonzero(eligible[row]).tolist()
        raise InvalidInputError(describe(f"action[{row}]", int(out[row]), f"must be eligible: one of {allowed}"))
    return out
