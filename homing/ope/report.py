"""`OPEReport`: a policy's estimated value, its uncertainty, and whether the log can support it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import ArtifactError, InvalidInputError, describe, unknown_name
from homing.ope.estimate import Estimate
from homing.ope.intervals import Contributions, Interval, get_interval, simultaneous_level
from homing.ope.intervals.ingredients import MARK, Ingredients
from homing.ope.intervals.simultaneous import Method
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
        gamma: the discount of a sequential report, per decision or per `time_unit_seconds`; None otherwise.
        estimates: by (estimator, objective).
        logged: the log's own mean for each objective: what the behaviour policy earned.
        support: weight diagnostics and verdict.
        influence: float64 (G,) by (estimator, objective), each user's contribution to the estimation error; also under
            `logged`. It is what paired comparisons are made of. Users are in the order of their codes.
        fingerprint: of the log; reports compare only on the same one.
        details: numbers that an estimator chose, by (estimator, objective).
        notes: sentences on what was left out.
        interval: how the intervals were made, a name from `homing.ope.INTERVALS`.
        ingredients: what other kinds of intervals need beside the influence.
        time_unit_seconds: the elapsed time that `gamma` discounts; None where it discounts per decision.
        seed: of the draws behind the intervals, so that comparisons can be drawn again; None where nothing was drawn.
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
    interval: str = "cluster-t"
    ingredients: Ingredients = field(default_factory=Ingredients)
    time_unit_seconds: float | None = None
    seed: int | None = None

    def estimate(self, objective: str, estimator: str) -> Estimate:
        """One estimate; `UnknownNameError` with the nearest name when there is none."""
        if objective not in self.objectives:
            raise unknown_name("objective", objective, self.objectives, f"The report on {self.policy!r} has these.")
        if estimator == LOGGED:
            return self.logged[objective]
        if (estimator, objective) not in self.estimates:
            raise unknown_name("estimator", estimator, self.estimators, f"The report on {self.policy!r} has these.")
        return self.estimates[estimator, objective]

    def contributions(self, objective: str, estimator: str) -> Contributions:
        """One estimate by user: what intervals are made of."""
        value = self.estimate(objective, estimator).value
        return self.ingredients.of(estimator, objective, value, self.influence[estimator, objective])

    def estimate_at(
        self,
        objective: str,
        estimator: str,
        *,
        level: float | None = None,
        interval: str | Interval | None = None,
        rng: np.random.Generator | None = None,
    ) -> Estimate:
        """One estimate with the interval of another level or kind; the report's own where not given.

        Args:
            objective: which.
            estimator: which, or `logged`.
            level: nominal coverage.
            interval: a name from `homing.ope.INTERVALS`, or an interval with settings.
            rng: for `bootstrap`; the report's own `seed` where not given.
        """
        kind = get_interval(interval or self.interval)
        return kind([self.contributions(objective, estimator)], level or self.level, rng or self.rng())[0]

    def rng(self) -> np.random.Generator | None:
        """A generator that begins at `seed`, if there is one."""
        return None if self.seed is None else np.random.default_rng(self.seed)

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
            "time_unit_seconds": self.time_unit_seconds,
            "interval": self.interval,
            "seed": self.seed,
            "ingredients": self.ingredients.to_dict(),
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
        arrays |= self.ingredients.tensors(self.influence)
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
            if not key.startswith(MARK):
                estimator, _, objective = key.partition("/")
                influence[estimator, objective] = psi
        # Reports of earlier versions have no ingredients.
        known = Ingredients.read(data["ingredients"], arrays, influence) if "ingredients" in data else Ingredients()
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
            time_unit_seconds=data.get("time_unit_seconds"),
            interval=data.get("interval", "cluster-t"),
            ingredients=known,
            seed=data.get("seed"),
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
    interval: str | Interval | None = None,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Challenger minus champion on the same log, paired by user: what both share cancels.

    Args:
        challenger, champion: reports on the same log.
        objective: which.
        estimator: which; of both, unless the champion's differs.
        level: of the interval; the challenger's level when not given.
        champion_estimator: `logged` compares with what the log itself earned.
        champion_factor: c in challenger - c · champion; a relative margin of 2 % is c = 0.98 or 1.02.
        interval: a name from `homing.ope.INTERVALS` or an interval with settings; the challenger's when not given.
        rng: for `bootstrap`; that of the challenger's `seed` when not given.

    Raises:
        InvalidInputError: if the reports are on different logs or clusters, or the interval needs what is not given.
        UnknownNameError: if a report lacks the objective or the estimator.
    """
    found = difference(challenger, champion, objective, estimator, champion_estimator, champion_factor)
    kind = get_interval(interval or challenger.interval)
    return kind([found], level or challenger.level, rng or challenger.rng())[0]


