"""What is said of limits that no plan keeps: which, by how much, what to relax."""

from __future__ import annotations

import numpy as np
import pytest

from homing.planning import InfeasibleFloorsError, LimitUse, Plan, UnmetFloorsError

KEPT = LimitUse("push", False, 10.0, 10.0, 0.5)
MISSED = LimitUse("launch", True, 7.0, 5.0, 0.2)
OVER = LimitUse("opt-outs", False, 1.5, 1.75, 0.0)
MET = LimitUse("gold", True, 3.0, 3.0, 0.0)
SAID = {
    "a floor": ([KEPT, MISSED], UnmetFloorsError, "floor 'launch' == 7.0, met by no plan that was found, nor proven "
                "impossible; 5 were reached beside the other limits (2 missing). Lower it, or raise the budgets that "
                "it shares: push."),
    "a floor, proven": ([MISSED], InfeasibleFloorsError, "floor 'launch' == 7.0, must be <= 5, the most that was "
                        "reached beside the other limits (2 missing). Lower it, or raise the budgets that it shares: "
                        "none."),
    "a budget": ([KEPT, OVER, MET], UnmetFloorsError, "budget 'opt-outs' == 1.5, kept by no plan that was found, nor "
                 "proven impossible; 1.75 were used beside the other limits (0.25 too many). Raise it, or lower the "
                 "floors that need it: gold."),
    "a budget, proven": ([OVER], InfeasibleFloorsError, "budget 'opt-outs' == 1.5, must be >= 1.75, the least that was "
                         "used beside the other limits (0.25 too many). Raise it, or lower the floors that need it: "
                         "none."),
    "what stands": ([KEPT, MET], UnmetFloorsError, "messages planned == 2, must keep what goes before, and do not. "
                    "Raise the budgets that bind: push, lower the floors: gold, or name fewer priorities."),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_the_limit_the_units_and_the_next_step_are_named(case: str) -> None:
    usage, kind, said = SAID[case]
    plan = Plan(np.arange(2), np.zeros(len(usage)), 1.0, 2.0, tuple(usage), 5, 3, 0)
    error = kind(plan)
    assert str(error) == said
    assert error.missed == tuple(item for item in usage if item is MISSED)
    assert error.exceeded == tuple(item for item in usage if item is OVER)
