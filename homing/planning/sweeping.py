"""What more or less of one budget would do to a plan: its trade-off curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from homing.errors import unknown_name
from homing.planning.plan import UnmetFloorsError
from homing.planning.problem import PlanningProblem, derived
from homing.planning.solver import solve

#: Shares of the limit that are planned for.
FACTORS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class SweepPoint:
    """One plan of a sweep.

    Attributes:
        limit: of the budget or floor that is swept.
        used: units of it.
        value: of the plan; None where floors cannot be met.
        upper_bound: no plan is worth more.
        price: value of one more unit (of a floor: of one less).
        messages: sent.
    """

    limit: float
    used: float
    value: float | None
    upper_bound: float
    price: float
    messages: int


@dataclass(frozen=True)
class Sweep:
    """Plans for several sizes of one limit.

    Attributes:
        name: of the limit.
        now: its size in the problem.
        points: by rising size.
    """

    name: str
    now: float
    points: tuple[SweepPoint, ...]

    def times(self, factor: float) -> Sweep:
        """Plans of a sample as those of `factor` times its users; prices are the same."""
        if factor == 1.0:
            return self
        return Sweep(
            self.name,
            self.now * factor,
            tuple(
                SweepPoint(
                    point.limit * factor,
                    point.used * factor,
                    None if point.value is None else point.value * factor,
                    point.upper_bound * factor,
                    point.price,
                    round(point.messages * factor),
                )
                for point in self.points
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "points": [asdict(point) for point in self.points]}


def sweep(problem: PlanningProblem, name: str, *, factors: Sequence[float] = FACTORS) -> Sweep:
    """Plan again with one limit at several sizes.

    Args:
        problem: what was planned for.
        name: of the limit.
        factors: sizes, as shares of the limit.

    Raises:
        UnknownNameError: if there is no limit of that name.

    Example:
        >>> from homing.planning import Budget, PlanningProblem
        >>> problem = PlanningProblem(user=[0, 1, 2], value=[3.0, 2.0, 1.0], budgets=[Budget(2)])
        >>> [point.value for point in sweep(problem, "messages", factors=(0.5, 1.0, 1.5)).points]
        [3.0, 5.0, 6.0]
    """
    labels = [limit.label for limit in problem.limits]
    if name not in labels:
        raise unknown_name("limit to sweep", name, labels)
    at = labels.index(name)
    points = []
    for size in sorted({float(problem.limits[at].limit * factor) for factor in factors}):  # of nothing there is one
        changed = derived(
            problem,
            budgets=tuple(replace(item, limit=size) if item.label == name else item for item in problem.budgets),
            floors=tuple(replace(item, limit=size) if item.label == name else item for item in problem.floors),
        )
        met = True
        try:
            found = solve(changed)
        except UnmetFloorsError as error:
            met, found = False, error.plan
        use = found.usage[at]
        points.append(
            SweepPoint(
                use.limit, use.used, found.value if met else None, found.upper_bound, use.price, len(found.chosen)
            )
        )
    return Sweep(name, float(problem.limits[at].limit), tuple(points))