def compare_many(
    challengers: Sequence[OPEReport],
    champion: OPEReport,
    estimator: str = "dr",
    *,
    objectives: Sequence[str] | None = None,
    level: float | None = None,
    interval: str | Interval | None = None,
    method: Method = "max-t",
    rng: np.random.Generator | None = None,
) -> dict[tuple[str, str], Estimate]:
    """Every challenger minus the champion on every objective, with intervals that hold all together.

    Whatever is picked from them, the best challenger or the objective that moved most, keeps its level: the choice is
    paid for. Each interval is made as `compare` makes it, at the level that `simultaneous_level` finds.

    Args:
        challengers: reports on the same log as the champion's, each with a policy name of its own.
        champion: what they are compared with.
        estimator: which.
        objectives: which; all when not given.
        level: for all together; the champion's when not given.
        interval: kind of each interval; the champion's when not given.
        method: `max-t` uses how the differences depend on each other; `sidak` and `bonferroni` need no rng.
        rng: for `max-t`, and for `bootstrap`.

    Returns:
        By (policy, objective), the difference at the level that it was made at.

    Raises:
        InvalidInputError: if reports do not compare, two policies have one name, or an rng is needed and not given.

    Example:
        >>> from homing.log import LoggedDataset
        >>> from homing.ope import evaluate_policy
        >>> rng = np.random.default_rng(0)
        >>> action = rng.integers(0, 3, 3000)
        >>> clicked = rng.random(3000) < 0.2 + 0.05 * action
        >>> data = LoggedDataset(
        ...     context=np.zeros((3000, 1)), candidates=np.zeros((3000, 3, 1)), eligible=np.ones((3000, 3), bool),
        ...     action=action, propensity=np.full(3000, 1 / 3), reward=clicked[:, None],
        ...     objectives=("clicked",), user=np.arange(3000), time=np.arange(3000))
        >>> silent, one, two = (
        ...     evaluate_policy(data, np.tile(np.eye(3)[a], (3000, 1)), policy=f"always {a}") for a in range(3))
        >>> for (policy, _), item in compare_many([one, two], silent, "snips", rng=rng).items():
        ...     print(policy, item, round(item.level, 3))
        always 1 0.03792 [-0.004785, 0.08062] 0.973
        always 2 0.0826 [0.03933, 0.1259] 0.973
    """
    names = [report.policy for report in challengers]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(
            describe("challengers", names, "must have distinct names, at least one", "Pass policy= to evaluate_policy.")
        )
    pairs = [(report, objective) for report in challengers for objective in objectives or champion.objectives]
    found = [difference(report, champion, objective, estimator) for report, objective in pairs]
    each = simultaneous_level([item.psi for item in found], level or champion.level, method=method, rng=rng)
    made = get_interval(interval or champion.interval)(found, each, rng or champion.rng())
    return {(report.policy, objective): item for (report, objective), item in zip(pairs, made, strict=True)}


def difference(
    challenger: OPEReport,
    champion: OPEReport,
    objective: str,
    estimator: str,
    champion_estimator: str | None = None,
    champion_factor: float = 1.0,
) -> Contributions:
    """Challenger minus champion by user, if their reports compare."""
    mine = challenger.contributions(objective, estimator)
    theirs = champion.contributions(objective, champion_estimator or estimator)
    for name in ("fingerprint", "cluster", "unit", "gamma", "time_unit_seconds"):
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
    pairing = challenger.ingredients.pairings.get(champion.policy)
    forms = (
        challenger.ingredients.forms.get((estimator, objective)),
        champion.ingredients.forms.get((champion_estimator or estimator, objective)),
    )
    found = mine.minus(theirs, champion_factor)
    if pairing is None or forms[0] is None or forms[1] is None:
        return found
    pairing.check(champion.policy, champion.support.weight_mean)
    return found.with_pairing(pairing.extremes(objective, forms[0], forms[1], champion_factor))
