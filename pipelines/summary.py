"""What a run came to, for people and for programs."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.page import show
from pipelines.local import LocalRun

WIDTH = 100


@dataclass(frozen=True)
class Summary:
    """A finished run.

    Attributes:
        run_name: its name.
        pipeline: "training" or "retraining".
        data: `prepare.json`.
        training: `train.json`.
        evaluation: `metrics.json` of the evaluation.
        gate: `gate.json`.
        registration: what was registered.
        registry: its URI.
        seconds: wall-clock time by step.
        cpu_seconds: processor time by step.
        folder: where the run's files are.
    """

    run_name: str
    pipeline: str
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    gate: Mapping[str, Any]
    registration: Mapping[str, Any]
    registry: str
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    folder: Path

    @classmethod
    def of(cls, run: LocalRun, *, run_name: str, pipeline: str, registry: str, folder: Path) -> Summary:
        """Read the outputs of a local run."""
        return cls(
            run_name=run_name,
            pipeline=pipeline,
            data=_read(run.output("prepare", "prepared") / "prepare.json"),
            training=_read(run.output("train", "trained") / "train.json"),
            evaluation=_read(run.output("evaluate", "evaluation") / "metrics.json"),
            gate=_read(run.output("gate", "decision") / "gate.json"),
            registration=_read(run.output("register", "registration")),
            registry=registry,
            seconds=run.seconds,
            cpu_seconds=run.cpu_seconds,
            folder=folder,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `summary.json`; the full reports lie beside it."""
        return {
            "format": 1,
            "run_name": self.run_name,
            "pipeline": self.pipeline,
            "data": dict(self.data),
            "learner": self.training.get("learner"),
            "values": [self.values(objective) for objective in self.objectives],
            "estimator": self.gate["estimator"],
            "verdict": self.gate["verdict"],
            "reasons": list(self.gate["reasons"]),
            "registration": dict(self.registration),
            "registry": self.registry,
            "seconds": {step: round(value, 3) for step, value in self.seconds.items()},
            "cpu_seconds": {step: round(value, 3) for step, value in self.cpu_seconds.items()},
        }

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives' names, those that the rules judge first."""
        names = self.evaluation["policies"]["challenger"]["objectives"]
        judged = [name for name, rule in self.gate["rules"]["objectives"].items() if rule["rule"] != "report"]
        return tuple(sorted(names, key=lambda name: (name not in judged, names.index(name))))

    @property
    def rows(self) -> dict[str, str]:
        """What stands beside each other for an objective: key of `values` → name for people."""
        champion = "champion = baseline" if self.evaluation["champion_is_baseline"] else "champion"
        return {
            "logged": "the log itself",
            "champion": champion,
            "challenger": "challenger",
            "difference": "difference",
        }

    def values(self, objective: str) -> dict[str, Any]:
        """An objective's value under the log, the champion and the challenger, and the paired difference."""
        metrics, estimator = self.evaluation["metrics"], self.gate["estimator"]
        keys = {
            "logged": f"logged.{objective}",
            "champion": f"champion.{objective}.{estimator}",
            "challenger": f"challenger.{objective}.{estimator}",
            "difference": f"gain.{objective}.{estimator}",
        }
        ends = ("value", "lower", "upper")
        return {"objective": objective} | {
            row: {end: metrics[f"{key}.{end}"] for end in ends} for row, key in keys.items()
        }

    def to_text(self) -> str:
        """What the terminal shows at the end of a run."""
        lines = ["", *_section("Data", self._data()), ""]
        lines += self._table()
        verdict = str(self.gate["verdict"]).upper()
        lines += ["", *_section("Verdict", [verdict, *(str(reason) for reason in self.gate["reasons"])])]
        lines += ["", *_section("Registry", [self.registered()])]
        lines += ["", *_hang("Look", self._look())]  # commands are copied: no line breaks
        wall, cpu = sum(self.seconds.values()), sum(self.cpu_seconds.values())
        lines += ["", *_section("Time", [f"{wall:.0f} s in the steps ({cpu:.0f} s of processor time)"])]
        return "\n".join(lines)

    def _data(self) -> list[str]:
        data = self.data
        source = " and ".join(
            [*([data["dataset"]] if data["dataset"] else []), *(Path(log).name for log in data["logs"])]
        )
        read, rejected = (data[what] for what in ("read", "rejected"))
        refused = f"{show(rejected['decisions'])} decisions and {show(rejected['outcomes'])} outcomes rejected"
        lines = [
            f"{source}: {show(read['decisions'])} decisions and {show(read['outcomes'])} outcomes read; "
            + (refused if any(rejected.values()) else "all accepted"),
            *(f"  rejected {show(count)}: {reason}" for reason, count in data["reasons"].items()),
        ]
        rows, users = data["rows"], data["users"]
        lines.append(
            f"{show(rows['train'])} decisions of {show(users['train'])} users to train on, "
            f"{show(rows['evaluation'])} of {show(users['evaluation'])} others to evaluate on"
            + (f", {show(users['held_back'])} users held back" if users["held_back"] else "")
            + (f", {show(data['censored'])} decisions with open outcome windows left out" if data["censored"] else "")
        )
        return [*lines, f"objectives: {', '.join(data['objectives'])}; learner: {self.training['learner']}"]

    def _table(self) -> list[str]:
        level = f"{self.evaluation['level']:.0%}".replace("%", " %")
        estimator = str(self.gate["estimator"]).upper()
        n, users = self.evaluation["n"], self.evaluation["n_users"]
        said = [f"per decision, by {estimator}, on {show(n)} decisions of {show(users)} other users"]
        kind = self.gate["rules"].get("interval", "cluster-t")
        if kind != "cluster-t":  # two intervals of one difference need a word
            said.append(f"t intervals here; the verdict decides on {kind} ones, which may be wider")
        lines = _section("Values", said)
        for objective in self.objectives:
            lines.append(f"  {objective:<22} {'estimate':>12}   {level} interval")
            for row, name in self.rows.items():
                item = self.values(objective)[row]
                value, lower, upper = readable(item, sign="+" if row == "difference" else "")
                lines.append(f"    {name:<20} {value:>12}   [{lower}, {upper}]")
        return lines

    def registered(self) -> str:
        """What registering did, in a sentence or two."""
        from homing.registry import RegisterReport

        return RegisterReport(**self.registration).to_text()

    def _look(self) -> list[str]:
        out = [f"report   {self.folder / 'report.html'}"]
        if self.registry.startswith("mlflow+sqlite"):
            out.append(f"runs     mlflow ui --backend-store-uri {self.registry.removeprefix('mlflow+')}")
        elif self.registry.startswith("mlflow+"):
            out.append(f"runs     {self.registry.removeprefix('mlflow+')}")
        here = self.registry == f"mlflow+sqlite:///{Path('runs/mlflow.db').resolve()}"
        serve = f"make serve NAME={self.registration['name']}" + ("" if here else f" REGISTRY={self.registry}")
        return [*out, f"next     {serve}   (answers with the champion)"]


def readable(item: Mapping[str, float], *, sign: str = "") -> tuple[str, str, str]:
    """Value, lower and upper end, to the second significant digit of the interval's half width.

    >>> readable({"value": 0.0047524, "lower": 0.0026197, "upper": 0.0068851})
    ('0.0048', '0.0026', '0.0069')
    """
    half = (item["upper"] - item["lower"]) / 2
    digits = 4 if not 0 < half < math.inf else min(12, max(0, 1 - math.floor(math.log10(half))))
    value, lower, upper = (f"{item[end]:{sign},.{digits}f}" for end in ("value", "lower", "upper"))
    return value, lower, upper


def _section(title: str, lines: list[str]) -> list[str]:
    """A title and its lines, wrapped; the lines hang under each other."""
    out: list[str] = []
    for line in lines:
        out += textwrap.wrap(line, WIDTH - 10, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return _hang(title, out)


def _hang(title: str, lines: list[str]) -> list[str]:
    return [f"{title if i == 0 else '':<10}{line}" for i, line in enumerate(lines)]


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
