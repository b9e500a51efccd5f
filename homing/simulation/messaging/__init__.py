"""The reference world: a music subscription that talks to its users by push, e-mail and in-app message."""

from homing.simulation.messaging.oracles import BestClickRule, LongTermRule
from homing.simulation.messaging.parameters import Drift, MessagingParameters
from homing.simulation.messaging.rules import PriorityRule, behaviour_policy
from homing.simulation.messaging.world import MessagingWorld, Truth

__all__ = [
    "BestClickRule",
    "Drift",
    "LongTermRule",
    "MessagingParameters",
    "MessagingWorld",
    "PriorityRule",
    "Truth",
    "behaviour_policy",
]
