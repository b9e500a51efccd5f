"""A plan and its report as files, from a problem's file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.planning.plan import Plan
from homing.planning.plan_report import PlanReport, report
from homing.planning.prices_file import load_prices, save_prices
from homing.planning.problem import PlanningProblem, UserOffsets
from homing.planning.problem_file import ProblemFile
from homing.planning.publishing import publish
from homing.planning.solver import solve

PLAN, PRICES, PAGE, NUMBERS = "plan.parquet", "prices.json", "report.html", "report.json"


def plan_from_file(
    path: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    warm_start: str | Path | None = None,
    threads: int = 0,
) -> PlanReport:
    """Plan what a YAML file asks for, and write what comes of it into a folder.

    Files: `plan.parquet` (who gets what), `prices.json` (for the online service), `report.html` and `report.json`.

    Args:
        path: of the problem; see `ProblemFile`.
        out: the folder; made if missing.
        data: folder that the candidates' path is relative to; the file's own when None.
        warm_start: prices that an earlier plan of the same limits wrote.
        threads: that pass over candidates; 0 for one a core.

    Raises:
        InvalidInputError, UnknownNameError: if the file or a candidate breaks a bound.
        UnmetFloorsError: if floors are not met (InfeasibleFloorsError where that is proven impossible).
    """
    path, out = Path(path), Path(out)
    file = ProblemFile.from_yaml(path)
    problem = file.problem(path.parent if data is None else data)
    plan = solve(problem, warm_start=_begin(problem, warm_start), seed=file.seed, threads=threads)
    found = report(problem, plan, sweeps=None if file.sweep is None else [file.sweep])
    prices = publish(
        problem,
        plan,
        start=file.start,
        hours=file.horizon.hours,
        traffic=file.horizon.traffic,
        requests=file.horizon.requests,
        amounts=file.horizon.amounts,
        policy=file.horizon.policy,
        source={"problem": path.name, "value": plan.value, "upper_bound": plan.upper_bound, "users": plan.n_users},
        seed=file.seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_plan(problem, plan, out / PLAN)
    save_prices(prices, out / PRICES)
    _write(out / NUMBERS, json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n")
    _write(out / PAGE, found.to_html(title=f"Plan: {path.stem}"))
    return found


def write_plan(problem: PlanningProblem, plan: Plan, path: Path, *, first: int = 0) -> None:
    """Who gets what: a row a message, with its user, its row among the candidates, its value and its codes.

    Where the problem is a part, `first` candidates stand before it.
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
        columns[name] = np.array(labels, dtype=object)[chosen] if labels else chosen
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns), temporary, write_page_checksum=True)
    temporary.replace(path)


def _begin(problem: PlanningProblem, path: str | Path | None) -> NDArray[np.float64] | None:
    """Prices to begin with: those of an earlier plan, by the limits' names; 0 for a new limit."""
    if path is None:
        return None
    known = {item.name: item.signed for item in load_prices(path).budgets}
    labels = [limit.label for limit in problem.limits]
    if not set(labels) & set(known):
        bound = f"must price some of {labels}"
        raise InvalidInputError(describe(f"budgets of {path}", sorted(known), bound, "Name prices of the same limits."))
    return np.array([known.get(label, 0.0) for label in labels])


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
