"""The notification-spacing simulator as a world."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from scipy import stats

from homing.errors import InvalidInputError, describe
from homing.log import SILENCE, Objectives
from homing.policies.wrappers import check_epsilon
from homing.simulation.base import ArrayWorld
from homing.simulation.checks import check_number, parameters_of
from homing.simulation.linkedin.kernel import CAPACITY, STEP_HOURS, STEPS_A_WEEK, advance_users, begin_users
from homing.simulation.linkedin.parameters import LinkedInParameters, numbers
from homing.simulation.world import (
    PADDING,
    BoolArray,
    Catalogue,
    Events,
    Feature,
    FloatArray,
    IntArray,
    Observation,
    Outcomes,
)


@dataclass
class LinkedInState:
    """All users now; the queue's first `queued` places are filled, most relevant first.

    Attributes:
        activeness: float64 (N,), in (0, 1), a user's for good.
        badge: int64 (N,).
        queued: int64 (N,).
        relevance: float64 (N, CAPACITY), in [0, 1).
        expires: float64 (N, CAPACITY), hours since the world's start.
        goes_out: bool (N, CAPACITY), whether it will be sent if it expires.
    """

    activeness: FloatArray
    badge: IntArray
    queued: IntArray
    relevance: FloatArray
    expires: FloatArray
    goes_out: BoolArray


class LinkedInWorld(ArrayWorld[LinkedInState]):
    """Every four hours, send each user the best notification that waits for them, or let it wait.

    In a step, in this order: the chosen notification is sent and raises the badge; near-real-time notifications raise
    it; the user visits or not, with a probability of activeness and badge, and a visit resets the badge; what expires
    is sent with probability 0.5, or dropped; new notifications come in. A user whose queue is empty can only be left
    alone. `visits` is the paper's reward; `sends` counts what the queue sent, with what it sent at expiry.

    It is a small world: nobody opts out or tires, so that it says nothing of what too many messages do in the long run.

    Args:
        parameters: its numbers.
        replicas: how many times each person is there. Row r·n + i of N = replicas·n users is person i's twin r: all of
            them meet the same chance. So many policies are compared in one pass, each on rows of its own.

    References:
        Yuan, Muralidharan, Nandy, Cheng and Prabhakar (2022), "Offline Reinforcement Learning for Mobile
        Notifications", CIKM, arXiv 2202.03867, sections on the simulated environment.

    Example:
        >>> world = LinkedInWorld()
        >>> seen = world.reset(n_users=1000, seed=7)
        >>> round(float(world.step(seen.eligible[:, 1].astype(np.int64)).reward[:, 0].mean()), 2)
        0.11
    """

    name: str = "linkedin"
    start = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
    step_hours: float = STEP_HOURS
    catalogue = Catalogue(
        message_id=(SILENCE, "best_in_queue"), campaign=(SILENCE, "spaced"), domain=(SILENCE, "network"),
        channel=(SILENCE, "push"), slot=(SILENCE, "now"),
    )  # fmt: skip
    context_features: tuple[Feature, ...] = (
        Feature("badge"), Feature("queued"), Feature("hours_of_week"), Feature("activeness"),
    )  # fmt: skip
    candidate_features: tuple[Feature, ...] = (Feature("relevance"),)
    objectives: tuple[str, ...] = ("visits", "sends")
    weights: dict[str, float] = {"visits": 1.0, "sends": 0.0}
    kinds: tuple[str, ...] = ("session", "delivered")  # SESSION, DELIVERED
    log_objectives = Objectives.from_dict(
        {
            "objectives": {
                "visits": {"kinds": ["session"], "window_hours": STEP_HOURS, "aggregate": "any"},
                "sends": {
                    "kinds": ["delivered"], "window_hours": STEP_HOURS, "aggregate": "count", "direction": "minimize",
                    "attribute_unlinked": True,
                },
            }
        }
    )  # fmt: skip

    def __init__(self, parameters: LinkedInParameters | None = None, replicas: int = 1) -> None:
        self.parameters = parameters_of(LinkedInParameters, parameters)
        if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
            raise InvalidInputError(describe("replicas", replicas, "must be a whole number >= 1"))
        self.replicas = replicas
        self._numbers = numbers(self.parameters)

    def visit_probabilities(self) -> FloatArray:
        """The truth that no log holds: probability (N, 2) that each user visits in this step, if silent and if sent to.

        The mean over the near-real-time notifications still to come in this step.
        """
        state = self.state
        mean = self._numbers.real_time[self.t % STEPS_A_WEEK]
        out = np.zeros((self.n_users, 2))
        for more in range(int(stats.poisson.ppf(1 - 1e-12, mean)) + 1):
            for sent in (0, 1):
                visit = self.parameters.visit_probability(state.activeness, state.badge + more + sent)
                out[:, sent] += stats.poisson.pmf(more, mean) * visit
        return out

    def behaviour_policy(self) -> LiftRule:
        """What logs this world by default: the lift rule, with a tenth of its decisions drawn at random."""
        return LiftRule(self.parameters)

    def _begin(self) -> LinkedInState:
        n = self.n_users
        if n % self.replicas:
            raise InvalidInputError(
                describe("n_users", n, f"must be a multiple of replicas == {self.replicas}", "Each person has as many.")
            )
        shape = (n, CAPACITY)
        state = LinkedInState(
            np.empty(n), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(shape), np.zeros(shape),
            np.zeros(shape, np.bool_),
        )  # fmt: skip
        begin_users(self._numbers, self.seed, self._people, *vars(state).values())
        return state

    @property
    def _people(self) -> int:
        return self.n_users // self.replicas

    def _observe(self, state: LinkedInState) -> Observation:
        n = self.n_users
        waits = state.queued > 0
        context = np.empty((n, 4))
        context[:, 0], context[:, 1], context[:, 3] = state.badge, state.queued, state.activeness
        context[:, 2] = STEP_HOURS * (self.t % STEPS_A_WEEK)
        value, expires = np.zeros((n, 2)), np.full((n, 2), np.nan)
        value[:, 1] = np.where(waits, state.relevance[:, 0], 0.0)
        expires[waits, 1] = state.expires[waits, 0] - STEP_HOURS * self.t
        message, eligible = np.zeros((n, 2), np.int64), np.ones((n, 2), np.bool_)
        message[:, 1] = np.where(waits, 1, PADDING)
        eligible[:, 1] = waits
        return Observation(np.arange(n), context, message, value, expires, value[:, :, None], eligible)

    def _advance(self, state: LinkedInState, action: IntArray) -> Outcomes:
        reward = np.zeros((self.n_users, 2))
        # Room for a send, a visit and a whole queue that expires; what is not written to is never touched.
        room = self.n_users * (2 + CAPACITY)
        user, kind, step = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
        hours = np.empty(room)
        e = advance_users(
            self._numbers, self.seed, self._people, self.t, action, reward, user, kind, hours, step,
            *vars(state).values(),
        )  # fmt: skip
        events = Events(user[:e].copy(), kind[:e].copy(), hours[:e].copy(), np.ones(e), step[:e].copy())
        return Outcomes(reward, events)


@dataclass(frozen=True)
class LiftRule:
    """Send where a visit becomes likelier by more than a threshold, relative to silence; explore with ε.

    The paper's production rule, (P(visit | send) − P(visit | silence)) / P(visit | silence) > τ, with the world's own
    probabilities in the place of a survival model's. It sees no further than the next four hours.

    Attributes:
        parameters: of the world.
        threshold: τ.
        epsilon: share of decisions that are drawn uniformly from what is eligible.
    """

    parameters: LinkedInParameters
    threshold: float = 0.3
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold)
        check_epsilon(self.epsilon)

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, 2); see `ObservationPolicy`."""
        badge, activeness = observation.context[:, 0], observation.context[:, 3]
        silent = self.parameters.visit_probability(activeness, badge)
        lift = self.parameters.visit_probability(activeness, badge + 1) / silent - 1.0
        send = (1 - self.epsilon) * (lift > self.threshold) + self.epsilon / 2
        send = np.where(observation.eligible[:, 1], send, 0.0)
        return np.column_stack([1.0 - send, send])
