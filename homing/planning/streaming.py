"""`solve_parquet`: plans for populations that are larger than memory, part by part, here or on a Ray cluster.

1. A sample of users from every part is planned for: first prices.
2. Every part tells what its users would use at the prices. What is missing or too much in all is put right on the
   sample (its use at the prices, plus its share of what is missing, becomes its limit), and the parts are asked again.
3. At prices at which the sum is right, every part plans by itself within what it used, and its share of what is left:
   local limits that add up to the whole ones. Each part's plan keeps its own, so that all together keep the limits.

The prices' dual value over all parts bounds every plan's value from above. Sums are made in the order of parts whatever
the engine, so that all engines give the same. What a part answered is kept in a file: a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from homing.engines import Engine, get_engine
from homing.planning.demand import demand_of
from homing.planning.parts import Part, parts_of
from homing.planning.plan import InfeasibleFloorsError, LimitUse, Plan, UnmetFloorsError
from homing.planning.plan_files import write_plan
from homing.planning.problem import PlanningProblem, UserOffsets
from homing.planning.problem_file import ProblemFile, users_of
from homing.planning.sharing import shared
from homing.planning.solver import solve

FloatArray = NDArray[np.float64]
T = TypeVar("T")
#: Looks at all parts, at most, until what they would use is within this share of every limit.
PASSES, CLOSE = 4, 1e-4


@dataclass(frozen=True, eq=False)
class StreamedPlan:
    """A plan whose rows are in files, with its certificate; see `Plan`.

    Attributes:
        files: who gets what, part by part.
        prices: (limits,), signed as in `Plan`.
        value, upper_bound: over all parts.
        usage: each limit's use and price.
        n_users, n_silent, n_messages: over all parts.
        passes: how often all parts were asked for their use.
    """

    files: tuple[Path, ...]
    prices: FloatArray
    value: float
    upper_bound: float
    usage: tuple[LimitUse, ...]
    n_users: int
    n_silent: int
    n_messages: int
    passes: int

    @property
    def gap(self) -> float:
        """The most that is lost, as a share of the upper bound."""
        return max(0.0, self.upper_bound - self.value) / abs(self.upper_bound) if self.upper_bound else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The certificate, as JSON types."""
        numbers = ("value", "upper_bound", "gap", "n_users", "n_silent", "n_messages", "passes")
        return {
            **{name: getattr(self, name) for name in numbers},
            "files": [str(file) for file in self.files],
            "limits": [item.to_dict() for item in self.usage],
        }


def solve_parquet(
    path: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    engine: str | Engine = "process",
    part_rows: int = 5_000_000,
    sample_rows: int = 2_000_000,
    threads: int = 0,
) -> StreamedPlan:
    """Plan over candidates in Parquet without ever holding more than one part of them and a sample.

    Args:
        path: the problem as YAML; see `ProblemFile`. Users stand together over all files, in the order of file names.
        out: folder for the plan's files (`plan-00000.parquet` …) and, in `state`, what parts have answered. Run again
            after a kill, it goes on; with other data or another problem it begins anew.
        data: folder that the candidates' path is relative to; the file's own when None.
        engine: `process`, `ray`, or an object; on a cluster, paths must be the same on all machines.
        part_rows: candidates in memory at once; at least a row group.
        sample_rows: candidates of the sample.
        threads: of each part's passes; 0 for one a core.

    Raises:
        InvalidInputError, UnknownNameError: if the file or a row breaks a bound.
        UnmetFloorsError: if a part does not meet its share of a floor.
    """
    path, out = Path(path), Path(out)
    file = ProblemFile.from_yaml(path)
    folder = path.parent if data is None else Path(data)
    parts, rows = parts_of(folder / file.candidates, file.columns.wanted, part_rows)
    out.mkdir(parents=True, exist_ok=True)
    job = _Job(file, out, min(1.0, sample_rows / rows), threads, _stamp(file, parts, sample_rows))
    run = get_engine(engine)

    def ask(question: Callable[[Part], T]) -> list[T]:
        def split(part: Part, shares: int) -> Sequence[dict[int, T]]:
            pieces: list[dict[int, T]] = [{} for _ in range(shares)]
            pieces[part.number % shares][part.number] = question(part)
            return pieces

        answers: dict[int, T] = {}
        for piece in run.map_reduce(parts, split, _joined, _same):
            answers |= piece
        return [answers[number] for number in sorted(answers)]

    looks = ask(job.look)
    labels = _labels([look["labels"] for look in looks])
    sample = file.problem_of(_tables([out / look["file"] for look in looks]), labels)
    n_users = sum(int(look["users"]) for look in looks)
    share = sample.n_users / max(1, n_users)
    limit = np.array([item.limit for item in sample.limits], dtype=np.float64)
    budget = np.arange(len(limit)) < len(sample.budgets)
    prices = solve(_within(sample, limit * share), threads=threads).prices
    answers: list[dict[str, Any]] = []
    passes = 0
    best: tuple[float, FloatArray, list[dict[str, Any]]] | None = None
    while passes < PASSES:
        passes += 1
        answers = ask(lambda part, p=prices: job.demand(part, p, labels))  # type: ignore[misc]
        used = np.sum([answer["used"] for answer in answers], axis=0)
        bound = float(np.sum([answer["bound"] for answer in answers])) + float(prices @ limit)
        if best is None or bound < best[0]:
            best = (bound, prices, answers)
        off = np.where(prices != 0, np.abs(used - limit), np.where(budget, used - limit, limit - used)) / np.maximum(
            limit, 1
        )
        if (off <= CLOSE).all() or len(parts) == 1:
            break
        here = demand_of(sample, prices, threads)[1]
        target = np.maximum(here + share * (limit - used), 0.0)
        prices = solve(_within(sample, target), threads=threads).prices
    assert best is not None
    bound, prices, answers = best
    local = shared(np.array([answer["used"] for answer in answers]), limit, budget, _counted(sample))
    made = ask(lambda part: job.plan(part, prices, local[part.number], labels))
    total = np.sum([answer["used"] for answer in made], axis=0)
    return StreamedPlan(
        files=tuple(out / answer["file"] for answer in made),
        prices=prices,
        value=float(np.sum([answer["value"] for answer in made])),
        upper_bound=bound,
        usage=tuple(
            LimitUse(item.label, not is_budget, float(item.limit), float(units), abs(float(price)))
            for item, is_budget, units, price in zip(sample.limits, budget, total, prices, strict=True)
        ),
        n_users=n_users,
        n_silent=sum(int(answer["silent"]) for answer in made),
        n_messages=sum(int(answer["messages"]) for answer in made),
        passes=passes,
    )


