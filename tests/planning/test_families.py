"""Populations that are each hard in a way of their own, planned from samples and then everybody."""

from __future__ import annotations

import pytest

from benchmarks.planning.instances import FAMILIES, make
from homing.planning import solve


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_plans_are_near_the_bound_and_keep_the_limits(family: str) -> None:
    """Two samples come before everybody. Rounding loses up to a message a limit, of 70,000 users'."""
    problem = make(family, 70_000, seed=9)
    plan = solve(problem)
    assert plan.gap < 2e-5
    assert not any(item.missing > 0 for item in plan.usage)
    assert len(plan.binding) > 1
