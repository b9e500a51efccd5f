"""`PlanReport`: a plan for people: what is used, what it is worth beside what others would do, and who is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homing.planning.baselines import first_come_value, greedy_value
from homing.planning.demand import use_of
from homing.planning.layout import lay_out
from homing.planning.plan import Plan, UnmetFloorsError
from homing.planning.priorities import ranks
from homing.planning.problem import PlanningProblem, derived
from homing.planning.publishing import scaled
from homing.planning.returns import Returns
from homing.planning.silence import Silence, why_silent
from homing.planning.solver import solve
from homing.planning.sweeping import FACTORS, Sweep, sweep

if TYPE_CHECKING:
    from homing.planning.streaming import StreamedPlan


@dataclass(frozen=True, eq=False)
class PlanReport:
    """A plan beside its alternatives.

    Attributes:
        plan: with its certificate.
        greedy: value of taking candidates by falling value, class by class, within the same budgets.
        first_come: value of serving users as they come, each with the best that still has room.
        unlimited: value if there were no budgets: what everybody would get on their own.
        wanted: limit → units that would be used then.
        silence: who gets nothing, and why.
        sweeps: plans for other sizes of some limits.
        sampled: users that all but the plan was found out on, and counted up from; None for all.
        returns: what past days said of requests that are missing; None where there were none, or none that differ.
    """

    plan: Plan | StreamedPlan
    greedy: float
    first_come: float
    unlimited: float
    wanted: dict[str, float]
    silence: Silence
    sweeps: tuple[Sweep, ...]
    sampled: int | None = None
    returns: Returns | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "plan": self.plan.to_dict(),
            "alternatives": {"greedy": self.greedy, "first_come": self.first_come, "unlimited": self.unlimited},
            "wanted": self.wanted,
            "silence": self.silence.to_dict(),
            "sweeps": [item.to_dict() for item in self.sweeps],
            "sampled": self.sampled,
            "returns": None if self.returns is None else self.returns.to_dict(),
        }

    def to_text(self) -> str:
        """For a terminal."""
        lines = [str(self.plan), ""]
        for name, value in (("greedy by value", self.greedy), ("first come, first served", self.first_come)):
            more = f", {self.plan.value / value - 1:+.1%} by planning" if value > 0 else ""
            lines.append(f"{name}: {value:.6g}{more}")
        lines.append(f"without any limit: {self.unlimited:.6g}")
        silence = self.silence
        lines.append(
            f"{silence.total:,} users are silent: {silence.no_candidates:,} without candidates, "
            f"{silence.not_worth_it:,} for whom nothing beats silence, {sum(silence.priced_out.values()):,} whose best "
            f"is worth less than its budgets' prices, {silence.no_room:,} for whom no room was left"
        )
        if self.sampled is not None:
            lines.append(f"All but the plan was found out on {self.sampled:,} users, and counted up to all.")
        if self.returns is not None:
            lines.append(f"Past days: {self.returns}")
        return "\n".join(lines)

    def to_html(self, *, title: str = "Plan") -> str:
        """One self-contained page: no scripts, no network."""
        from homing.planning.html import report_page

        return report_page(self, title=title)


def report(
    problem: PlanningProblem,
    plan: Plan | StreamedPlan,
    *,
    sweeps: Sequence[str] | None = None,
    factors: Sequence[float] = FACTORS,
) -> PlanReport:
    """Hold a plan against what others would do, and against other sizes of its limits.

    Args:
        problem: what was planned for; of a plan part by part its `sample`, on which all but the plan is found out.
        plan: its plan.
        sweeps: limits to sweep; the one that is dearest as a whole (price · limit) when None.
        factors: sizes, as shares of each.

    Example:
        >>> from homing.planning import Budget, solve
        >>> problem = PlanningProblem(user=[0, 0, 1], value=[3.0, 2.9, 2.0], codes={"channel": [0, 1, 0]},
        ...                           budgets=[Budget(1, {"channel": 0})])
        >>> found = report(problem, solve(problem))
        >>> round(found.plan.value, 1), found.greedy, found.wanted
        (4.9, 3.0, {'channel=0': 2.0})
    """
    times = 1.0
    if isinstance(plan, Plan):
        mine = plan
    else:
        times = plan.n_users / max(1, problem.n_users)
        problem = scaled(problem, 1.0 / times)
        try:
            mine = solve(problem, warm_start=plan.prices)
        except UnmetFloorsError as error:  # those of the whole are met
            mine = error.plan
    layout = lay_out(problem)
    free = solve(derived(problem, budgets=(), floors=(), priorities=()))
    used = use_of(layout, free.chosen)
    rank = ranks(problem) if problem.priorities else None
    if sweeps is None:
        dearest = max(plan.usage, key=lambda item: item.price * item.limit, default=None)
        sweeps = [dearest.name] if dearest is not None else []
    return PlanReport(
        plan=plan,
        greedy=times * greedy_value(layout, rank),
        first_come=times * first_come_value(layout, rank),
        unlimited=times * free.value,
        wanted={item.name: times * units for item, units in zip(plan.usage, used.tolist(), strict=True)},
        silence=why_silent(problem, mine).times(times),
        sweeps=tuple(sweep(problem, name, factors=factors).times(times) for name in sweeps),
        sampled=None if mine is plan else problem.n_users,
    )
