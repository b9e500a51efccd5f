"""Policies that those of a world are compared with, by name: what needs no learning, and oracles where it has them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from homing.policies import SilencePolicy, UniformPolicy
from homing.simulation.acting import AnyPolicy
from homing.simulation.log import check_logged
from homing.simulation.world import FloatArray, Observation, World

#: Rules that see the truth: world → name → module and class, best first.
ORACLES: dict[str, dict[str, tuple[str, str]]] = {
    "messaging": {
        "oracle-long-term": ("messaging", "LongTermRule"),
        "oracle-best-click": ("messaging", "BestClickRule"),
    },
}


@dataclass(frozen=True)
class HighestValueRule:
    """Always the eligible candidate with the highest value signal, at face value; silence where there is none.

    Wrong to use where signals have different units: it is what a queue sorted by "priority" does.

    Example:
        >>> from homing.simulation import make_world
        >>> seen = make_world("linkedin").reset(100, seed=0)
        >>> probs = HighestValueRule().observation_probs(seen)
        >>> bool((probs[:, 1] == seen.eligible[:, 1]).all())
        True
    """

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, k); see `ObservationPolicy`."""
        value = np.where(observation.eligible, observation.value, -np.inf)
        value[:, 0] = np.where(observation.eligible[:, 1:].any(axis=1), -np.inf, 0.0)
        out = np.zeros(value.shape)
        out[np.arange(len(out)), value.argmax(axis=1)] = 1.0
        return out


def baselines(world: World) -> dict[str, AnyPolicy]:
    """Policies to compare with, by name: silence, uniform, highest-value, behaviour, and the world's oracles.

    Raises:
        InvalidInputError: if the world does not say how it is logged.

    Example:
        >>> from homing.simulation import make_world
        >>> list(baselines(make_world("linkedin")))
        ['silence', 'uniform', 'highest-value', 'behaviour']
    """
    oracles = {
        name: getattr(import_module(f"homing.simulation.{module}"), attribute)()
        for name, (module, attribute) in ORACLES.get(world.name, {}).items()
    }
    return {
        "silence": SilencePolicy(),
        "uniform": UniformPolicy(),
        "highest-value": HighestValueRule(),
        "behaviour": check_logged(world).behaviour_policy(),
        **oracles,
    }
