"""`Evaluation`: challengers and champion on one log, as numbers, as a page, and as what a tracker keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from homing.ope.deciding import Deciding, has
from homing.ope.estimate import Estimate
from homing.ope.pareto import Pareto, pareto
from homing.ope.report import LOGGED, OPEReport, compare
from homing.ope.support_map import SupportMap


@dataclass(frozen=True)
class Values:
    """One objective's intervals that decide; None where the log gives no such estimate.

    Attributes:
        level: of the intervals.
        logged: what the log itself earned.
        champion: the champion's value; None too where there is no champion.
        challengers: each challenger's value, by name.
        differences: each challenger minus the champion (or the log), paired by user.
    """

    level: float
    logged: Estimate
    champion: Estimate | None
    challengers: Mapping[str, Estimate | None]
    differences: Mapping[str, Estimate | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "level": self.level,
            "logged": self.logged.to_dict(),
            "champion": _plain(self.champion),
            "challengers": {
                name: {"value": _plain(item), "difference": _plain(self.differences[name])}
                for name, item in self.challengers.items()
            },
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was evaluated on one log.

    Attributes:
        challengers: the policies up for promotion, one or several, each with a name of its own.
        champion: the one in production, or the baseline where there is none; None compares with the log itself.
        deciding: which intervals decide; they are shown first.
        references: challengers without their exploration, silence, uniform and single messages for everyone, for
            orientation.
        champion_is_baseline: whether `champion` stands in for a champion that does not exist yet.
        maps: what each policy would send to whom, and whether the log can tell.
        directions: `minimize` for harms, by objective.
    """

    challengers: tuple[OPEReport, ...]
    champion: OPEReport | None
    deciding: Deciding
    references: tuple[OPEReport, ...] = ()
    champion_is_baseline: bool = False
    maps: tuple[SupportMap, ...] = ()
    directions: Mapping[str, str] = field(default_factory=dict)

    @property
    def policies(self) -> tuple[OPEReport, ...]:
        """Challengers, then the champion where there is one."""
        return self.challengers if self.champion is None else (*self.challengers, self.champion)

    @cached_property
    def paired(self) -> dict[str, dict[tuple[str, str], Estimate]]:
        """Each challenger minus the champion by (estimator, objective), with intervals as the reports have them."""
        out = {}
        for report in self.challengers:
            other = report if self.champion is None else self.champion
            out[report.policy] = {
                (estimator, objective): compare(report, other, objective, estimator, champion_estimator=name)
                for estimator, objective in report.estimates
                if has(other, name := LOGGED if self.champion is None else estimator, objective)
            }
        return out

    @property
    def pareto(self) -> Pareto:
        """Gains and losses on all objectives at once."""
        said = {**self.directions, **self.deciding.directions}
        known = {name: said[name] for name in self.challengers[0].objectives if name in said}
        return pareto(self.challengers, self.champion, self.deciding.estimator, directions=known)

    @cached_property
    def values(self) -> dict[str, Values]:
        """The intervals that decide, by objective."""
        out = {}
        for objective in self.challengers[0].objectives:
            logged = self.deciding.value(self.challengers[0], objective, estimator=LOGGED)
            assert logged is not None  # every report has the log's own
            out[objective] = Values(
                level=self.deciding.level_of(objective),
                logged=logged,
                champion=None if self.champion is None else self.deciding.value(self.champion, objective),
                challengers={item.policy: self.deciding.value(item, objective) for item in self.challengers},
                differences={
                    item.policy: self.deciding.difference(item, self.champion, objective) for item in self.challengers
                },
            )
        return out

    def metrics(self, challenger: OPEReport) -> dict[str, float]:
        """Flat numbers for a tracker: one challenger, the champion, the log, and the gain between them."""
        out: dict[str, float] = {}
        roles = {"challenger": challenger} | ({} if self.champion is None else {"champion": self.champion})
        for role, report in roles.items():
            for (estimator, objective), item in report.estimates.items():
                out |= _flat(f"{role}.{objective}.{estimator}", item)
            out |= {
                f"{role}.ess": report.support.ess,
                f"{role}.ess_share": report.support.ess_share,
                f"{role}.max_weight": report.support.max_weight,
                f"{role}.weight_mean": report.support.weight_mean,
                f"{role}.unsupported_share": report.support.share_of_mass_on_unsupported,
            }
        for objective, item in challenger.logged.items():
            out |= _flat(f"logged.{objective}", item)
        for (estimator, objective), item in self.paired[challenger.policy].items():
            out |= _flat(f"gain.{objective}.{estimator}", item)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON: what is in the pictures, full reports, and flat `metrics` for a tracker."""
        first = self.challengers[0]
        named = {report.policy: report for report in self.challengers}
        roles = named if self.champion is None else {**named, "champion": self.champion}
        return {
            "format": 2,
            "n": first.n,
            "n_users": first.n_users,
            "level": first.level,
            "fingerprint": first.fingerprint,
            "champion_is_baseline": self.champion_is_baseline,
            "challengers": list(named),
            "deciding": self.deciding.to_dict(),
            "values": [{"objective": objective, **item.to_dict()} for objective, item in self.values.items()],
            "verdicts": {name: report.support.verdict for name, report in roles.items()},
            "metrics": {name: self.metrics(report) for name, report in named.items()},
            "paired": [
                {"challenger": name, "estimator": estimator, "objective": objective, **item.to_dict()}
                for name, paired in self.paired.items()
                for (estimator, objective), item in paired.items()
            ],
            "pareto": self.pareto.to_dict(),
            "support_maps": [item.to_dict() for item in self.maps],
            "policies": {name: report.to_dict() for name, report in roles.items()},
            "references": [report.to_dict() for report in self.references],
        }

    def to_html(self) -> str:
        """A self-contained page."""
        from homing.ope.html import evaluation_page

        return evaluation_page(self)


def _plain(item: Estimate | None) -> dict[str, Any] | None:
    return None if item is None else item.to_dict()


def _flat(name: str, item: Estimate) -> dict[str, float]:
    return {f"{name}.value": item.value, f"{name}.lower": item.lower, f"{name}.upper": item.upper}
