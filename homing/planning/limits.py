"""`Budget` and `Floor`: what may be used of something at most, and what must be delivered at least."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from homing.errors import InvalidInputError, describe

#: A code, its name, or several of them.
Selection = int | str | Sequence[int] | Sequence[str]


@dataclass(frozen=True)
class Limit:
    """What is counted: messages, or a cost of theirs, where codes are as named.

    Attributes:
        limit: units over the whole population and horizon.
        where: code column → the code (or its name, or several) that counts; {} counts every message. Several columns
            must all match: `{"channel": "push", "hour": 9}`.
        cost: the cost column that is summed; None counts messages.
        name: shown in reports; made from what is counted if empty. Unique in a problem.
    """

    limit: float
    where: Mapping[str, Selection] = field(default_factory=dict)
    cost: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        kind = type(self).__name__.lower()
        for key, text in (("cost", self.cost), ("name", self.name)):
            if not isinstance(text, str) and not (key == "cost" and text is None):
                raise InvalidInputError(describe(f"{key} of {kind}", text, "must be a text"))
        if not isinstance(self.where, Mapping):
            raise InvalidInputError(describe(f"where of {kind}", self.where, "must map columns to codes"))
        object.__setattr__(self, "where", {column: _plain(column, kind, self.where[column]) for column in self.where})
        size: Any = self.limit
        if isinstance(size, np.number):
            object.__setattr__(self, "limit", size.item())
        if isinstance(self.limit, bool) or not isinstance(self.limit, int | float) or not 0 <= self.limit < math.inf:
            raise InvalidInputError(
                describe(
                    f"limit of {kind} {self.label!r}",
                    self.limit,
                    "must be a finite number >= 0",
                    "Leave out what has no limit.",
                )
            )

    @property
    def label(self) -> str:
        """The name, or what is counted.

        >>> Budget(10, {"channel": "push", "hour": 9}).label, Floor(5, cost="money").label
        ('channel=push & hour=9', 'money')
        """
        if self.name:
            return self.name
        what = " & ".join(f"{column}={_shown(chosen)}" for column, chosen in self.where.items())
        return " of ".join(part for part in (self.cost, what) if part) or "messages"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        where = {
            column: chosen if isinstance(chosen, int | str) else list(chosen) for column, chosen in self.where.items()
        }
        return {"name": self.label, "limit": self.limit, "where": where, "cost": self.cost}


class Budget(Limit):
    """At most `limit` units. See `Limit`.

    Example:
        >>> Budget(1000, {"channel": "push"}).label
        'channel=push'
        >>> Budget(-1)
        Traceback (most recent call last):
        homing.errors.InvalidInputError: limit of budget 'messages' == -1, must be a finite number >= 0. Leave out ...
    """


class Floor(Limit):
    """At least `limit` units: a delivery guarantee. See `Limit`.

    Example:
        >>> Floor(500, {"campaign": "launch"}).label
        'campaign=launch'
    """


def distinct(budgets: Sequence[Budget], floors: Sequence[Floor]) -> tuple[Floor, ...]:
    """Floors under names of their own: one on what a budget counts is `NAME (floor)`.

    >>> distinct([Budget(9, {"channel": "push"})], [Floor(5, {"channel": "push"})])[0].label
    'channel=push (floor)'
    """
    taken = {budget.label for budget in budgets}
    return tuple(replace(item, name=f"{item.label} (floor)") if item.label in taken else item for item in floors)


def _plain(column: str, kind: str, chosen: Any) -> Selection:
    """A code, its name, or a list of them, without NumPy's types."""
    several = isinstance(chosen, Iterable) and not isinstance(chosen, str)
    codes = list(chosen) if several else [chosen]
    for code in codes:
        if isinstance(code, bool) or not isinstance(code, int | str | np.integer):
            step = "YAML reads on, off, yes and no so: quote them." if isinstance(code, bool) else ""
            bound = "must be a code, its name, or a list of them"
            raise InvalidInputError(describe(f"{column} of {kind}", code, bound, step))
    plain = [code if isinstance(code, str) else int(code) for code in codes]
    out: Selection = plain if several else plain[0]  # type: ignore[assignment]
    return out


def _shown(chosen: Selection) -> str:
    return str(chosen) if isinstance(chosen, int | str) else "|".join(map(str, chosen))
