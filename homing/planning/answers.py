"""What parts are asked: who is there, what they would use at prices, what is planned; answers are kept in files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homing.errors import InvalidInputError
from homing.log.store import file_digest
from homing.planning.demand import demand_of
from homing.planning.layout import FloatArray
from homing.planning.parts import Part
from homing.planning.plan import Plan, UnmetFloorsError
from homing.planning.plan_files import write_plan
from homing.planning.problem import PlanningProblem, derived
from homing.planning.problem_file import ProblemFile
from homing.planning.repeats import between, hashed
from homing.planning.solver import solve
from homing.planning.tables import texts_of, users_of
from homing.planning.unaffordable import affordable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """Answers of parts, each small; what was answered once is read from its file.

    Attributes:
        file: the problem.
        out: folder of the plan's files; answers stand in `state`.
        parts: how many there are.
        fraction: of the users that are in the sample.
        threads: of each part's passes.
        stamp: what must be the same for an answer to hold.
    """

    file: ProblemFile
    out: Path
    parts: int
    fraction: float
    threads: int
    stamp: str

    def look(self, part: Part) -> dict[str, Any]:
        """How many users and rows there are, the labels of text columns, and a sample of users as a file."""
        return self._kept("look", part, b"2", lambda: self._look(part))

    def _look(self, part: Part) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = self._read(part)
        offsets, ids = users_of(table[self.file.columns.user])
        found = {name: texts_of(name, table[name]) for name in (*self.file.columns.codes, *self.file.columns.segments)}
        labels = {name: list(texts) for name, texts in found.items() if texts is not None}
        rng = np.random.default_rng([self.file.seed, part.number])
        n = len(offsets) - 1
        chosen = np.flatnonzero(rng.random(n) < self.fraction) if self.fraction < 1 else np.arange(n)
        lengths = np.diff(offsets)[chosen]
        ends = np.cumsum(lengths)
        rows = np.repeat(offsets[chosen] - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        name = f"state/sample-{part.number:05d}.parquet"
        (self.out / "state").mkdir(exist_ok=True)
        temporary = self.out / "state" / f".{part.number:05d}.{os.getpid()}"
        pq.write_table(table.take(pa.array(rows)), temporary)
        temporary.replace(self.out / name)
        return {"users": n, "rows": table.num_rows, "labels": labels, "file": name, "between": between(ids)}

    def users(self, part: Part) -> dict[str, Any]:
        """The part's users with a hash of each, as a file: whether somebody stands in two parts."""

        def work() -> dict[str, Any]:
            import pyarrow as pa
            import pyarrow.parquet as pq

            _, ids = users_of(part.read(self.file.columns.user, [self.file.columns.user])[self.file.columns.user])
            name = f"state/users-{part.number:05d}.parquet"
            temporary = self.out / "state" / f".users-{part.number:05d}.{os.getpid()}"
            pq.write_table(pa.table({"user": ids, "hash": hashed(ids)}), temporary)
            temporary.replace(self.out / name)
            return {"file": name}

        return self._kept("users", part, b"2", work)

    def check(self, part: Part, labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Refuse a part's rows that break a bound, by their place in it."""

        def work() -> dict[str, Any]:
            return {"rows": self.file.problem_of(self._read(part), labels).n_candidates}

        return self._kept("check", part, b"", work)

    def demand(self, part: Part, prices: FloatArray, labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """What the part's users would use at the prices, and Σ of what that is worth after prices."""

        def work() -> dict[str, Any]:
            # What the whole cannot afford is in no plan: with it the bound would be one that none comes near.
            problem = affordable(self.file.problem_of(self._read(part), labels))
            bound, used = demand_of(problem, prices, self.threads)
            return {"bound": bound, "used": used.tolist()}

        return self._kept("demand", part, prices.tobytes(), work)

    def plan(
        self, part: Part, first: int, prices: FloatArray, local: FloatArray, labels: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        """Plan within the part's own limits, and write it; `first` rows stand in the parts before."""

        def work() -> dict[str, Any]:
            table = self._read(part)
            problem = within(self.file.problem_of(table, labels), local)
            try:
                # Local limits are what the part uses at these prices, nearly: its own lie beside them.
                plan: Plan = solve(problem, warm_start=prices, threads=self.threads)
            except UnmetFloorsError as error:  # by this part; whether all together meet them is seen at the end
                plan = error.plan
            name = f"plan-{part.number:05d}.parquet"
            write_plan(problem, plan, self.out / name, beside=table.select(self.file.columns.keep), first=first)
            return {
                "file": name,
                "value": plan.value,
                "used": [item.used for item in plan.usage],
                "silent": plan.n_silent,
                "messages": plan.n_messages,
                "repaired": plan.n_repaired,
            }

        return self._kept("plan", part, prices.tobytes() + local.tobytes(), work)

    def holds(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer's file is the one that it speaks of: another problem's run may have written over it."""
        if "file" not in answer:
            return True
        path = self.out / answer["file"]
        return path.is_file() and file_digest(path) == answer.get("digest")

    def _read(self, part: Part) -> Any:
        return part.read(self.file.columns.user, self.file.columns.wanted)

    def _kept(self, name: str, part: Part, key: bytes, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer from its file, where the same was asked before."""
        digest = hashlib.sha256(self.stamp.encode() + key).hexdigest()[:16]
        path = self.out / "state" / f"{name}-{part.number:05d}-{digest}.json"
        if path.is_file():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if self.holds(kept):
                return kept
        try:
            answer = work()
        except InvalidInputError as error:  # rows are told as counted in the part
            raise InvalidInputError(f"{part}: {error}") from error
        if "file" in answer:
            answer["digest"] = file_digest(self.out / answer["file"])
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(answer), encoding="utf-8")
        temporary.replace(path)
        logger.info("%s: part %d of %d", name, part.number + 1, self.parts)
        return answer


def within(problem: PlanningProblem, limits: FloatArray) -> PlanningProblem:
    """The same candidates within other limits."""
    b = len(problem.budgets)
    return derived(
        problem,
        budgets=tuple(replace(item, limit=float(x)) for item, x in zip(problem.budgets, limits[:b], strict=True)),
        floors=tuple(replace(item, limit=float(x)) for item, x in zip(problem.floors, limits[b:], strict=True)),
    )
