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
        truth: `truth.json` of the evaluation, where the data are simulated; else empty.
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
    truth: Mapping[str, Any]
    registration: Mapping[str, Any]
    registry: str
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    folder: Path

    @classmethod
    def of(cls, run: LocalRun, *, run_name: str, pipeline: str, registry: str, folder: Path) -> Summary:
        """Read the outputs of a local run."""
        truth = run.output("evaluate", "evaluation") / "truth.json"
        return cls(
            run_name=run_name,
            pipeline=pipeline,
            data=_read(run.output("prepare", "prepared") / "prepare.json"),
            training=_read(run.output("train", "trained") / "train.json"),
            evaluation=_read(run.output("evaluate", "evaluation") / "metrics.json"),
            gate=_read(run.output("gate", "decision") / "gate.json"),
            truth=_read(truth) if truth.is_file() else {},
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
            "learners": list(self.training["learners"]),
            "leader": self.leader,
            "values": [self.values(objective) for objective in self.objectives],
            "deciding": dict(self.evaluation["deciding"]),
            "truth": dict(self.truth),
            "verdict": self.gate["verdict"],
            "verdicts": {item["challenger"]: item["verdict"] for item in self.gate["decisions"]},
            "reasons": list(self.reasons),
            "registration": dict(self.registration),
            "registry": self.registry,
            "seconds": {step: round(value, 3) for step, value in self.seconds.items()},
            "cpu_seconds": {step: round(value, 3) for step, value in self.cpu_seconds.items()},
        }

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives' names, those that the rules judge first."""
        names = [item["objective"] for item in self.evaluation["values"]]
        rules = self.gate["decisions"][0]["rules"]["objectives"]
        judged = [name for name, rule in rules.items() if rule["rule"] != "report"]
        return tuple(sorted(names, key=lambda name: (name not in judged, names.index(name))))

    @property
    def leader(self) -> str:
        """The challenger that was registered: the promoted one, or the best that the log could judge."""
        return str(self.gate["leader"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences behind the verdict: on the choice where there were several challengers, then on the leader."""
        [own] = [item["reasons"] for item in self.gate["decisions"] if item["challenger"] == self.leader]
        if len(self.gate["decisions"]) == 1:
            return tuple(own)
        others = [item for item in self.gate["decisions"] if item["challenger"] != self.leader]
        return (
            *self.gate["reasons"],
            *(f"{self.leader}: {reason}" for reason in own),
            *(f"{item['challenger']} ({item['verdict']}): {item['reasons'][0]}" for item in others),
        )

    def values(self, objective: str) -> dict[str, Any]:
        """The intervals that the gate decided on: of the log, the champion, the leader and all challengers."""
        [found] = [item for item in self.evaluation["values"] if item["objective"] == objective]
        leader = found["challengers"][self.leader]
        return {**found, "challenger": leader["value"], "difference": leader["difference"]}

    def rows(self, objective: str) -> list[tuple[str, Mapping[str, float], str]]:
        """What stands beside each other for an objective: a name for people, the numbers, the sign to show."""
        found = self.values(objective)
        champion = "champion = baseline" if self.evaluation["champion_is_baseline"] else "champion"
        several = len(found["challengers"]) > 1
        out = [("the log itself", found["logged"], ""), (champion, found["champion"], "")]
        out += [(name if several else "challenger", item["value"], "") for name, item in found["challengers"].items()]
        out += [
            (f"{name} − champion" if several else "difference", item["difference"], "+")
            for name, item in found["challengers"].items()
        ]
        return [(name, item, sign) for name, item, sign in out if item is not None]

    def to_text(self) -> str:
        """What the terminal shows at the end of a run."""
        lines = ["", *_section("Data", self._data()), ""]
        lines += self._table()
        lines += self._truth()
        verdict = str(self.gate["verdict"]).upper()
        lines += ["", *_section("Verdict", [verdict, *self.reasons])]
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
        return [*lines, f"objectives: {', '.join(data['objectives'])}; trained: {', '.join(self.training['learners'])}"]

    def _table(self) -> list[str]:
        deciding = self.evaluation["deciding"]
        n, users = self.evaluation["n"], self.evaluation["n_users"]
        said = f"per decision, by {deciding['estimator'].upper()}, on {show(n)} decisions of {show(users)} other users"
        lines = _section("Values", [said, f"with the intervals that decide ({deciding['interval']})"])
        for objective in self.objectives:
            rows = self.rows(objective)
            width = max(20, *(len(name) for name, _, _ in rows))
            level = f"{100 * self.values(objective)['level']:.4g} %"
            lines.append(f"  {objective:<{width + 2}} {'estimate':>12}   {level} interval")
            for name, item, sign in rows:
                value, lower, upper = readable(item, sign=sign)
                lines.append(f"    {name:<{width}} {value:>12}   [{lower}, {upper}]")
        return lines

    def true_rows(self) -> list[tuple[str, Mapping[str, float], str]]:
        """The truth of simulated data: the value of each policy, then the leader's difference on each objective."""
        if not self.truth:
            return []
        values, differences = self.truth["values"], self.truth["differences"][self.leader]
        champion = "champion = baseline" if self.evaluation["champion_is_baseline"] else "champion"
        names = {"the log itself": "the log itself", "champion": champion, self.leader: self.leader}
        return [
            *((f"value of {shown}", values[name]["value"], "") for name, shown in names.items()),
            *((f"difference in {what}", differences[what], "+") for what in ("value", *self.objectives)),
        ]

    def true_caption(self) -> str:
        """What the truth is of, in a sentence."""
        weights = ", ".join(f"{name} {show(weight)}" for name, weight in self.truth["weights"].items() if weight)
        return (
            f"per user, of {show(self.truth['n_users'])} other simulated users who live with a policy for "
            f"{self.truth['horizon_days']} days; value = {weights}; differences are {self.leader} - champion, paired"
        )

    def _truth(self) -> list[str]:
        rows = self.true_rows()
        if not rows:
            return []
        width = max(len(name) for name, _, _ in rows)
        lines = ["", *_section("Truth", [self.true_caption()])]
        for name, item, sign in rows:
            value, lower, upper = readable(item, sign=sign)
            lines.append(f"    {name:<{width}} {value:>10}   [{lower}, {upper}]")
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
