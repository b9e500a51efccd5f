"""A plan and its report as files, from a problem's file: in one piece, or part by part where there are many rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of
from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe, unknown_name
from homing.planning.history import read_history
from homing.planning.limits import Limit
from homing.planning.parts import PLAN, check_places, parts_of, remove_parts
from homing.planning.plan import Plan
from homing.planning.plan_report import PlanReport, report
from homing.planning.priced_budget import KEYS, PricedBudget
from homing.planning.prices import Prices
from homing.planning.prices_file import load_prices, save_prices
from homing.planning.problem import PlanningProblem, UserOffsets
from homing.planning.problem_file import ProblemFile
from homing.planning.publishing import check_hours, publish
from homing.planning.returns import DaysAlikeError, Returns, estimate_returns
from homing.planning.solver import solve

if TYPE_CHECKING:
    from homing.planning.streaming import StreamedPlan

#: Candidates up to which a problem is planned in one piece, if its file does not say: some 3 GB.
WHOLE, PART_ROWS = 50_000_000, 5_000_000
PRICES, PAGE, NUMBERS = "prices.json", "report.html", "report.json"


def plan_from_file(
    path: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    warm_start: str | Path | None = None,
    engine: str | Engine = "process",
    threads: int = 0,
) -> PlanReport:
    """Plan what a YAML file asks for, and write what comes of it into a folder.

    Files: `plan.parquet` (who gets what), `prices.json` (for the online service; none with priorities), `report.html`
    and `report.json`. More than 50 million candidates, or what `part_rows` in the file says, are planned part by part
    (see `solve_parquet`): `plan-00000.parquet` and so on, and a run that was killed goes on when it is called again.

    Args:
        path: of the problem; see `ProblemFile`.
        out: the folder; made if missing.
        data: folder that the paths of candidates and of the history are relative to; the file's own when None.
        warm_start: prices that an earlier plan of the same limits wrote.
        engine: where parts are planned, `process` or `ray`.
        threads: that pass over candidates; 0 for one a core.

    Raises:
        InvalidInputError, UnknownNameError: if the file or a candidate breaks a bound.
        UnmetFloorsError: if floors are not met (InfeasibleFloorsError where that is proven impossible).
    """
    path, out, engine = Path(path), Path(out), get_engine(engine)
    file = ProblemFile.from_yaml(path)
    folder = path.parent if data is None else Path(data)
    check_places(folder / file.candidates, out)
    _check_names(file)
    begin = _begin(file.limits, warm_start)
    past = _past(file, folder)
    rows = file.part_rows
    if rows is None and (file.policy or file.priorities):
        rows = 0
    elif rows is None:
        count = parts_of(folder / file.candidates, file.columns.wanted, PART_ROWS)[1]
        rows = PART_ROWS if count > WHOLE else 0
    out.mkdir(parents=True, exist_ok=True)
    if rows:
        from homing.planning.streaming import solve_parquet

        parted = solve_parquet(path, out, data=data, engine=engine, part_rows=rows, warm_start=begin, threads=threads)
        (out / PLAN).unlink(missing_ok=True)
        return _written(file, path, out, parted.sample, parted, past)
    table = file.table(folder)
    problem = file.problem_of(table)
    plan = solve(problem, warm_start=begin, seed=file.seed, threads=threads)
    write_plan(problem, plan, out / PLAN, beside=table.select(file.columns.keep))
    remove_parts(out)  # of an earlier run
    return _written(file, path, out, problem, plan, past)


@dataclass(frozen=True)
class _Past:
    """What past days say of the one planned for."""

    traffic: Sequence[float]
    returns: Returns | None


def _past(file: ProblemFile, folder: Path) -> _Past:
    given = file.horizon.traffic
    if file.horizon.history is None:
        return _Past((1.0,) if given is None else given, None)
    counts = read_history(folder / file.horizon.history, start=file.start, hours=file.horizon.hours)
    try:
        found = estimate_returns(counts)
    except DaysAlikeError:  # then what is believed of others matters little
        found = None
    return _Past(counts.mean(axis=0).tolist() if given is None else given, found)


def _written(
    file: ProblemFile, path: Path, out: Path, problem: PlanningProblem, plan: Plan | StreamedPlan, past: _Past
) -> PlanReport:
    """The report, and with the prices as files."""
    found = report(problem, plan, sweeps=None if file.sweep is None else [file.sweep])
    if not problem.priorities:
        found = replace(found, returns=past.returns)
    if problem.priorities:  # which no price keeps
        (out / PRICES).unlink(missing_ok=True)
    else:
        prices = publish(
            problem,
            plan,
            start=file.start,
            hours=file.horizon.hours,
            traffic=past.traffic,
            requests=file.horizon.requests,
            returns=None if past.returns is None else past.returns.believed,
            amounts=file.horizon.amounts,
            policy=file.horizon.policy,
            source={
                "problem": path.name,
                "value": plan.value,
                "upper_bound": plan.upper_bound,
                "users": plan.n_users,
                **({} if past.returns is None else {"returns": past.returns.to_dict()}),
            },
            seed=file.seed,
        )
        save_prices(prices, out / PRICES)
    _write(out / NUMBERS, json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n")
    _write(out / PAGE, found.to_html(title=f"Plan: {path.stem}"))
    return found


def write_plan(problem: PlanningProblem, plan: Plan, path: Path, *, beside: Any = None, first: int = 0) -> None:
    """Who gets what: a row a message, with its user, its row among the candidates, its value and its codes.

    Columns of the candidates in `beside` (an Arrow table) are shown, too; one whose name is taken as `kept.NAME`. Where
    the problem is a part, `first` candidates stand before it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    user = problem.user_of(plan.chosen)
    ids = problem.user.ids if isinstance(problem.user, UserOffsets) else np.asarray(problem.user)[problem.offsets[:-1]]
    columns: dict[str, Any] = {
        "user": user if ids is None else ids[user],
        "candidate": plan.chosen + first,
        "value": problem.value[plan.chosen],
    }
    for name, column in problem.codes.items():
        labels = problem.names.get(name)
        chosen = column[plan.chosen]
        columns[_free(name, "code", columns)] = np.array(labels, dtype=object)[chosen] if labels else chosen
    for name in [] if beside is None else beside.column_names:
        if name not in problem.codes:
            columns[_free(name, "kept", columns)] = beside[name].take(pa.array(plan.chosen))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns), temporary, write_page_checksum=True)
    temporary.replace(path)


