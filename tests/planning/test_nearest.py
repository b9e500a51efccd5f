"""Prices at the end of a box: by hand, against a general solver, and what a plan certified there is worth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from homing.planning import Budget, PlanningProblem, UserOffsets, solve, solver
from homing.planning.layout import Rows, lay_out
from homing.planning.nearest import nearest_inside
from homing.planning.screening import Box


def crossed() -> Rows:
    """Two channels and two campaigns with a budget each: each of the four cells has two prices."""
    codes = {"channel": [0, 0, 1, 1], "campaign": [0, 1, 0, 1]}
    budgets = [Budget(1, {key: code}) for key in codes for code in range(2)]
    return lay_out(PlanningProblem([0, 1, 2, 3], np.ones(4), codes=codes, budgets=budgets)).rows


def test_one_price_stops_at_the_end() -> None:
    """1 ± 0.5 holds 2 back at 1.5."""
    rows = lay_out(PlanningProblem([0, 1], [1.0, 1.0], budgets=[Budget(1)])).rows
    middle = rows.tables(np.ones(1))
    box, curve = Box(middle - 0.5, middle + 0.5), np.full((1, 1), 4.0)
    assert nearest_inside(box, np.ones(1), np.full(1, 2.0), curve, rows) == pytest.approx([1.5], abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_prices_are_inside_and_no_worse_than_on_the_straight_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, center = crossed(), np.full(4, 2.0)
    root = rng.normal(size=(4, 4))
    curve = root @ root.T + 0.5 * np.eye(4)
    width = rng.uniform(0.2, 0.6, rows.tables(center).shape)
    box = Box(rows.tables(center) - width, rows.tables(center) + width)
    price = center + rng.normal(0.0, 0.6, 4)
    inside = nearest_inside(box, center, price, curve, rows)
    assert not box.outside(rows.tables(inside)).any()
    above = 0.5 * (inside - price) @ curve @ (inside - price)

    def room(at: np.ndarray) -> np.ndarray:
        tables = rows.tables(at)
        return np.concatenate([(tables - box.low).ravel(), (box.high - tables).ravel()])

    best = minimize(
        lambda at: 0.5 * (at - price) @ curve @ (at - price),
        center,
        jac=lambda at: curve @ (at - price),
        constraints={"type": "ineq", "fun": room},
        method="SLSQP",
    )
    assert best.success
    # Not above what the straight way to the center leaves, which halving finds.
    inner, outer = 0.0, 1.0
    for _ in range(40):
        share = (inner + outer) / 2
        outside = box.outside(rows.tables(center + share * (price - center))).any()
        inner, outer = (inner, share) if outside else (share, outer)
    straight = (1.0 - inner) ** 2 * 0.5 * (price - center) @ curve @ (price - center)
    assert best.fun - 1e-6 <= above <= straight + 1e-6


def test_without_curvature_nothing_is_known() -> None:
    rows, center = crossed(), np.ones(4)
    box = Box(rows.tables(center), rows.tables(center))
    price = nearest_inside(box, center, np.full(4, 2.0), np.zeros((4, 4)), rows)
    assert np.array_equal(price, center)


@pytest.mark.parametrize(("near", "attempts", "gap"), [(0.01, 24, 0.012), (0.0, 2, 0.03)])
def test_a_bound_from_the_end_of_the_box_is_what_the_columns_say(
    near: float, attempts: int, gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of boxes of half a standard deviation some end is met; the plan keeps its limits and its bound is the dual's.

    So it is where there are no more attempts, and the plan is the worse for it.
    """
    monkeypatch.setattr(solver, "_SURE_OF_ALL", 0.5)
    monkeypatch.setattr(solver, "_NEAR", near)
    monkeypatch.setattr(solver, "_ATTEMPTS", attempts)
    rng = np.random.default_rng(5)
    users = 20_000
    value = rng.gamma(2.0, 0.3, 5 * users) - 0.2
    channel, campaign = rng.integers(0, 3, 5 * users), rng.integers(0, 6, 5 * users)
    budgets = [Budget(users // 8, {"channel": i}) for i in range(3)]
    budgets += [Budget(users // 20, {"campaign": i}) for i in range(5)]
    problem = PlanningProblem(
        UserOffsets(np.arange(users + 1) * 5),
        value,
        codes={"channel": channel, "campaign": campaign},
        budgets=budgets,
    )
    plan = solve(problem)
    taken = plan.prices[channel] + np.append(plan.prices[3:], 0.0)[campaign]
    best = np.maximum((problem.value.astype(np.float64) - taken).reshape(-1, 5).max(axis=1), 0.0).sum()
    assert plan.upper_bound == pytest.approx(best + plan.prices @ [item.limit for item in budgets], rel=1e-9)
    assert not any(item.missing > 0 for item in plan.usage)
    monkeypatch.undo()
    least = solve(problem).upper_bound
    assert least * (1 - 1e-6) < plan.upper_bound < least * (1 + 0.011)
    assert plan.gap < gap
