"""How far samples' prices are off: the formula by hand, and against samples whose everybody is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from homing.planning import Budget, PlanningProblem, UserOffsets, solve
from homing.planning.descent import descend
from homing.planning.deviation import deviation, spread
from homing.planning.layout import lay_out
from homing.planning.newton import Dual, Interval
from homing.planning.sampling import sample
from homing.planning.screening import Box, screen


def test_prices_of_one_message_add_up() -> None:
    """Channel and campaign vary by 0.04 and 0.09 together by 0.01: √(0.04 + 0.09 + 2 · 0.01) where both are charged."""
    problem = PlanningProblem(
        [0, 1, 2, 3],
        np.ones(4),
        codes={"channel": [0, 0, 1, 1], "campaign": [0, 1, 0, 1]},
        budgets=[Budget(1, {"channel": 0}), Budget(1, {"campaign": 0})],
    )
    layout = lay_out(problem)
    off = spread(layout.rows, np.array([[0.04, 0.01], [0.01, 0.09]]))
    assert off[0, layout.cell] == pytest.approx([np.sqrt(0.15), 0.2, 0.3, 0.0])
    assert off[0, -1] == 0.0  # no message


def test_samples_are_as_far_off_as_is_said() -> None:
    rng = np.random.default_rng(11)
    users, size, samples = 20_000, 2048, 40
    n = 4 * users
    problem = PlanningProblem(
        UserOffsets(np.arange(users + 1) * 4),
        rng.gamma(2.0, 0.5, n) - 0.2,
        codes={"channel": rng.integers(0, 3, n), "campaign": rng.integers(0, 2, n)},
        costs={"money": rng.gamma(1.0, 0.5, n)},
        budgets=[
            Budget(3000, {"channel": 0}),
            Budget(2500, {"channel": 1}),
            Budget(5000, {"campaign": 0}),
            Budget(1500.0, cost="money"),
        ],
    )
    layout = lay_out(problem)
    rows, truth = layout.rows, solve(problem).prices
    assert (truth > 0).all()
    tables, scale, share = rows.tables(truth), np.ones(4), size / users
    pick = np.empty((users, 1), np.int32)
    cells = np.unique(layout.cell)
    cells = cells[tables[0, cells] > 0.1]  # where no sample's price is 0
    assert len(cells) >= 3
    whole, z = Interval(np.zeros(4), np.full(4, np.inf)), []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(samples):
            some = sample(users, size, rng)
            screened = screen(layout, some, Box(tables - 0.3, tables + 0.3), pick, pool)
            left = rows.ceiling * share - screened.use
            dual = Dual(screened.options, rows, rows.floor, left, scale, pool)
            done = descend(dual, truth, whole, 0.02, 0.02, np.full(4, 0.3), last=0.02, enough=0.0)
            off = deviation(rows, screened, done, scale, 1.0, share, len(some))
            z.append((rows.tables(done.price) - tables)[0, cells] / off[0, cells])
    # Mean squares over 40 samples vary by √(2/40) = 0.22 around 1 where the deviation is right; bounds are 3 of these.
    squares = np.mean(np.square(z), axis=0)
    assert squares.min() > 0.33 and squares.max() < 1.67