def _free(name: str, kind: str, taken: Mapping[str, Any]) -> str:
    return f"{kind}.{name}" if name in taken else name


def _check_names(file: ProblemFile) -> None:
    """Refuse, before anything is planned, what the report or the prices could not be made of."""
    labels = [limit.label for limit in file.limits]
    if file.sweep is not None and file.sweep not in labels:
        raise unknown_name("limit to sweep", file.sweep, labels)
    if file.priorities:  # no prices
        return
    for limit in file.limits:
        for column in limit.where:
            if column in file.columns.codes:
                step = "Name code columns as requests do, or plan for it with a segment."
                check_one_of(f"column of limit {limit.label!r}", column, KEYS, next_step=step)
                if column == "hour":
                    codes = limit.where[column]
                    check_hours(limit, map(str, [codes] if isinstance(codes, int | str) else codes))
    amounts = file.horizon.amounts
    for cost in amounts:
        check_one_of("amounts of the horizon", cost, file.columns.costs)
    budgets = [
        PricedBudget(
            limit.label, limit.limit, 0.0, amount=limit.cost and amounts.get(limit.cost, f"feature.{limit.cost}")
        )
        for limit in file.limits
    ]
    Prices(tuple(budgets), start=file.start, hours=file.horizon.hours, traffic=tuple(file.horizon.traffic or (1.0,)))


def _begin(limits: Sequence[Limit], path: str | Path | None) -> NDArray[np.float64] | None:
    """Prices to begin with: those of an earlier plan, by the limits' names; 0 for a new limit."""
    if path is None:
        return None
    known = {item.name: item.signed for item in load_prices(path).budgets}
    labels = [limit.label for limit in limits]
    if not set(labels) & set(known):
        bound = f"must price some of {labels}"
        raise InvalidInputError(describe(f"budgets of {path}", sorted(known), bound, "Name prices of the same limits."))
    return np.array([known.get(label, 0.0) for label in labels])


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
