"""Steps on the dual: where few users are near a switch, and where there is no curvature at all."""

from __future__ import annotations

import numpy as np
import pytest

from homing.planning import Budget, PlanningProblem, UserOffsets
from homing.planning.layout import lay_out
from homing.planning.newton import Dual, Interval, minimise
from homing.planning.options import Options
from homing.planning.screening import Box, screen
from homing.planning.threads import Here

WHOLE = Interval(np.zeros(2), np.full(2, np.inf))


def dual_of(values: np.ndarray, codes: dict[str, np.ndarray], budgets: list[Budget]) -> tuple[Dual, Options]:
    """Users with one candidate each, all of them open."""
    n = len(values)
    layout = lay_out(PlanningProblem(UserOffsets(np.arange(n + 1)), values, codes=codes, budgets=budgets))
    rows, pick = layout.rows, np.empty((n, 1), np.int32)
    shape = (1, rows.n_cells)
    found = screen(layout, range(n), Box(np.zeros(shape), np.full(shape, 99.0)), pick, Here())
    return Dual(found.options, rows, rows.floor, rows.ceiling, np.ones(len(rows)), Here()), found.options


@pytest.mark.parametrize(("off", "then"), [(0.2, 0.55), (0.01, 0.54)])
def test_a_step_is_no_longer_than_prices_may_be_off(off: float, then: float) -> None:
    """From 0.5, one user near a switch tells of hardly any curvature, and 40 messages are too many: 0.3 is far enough.

    In the other row users are many, and the step is Newton's, to where 900 of 2,000 are left; or of four γ, for prices
    are never known better.
    """
    thin = np.r_[0.502, np.linspace(1.0, 2.0, 60)]
    thick = np.linspace(0.0, 1.0, 2001)[1:]
    codes = {"channel": np.r_[np.zeros(61, int), np.ones(2000, int)]}
    budgets = [Budget(20, {"channel": 0}), Budget(900, {"channel": 1})]
    dual, _ = dual_of(np.r_[thin, thick], codes, budgets)
    ends = {"enough": 0.0, "loose": 0.0, "most": 1, "blind": True}
    moved = minimise(dual, np.array([0.5, 0.5]), WHOLE, 0.01, np.array([0.3, off]), 0.05, **ends).price
    assert moved == pytest.approx([0.8, then], abs=1e-3)


def test_prices_that_only_their_difference_matters_of_do_not_run_away() -> None:
    """Everybody is in both rows: the curvature is singular, and the minimum is where their sum is the value."""
    values = np.linspace(0.0, 1.0, 401)[1:]
    codes = {"channel": np.zeros(400, int), "campaign": np.zeros(400, int)}
    dual, options = dual_of(values, codes, [Budget(100, {"channel": 0}), Budget(100, {"campaign": 0})])
    ends = {"enough": 1e-6, "loose": 0.0, "most": 40, "blind": False}
    done = minimise(dual, np.array([0.2, 0.2]), WHOLE, 0.01, np.full(2, 0.5), 0.05, **ends)
    assert done.price.sum() == pytest.approx(0.75, abs=0.005)  # a hundred are worth more
    assert done.price.max() < 1.0 and done.passes < 12
    assert done.weight @ (options.value > 0) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(("ceilings", "passes"), [((280, 200), 2), ((200, 200), 1)])
def test_a_last_step_is_looked_at_where_it_goes_farther_than_prices_may_be_off(
    ceilings: tuple[int, int], passes: int
) -> None:
    """Two prices of the same 400 users: one too high and one too low, they move 0.1 against each other; 0.05 is sure.

    Both too low, they move less. Taken unseen, far steps led a descent of a million users round in circles.
    """
    values = np.linspace(0.0, 1.0, 401)[1:]
    codes = {"channel": np.zeros(400, int), "campaign": np.zeros(400, int)}
    budgets = [Budget(ceilings[0], {"channel": 0}), Budget(ceilings[1], {"campaign": 0})]
    dual, _ = dual_of(values, codes, budgets)
    ends = {"enough": 0.0, "loose": 0.0, "most": 1, "blind": True}
    done = minimise(dual, np.array([0.2, 0.2]), WHOLE, 0.01, np.full(2, 0.05), 0.05, **ends)
    assert (np.abs(done.price - 0.2).max() > 0.05) == (passes == 2)
    assert done.passes == passes
