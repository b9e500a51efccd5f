"""From a plan to the prices that serve: what the plan's problem calls things, in the words of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.checks import check_one_of, check_positive
from homing.errors import InvalidInputError, describe
from homing.planning.layout import FloatArray, lay_out
from homing.planning.limits import Limit
from homing.planning.plan import Plan
from homing.planning.priced_budget import KEYS, PricedBudget
from homing.planning.prices import Prices
from homing.planning.problem import PlanningProblem, UserOffsets, derived
from homing.planning.serving import use_at
from homing.planning.solver import dual_prices

if TYPE_CHECKING:
    from homing.planning.streaming import StreamedPlan

#: Traffic that prices are planned for, as factors of the forecast: in steps of a tenth, from half to double.
FACTORS = tuple(2.0 ** (step / 7) for step in range(-7, 8))
#: Values are spread by so much of a typical one before prices are looked for.
SMOOTHING = 0.02
#: Elasticities are measured by a price that is so much higher and lower, and kept within these bounds.
_STEP, _LEAST, _MOST = 0.05, 0.3, 3.0
#: What a request may say of its hour.
_HOURS = frozenset(str(hour) for hour in range(24))


def publish(
    problem: PlanningProblem,
    plan: Plan | StreamedPlan,
    *,
    start: datetime,
    hours: float = 24.0,
    traffic: Sequence[float] = (1.0,),
    requests: float | None = None,
    returns: float | None = None,
    amounts: Mapping[str, str] | None = None,
    policy: str | None = None,
    source: Mapping[str, Any] | None = None,
    sample: int = 20_000,
    seed: int = 0,
) -> Prices:
    """The prices of a plan, as the online service uses them.

    Where many candidates share one value, the plan's prices are a corner of many that fit it equally well, and lie
    exactly where thousands of candidates are as good as silence: which of them a small change sends is left to chance.
    Prices that serve are therefore those of values which differ by a little (±1 % of a typical value, drawn at random;
    what that costs falls with its square): there is one set of them, and use changes gradually with each (Berthet et
    al. 2020, "Learning with Differentiable Perturbed Optimizers", NeurIPS, section 2).

    Beside these it brings the prices of the same budgets under other traffic (`FACTORS`), and how strongly the use of
    each budget answers to its price, both measured on a sample of the problem's users.

    Args:
        problem: what was planned for, or `StreamedPlan.sample`. Code columns are named as in a request (`channel`,
            `campaign`, `domain`, `hour` …), segments become `context.NAME`, codes their `names`.
        plan: its plan.
        start: when the horizon begins, UTC.
        hours: how long it is.
        traffic: shape of the day: how many requests are expected in each of equally long parts of the horizon, in any
            unit.
        requests: expected in all; one for each user when None.
        returns: chance that requests which are missing, or came early, are made up for later in the horizon, from
            `estimate_returns(…).believed`; None where nobody knows.
        amounts: cost column → where a request has it, `feature.NAME` (the column's own name when left out) or
            `objective.NAME`.
        policy: digest of the policy artifact whose scores were the values.
        source: how they were made, for people.
        sample: users on which sensitivity is measured.
        seed: of the sample, and of what values are spread by.

    Raises:
        InvalidInputError: if the problem has priorities, which no price keeps.
        UnknownNameError: if a limit counts a column that no request has.

    Example:
        >>> from datetime import UTC
        >>> from homing.planning import Budget, solve
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
    scale = max(plan.value / max(1, plan.n_messages), float(np.finfo(np.float32).tiny))
    rng = np.random.default_rng(seed)
    spread = _spread(problem, SMOOTHING * scale, rng)
    signed = dual_prices(_share(spread, plan.n_users))
    if problem.n_users != plan.n_users:
        # What a sample says of prices is off by its noise, the same one with values as they are.
        signed = plan.prices + signed - dual_prices(_share(problem, plan.n_users))
    schedule, elasticity = _sensitivity(sampled(spread, sample, rng, of=plan.n_users), signed)
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
        for limit, price, use, kappa in zip(problem.limits, signed, plan.usage, elasticity, strict=True)
    )
    return Prices(
        budgets,
        start=start,
        hours=hours,
        traffic=tuple((np.array(traffic) * (total / np.sum(traffic))).tolist()),
        value_scale=scale,
        schedule=schedule,
        policy=policy,
        source=dict(source or {}),
        returns=returns,
    )


