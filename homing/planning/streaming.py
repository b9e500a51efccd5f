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
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe
from homing.planning.answers import Answers, within
from homing.planning.demand import demand_of
from homing.planning.parts import Part, check_places, parts_of, remove_parts
from homing.planning.plan import LimitUse, UnmetFloorsError
from homing.planning.problem import PlanningProblem
from homing.planning.problem_file import ProblemFile
from homing.planning.repeats import check_once, overlap
from homing.planning.sharing import shared
from homing.planning.solver import dual_prices
from homing.planning.tables import joined
from homing.planning.unaffordable import affordable

FloatArray = NDArray[np.float64]
T = TypeVar("T")
logger = logging.getLogger(__name__)
#: Looks at all parts, at most, until what does not fit the limits is worth no more than this share of the bound.
PASSES, CLOSE = 4, 1e-3


@dataclass(frozen=True, eq=False)
class StreamedPlan:
    """A plan whose rows are in files, with its certificate; see `Plan`.

    Attributes:
        files: who gets what, part by part.
        prices: (limits,), signed as in `Plan`.
        value, upper_bound: over all parts.
        usage: each limit's use and price.
        n_users, n_silent, n_messages, n_repaired: over all parts.
        passes: how often all parts were asked for their use.
        sample: the problem of some users, with the limits of all: what `publish` and `report` take with this plan.
    """

    files: tuple[Path, ...]
    prices: FloatArray
    value: float
    upper_bound: float
    usage: tuple[LimitUse, ...]
    n_users: int
    n_silent: int
    n_messages: int
    n_repaired: int
    passes: int
    sample: PlanningProblem = field(repr=False)

    @property
    def gap(self) -> float:
        """The most that is lost, as a share of the upper bound."""
        return max(0.0, self.upper_bound - self.value) / abs(self.upper_bound) if self.upper_bound else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The certificate, as JSON types."""
        numbers = ("value", "upper_bound", "gap", "n_users", "n_silent", "n_messages", "n_repaired", "passes")
        return {
            **{name: getattr(self, name) for name in numbers},
            "files": [str(file) for file in self.files],
            "limits": [item.to_dict() for item in self.usage],
        }

    def __str__(self) -> str:
        lines = [
            f"value {self.value:.6g}, at most {self.upper_bound:.6g} possible (gap {self.gap:.1e})",
            f"{self.n_messages:,} messages to {self.n_users - self.n_silent:,} of {self.n_users:,} users, in "
            f"{len(self.files):,} files",
        ]
        return "\n".join([*lines, *map(str, self.usage)])


def solve_parquet(
    path: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    engine: str | Engine = "process",
    part_rows: int = 5_000_000,
    sample_rows: int = 2_000_000,
    warm_start: NDArray[np.float64] | None = None,
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
        warm_start: prices of an earlier plan, one for each limit: where the sample's search begins.
        threads: of each part's passes; 0 for one a core.

    Raises:
        InvalidInputError, UnknownNameError: if the file or a row breaks a bound.
        UnmetFloorsError: if all parts together do not meet a floor.
    """
    path, out = Path(path), Path(out)
    file = ProblemFile.from_yaml(path)
    for key, given in (("priorities", file.priorities), ("policy", file.policy)):
        if given:
            rule = "must be none where candidates are planned part by part"
            raise InvalidInputError(describe(key, given, rule, "Plan in one piece: part_rows: 0."))
    folder = path.parent if data is None else Path(data)
    check_places(folder / file.candidates, out)
    parts, rows = parts_of(folder / file.candidates, file.columns.wanted, part_rows)
    out.mkdir(parents=True, exist_ok=True)
    job = Answers(file, out, len(parts), min(1.0, sample_rows / rows), threads, _stamp(file, parts, sample_rows))
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
    if overlap(looks):
        check_once([out / answer["file"] for answer in ask(job.users)])
    labels = _labels([look["labels"] for look in looks])
    try:
        sample = file.problem_of(_tables([out / look["file"] for look in looks]), labels)
    except InvalidInputError:
        ask(lambda part: job.check(part, labels))  # which says where
        raise
    n_users = sum(int(look["users"]) for look in looks)
    share = sample.n_users / max(1, n_users)
    logger.info(
        "%d candidates of %d users in %d parts, %d users in the sample", rows, n_users, len(parts), sample.n_users
    )
    limit = np.array([item.limit for item in sample.limits], dtype=np.float64)
    budget = np.arange(len(limit)) < len(sample.budgets)
    # Where a sample's floors cannot be met, prices that come nearest: in the whole they may be.
    few = affordable(sample)
    prices = dual_prices(within(few, limit * share), warm_start=warm_start, threads=threads)
    best: tuple[float, FloatArray, list[dict[str, Any]]] | None = None
    for passes in range(1, PASSES + 1):
        answers = ask(lambda part, p=prices: job.demand(part, p, labels))  # type: ignore[misc]
        used = np.sum([answer["used"] for answer in answers], axis=0)
        bound = float(np.sum([answer["bound"] for answer in answers])) + float(prices @ limit)
        if best is None or bound < best[0]:
            best = (bound, prices, answers)
        misfit = _misfit(prices, used, limit, budget, bound)
        logger.info("pass %d: at most %.8g possible, use is off by %.1e of that", passes, bound, misfit)
        if misfit <= CLOSE or len(parts) == 1 or passes == PASSES:
            break
        here = demand_of(few, prices, threads)[1]
        target = np.maximum(here + share * (limit - used), 0.0)
        prices = dual_prices(within(few, target), warm_start=prices, threads=threads)
    assert best is not None
    bound, prices, answers = best
    local = shared(np.array([answer["used"] for answer in answers]), limit, budget, _counted(sample))
    first = np.concatenate([[0], np.cumsum([int(look["rows"]) for look in looks])]).tolist()
    made = ask(lambda part: job.plan(part, first[part.number], prices, local[part.number], labels))
    if not all(job.holds(answer) for answer in (*looks, *made)):
        step = "Give each problem a folder of its own."
        raise InvalidInputError(describe("folder", str(out), "was written to by another run meanwhile", step))
    total = np.sum([answer["used"] for answer in made], axis=0)
    files = tuple(out / answer["file"] for answer in made)
    remove_parts(out, but=files)  # of an earlier run in more parts
    plan = StreamedPlan(
        files=files,
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
        n_repaired=sum(int(answer["repaired"]) for answer in made),
        passes=passes,
        sample=sample,
    )
    if any(item.missing > 0 for item in plan.usage):
        remove_parts(out)
        raise UnmetFloorsError(plan)
    return plan


def _misfit(prices: FloatArray, used: FloatArray, limit: FloatArray, budget: NDArray[np.bool_], bound: float) -> float:
    """What use that does not fit is worth, as a share of the bound.

    Units too many or too few count at their price, or at the mean value of a unit where there is none yet. The bound
    lies above the least one by about this share times the prices' own relative error: by its square, roughly.
    """
    off = np.where(prices != 0, np.abs(used - limit), np.maximum(np.where(budget, used - limit, limit - used), 0.0))
    unit = np.where(prices != 0, np.abs(prices), abs(bound) / np.maximum(used, 1.0))
    return float(off @ unit) / abs(bound) if bound else float(off.any())


def _counted(problem: PlanningProblem) -> NDArray[np.bool_]:
    """Which limits count messages, so that whole numbers are enough."""
    return np.array([item.cost is None for item in problem.limits], dtype=np.bool_)


def _labels(found: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    names = sorted({name for one in found for name in one})
    return {name: tuple(sorted({text for one in found for text in one.get(name, ())})) for name in names}


def _tables(files: Sequence[Path]) -> Any:
    import pyarrow.parquet as pq

    return joined([pq.read_table(file) for file in files]).combine_chunks()


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
