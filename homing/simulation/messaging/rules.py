"""What an ordinary product does in the messaging world: priorities, value signals at face value, and some chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.errors import InvalidInputError, describe
from homing.policies import UniformPolicy, uniform_probs
from homing.simulation.acting import Mixture
from homing.simulation.checks import check_numbers
from homing.simulation.messaging.dynamics import CHANNEL_COUNT, DOMAIN_COUNT
from homing.simulation.messaging.parameters import CAMPAIGNS
from homing.simulation.world import FloatArray, IntArray, Observation

TEASER = CAMPAIGNS.index("teaser")


def domains_of(message: IntArray) -> IntArray:
    """Domain of each candidate; that of silence and padding means nothing."""
    out: IntArray = (message - 1) // CHANNEL_COUNT % DOMAIN_COUNT
    return out


def channels_of(message: IntArray) -> IntArray:
    """Channel of each candidate; that of silence and padding means nothing."""
    out: IntArray = (message - 1) % CHANNEL_COUNT
    return out


def campaigns_of(message: IntArray) -> IntArray:
    """Campaign of each candidate; that of silence and padding means nothing."""
    out: IntArray = (message - 1) // (CHANNEL_COUNT * DOMAIN_COUNT)
    return out


@dataclass(frozen=True)
class PriorityRule:
    """What an ordinary product does: teams' priorities, value signals at face value, push first, and some chance.

    The score of a candidate is its value signal over what the product takes for a good value of that team, times the
    team's priority and the channel's usual click rate; teasers get more for the clicks that they are known to bring.
    The best is sent if it scores at least `threshold`. With probability `silence` nothing is sent instead, with
    probability `uniform` any eligible candidate: so all that could be sent is sometimes sent, and sometimes not.

    Attributes:
        priority: by domain.
        good_value: by domain, in the unit of its signal.
        click_rate: by channel, relative to push.
        teaser: times the score of teasers.
        threshold: the least score that is sent.
        silence: probability of silence whatever the rule says.
        uniform: probability of a uniform draw from what is eligible.
    """

    priority: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.2)
    good_value: tuple[float, ...] = (18.0, 7.0, 2.4, 1.2, 12.0)
    click_rate: tuple[float, ...] = (1.0, 0.6, 0.7)
    teaser: float = 1.2
    threshold: float = 1.4
    silence: float = 0.1
    uniform: float = 0.1

    def __post_init__(self) -> None:
        check_numbers(self)
        chance = (self.silence, self.uniform)
        if min(chance) < 0.0 or sum(chance) > 1.0:
            raise InvalidInputError(describe("silence, uniform", chance, "must be >= 0 with a sum <= 1"))
        if min(self.good_value) <= 0.0:
            raise InvalidInputError(describe("good_value", self.good_value, "must be > 0"))

    def scores(self, observation: Observation) -> FloatArray:
        """Scores (n, k); -inf where not eligible, 0 for silence."""
        domain, channel = domains_of(observation.message), channels_of(observation.message)
        weight = np.array(self.priority) / np.array(self.good_value)
        score = observation.value * weight[domain] * np.array(self.click_rate)[channel]
        score *= np.where(campaigns_of(observation.message) == TEASER, self.teaser, 1.0)
        out = np.where(observation.eligible, score, -np.inf)
        out[:, 0] = 0.0
        return out

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, k)."""
        score = self.scores(observation)
        best = score.argmax(axis=1)
        row = np.arange(len(best))
        best[score[row, best] < self.threshold] = 0
        out = self.uniform * uniform_probs(observation.eligible)
        out[row, best] += 1.0 - self.silence - self.uniform
        out[:, 0] += self.silence
        return out


def behaviour_policy(uniform_share: float = 0.05) -> Mixture:
    """The policy that logs: `PriorityRule` as it stands, and a slice of all decisions that is uniformly random.

    Example:
        >>> from homing.simulation import simulate
        >>> from homing.simulation.messaging import MessagingWorld
        >>> run = simulate(MessagingWorld(), behaviour_policy(), horizon_days=7, n_users=500)
        >>> bool(0 < run.sends.sum() < run.decisions.sum())
        True
    """
    return Mixture((PriorityRule(), UniformPolicy()), (1.0 - uniform_share, uniform_share))
