"""From a plan to the prices that serve: what the plan's problem calls things, in the words of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of, check_positive
from homing.errors import InvalidInputError, describe
from homing.planning.layout import lay_out
from homing.planning.limits import Limit
from homing.planning.plan import Plan, UnmetFloorsError
from homing.planning.priced_budget import KEYS, PricedBudget
from homing.planning.prices import Prices
from homing.planning.problem import PlanningProblem, UserOffsets
from homing.planning.serving import use_at
from homing.planning.solver import solve

if TYPE_CHECKING:
    from homing.planning.streaming import StreamedPlan

#: Traffic that prices are planned for beside the forecast, as factors of it.
FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
#: Elasticities are measured by a price that is so much higher and lower, and kept within these bounds.
_STEP, _LEAST, _MOST = 0.05, 0.3, 3.0


def publish(
    problem: PlanningProblem,
    plan: Plan | StreamedPlan,
    *,
    start: datetime,
    hours: float = 24.0,
    traffic: Sequence[float] = (1.0,),
    requests: float | None = None,
    amounts: Mapping[str, str] | None = None,
    policy: str | None = None,
    source: Mapping[str, Any] | None = None,
    sample: int = 20_000,
    seed: int = 0,
) -> Prices:
    """The prices of a plan, as the online service uses them.

    Beside the plan's own prices it brings those of the same budgets under other traffic (`FACTORS`), and how strongly
    the use of each budget answers to its price, both measured on a sample of the problem's users.

    Args:
        problem: what was planned for, or `StreamedPlan.sample`. Code columns are named as in a request (`channel`,
            `campaign`, `domain`, `hour` …), segments become `context.NAME`, codes their `names`.
        plan: its plan.
        start: when the horizon begins, UTC.
        hours: how long it is.
        traffic: shape of the day: how many requests are expected in each of equally long parts of the horizon, in any
            unit.
        requests: expected in all; one for each user when None.
        amounts: cost column → where a request has it, `feature.NAME` (the column's own name when left out) or
            `objective.NAME`.
        policy: digest of the policy artifact whose scores were the values.
        source: how they were made, for people.
        sample: users on which sensitivity is measured.
        seed: of the sample.

    Raises:
        InvalidInputError: if the problem has priorities, which no price keeps.
        UnknownNameError: if a limit counts a column that no request has.

    Example:
        >>> from datetime import UTC
        >>> from homing.planning import Budget
        >>> problem = PlanningProblem(user=[0, 1, 2], value=[3.0, 2.0, 1.0], codes={"channel": [0, 0, 0]},
        ...                           budgets=[Budget(1, {"channel": "push"})], names={"channel": ["push"]})
        >>> prices = publish(problem, solve(problem), start=datetime(2026, 11, 23, tzinfo=UTC))
        >>> prices.budgets[0].name, dict(prices.budgets[0].counts), 2.0 <= prices.budgets[0].price <= 3.0
        ('channel=push', {'channel': 'push'}, True)
    """
    if problem.priorities:
        bound = "cannot be kept by prices, which weigh candidates of all classes against each other"
        step = "Send what the plan says, or plan without priorities, with floors say."
        raise InvalidInputError(describe("priorities", list(problem.priorities), bound, step))
    total = check_positive("requests", max(1, plan.n_users) if requests is None else requests)
    check_positive("sum of traffic", float(np.sum(traffic)))
    some = sampled(problem, sample, np.random.default_rng(seed), of=plan.n_users)
    schedule, elasticity = _sensitivity(some, plan)
    budgets = tuple(
        PricedBudget(
            name=limit.label,
            limit=float(limit.limit),
            price=abs(float(price)),
            counts=_counts(problem, limit),
            amount=None if limit.cost is None else (amounts or {}).get(limit.cost, f"feature.{limit.cost}"),
            floor=use.floor,
            planned=use.used,
            elasticity=float(kappa),
        )
        for limit, price, use, kappa in zip(problem.limits, plan.prices, plan.usage, elasticity, strict=True)
    )
    return Prices(
        budgets,
        start=start,
        hours=hours,
        traffic=tuple((np.array(traffic) * (total / np.sum(traffic))).tolist()),
        value_scale=max(plan.value / max(1, plan.n_messages), float(np.finfo(np.float32).tiny)),
        schedule=schedule,
        policy=policy,
        source=dict(source or {}),
    )


def sampled(problem: PlanningProblem, users: int, rng: np.random.Generator, *, of: int) -> PlanningProblem:
    """The problem of some of its users, drawn evenly, with their share of limits that are those of `of` users."""
    if users >= problem.n_users:
        return problem if of == problem.n_users else scaled(problem, problem.n_users / max(1, of))
    chosen = np.sort(rng.choice(problem.n_users, users, replace=False))
    lengths = np.diff(problem.offsets)[chosen]
    first = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(problem.offsets[chosen] - first[:-1], lengths) + np.arange(first[-1])
    return replace(
        scaled(problem, users / of),
        user=UserOffsets(first),
        value=problem.value[rows],
        codes={name: column[rows] for name, column in problem.codes.items()},
        costs={name: column[rows] for name, column in problem.costs.items()},
        segments={name: column[chosen] for name, column in problem.segments.items()},
    )


def scaled(problem: PlanningProblem, factor: float) -> PlanningProblem:
    """The same candidates with limits times a factor."""
    return replace(
        problem,
        user=UserOffsets(problem.offsets),
        budgets=tuple(replace(item, limit=item.limit * factor) for item in problem.budgets),
        floors=tuple(replace(item, limit=item.limit * factor) for item in problem.floors),
    )


def _sensitivity(
    problem: PlanningProblem, plan: Plan | StreamedPlan
) -> tuple[tuple[tuple[float, tuple[float, ...]], ...], NDArray[np.float64]]:
    """Prices (b,) >= 0 by traffic factor, and each limit's elasticity (b,)."""
    here = _prices(problem)
    schedule = []
    for factor in FACTORS:
        # What a sample says of prices is off by its noise, the same one at every factor: only the difference is used.
        moved = plan.prices + _prices(scaled(problem, 1.0 / factor)) - here
        schedule.append((factor, tuple(np.abs(np.where(np.sign(moved) * _signs(problem) >= 0, moved, 0.0)).tolist())))
    layout = lay_out(problem)
    elasticity = np.ones(len(here))
    for b in np.flatnonzero(plan.prices):
        used = [use_at(layout, np.where(np.arange(len(here)) == b, plan.prices * (1 + s), plan.prices))[b]
                for s in (-_STEP, _STEP)]  # fmt: skip
        if min(used) > 0:
            elasticity[b] = np.log(used[0] / used[1]) / np.log((1 + _STEP) / (1 - _STEP))
    return tuple(schedule), np.clip(np.where(_signs(problem) < 0, -elasticity, elasticity), _LEAST, _MOST)


def _prices(problem: PlanningProblem) -> NDArray[np.float64]:
    # Not from the plan's prices: those of half or twice the traffic lie far from them.
    try:
        return solve(problem, threads=1).prices
    except UnmetFloorsError as error:
        return error.plan.prices


def _signs(problem: PlanningProblem) -> NDArray[np.float64]:
    return np.where(np.arange(len(problem.limits)) < len(problem.budgets), 1.0, -1.0)


def _counts(problem: PlanningProblem, limit: Limit) -> dict[str, tuple[str, ...]]:
    """What a limit selects, in the words of a request."""
    out = {}
    for column, codes in problem.selected(limit).items():
        if column in problem.segments:
            key = f"context.{column}"
        else:
            step = "Name code columns as requests do, or plan for it with a segment."
            key = check_one_of(f"column of limit {limit.label!r}", column, KEYS, next_step=step)
        labels = problem.names.get(column)
        out[key] = tuple(labels[code] if labels else str(code) for code in codes)
    return out
