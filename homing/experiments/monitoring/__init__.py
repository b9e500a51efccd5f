"""When an experiment may be looked at, and what a result must exceed then: what a plan's `monitoring` takes.

All designs answer the same questions for each day of data: how much of the information is there, which z rejects, what
is the p-value, and how many more units does looking cost. Days on which a design does not look have an infinite bound.
"""

from __future__ import annotations

from homing.experiments.monitoring.fixed import FixedHorizon, FixedPower
from homing.experiments.monitoring.group import GroupSequential
from homing.experiments.monitoring.protocol import Monitoring
from homing.experiments.monitoring.sequence import ConfidenceSequence, Hybrid

#: By name, as a plan in YAML says it.
MONITORING: dict[str, type[Monitoring]] = {
    item.name: item for item in (FixedHorizon, GroupSequential, ConfidenceSequence, FixedPower, Hybrid)
}

__all__ = [
    "MONITORING",
    "ConfidenceSequence",
    "FixedHorizon",
    "FixedPower",
    "GroupSequential",
    "Hybrid",
    "Monitoring",
]
