"""The numbers of the notification-spacing simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.simulation.checks import check_numbers
from homing.simulation.compiled import as_python
from homing.simulation.draws import MOST_POISSON
from homing.simulation.linkedin.kernel import STEP_HOURS, Numbers, visit_probability
from homing.simulation.world import FloatArray, IntArray


@dataclass(frozen=True)
class LinkedInParameters:
    """The simulator's numbers: the step of 4 hours and those marked are the paper's, all others ours.

    Attributes:
        candidates_per_day: mean number of notifications that enter a queue in an average day.
        real_time_per_day: mean number of near-real-time notifications: they pass by the queue and raise the badge too.
        hour_of_day: (6,), how much of both falls into each four hours of a day (UTC), relative to their mean.
        day_of_week: (7,), the same for days, Monday first.
        life_hours: shortest and longest time from entering the queue to expiry (paper: hours to days).
        sent_at_expiry: probability that what expires is sent rather than dropped (paper: 0.5).
        activeness_logit: mean and standard deviation over users of the logit of activeness.
        visit_logit: logit of the probability to visit within a step at activeness 0 and badge 0.
        per_activeness: what activeness 1 adds to that logit.
        per_badge: what a large badge adds to that logit.
        badge_scale: badge count at which 63 % of `per_badge` is reached.

    Raises:
        InvalidInputError: if a number makes no sense.
    """

    candidates_per_day: float = 1.5
    real_time_per_day: float = 0.4
    hour_of_day: tuple[float, ...] = (0.2, 0.5, 1.5, 1.6, 1.4, 0.8)
    day_of_week: tuple[float, ...] = (1.1, 1.1, 1.1, 1.1, 1.1, 0.75, 0.75)
    life_hours: tuple[float, float] = (8.0, 72.0)
    sent_at_expiry: float = 0.5
    activeness_logit: tuple[float, float] = (-0.4, 1.0)
    visit_logit: float = -3.5
    per_activeness: float = 2.5
    per_badge: float = 2.0
    badge_scale: float = 1.5

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("candidates_per_day", "real_time_per_day", "badge_scale"):
            check_positive(name, getattr(self, name))
        for name in ("hour_of_day", "day_of_week"):
            values = getattr(self, name)
            if min(values) < 0 or sum(values) <= 0:
                raise InvalidInputError(describe(name, values, f"must be {len(values)} numbers >= 0, not all 0"))
        for name in ("candidates_per_day", "real_time_per_day"):
            most = getattr(self, name) * float(self.week_profile().max()) * STEP_HOURS / 24.0
            if most > MOST_POISSON:
                bound = f"must bring at most {MOST_POISSON:g} in a step, not {most:.4g}"
                raise InvalidInputError(describe(name, getattr(self, name), bound))
        shortest, longest = self.life_hours
        if not STEP_HOURS <= shortest <= longest:
            raise InvalidInputError(
                describe("life_hours", self.life_hours, f"must be two numbers >= {STEP_HOURS:g}, the shorter first")
            )
        if not 0 <= self.sent_at_expiry <= 1:
            raise InvalidInputError(describe("sent_at_expiry", self.sent_at_expiry, "must be in [0, 1]"))

    def visit_probability(self, activeness: FloatArray, badge: FloatArray | IntArray) -> FloatArray:
        """Probability to visit within a step with this badge; arrays of shapes that broadcast."""
        out: FloatArray = as_python(visit_probability)(numbers(self), activeness, badge)
        return out

    def week_profile(self) -> FloatArray:
        """How much of what comes falls into each step of a week, (42,), mean 1; step 0 is Monday 00:00 UTC."""
        profile = np.outer(self.day_of_week, self.hour_of_day).ravel()
        out: FloatArray = profile / profile.mean()
        return out


def numbers(p: LinkedInParameters) -> Numbers:
    per_step = p.week_profile() * STEP_HOURS / 24.0
    return Numbers(
        p.candidates_per_day * per_step, p.real_time_per_day * per_step, float(p.life_hours[0]),
        float(p.life_hours[1]), float(p.sent_at_expiry), float(p.activeness_logit[0]), float(p.activeness_logit[1]),
        float(p.visit_logit), float(p.per_activeness), float(p.per_badge), float(p.badge_scale),
    )  # fmt: skip
