"""What a pass at a box of prices settles and lists, against every set of every user at prices drawn from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest

from homing.planning import Budget, PlanningProblem, UserOffsets
from homing.planning.layout import Layout, lay_out
from homing.planning.screening import Box, screen


def drawn(seed: int, most: int) -> Layout:
    """Sixty users of up to six candidates; values in tenths, so that some are alike."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 7, 60)
    n = int(sizes.sum())
    return lay_out(
        PlanningProblem(
            UserOffsets(np.r_[0, np.cumsum(sizes)]),
            rng.integers(-3, 12, n) / 10,
            codes={"channel": rng.integers(0, 3, n), "campaign": np.arange(n), "hour": rng.integers(0, 5, n)},
            costs={"money": rng.gamma(1.0, 0.5, n)},
            budgets=[Budget(5, {"channel": 0}), Budget(5, {"channel": 1, "hour": 2}), Budget(5, cost="money")],
            max_per_user=most,
            min_gap_hours=2 if most > 1 else 0,
            exclusive=("campaign",),
        )
    )


def worth(layout: Layout, rows: tuple[int, ...], tables: np.ndarray) -> float:
    """Value of a set after prices, in plain sums."""
    return sum(
        float(layout.value[i])
        - tables[0, layout.cell[i]]
        - sum(float(c[i]) * tables[k + 1, layout.cell[i]] for k, c in enumerate(layout.costs))
        for i in rows
    )


def sets_of(layout: Layout, u: int) -> list[tuple[int, ...]]:
    """What a user may get."""
    rows = range(layout.offsets[u], layout.offsets[u + 1])
    out: list[tuple[int, ...]] = [()]
    for size in range(1, layout.most + 1):
        for some in combinations(rows, size):
            apart = all(abs(int(layout.hour[i]) - int(layout.hour[j])) >= layout.gap for i, j in combinations(some, 2))
            if size == 1 or apart:
                out.append(some)
    return out


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_could_be_best_is_missed(seed: int, most: int) -> None:
    layout = drawn(seed, most)
    rng = np.random.default_rng(seed)
    low, high = layout.rows.tables(np.array([0.2, 0.0, 0.1])), layout.rows.tables(np.array([0.4, 0.1, 0.25]))
    pick = np.full((layout.n_users, most), -9, np.int32)
    with ThreadPoolExecutor(1) as pool:
        found = screen(layout, np.arange(layout.n_users), Box(low, high), pick, pool)
    options = found.options
    listed = {
        int(u): {tuple(sorted(i for i in item if i >= 0)) for item in options.item[a:b].tolist()}
        for u, a, b in zip(options.user, options.first[:-1], options.first[1:], strict=True)
    }
    assert 5 <= len(listed) <= 55
    total, messages = 0.0, 0
    for u in range(layout.n_users):
        sets = sets_of(layout, u)
        got = tuple(sorted(int(layout.offsets[u]) + int(i) for i in pick[u] if i >= 0))
        if u not in listed:
            total += float(sum(float(layout.value[i]) for i in got))
            messages += len(got)
        for share in rng.random((20, 3)):
            price = np.array([0.2, 0.0, 0.1]) + share * np.array([0.2, 0.1, 0.15])
            tables = layout.rows.tables(price)
            best = max(worth(layout, one, tables) for one in sets)
            if u in listed:
                assert max(worth(layout, one, tables) for one in listed[u]) == pytest.approx(best, abs=1e-9)
            else:
                assert worth(layout, got, tables) == pytest.approx(best, abs=1e-9)
    assert found.value == pytest.approx(total, abs=1e-9)
    assert found.counted[0].sum() == messages
