"""`Prices`: what a plan leaves to the online service, one number for each budget. NumPy and JSON alone.

A plan maximises Σ value over who gets what under population budgets. Its dual variables are the prices λ at which
every request, on its own, makes the plan's trade-offs: send the candidate with the largest

    value − Σ_b λ_b · use_b            (for a floor, λ_b is a subsidy: it is added)

and be silent where none is above 0 (complementary slackness of the assignment LP; Bertsekas, "Nonlinear Programming",
section 6.1; Basu et al. 2020, "ECLIPSE", ICML, section 2).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import HomingError, InvalidInputError, describe
from homing.planning.priced_budget import PricedBudget

AGAIN = "Publish the prices again, or take the file from where it was published."


@dataclass(frozen=True)
class Prices:
    """The prices of all budgets of one horizon, with what is needed to use them and to keep to the budgets.

    Attributes:
        budgets: in the plan's order; names are unique.
        start: when the horizon begins, UTC.
        hours: how long it is.
        traffic: requests expected in each of equally long parts of the horizon; how budgets are meant to be used up.
        value_scale: a typical value of a planned message: the size of steps where a price starts from 0.
        schedule: (factor, prices (b,)) of the same budgets where traffic is `factor` times the forecast, by rising
            factor; () for none. All prices move together where traffic does, and what moves together is best known
            from plans made beforehand.
        policy: digest of the policy artifact whose scores the plan took for values; None where they came from
            elsewhere. Prices are in that policy's unit, and mean nothing to another.
        source: how they were made, for people: plain values for JSON.
        returns: in [0, 1), chance that requests which are missing, or came early, are made up for later in the
            horizon, as past ones say (`estimate_returns`); None where nobody knows. For pacers.

    Example:
        >>> push = PricedBudget("push", limit=1000, price=0.02, counts={"channel": "push"})
        >>> prices = Prices((push,), start=datetime(2026, 11, 23, tzinfo=UTC))
        >>> prices.choose(np.array([0.01, 0.05]), np.array([[1.0], [1.0]]))
        1
        >>> prices.choose(np.array([0.01, 0.015]), np.array([[1.0], [1.0]])) is None  # silence
        True
    """

    budgets: tuple[PricedBudget, ...]
    start: datetime
    hours: float = 24.0
    traffic: tuple[float, ...] = (1.0,)
    value_scale: float = 1.0
    schedule: tuple[tuple[float, tuple[float, ...]], ...] = ()
    policy: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    returns: float | None = None

    def __post_init__(self) -> None:
        names = [item.name for item in self.budgets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInputError(describe("budget.name", twice, "must be unique", "Rename one of them."))
        if self.start.utcoffset() is None:
            raise InvalidInputError(describe("start", self.start.isoformat(), "must carry its time zone"))
        for name in ("hours", "value_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInputError(describe(name, getattr(self, name), "must be a finite number > 0"))
        if not self.traffic or not all(0 <= item < math.inf for item in self.traffic) or sum(self.traffic) <= 0:
            bound = "must be finite numbers >= 0, not all 0"
            raise InvalidInputError(describe("traffic", list(self.traffic)[:10], bound, "Pass (1.0,) for an even one."))
        factors = [0.0, *(factor for factor, _ in self.schedule)]
        rising = all(low < high < math.inf for low, high in pairwise(factors))
        if not rising or not all(
            len(row) == len(self.budgets) and all(0 <= item < math.inf for item in row) for _, row in self.schedule
        ):
            bound = "must be (factor, one finite price >= 0 a budget), by rising factor"
            raise InvalidInputError(describe("schedule", self.schedule, bound))
        check_returns(self.returns)

    # What they say of a candidate -----------------------------------------------------------------------------------

    @cached_property
    def signed(self) -> NDArray[np.float64]:
        """(b,), what one unit of each budget takes off a candidate's value."""
        return np.array([item.signed for item in self.budgets], dtype=np.float64)

    @cached_property
    def limits(self) -> NDArray[np.float64]:
        """(b,), what may be used; infinite for floors, which nothing stops."""
        return np.where(self.is_floor, math.inf, self.at_most)

    # The budgets' fields as arrays, for what is computed at every request.

    @cached_property
    def at_most(self) -> NDArray[np.float64]:
        """(b,), units of each budget; of floors, those guaranteed."""
        return np.array([item.limit for item in self.budgets], dtype=np.float64)

    @cached_property
    def expected(self) -> NDArray[np.float64]:
        """(b,), units that the plan uses."""
        return np.array([item.expected for item in self.budgets], dtype=np.float64)

    @cached_property
    def elasticity(self) -> NDArray[np.float64]:
        """(b,), see `PricedBudget.elasticity`."""
        return np.array([item.elasticity for item in self.budgets], dtype=np.float64)

    @cached_property
    def is_floor(self) -> NDArray[np.bool_]:
        """(b,)."""
        return np.array([item.floor for item in self.budgets], dtype=bool)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(b,), share of each budget in what all of them are worth at their prices; 0 for floors."""
        worth = np.where(self.is_floor, 0.0, np.abs(self.signed) * self.at_most)
        total = float(worth.sum())
        out: NDArray[np.float64] = worth / total if total > 0 else worth
        return out

    @cached_property
    def _schedule(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        factors, rows = zip(*self.schedule, strict=True)
        return np.log(np.array(factors)), np.array(rows, dtype=np.float64)

    def scheduled(self, log_factor: float) -> NDArray[np.float64]:
        """Planned prices (b,) >= 0 at exp(log_factor) times the traffic, linear between those of the schedule."""
        at, rows = self._schedule
        i = int(np.clip(np.searchsorted(at, log_factor) - 1, 0, len(at) - 2)) if len(at) > 1 else 0
        if len(at) == 1:
            only: NDArray[np.float64] = rows[0]
            return only
        share = min(1.0, max(0.0, (log_factor - at[i]) / (at[i + 1] - at[i])))
        out: NDArray[np.float64] = rows[i] + share * (rows[i + 1] - rows[i])
        return out

    def adjusted(self, value: NDArray[np.float64], uses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (…,) less the prices of what candidates use (…, b)."""
        out: NDArray[np.float64] = value - uses @ self.signed
        return out

    def choose(self, value: NDArray[np.float64], uses: NDArray[np.float64]) -> int | None:
        """Index of the best of one user's candidates, the first of equal ones; None for silence.

        Args:
            value: (k,), over silence.
            uses: (k, b).
        """
        adjusted = self.adjusted(value, uses)
        best = int(np.argmax(adjusted)) if len(adjusted) else 0
        return best if len(adjusted) and adjusted[best] > 0 else None

    def at(self, signed: NDArray[np.float64]) -> Prices:
        """The same with other prices (b,), as `signed` gives them."""
        pairs = zip(self.budgets, np.asarray(signed, dtype=np.float64), strict=True)
        return replace(self, budgets=tuple(replace(b, price=max(0.0, float(-p if b.floor else p))) for b, p in pairs))

    # Which budgets a message uses -----------------------------------------------------------------------------------

    @cached_property
    def _by_keys(self) -> dict[tuple[str, ...], dict[tuple[str, ...], list[int]]]:
        index: dict[tuple[str, ...], dict[tuple[str, ...], list[int]]] = {}
        for i, item in enumerate(self.budgets):
            keys = tuple(sorted(item.counts))
            each = [(label,) if isinstance(label := item.counts[key], str) else label for key in keys]
            for labels in product(*each):
                index.setdefault(keys, {}).setdefault(labels, []).append(i)
        return index

    def counting(self, labels: Mapping[str, str]) -> list[int]:
        """Indices of the budgets that a message with these labels uses; `labels` may leave out what does not apply.

        >>> push = PricedBudget("push", 10, 0.1, {"channel": "push"})
        >>> nine = PricedBudget("push at 9", 2, 0.1, {"channel": "push", "hour": "9"})
        >>> prices = Prices((push, nine, PricedBudget("all", 20, 0.0)), datetime(2026, 11, 23, tzinfo=UTC))
        >>> prices.counting({"channel": "push", "hour": "9"}), prices.counting({"channel": "email"})
        ([0, 1, 2], [2])
        """
        found: list[int] = []
        for keys, rows in self._by_keys.items():
            found += rows.get(tuple(labels.get(key, "") for key in keys), ())
        return sorted(found)

    # The horizon ----------------------------------------------------------------------------------------------------

    def period(self, now: datetime) -> str:
        """Names the horizon that `now` lies in; what is used counts against the budgets of one horizon.

        Until other prices come, the horizon repeats itself with the same budgets: nobody is ever without them.

        >>> day = Prices((), datetime(2026, 11, 23, tzinfo=UTC))
        >>> day.period(datetime(2026, 11, 23, 18, tzinfo=UTC)), day.period(datetime(2026, 11, 25, tzinfo=UTC))
        ('2026-11-23T00:00:00Z/24h', '2026-11-25T00:00:00Z/24h')
        """
        begin = self.start + self._turn(now) * timedelta(hours=self.hours)
        return f"{begin.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}/{self.hours:g}h"

    def elapsed(self, now: datetime) -> float:
        """Share of its horizon's expected traffic that lies before `now`, in [0, 1).

        >>> day = Prices((), datetime(2026, 11, 23, tzinfo=UTC), traffic=(1.0, 3.0))
        >>> day.elapsed(datetime(2026, 11, 23, 18, tzinfo=UTC))
        0.625
        """
        length = timedelta(hours=self.hours)
        share = (now - self.start - self._turn(now) * length) / length * len(self.traffic)
        whole = int(share)
        return (math.fsum(self.traffic[:whole]) + (share - whole) * self.traffic[whole]) / math.fsum(self.traffic)

    def _turn(self, now: datetime) -> int:
        """How many horizons after the first `now` is."""
        return (now - self.start) // timedelta(hours=self.hours)

    # The artifact ---------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; without `returns` where nobody knows, as files are that were written before there was any."""
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.returns is None:
            del known["returns"]
        return {
            **known,
            "budgets": [item.to_dict() for item in self.budgets],
            "start": self.start.astimezone(UTC).isoformat(),
            "traffic": list(self.traffic),
            "schedule": [[factor, list(row)] for factor, row in self.schedule],
            "source": dict(self.source),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything in them, 64 hex digits."""
        return hashlib.sha256(_canonical(self.to_dict())).hexdigest()

    @property
    def version(self) -> str:
        """A short name for receipts and logs: when they begin to hold, and the digest's beginning."""
        return f"{self.start.astimezone(UTC):%Y-%m-%dT%H:%MZ}@{self.digest[:12]}"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prices:
        """Rebuild from `to_dict`.

        Raises:
            InvalidInputError: if a key is missing, unknown or out of its bounds.
        """
        known = set(cls.__dataclass_fields__)
        wanted = known if "returns" in data else known - {"returns"}
        if set(data) != wanted:
            odd = sorted(set(data) ^ wanted)[0]
            bound = "is missing" if odd in known else "is not a key of prices"
            raise InvalidInputError(describe("key", odd, bound, AGAIN))
        try:
            budgets = tuple(PricedBudget(**item) for item in data["budgets"])
            start = datetime.fromisoformat(data["start"])
            schedule = tuple((factor, tuple(row)) for factor, row in data["schedule"])
            traffic = tuple(data["traffic"])
            return cls(**{**data, "budgets": budgets, "start": start, "traffic": traffic, "schedule": schedule})
        except (TypeError, AttributeError, ValueError) as error:
            if isinstance(error, HomingError):
                raise
            raise InvalidInputError(f"prices: {error}. {AGAIN}") from error


def uses_of(prices: Prices, labels: Sequence[Mapping[str, str]], amounts: Iterable[Mapping[str, float]]) -> Any:
    """Units of each budget that each of k messages would use (k, b).

    Args:
        prices: the budgets.
        labels: of each message; see `PricedBudget.counts`.
        amounts: of each message, by `PricedBudget.amount`; units below 0 count as 0.

    Raises:
        InvalidInputError: if an amount that a budget counts is missing or no finite number.

    Example:
        >>> money = PricedBudget("money", 10, 0.1, amount="feature.cost")
        >>> uses_of(Prices((money,), datetime(2026, 11, 23, tzinfo=UTC)), [{}], [{"feature.cost": 0.5}]).tolist()
        [[0.5]]
    """
    uses = np.zeros((len(labels), len(prices.budgets)))
    for i, (row, units) in enumerate(zip(labels, amounts, strict=True)):
        for b in prices.counting(row):
            amount = prices.budgets[b].amount
            unit = 1.0 if amount is None else units.get(amount)
            if unit is None or not math.isfinite(unit):
                bound = f"must be a finite number: budget {prices.budgets[b].name!r} counts it"
                raise InvalidInputError(describe(f"candidates[{i}] {amount}", unit, bound, "Send it with the request."))
            uses[i, b] = max(0.0, unit)
    return uses


def check_returns(value: float | None) -> float | None:
    """Refuse what is neither None nor a number in [0, 1)."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0):
        raise InvalidInputError(describe("returns", value, "must be in [0, 1)"))
    return value


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
