"""Plans class by class: against every plan that there is, and in populations too large for that."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.planning import (
    Budget,
    Floor,
    InfeasibleFloorsError,
    PlanningProblem,
    ProblemFile,
    UserOffsets,
    publish,
    report,
    solve,
)
from homing.planning.priorities import ranks


def every_plan(problem):
    """All sets of rows that keep caps, exclusions, hours and limits."""
    options = []
    for u in range(problem.n_users):
        rows = range(problem.offsets[u], problem.offsets[u + 1])
        found = [s for s in product((0, 1), repeat=len(rows)) if sum(s) <= problem.max_per_user]
        for name in problem.exclusive:
            code = problem.codes[name]
            found = [s for s in found if len({code[r] for r, x in zip(rows, s, strict=True) if x}) == sum(s)]
        if problem.min_gap_hours:
            hour = problem.codes["hour"].astype(int)
            found = [
                s for s in found
                if (np.diff(sorted(hour[r] for r, x in zip(rows, s, strict=True) if x)) >= problem.min_gap_hours).all()
            ]  # fmt: skip
        options.append(found)
    matrix = []
    for limit in problem.limits:
        [(name, code)] = limit.where.items()
        units = 1.0 if limit.cost is None else problem.costs[limit.cost].astype(float)
        matrix.append((problem.codes[name] == code) * units)
    low = np.array([x.limit if isinstance(x, Floor) else -np.inf for x in problem.limits])
    high = np.array([np.inf if isinstance(x, Floor) else x.limit for x in problem.limits])
    plans = np.array([np.concatenate(one) for one in product(*options)], dtype=float)
    use = plans @ np.array(matrix).T
    return plans[((use >= low) & (use <= high)).all(axis=1)]


def small(seed, *, cap=1, floors=False, gap=0, exclusive=()):
    rng = np.random.default_rng([seed, cap])
    users, each = (5, 3) if cap == 1 else (3, 4)
    n = users * each
    campaign = rng.integers(0, 3, n)
    return PlanningProblem(
        user=np.repeat(np.arange(users), each),
        value=rng.normal(0.6, 1.0, n).astype(np.float32),
        codes={"campaign": campaign, "channel": rng.integers(0, 2, n), "hour": rng.integers(0, 24, n)},
        costs={"money": rng.random(n).astype(np.float32)},
        budgets=[Budget(2, {"channel": 0}), Budget(1.2, {"channel": 1}, cost="money")],
        floors=[Floor(1, {"campaign": 2})] if floors else [],
        max_per_user=cap, min_gap_hours=gap, exclusive=exclusive,
        priorities=[{"campaign": 1}, {"campaign": 2}],
    )  # fmt: skip


KINDS = {
    "one each": {},
    "with a floor of the second class": {"floors": True},
    "two each": {"cap": 2},
    "three each": {"cap": 3},
    "two each, apart": {"cap": 2, "gap": 5, "exclusive": ("campaign",), "floors": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_class_gives_up_value_for_a_later_one(kind):
    """Each class, given what stands before it, is worth as much as the best of all plans that send that before it."""
    solved = 0
    for seed in range(6):
        problem = small(seed, **KINDS[kind])
        plans = every_plan(problem)
        if not len(plans):
            with pytest.raises(InfeasibleFloorsError):
                solve(problem)
            continue
        plan = solve(problem)
        rank, value = ranks(problem), problem.value.astype(float)
        mine = np.zeros(len(value))
        mine[plan.chosen] = 1.0
        assert (plans == mine).all(axis=1).any(), "the plan keeps every limit"
        for number, item in enumerate(plan.classes):
            own = rank == number
            best = (plans[:, own] @ value[own]).max()
            # A plan in one piece is within 1e-4 of its bound, or chosen by the integer program to 1e-5.
            assert item.value == pytest.approx(float(mine[own] @ value[own]), abs=1e-6)
            assert best - 2e-4 * abs(best) <= item.value <= best + 1e-6, (seed, number)
            assert item.upper_bound >= best - 1e-6
            assert item.messages == mine[own].sum()
            plans = plans[(plans[:, own] == mine[own]).all(axis=1)]
        assert plan.value == pytest.approx(float(mine @ value), abs=1e-6)
        solved += 1
    assert solved >= 3


def population(users=4000, *, cap=1, priorities=({"campaign": 0},), floors=(), seed=0):
    rng = np.random.default_rng(seed)
    n = users * 5
    return PlanningProblem(
        user=UserOffsets(np.arange(0, n + 1, 5)),
        value=(rng.gamma(2.0, 0.5, n) - 0.3).astype(np.float32),
        codes={"campaign": rng.integers(0, 5, n), "channel": rng.integers(0, 2, n)},
        costs={"opt_outs": rng.gamma(0.5, 0.02, n).astype(np.float32)},
        budgets=[Budget(1200, {"channel": 0}), Budget(30, cost="opt_outs"), Budget(300, {"campaign": 3})],
        floors=floors,
        max_per_user=cap,
        exclusive=("campaign",) if cap > 1 else (),
        priorities=priorities,
    )


@pytest.mark.parametrize("cap", [1, 2])
def test_the_first_class_is_planned_as_if_it_were_alone(cap):
    problem = population(cap=cap)
    plan = solve(problem)
    first = problem.codes["campaign"] == 0
    alone = PlanningProblem(
        user=UserOffsets(np.concatenate([[0], np.cumsum(np.add.reduceat(first, problem.offsets[:-1]))])),
        value=problem.value[first],
        codes={name: column[first] for name, column in problem.codes.items()},
        costs={name: column[first] for name, column in problem.costs.items()},
        budgets=problem.budgets, max_per_user=cap, exclusive=problem.exclusive,
    )  # fmt: skip
    assert plan.classes[0].value == pytest.approx(solve(alone).value, rel=1e-4)
    # The rest has few units of each budget: one message more or less of some hundred is a share of 1e-3.
    assert plan.classes[0].gap < 2e-4 and plan.classes[1].gap < 2e-3
    assert all(item.missing == 0 for item in plan.usage)
    assert np.bincount(problem.user_of(plan.chosen)).max() <= cap
    # It costs the whole something: without classes more is won.
    assert plan.value < solve(population(cap=cap, priorities=())).value
    again = solve(problem, warm_start=plan, threads=1)
    assert again.value == pytest.approx(plan.value, rel=2e-4)
    assert report(problem, plan, sweeps=[]).greedy < plan.value
    assert plan.to_dict()["classes"][1]["name"] == "all others" and "1. campaign=0: value" in str(plan)


def test_floors_of_later_classes_are_met_beside_the_first():
    """The first class alone would leave no push: what campaign 4 is guaranteed is set aside for it."""
    floors = [Floor(500, {"campaign": 4, "channel": 0}), Floor(400, {"campaign": 2})]
    plan = solve(population(floors=floors, priorities=[{"channel": 0, "campaign": [0, 1, 2]}]))
    assert all(item.missing == 0 for item in plan.usage)
    assert plan.classes[0].messages <= 700 and plan.classes[0].gap < 1e-3


def test_what_is_refused():
    with pytest.raises(UnknownNameError, match=r"column of limit 'priorities\[0\]' == 'campain'"):
        population(priorities=[{"campain": 0}])
    with pytest.raises(InvalidInputError, match=r"priorities\[0\] == \{\}, must name a column"):
        population(priorities=[{}])
    with pytest.raises(InfeasibleFloorsError, match="floor 'campaign=2' == 5000"):
        solve(population(floors=[Floor(5000, {"campaign": 2})]))
    problem = population(200)
    with pytest.raises(InvalidInputError, match=r"priorities == .*cannot be kept by prices"):
        publish(problem, solve(problem), start=datetime(2026, 11, 23, tzinfo=UTC))
    file = ProblemFile.from_dict({"candidates": "c.parquet", "priorities": [{"campaign": ["launch", "tips"]}]})
    assert file.priorities == [{"campaign": ["launch", "tips"]}]


@pytest.mark.parametrize("seed", [13, 14, 15, 17, 19])
def test_messages_that_are_worth_nothing_stand_too(seed):
    """A floor makes the first class send what is worth 0; the second class's plan must not take it back."""
    rng = np.random.default_rng(seed)
    problem = PlanningProblem(
        np.repeat(np.arange(3), 3), np.where(rng.random(9) < 0.25, rng.integers(1, 3, 9), 0),
        codes={"campaign": rng.integers(0, 3, 9), "channel": rng.integers(0, 2, 9)},
        costs={"money": rng.integers(0, 3, 9)}, budgets=[Budget(3, {"channel": 0})], floors=[Floor(3, cost="money")],
        max_per_user=2, exclusive=("campaign",), priorities=[{"campaign": 1}],
    )  # fmt: skip
    plan = solve(problem)
    assert all(item.missing == 0 for item in plan.usage)


@pytest.mark.parametrize("floors", [[], [Floor(2, cost="money")]], ids=["budget", "floor of the same size"])
def test_a_budget_of_a_cost_that_is_used_up_exactly_is_no_hindrance(floors):
    problem = PlanningProblem(
        [0, 1], [1.0, 2.0], {"campaign": [1, 0]}, {"money": [1.0, 1.0]},
        budgets=[Budget(2, cost="money", name="most")], floors=floors, priorities=[{"campaign": 1}],
    )  # fmt: skip
    assert solve(problem).value == 3.0


def test_later_candidates_may_differ_by_little_in_a_wide_range():
    """What a floor needs of them counts next to nothing while the first class is planned: in float32 two are equal."""
    problem = PlanningProblem(
        [0, 0, 1, 1], [1000.0, 1000.0001, -1e6, 5.0], {"campaign": [0, 0, 0, 1]},
        floors=[Floor(1, {"campaign": 0})], max_per_user=2, priorities=[{"campaign": 1}],
    )  # fmt: skip
    assert solve(problem).chosen.tolist() == [0, 1, 3]
