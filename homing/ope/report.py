"""`OPEReport`: a policy's estimated value, its uncertainty, and whether the log can support it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import ArtifactError, InvalidInputError, describe, unknown_name
from homing.ope.estimate import Estimate, interval
from homing.ope.storage import read_verified, strict_json, tensors, untensors, write_manifest
from homing.ope.support import Support

FORMAT = 1
#: The name under which the log's own mean stands among the influences.
LOGGED = "logged"
_FILES = ("report.json", "influence.safetensors")


@dataclass(frozen=True, eq=False)
class OPEReport:
    """What a log says about a policy that did not write it.

    Attributes:
        policy: its name.
        objectives: m names, as in the log.
        estimators: names, as asked for.
        n: decisions in the log (trajectories in a sequential report).
        n_users: independent clusters.
        level: nominal coverage of the intervals.
        cluster: what rows were taken to depend within: `user`, `decision`, or `custom` and a digest of the labels.
        unit: what a value is counted per: `decision` or `user` (sequential).
        gamma: the discount per decision of a sequential report, None otherwise.
        estimates: by (estimator, objective).
        logged: the log's own mean for each objective: what the behaviour policy earned.
        support: weight diagnostics and verdict.
        influence: float64 (G,) by (estimator, objective), each user's contribution to the estimation error; also under
            `logged`. It is what paired comparisons are made of. Users are in the order of their codes.
        fingerprint: of the log; reports compare only on the same one.
        details: numbers that an estimator chose, by (estimator, objective).
        notes: sentences on what was left out.
    """

    policy: str
    objectives: tuple[str, ...]
    estimators: tuple[str, ...]
    n: int
    n_users: int
    level: float
    cluster: str
    unit: str
    estimates: Mapping[tuple[str, str], Estimate]
    logged: Mapping[str, Estimate]
    support: Support
    influence: Mapping[tuple[str, str], NDArray[np.float64]]
    fingerprint: str
    details: Mapping[tuple[str, str], Mapping[str, float]]
    notes: tuple[str, ...] = ()
    gamma: float | None = None

    def estimate(self, objective: str, estimator: str) -> Estimate:
        """One estimate; `UnknownNameError` with the nearest name when there is none."""
        if objective not in self.objectives:
            raise unknown_name("objective", objective, self.objectives, f"The report on {self.policy!r} has these.")
        if estimator == LOGGED:
            return self.logged[objective]
        if (estimator, objective) not in self.estimates:
            raise unknown_name("estimator", estimator, self.estimators, f"The report on {self.policy!r} has these.")
        return self.estimates[estimator, objective]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON; the influence is left out (see `save`)."""
        return {
            "format": FORMAT,
            "policy": self.policy,
            "objectives": list(self.objectives),
            "estimators": list(self.estimators),
            "n": self.n,
            "n_users": self.n_users,
            "level": self.level,
            "cluster": self.cluster,
            "unit": self.unit,
            "gamma": self.gamma,
            "fingerprint": self.fingerprint,
            "estimates": [
                {"estimator": estimator, "objective": objective, **item.to_dict(),
                 "details": dict(self.details.get((estimator, objective), {}))}
                for (estimator, objective), item in self.estimates.items()
            ],
            "logged": {name: item.to_dict() for name, item in self.logged.items()},
            "support": self.support.to_dict(),
            "notes": list(self.notes),
        }  # fmt: skip

    def to_text(self) -> str:
        """The report for a terminal."""
        from homing.ope.text import report_text

        return report_text(self)

    def to_html(self) -> str:
        """A self-contained page."""
        from homing.ope.html import report_page

        return report_page([self], title=f"{self.policy}: off-policy evaluation")

    def save(self, directory: str | Path) -> str:
        """Write report.json, influence.safetensors and their manifest; returns the manifest's SHA-256."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.json").write_text(strict_json(self.to_dict()) + "\n", encoding="utf-8")
        arrays = {f"{estimator}/{objective}": psi for (estimator, objective), psi in self.influence.items()}
        (directory / "influence.safetensors").write_bytes(tensors(arrays))
        return write_manifest(directory, _FILES)

    @classmethod
    def load(cls, directory: str | Path) -> OPEReport:
        """Read back what `save` wrote.

        Raises:
            ArtifactError: if a file is missing, altered, or of another format.
        """
        files = read_verified(directory, _FILES)
        data = json.loads(files["report.json"])
        if data.get("format") != FORMAT:
            raise ArtifactError(describe("report format", data.get("format"), f"must be {FORMAT}", "Evaluate anew."))
        arrays = untensors(files["influence.safetensors"])
        influence = {}
        for key, psi in arrays.items():
            estimator, _, objective = key.partition("/")
            influence[estimator, objective] = psi
        return cls(
            policy=data["policy"],
            objectives=tuple(data["objectives"]),
            estimators=tuple(data["estimators"]),
            n=data["n"],
            n_users=data["n_users"],
            level=data["level"],
            cluster=data["cluster"],
            unit=data["unit"],
            estimates={(item["estimator"], item["objective"]): Estimate.from_dict(item) for item in data["estimates"]},
            logged={name: Estimate.from_dict(item) for name, item in data["logged"].items()},
            support=Support.from_dict(data["support"]),
            influence=influence,
            fingerprint=data["fingerprint"],
            details={(item["estimator"], item["objective"]): item["details"] for item in data["estimates"]},
            notes=tuple(data["notes"]),
            gamma=data["gamma"],
        )


def compare(
    challenger: OPEReport,
    champion: OPEReport,
    objective: str,
    estimator: str = "dr",
    *,
    level: float | None = None,
    champion_estimator: str | None = None,
    champion_factor: float = 1.0,
) -> Estimate:
    """Challenger minus champion on the same log, paired by user: what both share cancels.

    Args:
        challenger, champion: reports on the same log.
        objective: which.
        estimator: which; of both, unless the champion's differs.
        level: of the interval; the challenger's level when not given.
        champion_estimator: `logged` compares with what the log itself earned.
        champion_factor: c in challenger - c · champion; a relative margin of 2 % is c = 0.98 or 1.02.

    Raises:
        InvalidInputError: if the reports are on different logs or clusters.
        UnknownNameError: if a report lacks the objective or the estimator.
    """
    other = champion_estimator or estimator
    mine, theirs = challenger.estimate(objective, estimator), champion.estimate(objective, other)
    for name in ("fingerprint", "cluster", "unit", "gamma"):
        ours, its = getattr(challenger, name), getattr(champion, name)
        if ours != its:
            raise InvalidInputError(
                describe(
                    f"champion.{name}",
                    its,
                    f"must be {ours!r}, the challenger's",
                    "Evaluate both policies on the same log in the same way.",
                )
            )
    psi = challenger.influence[estimator, objective] - champion_factor * champion.influence[other, objective]
    return interval(mine.value - champion_factor * theirs.value, psi, level or challenger.level)
