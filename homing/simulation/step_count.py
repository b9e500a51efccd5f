"""Messages for physical activity that people get used to and tire of: StepCountJITAI, re-created from its equations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.log import SILENCE, Objectives
from homing.policies import UniformPolicy
from homing.simulation.base import ArrayWorld
from homing.simulation.checks import check_numbers, parameters_of
from homing.simulation.compiled import compiled
from homing.simulation.draws import normal, uniform
from homing.simulation.world import (
    BoolArray,
    Catalogue,
    Events,
    Feature,
    FloatArray,
    IntArray,
    Observation,
    Outcomes,
)

#: Messages: none, one that fits any context, one for each context.
SILENT, GENERIC, FIRST_TAILORED = 0, 1, 2
STEPS, DISENGAGED = 0, 1
CONTEXT, SEEN, HABITUATION, DISENGAGEMENT = 0, 1, 2, 3
#: Below it, contexts are seen as they are.
LEAST_UNCERTAINTY = 1e-6


@dataclass(frozen=True)
class StepCountParameters:
    """The environment's numbers, all of them the paper's defaults.

    Attributes:
        uncertainty: σ, standard deviation of what is seen of the context (0 or 1); 0 shows it as it is.
        habituation_decay: δ_h, share of habituation that a day without message takes away.
        habituation_rise: ε_h, what a message adds to it.
        disengagement_decay: δ_d, share of the risk of disengagement that a fitting message takes away.
        disengagement_rise: ε_d, what a message for the wrong context adds to it.
        threshold: of that risk, from which a user is gone.
        steps: μ, steps in each context without message.
        generic_steps: ρ_1, what a generic message adds to a user who is not used to messages.
        tailored_steps: ρ_2, the same for one that fits the context.
        begin: habituation and risk of disengagement on the first day.
        spread: a, habituation and risk are multiplied by a uniform number in 1 ± a/2 each day; 0 for none.
    """

    uncertainty: float = 0.4
    habituation_decay: float = 0.1
    habituation_rise: float = 0.05
    disengagement_decay: float = 0.1
    disengagement_rise: float = 0.4
    threshold: float = 0.99
    steps: tuple[float, float] = (0.1, 0.1)
    generic_steps: float = 50.0
    tailored_steps: float = 200.0
    begin: tuple[float, float] = (0.1, 0.1)
    spread: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self)
        check_positive("threshold", self.threshold)
        for name in ("habituation_decay", "habituation_rise", "disengagement_decay", "disengagement_rise", "spread"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(describe(name, getattr(self, name), "must be in [0, 1]"))
        if self.uncertainty != 0 and not self.uncertainty >= LEAST_UNCERTAINTY:
            raise InvalidInputError(describe("uncertainty", self.uncertainty, f"must be 0 or >= {LEAST_UNCERTAINTY:g}"))
        if not all(0 <= level <= 1 for level in self.begin):
            raise InvalidInputError(describe("begin", self.begin, "must be in [0, 1]"))


class _Numbers(NamedTuple):
    """The parameters as the kernel takes them."""

    habituation_decay: float
    habituation_rise: float
    disengagement_decay: float
    disengagement_rise: float
    threshold: float
    first_steps: float
    second_steps: float
    generic_steps: float
    tailored_steps: float
    spread: float


@dataclass
class StepCountState:
    """All users.

    Attributes:
        habituation: float64 (N,), h in [0, 1].
        disengagement: float64 (N,), d in [0, 1].
        gone: bool (N,), who has disengaged, for good.
        steps: float64 (N,), step count of the day before.
        sent: float64 (N,), day of the last message; -inf before the first.
    """

    habituation: FloatArray
    disengagement: FloatArray
    gone: BoolArray
    steps: FloatArray
    sent: FloatArray


class StepCountWorld(ArrayWorld[StepCountState]):
    """Each day, send users nothing, a generic message, or one for the context that they seem to be in.

    Habituation h falls by 10 % in a day without message and rises by 0.05 with one; a message for the wrong context
    adds 0.4 to the risk of disengagement d, any other lowers it by 10 %, silence leaves it. A message brings
    (1 − h)·ρ steps: 50 if generic, 200 if it fits the context, none if it does not. At d ≥ 0.99 a user is gone.
    Contexts are drawn anew each day, and what is seen of one is its probability given a noisy number, N(context, σ²).

    Only the last step count is seen, as a watch would tell it; habituation and the risk are latent. The paper's
    episodes end after 50 days: judge policies over that horizon.

    References:
        Karine and Marlin (2025), "StepCountJITAI: simulation environment for RL with application to physical activity
        adaptive intervention", and the code published with it (deterministic dynamics; uniform noise with `spread`).

    Example:
        >>> world = StepCountWorld()
        >>> seen = world.reset(n_users=4, seed=0)
        >>> world.step(np.full(4, 1)).reward[:, 0].round(1).tolist()  # 0.1 + (1 − 0.15) · 50
        [42.6, 42.6, 42.6, 42.6]
    """

    name: str = "step-count"
    start = datetime(2025, 1, 6, 8, tzinfo=UTC)
    step_hours: float = 24.0
    catalogue = Catalogue(
        message_id=(SILENCE, "generic", "context_0", "context_1"),
        campaign=(SILENCE, "generic", "tailored", "tailored"),
        domain=(SILENCE, *("activity",) * 3), channel=(SILENCE, *("push",) * 3), slot=(SILENCE, *("morning",) * 3),
    )  # fmt: skip
    context_features: tuple[Feature, ...] = (
        Feature("context_probability"),
        Feature("steps_day_before"),
        Feature("days_since_message"),
    )
    candidate_features: tuple[Feature, ...] = ()
    objectives: tuple[str, ...] = ("steps", "disengaged")
    weights: dict[str, float] = {"steps": 1.0, "disengaged": 0.0}
    kinds: tuple[str, ...] = ("custom:steps", "disabled")  # STEPS, DISENGAGED
    log_objectives = Objectives.from_dict(
        {
            "objectives": {
                "steps": {"kinds": ["custom:steps"], "window_hours": 24, "aggregate": "sum"},
                "disengaged": {
                    "kinds": ["disabled"], "window_hours": 24, "aggregate": "any", "direction": "minimize",
                },
            }
        }
    )  # fmt: skip

    def __init__(self, parameters: StepCountParameters | None = None) -> None:
        self.parameters = p = parameters_of(StepCountParameters, parameters)
        self._numbers = _Numbers(
            *map(float, (
                p.habituation_decay, p.habituation_rise, p.disengagement_decay, p.disengagement_rise, p.threshold,
                p.steps[0], p.steps[1], p.generic_steps, p.tailored_steps, p.spread,
            )),
        )  # fmt: skip

    def contexts(self) -> IntArray:
        """The truth that no log holds: the context (N,) that each user is in, 0 or 1."""
        out = np.empty(self.n_users, np.int64)
        _contexts(self.seed, self.t, out)
        return out

    def behaviour_policy(self) -> UniformPolicy:
        """Every message and silence with the same probability."""
        return UniformPolicy()

    def _begin(self) -> StepCountState:
        n, (h, d) = self.n_users, self.parameters.begin
        return StepCountState(
            np.full(n, float(h)), np.full(n, float(d)), np.zeros(n, np.bool_), np.full(n, np.nan), np.full(n, -np.inf)
        )

    def _observe(self, state: StepCountState) -> Observation:
        user = np.flatnonzero(~state.gone)
        n = len(user)
        seen = np.empty(self.n_users)
        _seen(self.seed, self.t, float(self.parameters.uncertainty), seen)
        days = self.t - state.sent[user]
        context = np.column_stack([seen[user], state.steps[user], np.where(np.isinf(days), np.nan, days)])
        return Observation(
            user, context, np.broadcast_to(np.arange(4), (n, 4)).copy(), np.zeros((n, 4)), np.full((n, 4), np.nan),
            np.zeros((n, 4, 0)), np.ones((n, 4), np.bool_),
        )  # fmt: skip

    def _advance(self, state: StepCountState, action: IntArray) -> Outcomes:
        user = self.observation.user
        reward = np.zeros((self.n_users, 2))
        chosen = np.zeros(self.n_users, np.int64)
        chosen[user] = action
        _advance(self._numbers, self.seed, self.t, chosen, reward, *vars(state).values())
        left = user[reward[user, 1] > 0]
        who = np.concatenate([user, left])
        kind = np.repeat([STEPS, DISENGAGED], [len(user), len(left)])
        value = np.concatenate([reward[user, 0], np.ones(len(left))])
        # A day's steps are known at its end.
        hours = np.full(len(who), np.nextafter(24.0 * (self.t + 1), 0.0))
        return Outcomes(reward, Events(who, kind, hours, value, np.full(len(who), self.t)))


@compiled
def _contexts(seed: int, t: int, context: IntArray) -> None:
    for i in range(len(context)):
        context[i] = int(uniform(seed, i, t, CONTEXT) >= 0.5)


@compiled
def _seen(seed: int, t: int, uncertainty: float, out: FloatArray) -> None:
    """Probability of context 1 given x ~ N(context, σ²): by Bayes 1 / (1 + exp((1 − 2x) / (2σ²)))."""
    for i in range(len(out)):
        context = int(uniform(seed, i, t, CONTEXT) >= 0.5)
        if uncertainty == 0.0:
            out[i] = context
        else:
            x = context + uncertainty * normal(seed, i, t, SEEN)
            out[i] = 1.0 / (1.0 + np.exp(min((1.0 - 2.0 * x) / (2.0 * uncertainty**2), 700.0)))


@compiled
def _advance(
    c: _Numbers, seed: int, t: int, action: IntArray, reward: FloatArray, habituation: FloatArray,
    disengagement: FloatArray, gone: BoolArray, steps: FloatArray, sent: FloatArray,
) -> None:  # fmt: skip
    for i in range(len(action)):
        if gone[i]:
            continue
        context = int(uniform(seed, i, t, CONTEXT) >= 0.5)
        steps[i] = c.second_steps if context else c.first_steps
        h, d = habituation[i], disengagement[i]
        if action[i] == SILENT:
            h *= 1.0 - c.habituation_decay
        else:
            h = min(1.0, h + c.habituation_rise)
            sent[i] = t
            if action[i] == GENERIC:
                d *= 1.0 - c.disengagement_decay
                steps[i] += (1.0 - h) * c.generic_steps
            elif action[i] == FIRST_TAILORED + context:
                d *= 1.0 - c.disengagement_decay
                steps[i] += (1.0 - h) * c.tailored_steps
            else:
                d = min(1.0, d + c.disengagement_rise)
        if c.spread > 0.0:
            h = min(1.0, h * (1.0 + c.spread * (uniform(seed, i, t, HABITUATION) - 0.5)))
            d = min(1.0, d * (1.0 + c.spread * (uniform(seed, i, t, DISENGAGEMENT) - 0.5)))
        habituation[i], disengagement[i] = h, d
        if d >= c.threshold:
            gone[i] = True
            steps[i] = 0.0
            reward[i, 1] = 1.0
        reward[i, 0] = steps[i]
