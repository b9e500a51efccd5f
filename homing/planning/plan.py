"""`Plan`: who gets what, with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import HomingError, describe


@dataclass(frozen=True)
class LimitUse:
    """One budget or floor in a plan.

    Attributes:
        name: of the limit.
        floor: whether it is a floor.
        limit: units.
        used: units.
        price: value that one more unit of a budget, one unit less of a floor, would bring; >= 0.
        binding: whether it has a price.
    """

    name: str
    floor: bool
    limit: float
    used: float
    price: float

    @property
    def binding(self) -> bool:
        """Whether it has a price."""
        return self.price > 0.0

    @property
    def missing(self) -> float:
        """Units by which the limit is broken."""
        return max(0.0, self.limit - self.used if self.floor else self.used - self.limit)

    def __str__(self) -> str:
        text = f"{self.name}: {self.used:.6g} of {'at least' if self.floor else 'at most'} {self.limit:.6g}"
        return f"{text}, price {self.price:.4g}" if self.binding else text

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "name": self.name,
            "kind": "floor" if self.floor else "budget",
            "limit": self.limit,
            "used": self.used,
            "price": self.price,
            "binding": self.binding,
        }


@dataclass(frozen=True)
class PriorityClass:
    """What one class of a problem with priorities gets.

    Attributes:
        name: what it selects.
        value: Σ value over what it is sent.
        upper_bound: no plan that sends the classes before it what this one does is worth more in this class. It may
            send this class and the next others, and must leave room for all floors.
        messages: sent.
        prices: (limits,) signed as in `Plan`, of what the classes before it leave.
    """

    name: str
    value: float
    upper_bound: float
    messages: int
    prices: tuple[float, ...]

    @property
    def gap(self) -> float:
        """The most that is lost in this class, as a share of its bound; 0 where there is nothing to win."""
        return max(0.0, self.upper_bound - self.value) / abs(self.upper_bound) if self.upper_bound else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        numbers = {name: getattr(self, name) for name in ("name", "value", "upper_bound", "gap", "messages")}
        return {**numbers, "prices": list(self.prices)}


@dataclass(frozen=True, eq=False)
class Plan:
    """Who gets what, and how far from the best possible plan that can be.

    Attributes:
        chosen: (messages,) rows of the candidates that are sent, rising.
        prices: (limits,) what one unit of each limit takes off a candidate's value: >= 0 for budgets, <= 0 for floors;
            in the order of `problem.limits`.
        value: Σ value over the chosen.
        upper_bound: no plan is worth more (weak duality at `prices`). With priorities the sum of the classes' bounds:
            of plans that put the first class first, and so on, as this one does.
        usage: each limit's use and price, in the same order.
        n_users: users planned for.
        n_silent: of these, who gets nothing.
        n_repaired: users who do not get what is best for them at these prices, so that limits hold.
        classes: each class's part, by falling priority; () without priorities. `prices` are then each limit's in the
            first class that would use one more unit of it.
    """

    chosen: NDArray[np.int64]
    prices: NDArray[np.float64]
    value: float
    upper_bound: float
    usage: tuple[LimitUse, ...]
    n_users: int
    n_silent: int
    n_repaired: int
    classes: tuple[PriorityClass, ...] = ()

    @property
    def n_messages(self) -> int:
        """Messages sent."""
        return len(self.chosen)

    @property
    def gap(self) -> float:
        """(upper_bound − value) / upper_bound, the most that is lost, as a share; 0 where there is nothing to win."""
        lost = self.upper_bound - self.value
        return max(0.0, lost) / abs(self.upper_bound) if self.upper_bound else max(0.0, lost)

    @property
    def binding(self) -> tuple[str, ...]:
        """Names of the limits that have a price."""
        return tuple(item.name for item in self.usage if item.binding)

    def to_dict(self) -> dict[str, Any]:
        """The certificate, as JSON types."""
        return {
            "value": self.value,
            "upper_bound": self.upper_bound,
            "gap": self.gap,
            "n_users": self.n_users,
            "n_messages": self.n_messages,
            "n_silent": self.n_silent,
            "n_repaired": self.n_repaired,
            "binding": list(self.binding),
            "limits": [item.to_dict() for item in self.usage],
            **({"classes": [item.to_dict() for item in self.classes]} if self.classes else {}),
        }

    def __str__(self) -> str:
        lines = [
            f"value {self.value:.6g}, at most {self.upper_bound:.6g} possible (gap {self.gap:.1e})",
            f"{self.n_messages:,} messages to {self.n_users - self.n_silent:,} of {self.n_users:,} users, "
            f"{self.n_repaired:,} of them other than their prices say",
        ]
        lines += [
            f"{i + 1}. {item.name}: value {item.value:.6g}, at most {item.upper_bound:.6g} possible beside what goes "
            f"before (gap {item.gap:.1e}), {item.messages:,} messages"
            for i, item in enumerate(self.classes)
        ]
        return "\n".join([*lines, *map(str, self.usage)])


class UnmetFloorsError(HomingError, ValueError):
    """Limits that no plan found keeps: which, by how much, and what to relax. A plan that keeps them may exist.

    Attributes:
        plan: the plan (`Plan`, or `StreamedPlan` part by part) that comes nearest: floors are missed before budgets
            are exceeded.
        missed: floors that it misses; `missing` are the units to take off, `price` the value that each of them costs.
        exceeded: budgets that it exceeds; `missing` are the units to add.
    """

    _floor = "met by no plan that was found, nor proven impossible; {used:.10g} were reached beside the other limits"
    _budget = "kept by no plan that was found, nor proven impossible; {used:.10g} were used beside the other limits"

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.missed = tuple(item for item in plan.usage if item.floor and item.missing > 0)
        self.exceeded = tuple(item for item in plan.usage if not item.floor and item.missing > 0)
        told = [
            describe(f"floor {item.name!r}", item.limit, f"{self._reached(item)} ({item.missing:.10g} missing)")
            for item in self.missed
        ]
        told += [
            describe(f"budget {item.name!r}", item.limit, f"{self._reached(item)} ({item.missing:.10g} too many)")
            for item in self.exceeded
        ]
        if not told:  # all hold, but not beside what stands
            told = [describe("messages planned", plan.n_messages, "must keep what goes before, and do not")]
        super().__init__(f"{' '.join(told)} {self._next()}")

    def _reached(self, item: LimitUse) -> str:
        return (self._floor if item.floor else self._budget).format(used=item.used)

    def _next(self) -> str:
        binding = ", ".join(item.name for item in self.plan.usage if item.binding and not item.floor) or "none"
        if self.missed:
            return f"Lower it, or raise the budgets that it shares: {binding}."
        floors = ", ".join(item.name for item in self.plan.usage if item.floor) or "none"
        if self.exceeded:
            return f"Raise it, or lower the floors that need it: {floors}."
        return f"Raise the budgets that bind: {binding}, lower the floors: {floors}, or name fewer priorities."


class InfeasibleFloorsError(UnmetFloorsError):
    """The same where it is proven that no plan keeps all limits.

    The proof is the dual's (prices at which even candidates without any value would be worth less than nothing), or for
    few candidates the integer program's.
    """

    _floor = "must be <= {used:.10g}, the most that was reached beside the other limits"
    _budget = "must be >= {used:.10g}, the least that was used beside the other limits"
