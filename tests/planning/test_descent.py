"""Prices that leave the neighbourhood in which users were settled: these are open again, on the bench too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from homing.planning import Budget, PlanningProblem, UserOffsets, solve
from homing.planning.descent import descend
from homing.planning.layout import lay_out
from homing.planning.newton import Dual, Interval
from homing.planning.screening import Box, screen


def test_who_is_opened_again_is_on_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbourhood of a thousandth of γ is left at every step; a bench of one user is cut at every step."""
    monkeypatch.setattr("homing.planning.descent._REACH", 1e-3)
    monkeypatch.setattr("homing.planning.descent._BENCH", 1)
    rng = np.random.default_rng(2)
    users = 400
    n = 3 * users
    problem = PlanningProblem(
        UserOffsets(np.arange(users + 1) * 3),
        rng.gamma(2.0, 0.5, n),
        codes={"channel": rng.integers(0, 3, n)},
        budgets=[Budget(80, {"channel": 0}), Budget(60, {"channel": 1})],
    )
    layout = lay_out(problem)
    rows, shape = layout.rows, (1, layout.rows.n_cells)
    pick = np.empty((users, 1), np.int32)
    whole = Interval(np.zeros(2), np.full(2, np.inf))
    with ThreadPoolExecutor(1) as pool:
        found = screen(layout, np.arange(users), Box(np.zeros(shape), np.full(shape, 4.0)), pick, pool)
        dual = Dual(found.options, rows, rows.floor, rows.ceiling - found.use, np.ones(2), pool)
        done = descend(dual, np.zeros(2), whole, 0.5, 0.5, np.full(2, 4.0), last=0.0, enough=1e-9)
    assert np.isin(done.options.user, done.bench.user).all()
    assert np.array_equal(done.bench.item[done.options.among(np.arange(len(done.options.value)))], done.options.item)
    # The dual at the prices, from the columns, is the smallest there is: nobody was settled for good too early.
    taken = done.price[np.minimum(problem.codes["channel"], 1)] * (problem.codes["channel"] < 2)
    dual = np.maximum((problem.value - taken).reshape(-1, 3).max(axis=1), 0.0).sum() + done.price @ [80, 60]
    assert dual == pytest.approx(solve(problem).upper_bound, rel=1e-7)
