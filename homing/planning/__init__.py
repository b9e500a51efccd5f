"""Planning: who gets what under population budgets, and the prices with which serving makes the same trade-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homing.planning.limits import Budget, Floor, Limit
from homing.planning.pacing import FixedPrices, MirrorDescent, Pacer, RemainingRatio
from homing.planning.priced_budget import PricedBudget
from homing.planning.prices import Prices
from homing.planning.prices_file import load_prices, save_prices
from homing.planning.returns import Returns, estimate_returns

if TYPE_CHECKING:
    from homing.planning.plan import InfeasibleFloorsError, LimitUse, Plan, PriorityClass, UnmetFloorsError
    from homing.planning.plan_files import plan_from_file
    from homing.planning.plan_report import PlanReport, report
    from homing.planning.problem import PlanningProblem, UserOffsets
    from homing.planning.problem_file import ProblemFile
    from homing.planning.publishing import publish
    from homing.planning.scored_log import opportunities
    from homing.planning.serving import Replay, replay
    from homing.planning.solver import solve
    from homing.planning.streaming import StreamedPlan, solve_parquet
    from homing.planning.sweeping import Sweep, sweep
    from homing.planning.volume import VolumePlan, plan_volumes

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
    "PlanReport",
    "PlanningProblem",
    "PricedBudget",
    "Prices",
    "PriorityClass",
    "ProblemFile",
    "RemainingRatio",
    "Replay",
    "Returns",
    "StreamedPlan",
    "Sweep",
    "UnmetFloorsError",
    "UserOffsets",
    "VolumePlan",
    "estimate_returns",
    "load_prices",
    "opportunities",
    "plan_from_file",
    "plan_volumes",
    "publish",
    "replay",
    "report",
    "save_prices",
    "solve",
    "solve_parquet",
    "sweep",
]

#: Where names are that need Numba, or are needed by planners alone: serving reads prices and imports neither.
_LAZY = {
    "InfeasibleFloorsError": "plan",
    "LimitUse": "plan",
    "Plan": "plan",
    "PlanReport": "plan_report",
    "PlanningProblem": "problem",
    "PriorityClass": "plan",
    "ProblemFile": "problem_file",
    "Replay": "serving",
    "StreamedPlan": "streaming",
    "Sweep": "sweeping",
    "UnmetFloorsError": "plan",
    "UserOffsets": "problem",
    "VolumePlan": "volume",
    "opportunities": "scored_log",
    "plan_from_file": "plan_files",
    "plan_volumes": "volume",
    "publish": "publishing",
    "replay": "serving",
    "report": "plan_report",
    "solve": "solver",
    "solve_parquet": "streaming",
    "sweep": "sweeping",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"homing.planning.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
