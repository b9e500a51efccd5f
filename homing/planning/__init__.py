"""Planning: who gets what under population budgets, and the prices with which serving makes the same trade-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homing.planning.limits import Budget, Floor, Limit
from homing.planning.pacing import FixedPrices, MirrorDescent, Pacer, RemainingRatio
from homing.planning.priced_budget import PricedBudget
from homing.planning.prices import Prices
from homing.planning.prices_file import load_prices, save_prices

if TYPE_CHECKING:
    from homing.planning.plan import InfeasibleFloorsError, LimitUse, Plan
    from homing.planning.problem import PlanningProblem, UserOffsets
    from homing.planning.publishing import publish
    from homing.planning.serving import Replay, replay
    from homing.planning.solver import solve

__all__ = [
    "Budget",
    "FixedPrices",
    "Floor",
    "InfeasibleFloorsError",
    "Limit",
    "LimitUse",
    "MirrorDescent",
    "Pacer",
    "Plan",
    "PlanningProblem",
    "PricedBudget",
    "Prices",
    "RemainingRatio",
    "Replay",
    "UserOffsets",
    "load_prices",
    "publish",
    "replay",
    "save_prices",
    "solve",
]

#: Where names are that need Numba, or are needed by planners alone: serving reads prices and imports neither.
_LAZY = {
    "InfeasibleFloorsError": "plan",
    "LimitUse": "plan",
    "Plan": "plan",
    "PlanningProblem": "problem",
    "UserOffsets": "problem",
    "Replay": "serving",
    "publish": "publishing",
    "replay": "serving",
    "solve": "solver",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"homing.planning.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
