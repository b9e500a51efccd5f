"""LinkedIn's notification-spacing simulator, re-created from its description (Yuan et al., 2022).

Time-insensitive notifications wait in a queue; every four hours the best of them may be sent. The badge counts what a
user has not seen yet, and resets when they come. Sending on top of a badge gains little, and what is sent now cannot be
sent after the next visit: decisions have to be spaced.
"""

from homing.simulation.linkedin.parameters import LinkedInParameters
from homing.simulation.linkedin.world import LiftRule, LinkedInState, LinkedInWorld

__all__ = ["LiftRule", "LinkedInParameters", "LinkedInState", "LinkedInWorld"]
