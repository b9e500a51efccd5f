"""Weights at a vertex: what moves leave as it is, and how few users keep a choice."""

from __future__ import annotations

import numpy as np
import pytest

from homing.planning.vertex import to_vertex


def used(start: np.ndarray, row: np.ndarray, amount: np.ndarray, weight: np.ndarray, m: int) -> np.ndarray:
    """Units of each row, added entry by entry."""
    out = np.zeros(m)
    for o, w in enumerate(weight):
        for e in range(start[o], start[o + 1]):
            out[row[e]] += w * amount[e]
    return out


def test_four_users_between_two_rows_are_two_for_each() -> None:
    """Silence is not among the weights: each is halfway between a message of row 0 and one of row 1, worth the same."""
    first = np.arange(5) * 2
    weight = np.full(8, 0.5)
    row = np.tile([0, 1], 4)
    to_vertex(first, np.ones(8), np.arange(9), row, np.ones(8), np.ones(2), weight)
    assert sorted(weight.tolist()) == [0.0] * 4 + [1.0] * 4
    assert weight[row == 0].sum() == 2.0


@pytest.mark.parametrize("seed", range(5))
def test_use_stays_value_does_not_fall_and_few_users_keep_a_choice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, users = 6, 120
    sizes = rng.integers(1, 6, users)
    first = np.r_[0, np.cumsum(sizes)]
    entries = rng.integers(0, 4, first[-1])  # none for some options
    start = np.r_[0, np.cumsum(entries)]
    row = np.concatenate([rng.choice(m, n, replace=False) for n in entries])
    amount = rng.choice([0.25, 0.5, 1.0, 3.0], len(row))
    value = rng.normal(size=first[-1])
    weight = np.concatenate([rng.dirichlet(np.ones(n)) for n in sizes])
    before, worth = used(start, row, amount, weight, m), value @ weight
    to_vertex(first, value, start, row, amount, np.array([1.0, 1.0, 0.5, 1.0, 2.0, 1.0]), weight)
    # Sums of about 120 terms, moved some hundreds of times, each move exact to about 1e-16 of them.
    assert used(start, row, amount, weight, m) == pytest.approx(before, abs=1e-9)
    assert np.add.reduceat(weight, first[:-1]) == pytest.approx(np.ones(users), abs=1e-9)
    assert weight.min() >= -1e-12 and value @ weight >= worth - 1e-9
    between = np.add.reduceat((weight > 1e-9).astype(int), first[:-1]) > 1
    assert between.sum() <= m
