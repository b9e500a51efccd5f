"""The slow plan: how many messages a week each user may get on each channel, before it is decided which.

Per-message values do not tell what volume does: who gets few messages by accident is another kind of user (see
`benchmarks/volume_trap`). So the volume is planned from dose–response curves, learnt where volumes were drawn at
random, and a share of users goes on being drawn at random, with logged probabilities, for the next curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_shape
from homing.errors import InvalidInputError, describe, unknown_name
from homing.planning.limits import Budget
from homing.planning.plan import Plan
from homing.planning.problem import PlanningProblem, UserOffsets
from homing.planning.solver import solve

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VolumePlan:
    """A weekly level for every user.

    Attributes:
        level: (n,), the level that each user gets this week: planned, or drawn.
        planned: (n,), what the plan says.
        probabilities: (n, L), with which each level could have been drawn; log that of `level`.
        explored: (n,), whose level was drawn uniformly (it may be the planned one all the same).
        plan: its certificate, over what is not left to chance; prices are those of a message on each channel.
        expected: channel → messages a week that the probabilities make.
    """

    level: NDArray[np.int64]
    planned: NDArray[np.int64]
    probabilities: FloatArray
    explored: NDArray[np.bool_]
    plan: Plan
    expected: dict[str, float]

    @property
    def propensity(self) -> FloatArray:
        """(n,), the probability of each user's level: what the log must hold."""
        out: FloatArray = self.probabilities[np.arange(len(self.level)), self.level]
        return out

    def to_dict(self) -> dict[str, Any]:
        """Counts by level, and the certificate, as JSON types."""
        return {
            "users_by_level": np.bincount(self.level, minlength=self.probabilities.shape[1]).tolist(),
            "explored": int(self.explored.sum()),
            "expected": self.expected,
            "plan": self.plan.to_dict(),
        }


def plan_volumes(
    value: ArrayLike,
    levels: Mapping[str, Sequence[int]],
    budgets: Mapping[str, float],
    *,
    costs: Mapping[str, ArrayLike] | None = None,
    epsilon: float = 0.0,
    rng: np.random.Generator,
    warm_start: Plan | None = None,
) -> VolumePlan:
    """Choose each user's weekly level, so that the predicted value is as large as the budgets allow.

    A level is a candidate and a user gets one: the same problem as that of messages, so curves may have any shape
    (concave or not: no marginal greedy is used, which would stop at a dip). Level 0 is where nobody needs a candidate:
    values count from it.

    With probability `epsilon` a user's level is drawn uniformly from all L, so P(level) = (1 − ε) · 1[planned] + ε / L.
    Budgets hold in expectation over these draws: what exploration will use on average is set aside, and the rest is
    planned.

    Args:
        value: (n, L), predicted value of each user at each level, in any unit.
        levels: channel → messages a week at each of the L levels.
        budgets: channel or cost → units a week over all users.
        costs: name → (n, L), expected units of other things, opt-outs say; >= 0.
        epsilon: share of users explored, in [0, 1).
        rng: draws who is explored, and their levels.
        warm_start: last week's plan of the same budgets.

    Raises:
        InvalidInputError: if shapes, values or budgets break their bounds, level 0 is not the smallest, or exploration
            alone would use more than a budget.
        UnknownNameError: if a budget is of no channel and no cost.

    References:
        Zhao et al. (2018), "Notification Volume Control and Optimization System at Pinterest", KDD: weekly budgets,
        learnt from budgets assigned at random.

    Example:
        >>> value = [[0.0, 2.0, 3.0], [0.0, 0.1, 4.0]]  # the second user's curve is not concave
        >>> found = plan_volumes(value, {"push": [0, 1, 2]}, {"push": 3}, rng=np.random.default_rng(0))
        >>> found.level.tolist(), found.expected
        ([1, 2], {'push': 3.0})
    """
    worth = check_finite("value", check_shape("value", value, (None, None))).astype(np.float64)
    n, count = worth.shape
    uses: dict[str, NDArray[Any]] = {
        name: np.broadcast_to(_level(name, row, count), (n, count)) for name, row in levels.items()
    }
    for name, column in (costs or {}).items():
        units = check_finite(name, check_shape(name, column, (n, count))).astype(np.float64)
        if name in uses or (units < 0).any():
            raise InvalidInputError(describe(f"costs.{name}", name, "must be >= 0, and no channel"))
        uses[name] = units
    for name in budgets:
        if name not in uses:
            raise unknown_name("budget", name, uses)
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float | np.number) or not 0.0 <= epsilon < 1.0:
        raise InvalidInputError(describe("epsilon", epsilon, "must be in [0, 1)"))
    # What level 0 costs and what is drawn at random are not planned: the rest of each budget is.
    more: dict[str, NDArray[Any]] = {name: column - column[:, :1] for name, column in uses.items()}
    for name, column in more.items():
        if name in budgets and (column < 0).any():
            bound = "must be least at level 0"
            raise InvalidInputError(describe(f"use of {name}", float(column.min()), bound, "Order the levels by use."))
    limits = []
    for name, budget in budgets.items():
        drawn = epsilon * float(uses[name].mean(axis=1).sum())
        left = float(budget) - drawn - (1.0 - epsilon) * float(uses[name][:, 0].sum())
        if left < 0:
            bound = f"must be at least {float(budget) - left:g}: what level 0 and exploration use by themselves"
            raise InvalidInputError(describe(f"budget of {name}", budget, bound, "Raise it, or explore less."))
        rest = left / (1.0 - epsilon)
        # Messages are whole: half of one more admits no other plan, and none is lost to how sums are rounded.
        limits.append(Budget(np.floor(rest + 1e-9) + 0.5 if name in levels else rest, cost=name, name=name))
    problem = PlanningProblem(
        UserOffsets(np.arange(0, n * (count - 1) + 1, count - 1) if count > 1 else np.zeros(n + 1, dtype=np.int64)),
        (worth[:, 1:] - worth[:, :1]).ravel().astype(np.float32),
        costs={name: more[name][:, 1:].ravel() for name in budgets},
        budgets=limits,
    )
    plan = solve(problem, warm_start=warm_start)
    planned = np.zeros(n, dtype=np.int64)
    planned[problem.user_of(plan.chosen)] = plan.chosen % max(1, count - 1) + 1
    probabilities = np.full((n, count), epsilon / count)
    probabilities[np.arange(n), planned] += 1.0 - epsilon
    explored = np.asarray(rng.random(n) < epsilon)
    level = np.where(explored, rng.integers(0, count, n), planned)
    expected = {name: float((probabilities * uses[name]).sum()) for name in budgets}
    return VolumePlan(
        level, planned, probabilities, explored, replace(plan, n_silent=int((planned == 0).sum())), expected
    )


def _level(name: str, row: Sequence[int], count: int) -> FloatArray:
    out = check_finite(f"levels.{name}", check_shape(f"levels.{name}", row, (count,))).astype(np.float64)
    if (out < 0).any() or (out != np.round(out)).any():
        raise InvalidInputError(describe(f"levels.{name}", list(row), "must be whole numbers >= 0"))
    return out
