"""What could be reached at best: dynamic programming over badge, queue and time of the week, with the world's truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from homing.simulation.linkedin import LinkedInParameters
from homing.simulation.linkedin.kernel import CAPACITY, STEPS_A_WEEK
from homing.simulation.linkedin.parameters import numbers
from homing.simulation.world import Observation

FloatArray = NDArray[np.float64]
#: Badges from here on are one; so many weeks are looked ahead; so many kinds of users are planned for.
MOST, WEEKS, KINDS = 24, 8, 16
#: Share of a queue that expires in a step: lives of 40 hours on average, seen somewhere on their way. Measured under
#: spaced sending; others from 0.05 to 0.12 cost the plan at most 0.04 visits.
EXPIRES = 0.12


@dataclass(frozen=True, eq=False)
class Plan:
    """Send where the plan gains by it, explore with ε; an `ObservationPolicy`.

    The plan knows the world's numbers and sees what a policy sees: not when each notification in the queue expires, for
    which it takes a share a step. It maximises visits in the long run, whatever week it is.

    Attributes:
        kinds: (g,), levels of activeness.
        gain: (42, g, MOST + 1, CAPACITY + 1), what a send adds at each step of the week, kind, badge and queue.
        epsilon: share of decisions that are drawn uniformly from what is eligible.
    """

    kinds: FloatArray
    gain: FloatArray
    epsilon: float

    @classmethod
    def of(cls, parameters: LinkedInParameters, epsilon: float) -> Plan:
        """Relative value iteration, backwards through `WEEKS` weeks."""
        world = numbers(parameters)
        centre, spread = parameters.activeness_logit
        kinds = 1 / (1 + np.exp(-stats.norm.ppf((np.arange(KINDS) + 0.5) / KINDS, centre, spread)))
        badge, queue = np.arange(MOST + 1), np.arange(CAPACITY + 1)
        visit = parameters.visit_probability(kinds[:, None], badge[None])[..., None]
        expiry = _expiry(parameters.sent_at_expiry)
        value = np.zeros((KINDS, len(badge), len(queue)))
        gain = np.empty((STEPS_A_WEEK, *value.shape))
        arrivals = [_arrivals(mean) for mean in world.candidates]
        for step in list(reversed(range(STEPS_A_WEEK))) * WEEKS:
            # In the order of the world's step, from its end: what comes in, what expires, who visits, what passes by.
            value = value @ arrivals[step].T
            value = (value.reshape(KINDS, -1) @ expiry.T).reshape(value.shape)
            value = visit * (1 + value[:, :1]) + (1 - visit) * value
            passing = stats.poisson.pmf(np.arange(8), world.real_time[step])
            silent = sum(p * value[:, np.minimum(badge + more, MOST)] for more, p in enumerate(passing))
            sent = np.full_like(value, -np.inf)
            sent[:, :, 1:] = silent[:, np.minimum(badge + 1, MOST), :-1]
            gain[step] = sent - silent
            value = np.maximum(sent, silent)
            value -= value[:, :1, :1]
        return cls(kinds, gain, epsilon)

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, 2); see `ObservationPolicy`."""
        badge, queue, hours, activeness = observation.context.T
        kind = np.searchsorted((self.kinds[1:] + self.kinds[:-1]) / 2, activeness)
        at = (np.rint(hours / 4).astype(int), kind, np.minimum(badge, MOST).astype(int), queue.astype(int))
        return explored(self.gain[at] > 0, observation, self.epsilon)


def explored(send: NDArray[np.bool_], observation: Observation, epsilon: float) -> FloatArray:
    """Probabilities (n, 2) of a rule that explores with ε, where there is anything to send."""
    out = np.where(observation.eligible[:, 1], (1 - epsilon) * send + epsilon / 2, 0.0)
    return np.column_stack([1.0 - out, out])


def _arrivals(mean: float) -> FloatArray:
    """Probability (from, to) that a queue grows so."""
    out = np.zeros((CAPACITY + 1, CAPACITY + 1))
    for queued in range(CAPACITY + 1):
        for more, p in enumerate(stats.poisson.pmf(np.arange(12), mean)):
            out[queued, min(queued + more, CAPACITY)] += p
    return out


def _expiry(goes_out: float) -> FloatArray:
    """Probability (from, to) over pairs of badge and queue that some expire, each sent or dropped."""
    out = np.zeros((MOST + 1, CAPACITY + 1, MOST + 1, CAPACITY + 1))
    badge = np.arange(MOST + 1)
    for queued in range(CAPACITY + 1):
        for gone in range(queued + 1):
            for late in range(gone + 1):
                p = stats.binom.pmf(gone, queued, EXPIRES) * stats.binom.pmf(late, gone, goes_out)
                out[badge, queued, np.minimum(badge + late, MOST), queued - gone] += p
    size = (MOST + 1) * (CAPACITY + 1)
    return out.reshape(size, size)
