"""Rules on raw observations that several worlds are logged with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.simulation.world import FloatArray, Observation


@dataclass(frozen=True)
class UniformMessages:
    """Uniform over the eligible messages, silence only where there is none.

    Example:
        >>> from homing.simulation import make_world
        >>> seen = make_world("duolingo").reset(100, seed=0)
        >>> probs = UniformMessages().observation_probs(seen)
        >>> bool((probs[seen.eligible[:, 1:].any(axis=1), 0] == 0).all())
        True
    """

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, k); see `ObservationPolicy`."""
        mass = observation.eligible.astype(np.float64)
        mass[:, 0] = ~observation.eligible[:, 1:].any(axis=1)
        out: FloatArray = mass / mass.sum(axis=1, keepdims=True)
        return out
