"""`PricedBudget`: what is counted, how much of it there is, and what one more unit is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homing.errors import InvalidInputError, describe

#: What a budget may select messages by; `context.NAME` selects users by a feature of theirs.
KEYS = ("message_id", "campaign", "domain", "channel", "slot", "hour")
#: What a budget may count instead of messages: a feature of the candidate, or what the policy expects of an objective.
AMOUNTS = ("feature.", "objective.")


@dataclass(frozen=True)
class PricedBudget:
    """One budget with its price.

    Attributes:
        name: stands in receipts, reports and the ledger.
        limit: units that may be used over the horizon; for a floor, units that must be.
        price: value of one more unit, >= 0; for a floor, what one unit less of it would gain.
        counts: key → label (or labels) of the messages that use it, `{"channel": "push", "hour": ("9", "10")}`; {} for
            every message. Keys are columns of a candidate, `hour` (UTC, of the decision) and `context.NAME`.
        amount: None where each message is one unit, else where its units stand: `feature.NAME` of the candidate, or
            `objective.NAME`, what the policy expects of it over silence.
        floor: whether it is a delivery guarantee.
        planned: units that the plan uses; None for the limit.
        elasticity: by how many per cent use falls where the price rises by one per cent.

    Example:
        >>> PricedBudget("push", limit=1000, price=0.02, counts={"channel": "push"}).signed
        0.02
    """

    name: str
    limit: float
    price: float
    counts: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    amount: str | None = None
    floor: bool = False
    planned: float | None = None
    elasticity: float = 1.0

    def __post_init__(self) -> None:
        where = f"budgets[{self.name!r}]"
        if not isinstance(self.name, str) or not self.name or self.name != self.name.strip():
            bound = "must be a text that is not empty, without space around it"
            raise InvalidInputError(describe("budget.name", self.name, bound))
        for name in ("limit", "price", *(["planned"] if self.planned is not None else [])):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InvalidInputError(describe(f"{where}.{name}", value, "must be a finite number >= 0"))
        if not isinstance(self.elasticity, int | float) or not 0 < self.elasticity < math.inf:
            raise InvalidInputError(describe(f"{where}.elasticity", self.elasticity, "must be a finite number > 0"))
        counts: dict[str, str | Sequence[str]] = {}
        for key, label in self.counts.items():
            if key not in KEYS and not (key.startswith("context.") and len(key) > len("context.")):
                bound = f"must be one of {', '.join(KEYS)} or context.NAME"
                raise InvalidInputError(describe(f"{where}.counts", key, bound))
            labels = (label,) if isinstance(label, str) else tuple(label)
            if not labels or not all(isinstance(item, str) for item in labels):
                raise InvalidInputError(describe(f"{where}.counts.{key}", label, "must be a text, or several"))
            if len(labels) > 1:
                labels = tuple(dict.fromkeys(labels))
            # One label is kept as it is written, several as a tuple: equal budgets are equal however they came.
            counts[key] = labels[0] if len(labels) == 1 else labels
        object.__setattr__(self, "counts", counts)
        if self.amount is not None and not any(self.amount.startswith(p) and self.amount != p for p in AMOUNTS):
            raise InvalidInputError(describe(f"{where}.amount", self.amount, "must be feature.NAME or objective.NAME"))

    @property
    def signed(self) -> float:
        """What one unit takes off a candidate's value: the price, or minus the subsidy of a floor."""
        return -self.price if self.floor else self.price

    @property
    def expected(self) -> float:
        """Units that the plan uses over the horizon."""
        return self.limit if self.planned is None else self.planned

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        counts = {key: label if isinstance(label, str) else list(label) for key, label in self.counts.items()}
        return {**self.__dict__, "counts": counts}
