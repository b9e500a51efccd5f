"""Plans against the integer program that HiGHS solves: never better, never unbounded by the dual, seldom worse."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, milp

from homing.errors import InvalidInputError
from homing.planning import Budget, Floor, InfeasibleFloorsError, Plan, PlanningProblem, UserOffsets, solve, solver
from homing.planning.option_passes import best_two
from homing.planning.screening import screen

CHANNELS = ("push", "email", "in_app")


def drawn(seed: int, users: int = 40, **more: Any) -> PlanningProblem:
    """A small problem with two code columns, a cost, uneven numbers of candidates and some users without any."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 7, users)
    n = int(sizes.sum())
    budgets = [Budget(users // 6, {"channel": "push"}), Budget(users // 10, {"channel": "email", "hour": [9, 10]})]
    settings: dict[str, Any] = {
        "user": UserOffsets(np.r_[0, np.cumsum(sizes)]),
        "value": rng.normal(0.5, 0.6, n),
        "codes": {
            "channel": rng.integers(0, 3, n),
            "campaign": rng.integers(0, 5, n).astype(np.uint16),
            "hour": rng.integers(8, 13, n).astype(np.uint8),
        },
        "costs": {"opt_outs": rng.gamma(0.5, 0.02, n)},
        "segments": {"tier": rng.integers(0, 2, users)},
        "names": {"channel": CHANNELS},
        "budgets": [*budgets, Budget(0.15, cost="opt_outs"), Budget(users // 8, {"tier": 1, "channel": "in_app"})],
    }
    return PlanningProblem(**settings | more)


def constraints(problem: PlanningProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (R, N) with their lower and upper bounds: limits, caps, pairs that exclude each other."""
    n = problem.n_candidates
    user = np.repeat(np.arange(problem.n_users), np.diff(problem.offsets))
    columns = dict(problem.codes) | {key: column[user] for key, column in problem.segments.items()}
    rows, low, high = [], [], []
    for i, limit in enumerate(problem.limits):
        row = np.ones(n) if limit.cost is None else problem.costs[limit.cost].astype(np.float64)
        for key, codes in problem.selected(limit).items():
            row = row * np.isin(columns[key], codes)
        is_floor = i >= len(problem.budgets)
        rows.append(row)
        low.append(limit.limit if is_floor else -np.inf)
        high.append(np.inf if is_floor else limit.limit)
    for u in range(problem.n_users):
        rows.append((user == u) * 1.0)
        low.append(-np.inf)
        high.append(problem.max_per_user)
    for i in range(n):
        for j in range(problem.offsets[user[i]], i):
            near = abs(int(problem.codes["hour"][i]) - int(problem.codes["hour"][j])) < problem.min_gap_hours
            same = any(problem.codes[key][i] == problem.codes[key][j] for key in problem.exclusive)
            if problem.max_per_user > 1 and (near or same):
                row = np.zeros(n)
                row[[i, j]] = 1.0
                rows.append(row)
                low.append(-np.inf)
                high.append(1.0)
    return np.array(rows).reshape(-1, n), np.array(low), np.array(high)


def assert_feasible(problem: PlanningProblem, plan: Plan) -> None:
    rows, low, high = constraints(problem)
    x = np.zeros(problem.n_candidates)
    x[plan.chosen] = 1.0
    assert len(np.unique(plan.chosen)) == len(plan.chosen)
    assert np.all(rows @ x <= high + 1e-12) and np.all(rows @ x >= low - 1e-12)
    assert plan.value == pytest.approx(float(problem.value.astype(np.float64) @ x), rel=1e-12)
    used = [item.used for item in plan.usage]
    assert used == pytest.approx((rows @ x)[: len(used)], abs=1e-12)


FEATURES: dict[str, dict[str, Any]] = {
    "one each": {},
    "no limits": {"budgets": ()},
    "floors": {"floors": [Floor(6, {"campaign": 3}), Floor(2, {"channel": "push", "campaign": 1})]},
    "two each": {"max_per_user": 2},
    "hours apart": {"max_per_user": 3, "min_gap_hours": 2},
    "one of a campaign": {"max_per_user": 3, "exclusive": "campaign"},
    "hours apart, one of a channel": {"max_per_user": 2, "min_gap_hours": 1, "exclusive": ("channel", "campaign")},
    "two each with a floor": {"max_per_user": 2, "floors": [Floor(14, {"campaign": 0})]},
    "a floor on a cost": {"floors": [Floor(0.05, {"campaign": 2}, cost="opt_outs")]},
    "budget and floor alike": {"floors": [Floor(6, {"channel": "push"})]},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("feature", FEATURES)
def test_plan_is_between_what_is_feasible_and_what_is_possible(feature: str, seed: int) -> None:
    problem = drawn(seed, **FEATURES[feature])
    rows, low, high = constraints(problem)
    value = problem.value.astype(np.float64)
    exact = milp(-value, constraints=LinearConstraint(rows, low, high), integrality=1, bounds=(0, 1))
    if not exact.success:
        with pytest.raises(InfeasibleFloorsError):
            solve(problem)
        return
    plan = solve(problem)
    assert_feasible(problem, plan)
    best = -exact.fun
    assert plan.value <= best + 1e-6 <= plan.upper_bound + 2e-6
    # Five limits leave at most five users between two options; each may lose about one typical value of 40.
    assert plan.value >= 0.95 * best


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """On this problem the integer program repairs a solution, and HiGHS prints a line on it, from C."""
    solve(drawn(0, **FEATURES["floors"]))
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("feature", ["one each", "floors", "budget and floor alike"])
def test_upper_bound_is_the_linear_programs_optimum(feature: str) -> None:
    """With one candidate a user, users' choices are simplices: the dual's minimum is the linear program's optimum."""
    problem = drawn(7, users=60, **FEATURES[feature])
    rows, low, high = constraints(problem)
    up, down = np.isfinite(high), np.isfinite(low)
    program = linprog(
        -problem.value.astype(np.float64),
        A_ub=np.vstack([rows[up], -rows[down]]),
        b_ub=np.concatenate([high[up], -low[down]]),
        bounds=(0, 1),
    )
    assert solve(problem).upper_bound == pytest.approx(-program.fun, rel=1e-6)


def population(users: int = 30_000, **more: Any) -> PlanningProblem:
    """Enough users for a sample and then everybody, in several blocks."""
    rng = np.random.default_rng(3)
    n = 6 * users
    settings: dict[str, Any] = {
        "user": UserOffsets(np.arange(users + 1) * 6),
        "value": rng.gamma(2.0, 0.3, n) - 0.2,
        "codes": {"channel": rng.integers(0, 3, n), "campaign": rng.integers(0, 8, n)},
        "costs": {"opt_outs": rng.gamma(0.5, 0.01, n)},
        "budgets": [
            *(Budget(users * share, {"channel": i}) for i, share in enumerate((0.2, 0.1, 0.15))),
            *(Budget(users // 20, {"campaign": i}) for i in range(4)),
            Budget(users * 0.0008, cost="opt_outs"),
        ],
        "floors": [Floor(users // 8, {"campaign": 7})],
    }
    return PlanningProblem(**settings | more)


def test_threads_do_not_change_the_plan() -> None:
    one, two = (solve(population(), threads=threads) for threads in (1, 2))
    assert np.array_equal(one.chosen, two.chosen)
    assert np.array_equal(one.prices, two.prices)
    assert (one.value, one.upper_bound) == (two.value, two.upper_bound)


def test_certificate_is_what_the_columns_say() -> None:
    """Weak duality by hand: Σ over users of max(0, value − Σ price · use), plus Σ price · limit."""
    problem = population()
    plan = solve(problem)
    taken = np.zeros(problem.n_candidates)
    bound = 0.0
    user = np.repeat(np.arange(problem.n_users), 6)
    assert len(np.unique(user[plan.chosen])) == len(plan.chosen) == problem.n_users - plan.n_silent
    for limit, price, item in zip(problem.limits, plan.prices, plan.usage, strict=True):
        units = np.ones(len(taken)) if limit.cost is None else problem.costs[limit.cost].astype(np.float64)
        for column, (code,) in problem.selected(limit).items():
            units = units * (problem.codes[column] == code)
        taken += price * units
        bound += price * limit.limit
        assert item.used == pytest.approx(units[plan.chosen].sum(), rel=1e-9)
        assert item.missing == 0.0
        assert (price <= 0.0) if item.floor else (price >= 0.0)
    bound += np.maximum((problem.value - taken).reshape(-1, 6).max(axis=1), 0.0).sum()
    assert plan.upper_bound == pytest.approx(bound, rel=1e-9)
    assert plan.value == pytest.approx(problem.value[plan.chosen].sum(dtype=np.float64), rel=1e-12)
    assert plan.gap < 1e-5


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    cold = solve(population())
    rng = np.random.default_rng(4)
    moved = population(value=population().value * rng.normal(1.0, 0.05, 180_000))
    warm, anew = solve(moved, warm_start=cold), solve(moved)
    assert warm.upper_bound == pytest.approx(anew.upper_bound, rel=5e-6)
    assert warm.gap < 1e-5


@pytest.mark.parametrize("users", [2_000, 30_000])
def test_of_values_that_moved_a_little_everybody_is_screened_once(users: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance moves the prices of few users more than those of many: where a warm start looks for them is as wide."""
    screened: list[int] = []

    def counting(layout: Any, some: Any, *more: Any) -> Any:
        screened.append(len(some))
        return screen(layout, some, *more)

    yesterday = drawn(5, users, budgets=[Budget(users // 6, {"channel": c}) for c in CHANNELS])
    start = solve(yesterday).prices
    moved = yesterday.value * np.random.default_rng(6).normal(1.0, 0.05, yesterday.n_candidates)
    monkeypatch.setattr(solver, "screen", counting)
    assert solve(yesterday.revalued(moved), warm_start=start).gap < 1e-4
    assert screened == [users]


@pytest.mark.parametrize("factor", [0.0, 0.2, 1.1, 5.0, 1e290])
def test_a_warm_start_from_elsewhere_ends_there_too(factor: float) -> None:
    """Prices that are far off are noticed, and a plan is made as if there were none."""
    cold = solve(population())
    warm = solve(population(), warm_start=factor * cold.prices)
    assert warm.upper_bound == pytest.approx(cold.upper_bound, rel=1e-5)
    assert warm.gap < 1e-5


def test_prices_to_begin_with_are_one_for_each_limit() -> None:
    with pytest.raises(InvalidInputError, match=r"warm_start.shape == \(2,\), must be \(9\)"):
        solve(population(), warm_start=np.zeros(2))


def test_a_user_without_a_number_is_silent() -> None:
    """Whatever stood in the array before: an index that was never set would be read from foreign memory."""
    choice, worth = np.array([10**12]), np.zeros(1)
    best_two(np.array([0, 2]), np.full(2, np.nan), 0, 1, choice, worth, np.zeros(1))
    assert choice.tolist() == [0] and worth.tolist() == [-np.inf]


@pytest.mark.parametrize(("values", "share"), [((1.0,), 0.02), ((1.0,), 0.3), ((0.5, 1.0), 0.02)])
def test_values_that_are_all_tied_are_planned(values: tuple[float, ...], share: float) -> None:
    """Samples tell a price to the last digit, and nobody's choice is sure there: the best that fit are taken."""
    users = 20_000
    value = np.random.default_rng(0).choice(values, 5 * users)
    budget = int(share * users)
    plan = solve(PlanningProblem(UserOffsets(np.arange(users + 1) * 5), value, budgets=[Budget(budget)]))
    assert plan.value == pytest.approx(budget * max(values))
    assert plan.gap < 1e-4


@pytest.mark.parametrize("factor", [3.0, 10.0, -1000.0, 1e9])
def test_a_floor_is_met_at_no_more_loss_from_prices_that_are_far_off(factor: float) -> None:
    users = 10_000
    value = np.random.default_rng(1).normal(-1.0, 0.5, 5 * users)
    channel = np.tile(np.arange(5), users)
    problem = PlanningProblem(
        UserOffsets(np.arange(users + 1) * 5), value, codes={"channel": channel}, floors=[Floor(8_000, {"channel": 0})]
    )
    cold = solve(problem)
    warm = solve(problem, warm_start=factor * cold.prices)
    assert warm.value == pytest.approx(cold.value, rel=1e-6) and warm.gap < 1e-5


def test_the_unit_of_a_cost_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-currency or currency: as many users are open, and the plan is the same."""
    opened: list[int] = []

    def counted(*given: Any) -> Any:
        opened.append(len((found := screen(*given)).options))
        return found

    monkeypatch.setattr(solver, "screen", counted)
    rng = np.random.default_rng(2)
    users = 20_000
    columns = {"value": rng.gamma(2.0, 1.0, 5 * users), "codes": {"channel": rng.integers(0, 2, 5 * users)}}
    cost = rng.gamma(2.0, 1.0, 5 * users).astype(np.float32)
    plans = []
    for unit in (1.0, 2.0**20):
        budgets = [Budget(users // 5, {"channel": 0}), Budget(0.4 * users * unit, cost="money")]
        plans.append(
            solve(
                PlanningProblem(
                    UserOffsets(np.arange(users + 1) * 5), **columns, costs={"money": unit * cost}, budgets=budgets
                )
            )
        )
    half = len(opened) // 2
    assert opened[:half] == opened[half:]
    assert plans[0].chosen.tolist() == plans[1].chosen.tolist()


@pytest.mark.parametrize("where", [{}, {"hour": [1, 2]}], ids=["all", "two hours"])
def test_without_money_what_costs_nothing_is_sent(where):
    """Some cost so little that no price keeps them back; whoever has a message without cost gets the best of these."""
    rng = np.random.default_rng(1)
    users, each = 20_000, 4
    value, money = rng.gamma(2.0, 0.5, users * each), rng.gamma(0.1, 0.02, users * each).astype(np.float32)
    money[::5] = 0.0
    hour = rng.integers(0, 4, users * each)
    problem = PlanningProblem(
        np.repeat(np.arange(users), each), value, {"hour": hour}, {"money": money},
        budgets=[Budget(0, where, cost="money")],
    )  # fmt: skip
    free = (money == 0) | ~(np.isin(hour, [1, 2]) if where else np.full(users * each, True))
    best = np.where(free, problem.value, 0.0).reshape(users, each).max(axis=1).sum(dtype=float)
    assert solve(problem).value == pytest.approx(best, rel=1e-6)