def sampled(problem: PlanningProblem, users: int, rng: np.random.Generator, *, of: int) -> PlanningProblem:
    """The problem of some of its users, drawn evenly, with their share of limits that are those of `of` users."""
    if users >= problem.n_users:
        return problem if of == problem.n_users else scaled(problem, problem.n_users / max(1, of))
    chosen = np.sort(rng.choice(problem.n_users, users, replace=False))
    lengths = np.diff(problem.offsets)[chosen]
    first = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(problem.offsets[chosen] - first[:-1], lengths) + np.arange(first[-1])
    return derived(
        scaled(problem, users / of),
        user=UserOffsets(first),
        value=problem.value[rows],
        codes={name: column[rows] for name, column in problem.codes.items()},
        costs={name: column[rows] for name, column in problem.costs.items()},
        segments={name: column[chosen] for name, column in problem.segments.items()},
    )


def scaled(problem: PlanningProblem, factor: float) -> PlanningProblem:
    """The same candidates with limits times a factor."""
    return derived(
        problem,
        budgets=tuple(replace(item, limit=item.limit * factor) for item in problem.budgets),
        floors=tuple(replace(item, limit=item.limit * factor) for item in problem.floors),
    )


def _share(problem: PlanningProblem, of: int) -> PlanningProblem:
    """The problem with its users' share of limits that are those of `of` users."""
    return problem if problem.n_users == of else scaled(problem, problem.n_users / max(1, of))


def _spread(problem: PlanningProblem, width: float, rng: np.random.Generator) -> PlanningProblem:
    """The same candidates, each worth up to half a width more or less."""
    noise = rng.random(problem.n_candidates, dtype=np.float32) - np.float32(0.5)
    value = problem.value + np.float32(width) * noise
    return derived(problem, value=value)


def _sensitivity(
    problem: PlanningProblem, signed: FloatArray
) -> tuple[tuple[tuple[float, tuple[float, ...]], ...], FloatArray]:
    """Prices (b,) >= 0 by traffic factor, and each limit's elasticity (b,).

    Args:
        problem: some users, with their share of the limits.
        signed: (b,), the prices of all.
    """
    signs, here = _signs(problem), dual_prices(problem, threads=1)
    schedule = []
    for factor in FACTORS:
        # The sample's noise is the same at every factor: only the difference is used.
        moved = signed + dual_prices(scaled(problem, 1.0 / factor), threads=1) - here
        schedule.append((factor, tuple(np.abs(np.where(np.sign(moved) * signs >= 0, moved, 0.0)).tolist())))
    layout = lay_out(problem)
    elasticity = np.ones(len(here))
    for b in np.flatnonzero(signed):
        used = [use_at(layout, np.where(np.arange(len(here)) == b, signed * (1 + s), signed))[b]
                for s in (-_STEP, _STEP)]  # fmt: skip
        if min(used) > 0:
            elasticity[b] = np.log(used[0] / used[1]) / np.log((1 + _STEP) / (1 - _STEP))
    return tuple(schedule), np.clip(np.where(signs < 0, -elasticity, elasticity), _LEAST, _MOST)


def _signs(problem: PlanningProblem) -> FloatArray:
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
        if key == "hour":
            check_hours(limit, out[key])
    return out


def check_hours(limit: Limit, hours: Iterable[str]) -> None:
    """Refuse a limit on hours that no request has: it would never be counted."""
    if odd := sorted(set(hours) - _HOURS):
        bound = "must be in '0' … '23': requests tell the hour of the day (UTC)"
        step = "Prices are for limits on those; `solve` in Python plans without prices."
        raise InvalidInputError(describe(f"hour of limit {limit.label!r}", odd[0], bound, step))
