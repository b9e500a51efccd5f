"""Which intervals a decision is made on: they stand first wherever policies are shown, and are the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homing.ope.estimate import Estimate
from homing.ope.intervals import simultaneous_level
from homing.ope.report import LOGGED, OPEReport, compare

#: Whose intervals are shown where nobody says whose decide, the first that a report has.
PREFERRED = ("dr", "snips", "snpdis", "ips", "pdis")


@dataclass(frozen=True)
class Deciding:
    """The estimator, the kind and the level of the intervals that decide.

    Attributes:
        estimator: its name.
        interval: a name from `homing.ope.INTERVALS`.
        level: of each interval.
        levels: of an objective's intervals, where several share an error rate.
        directions: `minimize` for harms, by objective, where the decision knows of them.

    Example:
        >>> Deciding("dr", "cressie-read", 0.95, {"click": 0.975}).level_of("click")
        0.975
    """

    estimator: str
    interval: str
    level: float
    levels: Mapping[str, float] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, report: OPEReport) -> Deciding:
        """A report's own intervals."""
        return cls(shown_estimator(report), report.interval, report.level)

    @classmethod
    def together(
        cls,
        challengers: Sequence[OPEReport],
        champion: OPEReport | None,
        *,
        rng: np.random.Generator,
    ) -> Deciding:
        """Intervals that hold all together over challengers and objectives, so that looking at many is paid for.

        The level is that of `compare_many`; with one challenger nothing is picked, and it is the report's own.

        Args:
            challengers: reports on one log.
            champion: what they are compared with; None for what the log itself earned.
            rng: of the draws behind the level.
        """
        own = cls.of(challengers[0])
        if len(challengers) < 2:
            return own
        differences = [
            report.influence[own.estimator, objective] - other
            for report in challengers
            for objective in report.objectives
            if has(report, own.estimator, objective)
            and (other := _influence(report, champion, own.estimator, objective)) is not None
        ]
        if not differences:  # the log gives nothing to pick from
            return own
        return cls(own.estimator, own.interval, simultaneous_level(differences, own.level, rng=rng))

    def level_of(self, objective: str) -> float:
        """The level of one objective's intervals."""
        return self.levels.get(objective, self.level)

    def value(self, report: OPEReport, objective: str, *, estimator: str | None = None) -> Estimate | None:
        """A policy's value; None where the report has no such estimate.

        Args:
            report: on the policy.
            objective: which.
            estimator: `logged` for what the log itself earned; the deciding one by default.
        """
        name = estimator or self.estimator
        if not has(report, name, objective):
            return None
        if (report.interval, report.level) == (self.interval, self.level_of(objective)):
            return report.estimate(objective, name)
        return report.estimate_at(objective, name, level=self.level_of(objective), interval=self.interval)

    def difference(self, challenger: OPEReport, champion: OPEReport | None, objective: str) -> Estimate | None:
        """Challenger minus champion, paired by user; None where either lacks the estimate.

        Args:
            challenger: report on the one.
            champion: report on the other; None for what the log itself earned.
            objective: which.
        """
        other, name = (challenger, LOGGED) if champion is None else (champion, self.estimator)
        if not (has(challenger, self.estimator, objective) and has(other, name, objective)):
            return None
        return compare(
            challenger,
            other,
            objective,
            self.estimator,
            level=self.level_of(objective),
            champion_estimator=name,
            interval=self.interval,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "estimator": self.estimator,
            "interval": self.interval,
            "level": self.level,
            "levels": dict(self.levels),
            "directions": dict(self.directions),
        }


def shown_estimator(report: OPEReport) -> str:
    """The estimator that is shown where nobody says which decides."""
    made = [name for name in report.estimators if any(has(report, name, item) for item in report.objectives)]
    return next((name for name in PREFERRED if name in made), made[0] if made else report.estimators[0])


def has(report: OPEReport, estimator: str, objective: str) -> bool:
    """Whether a report has an estimate, or the log's own."""
    return objective in report.logged if estimator == LOGGED else (estimator, objective) in report.estimates


def _influence(
    report: OPEReport, champion: OPEReport | None, estimator: str, objective: str
) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The influence of what a report is compared with."""
    if champion is None:
        return report.influence[LOGGED, objective]
    return champion.influence[estimator, objective] if has(champion, estimator, objective) else None
