"""Tiny instances with floors against HiGHS's integer program on the candidates: feasible if and only if it is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from homing.planning import Budget, Floor, InfeasibleFloorsError, PlanningProblem, UnmetFloorsError, UserOffsets, solve


def tiny(seed: int) -> PlanningProblem:
    """Up to eight users of up to four candidates; limits so tight that about half of the draws have no plan."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, rng.integers(2, 9))
    n = int(sizes.sum())
    return PlanningProblem(
        UserOffsets(np.r_[0, np.cumsum(sizes)]),
        rng.normal(0.0, 1.0, n),
        codes={"channel": rng.integers(0, 2, n), "campaign": rng.integers(0, 3, n)},
        costs={"money": rng.integers(1, 5, n) / 4},
        budgets=[
            Budget(int(rng.integers(1, 5)), {"channel": 0}),
            Budget(int(rng.integers(1, 5)), {"channel": 1}),
            Budget(float(rng.integers(2, 16)) / 4, cost="money"),
        ],
        floors=[
            Floor(int(rng.integers(0, 4)), {"campaign": 0}),
            Floor(float(rng.integers(0, 6)) / 4, {"campaign": 1}, cost="money"),
        ],
        max_per_user=1 + seed % 2,
        exclusive=("campaign",),
    )


def best(problem: PlanningProblem) -> float | None:
    """What the best plan is worth; None where there is none."""
    n = problem.n_candidates
    user = problem.user_of(np.arange(n))
    rows, low, high = [], [], []
    for limit in problem.limits:
        row = np.ones(n) if limit.cost is None else problem.costs[limit.cost].astype(np.float64)
        for column, codes in problem.selected(limit).items():
            row = row * np.isin(problem.codes[column], codes)
        rows.append(row)
        low.append(limit.limit if isinstance(limit, Floor) else 0.0)
        high.append(np.inf if isinstance(limit, Floor) else limit.limit)
    for u in range(problem.n_users):
        rows.append(1.0 * (user == u))
        rows += [1.0 * ((user == u) & (problem.codes["campaign"] == c)) for c in range(3)]
        low += [0.0] * 4
        high += [problem.max_per_user, 1.0, 1.0, 1.0]
    found = milp(
        -problem.value.astype(np.float64),
        constraints=LinearConstraint(np.array(rows), low, high),
        integrality=1,
        bounds=(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    return -float(found.fun) if found.success else None


def test_tiny_instances_have_a_plan_where_there_is_one_and_it_is_the_best() -> None:
    possible = 0
    for seed in range(60):
        problem = tiny(seed)
        want = best(problem)
        if want is None:
            with pytest.raises(InfeasibleFloorsError):
                solve(problem)
            continue
        possible += 1
        plan = solve(problem)
        assert all(item.missing == 0.0 for item in plan.usage), seed
        if want > 0.0:  # the plan is the best one up to the gap at which it is left alone
            assert plan.value == pytest.approx(want, abs=2e-4 * plan.upper_bound), seed
        assert plan.upper_bound >= want - 1e-9, seed
    assert 15 <= possible <= 50


@pytest.mark.parametrize("seed", range(6))
def test_the_unit_of_value_does_not_matter(seed: int) -> None:
    """Small problems are an integer program, whose own absolute gap is 1e-6: what is worth that much is no rest."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, 30)
    n = int(sizes.sum())
    value = rng.lognormal(0.0, 1.0, n).astype(np.float32)
    codes = {"channel": rng.integers(0, 2, n), "campaign": rng.integers(0, 3, n)}
    money = rng.integers(1, 9, n) / 8
    small, one = (
        solve(
            PlanningProblem(
                UserOffsets(np.r_[0, np.cumsum(sizes)]), value * np.float32(unit), codes=codes, costs={"money": money},
                budgets=[Budget(5, {"channel": 0}), Budget(4, {"campaign": 1}), Budget(3.3, cost="money")],
            )
        )
        for unit in (2.0**-20, 1.0)
    )  # fmt: skip
    assert small.value * 2.0**20 == pytest.approx(one.value, rel=1e-9)


def test_what_is_not_proven_is_not_called_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs 2 and 3 cannot be summed to 4 … 4.5 though weights can: without the integer program nobody knows."""
    problem = PlanningProblem(
        [0, 1, 2],
        [1.0, 1.0, 1.0],
        costs={"money": [3.0, 3.0, 2.0]},
        budgets=[Budget(4.5, cost="money")],
        floors=[Floor(4.0, cost="money")],
    )
    with pytest.raises(InfeasibleFloorsError, match=r"floor 'money .floor.' == 4.0, must be <= [23]"):
        solve(problem)
    monkeypatch.setattr("homing.planning.rounding.MOST_CANDIDATES", 0)
    with pytest.raises(UnmetFloorsError, match="nor proven impossible") as caught:
        solve(problem)
    assert not isinstance(caught.value, InfeasibleFloorsError)


def test_the_dual_proves_it_for_many() -> None:
    problem = PlanningProblem(
        np.arange(6000), np.ones(6000), codes={"channel": np.arange(6000) % 2}, floors=[Floor(3001, {"channel": 0})]
    )
    with pytest.raises(InfeasibleFloorsError, match="must be <= 3000"):
        solve(problem)


def test_the_order_of_users_and_candidates_does_not_matter() -> None:
    """Values are drawn from a density: there are no ties, one plan is best, and the dual has one minimum."""
    rng = np.random.default_rng(5)
    users, each = 120, 4
    value = rng.normal(0.5, 0.6, (users, each)).astype(np.float32)
    channel = rng.integers(0, 2, (users, each))
    plans = []
    for shuffled in (False, True):
        if shuffled:
            order = np.argsort(rng.random((users, each)), axis=1)
            who = rng.permutation(users)[:, None]
            value, channel = value[who, order], channel[who, order]
        problem = PlanningProblem(
            UserOffsets(np.arange(users + 1) * each),
            value.ravel(),
            codes={"channel": channel.ravel()},
            budgets=[Budget(30, {"channel": 0})],
            floors=[Floor(80, {"channel": 1})],
        )
        plans.append(solve(problem))
    assert all(item.missing == 0.0 for plan in plans for item in plan.usage)
    assert plans[0].upper_bound == pytest.approx(plans[1].upper_bound, rel=1e-8)
    assert plans[0].value == pytest.approx(plans[1].value, rel=1e-9)


def test_the_least_harmful_plan_is_found_where_floors_need_harm():
    """All values are below 0; eight of sixteen users' best must go out, and a unit of cost is needed from them."""
    rng = np.random.default_rng(1)
    value, money = -rng.random(16).astype(np.float32), rng.random(16).astype(np.float32)
    problem = PlanningProblem(np.arange(16), value, costs={"money": money}, floors=[Floor(3.0, cost="money")])
    best = min(
        float(-value[list(some)].sum(dtype=float))
        for count in range(3, 9)
        for some in combinations(range(16), count)
        if money[list(some)].sum(dtype=float) >= 3.0
    )
    assert solve(problem).value == pytest.approx(-best, rel=1e-5)