@dataclass(frozen=True)
class _Job:
    """What is asked of a part; answers are small, and kept in files."""

    file: ProblemFile
    out: Path
    fraction: float
    threads: int
    stamp: str

    def look(self, part: Part) -> dict[str, Any]:
        """How many users there are, the labels of text columns, and a sample of users as a file."""
        return self._kept("look", part, b"", lambda: self._look(part))

    def _look(self, part: Part) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        table = self._read(part)
        offsets, _ = users_of(table[self.file.columns.user])
        texts = [
            name
            for name in (*self.file.columns.codes, *self.file.columns.segments)
            if not pa.types.is_integer(table[name].type)
        ]
        rng = np.random.default_rng([self.file.seed, part.number])
        n = len(offsets) - 1
        chosen = np.flatnonzero(rng.random(n) < self.fraction) if self.fraction < 1 else np.arange(n)
        lengths = np.diff(offsets)[chosen]
        ends = np.cumsum(lengths)
        rows = np.repeat(offsets[chosen] - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        name = f"state/sample-{part.number:05d}.parquet"
        (self.out / "state").mkdir(exist_ok=True)
        pq.write_table(table.take(pa.array(rows)), self.out / name)
        labels = {text: pc.unique(table[text].cast(pa.string())).to_pylist() for text in texts}
        return {"users": n, "labels": labels, "file": name}

    def demand(self, part: Part, prices: FloatArray, labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """What the part's users would use at the prices, and Σ of what that is worth after prices."""

        def work() -> dict[str, Any]:
            bound, used = demand_of(self.file.problem_of(self._read(part), labels), prices, self.threads)
            return {"bound": bound, "used": used.tolist()}

        return self._kept("demand", part, prices.tobytes(), work)

    def plan(
        self, part: Part, prices: FloatArray, local: FloatArray, labels: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        """Plan within the part's own limits, and write it."""

        def work() -> dict[str, Any]:
            problem = _within(self.file.problem_of(self._read(part), labels), local)
            try:
                plan: Plan = solve(problem, threads=self.threads)
            except InfeasibleFloorsError as error:  # a part's share is: other shares may not be
                raise UnmetFloorsError(error.plan) from error
            name = f"plan-{part.number:05d}.parquet"
            write_plan(problem, plan, self.out / name)
            return {
                "file": name,
                "value": plan.value,
                "used": [item.used for item in plan.usage],
                "silent": plan.n_silent,
                "messages": len(plan.chosen),
            }

        return self._kept("plan", part, prices.tobytes() + local.tobytes(), work)

    def _read(self, part: Part) -> Any:
        return part.read(self.file.columns.user, self.file.columns.wanted)

    def _kept(self, name: str, part: Part, key: bytes, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer from its file, where the same was asked before."""
        digest = hashlib.sha256(self.stamp.encode() + key).hexdigest()[:16]
        path = self.out / "state" / f"{name}-{part.number:05d}-{digest}.json"
        if path.is_file():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if "file" not in kept or (self.out / kept["file"]).is_file():
                return kept
        answer = work()
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(answer), encoding="utf-8")
        temporary.replace(path)
        return answer


def _within(problem: PlanningProblem, limits: FloatArray) -> PlanningProblem:
    """The same candidates within other limits."""
    b = len(problem.budgets)
    return replace(
        problem,
        user=problem.user if isinstance(problem.user, UserOffsets) else UserOffsets(problem.offsets),
        budgets=tuple(replace(item, limit=float(x)) for item, x in zip(problem.budgets, limits[:b], strict=True)),
        floors=tuple(replace(item, limit=float(x)) for item, x in zip(problem.floors, limits[b:], strict=True)),
    )


def _counted(problem: PlanningProblem) -> NDArray[np.bool_]:
    """Which limits count messages, so that whole numbers are enough."""
    return np.array([item.cost is None for item in problem.limits], dtype=np.bool_)


def _labels(found: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    names = sorted({name for one in found for name in one})
    return {name: tuple(sorted({text for one in found for text in one.get(name, ())})) for name in names}


def _tables(files: Sequence[Path]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive").combine_chunks()


def _stamp(file: ProblemFile, parts: Sequence[Part], sample_rows: int) -> str:
    """What must be the same for an answer to hold: the problem, the files, the parts."""
    files = sorted({where for part in parts for where, _ in part.groups})
    state = [(name, found.st_size, found.st_mtime_ns) for name in files for found in [Path(name).stat()]]
    text = json.dumps([file.model_dump(mode="json"), state, [asdict(part) for part in parts], sample_rows])
    return hashlib.sha256(text.encode()).hexdigest()


def _joined(one: dict[int, T], other: dict[int, T]) -> dict[int, T]:
    return one | other


def _same(piece: T) -> T:
    return piece
