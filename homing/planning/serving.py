"""Requests served one after the other at prices, as the online service does it: `replay`, and use at fixed prices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_positive, check_shape
from homing.errors import InvalidInputError, describe
from homing.planning.compiled import compiled
from homing.planning.layout import FloatArray, Layout, lay_out
from homing.planning.pacing import SLICES, Pacer, RemainingRatio
from homing.planning.prices import Prices
from homing.planning.problem import PlanningProblem
from homing.planning.solver import solve


@dataclass(frozen=True)
class Replay:
    """What a day of requests would have earned at prices.

    Attributes:
        value: Σ value of what was sent.
        hindsight: what no plan for that day could have exceeded, made with full knowledge of it.
        requests: users of the stream.
        sent: how many got something.
        used: budget → units.
        stopped: budget → requests that had to do without a better candidate because the budget had no room for it.
        first_stop: budget → share of the stream after which that first happened.
        path: ((share of requests served, prices (b,)), …) along the day.
    """

    value: float
    hindsight: float
    requests: int
    sent: int
    used: dict[str, float]
    stopped: dict[str, int]
    first_stop: dict[str, float]
    path: tuple[tuple[float, tuple[float, ...]], ...]

    @property
    def share(self) -> float:
        """Value as a share of what hindsight could have had at most."""
        return self.value / self.hindsight if self.hindsight else 1.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "share": self.share}


def replay(
    stream: PlanningProblem,
    prices: Prices,
    pacer: Pacer | None = None,
    *,
    elapsed: ArrayLike | None = None,
    hindsight: float | None = None,
    block: int | None = None,
) -> Replay:
    """Serve a stream of requests one by one, with hard stops, and hold it against the best plan in hindsight.

    Deterministic. A request takes its candidate of largest value after prices if that is above 0, the first of equal
    ones; candidates that a budget has no room for are left out, so that no budget is ever exceeded.

    Args:
        stream: users are requests, in order of arrival; `limits` are the day's, in the order of `prices.budgets`.
        prices: as published beforehand, from a forecast.
        pacer: how prices follow use; `RemainingRatio` when None.
        elapsed: (requests,), for each request the share of the *forecast* traffic that should have come before it,
            rising; when None the clock runs evenly over the stream.
        hindsight: upper bound of any plan's value; from `solve` when None.
        block: requests between two looks at the prices; a thousandth of the stream when None.

    Raises:
        InvalidInputError: if the stream's limits are not those of the prices, or it plans several messages a request.

    Example:
        >>> from datetime import UTC, datetime
        >>> from homing.planning import Budget, FixedPrices, PricedBudget
        >>> stream = PlanningProblem(user=[0, 1, 2], value=[3.0, 1.0, 2.0], budgets=[Budget(2)])
        >>> prices = Prices((PricedBudget("messages", 2, 1.5),), start=datetime(2026, 11, 23, tzinfo=UTC))
        >>> done = replay(stream, prices, FixedPrices())
        >>> done.value, round(done.share, 6), done.used
        (5.0, 1.0, {'messages': 2.0})
    """
    names = [item.name for item in prices.budgets]
    if [limit.label for limit in stream.limits] != names:
        step = "Publish prices from a plan with the same limits."
        raise InvalidInputError(
            describe("limits of the stream", [x.label for x in stream.limits], f"must be {names}", step)
        )
    if stream.max_per_user != 1:
        raise InvalidInputError(describe("max_per_user", stream.max_per_user, "must be 1: a request gets one message"))
    n = stream.n_users
    clock = np.arange(n) / max(1, n) if elapsed is None else check_shape("elapsed", elapsed, (n,)).astype(np.float64)
    if n and not ((np.diff(clock) >= 0).all() and clock[0] >= 0 and clock[-1] <= 1):
        raise InvalidInputError(describe("elapsed", [clock[0], clock[-1]], "must rise within [0, 1]"))
    length = max(1, n // 1000) if block is None else int(check_positive("block", block))
    pace = RemainingRatio() if pacer is None else pacer
    layout = lay_out(stream)
    rows = layout.rows
    used, stopped = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    first = np.full(len(rows), -1, dtype=np.int64)
    # The first and the last request of each slice of the horizon.
    edges = np.concatenate([[0], np.searchsorted(clock, np.arange(1, SLICES) / SLICES), [n]])
    value, sent = 0.0, 0
    path = []
    for begin in range(0, n, length):
        end = min(n, begin + length)
        now = float(clock[begin])
        came = np.diff(np.minimum(edges, begin)).astype(np.float64)
        signed = pace.signed(prices, elapsed=now, requests=came, used=used[rows.of_limit])
        path.append((begin / n, tuple(signed.tolist())))
        more, count = serve(
            layout.offsets, layout.value, layout.cell, layout.costs, begin, end, rows.tables(_of_rows(layout, signed)),
            rows.start, rows.row, rows.cost, rows.ceiling, used, stopped, first,
        )  # fmt: skip
        value, sent = value + more, sent + count
    best = solve(stream, threads=1).upper_bound if hindsight is None else float(hindsight)
    per_limit = rows.of_limit.tolist()
    return Replay(
        value=value,
        hindsight=best,
        requests=n,
        sent=sent,
        used={name: float(used[row]) for name, row in zip(names, per_limit, strict=True)},
        stopped={name: int(stopped[row]) for name, row in zip(names, per_limit, strict=True)},
        first_stop={name: float(first[row]) / n for name, row in zip(names, per_limit, strict=True) if first[row] >= 0},
        path=tuple(path),
    )


def use_at(layout: Layout, signed: FloatArray) -> FloatArray:
    """Units of each limit (b,) where every user, alone, takes what is best at prices (b,), and nothing stops them."""
    rows, m = layout.rows, len(layout.rows)
    used, stopped, first = np.zeros(m), np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    serve(
        layout.offsets, layout.value, layout.cell, layout.costs, 0, layout.n_users,
        rows.tables(_of_rows(layout, signed)), rows.start, rows.row, rows.cost,
        np.full(m, np.inf), used, stopped, first,
    )  # fmt: skip
    out: FloatArray = used[rows.of_limit]
    return out


def _of_rows(layout: Layout, signed: FloatArray) -> FloatArray:
    """Prices of rows from those of limits: a budget and a floor on the same thing add up."""
    out: FloatArray = np.zeros(len(layout.rows))
    np.add.at(out, layout.rows.of_limit, signed)
    return out


@compiled
def serve(  # type: ignore[no-untyped-def]
    offsets, value, cell, costs, begin, end, table, start, row, kind, ceiling, used, stopped, first
):
    """Serve requests `begin` to `end` at the prices of `table` (1 + K, cells); returns their value and how many were
    sent something.

    Args:
        start, row, kind: the rows of each cell, and what each row counts.
        ceiling: (m,).
        used: (m,), counted on.
        stopped, first: (m,), requests that a row's ceiling cost a better candidate, and the first of them, or −1.
    """
    total = 0.0
    sent = 0
    for u in range(begin, end):
        best, top, wanted, most = -1, 0.0, -1, 0.0
        for i in range(offsets[u], offsets[u + 1]):
            c = cell[i]
            worth = value[i] - table[0, c]
            for k in range(costs.shape[0]):
                worth -= costs[k, i] * table[k + 1, c]
            if worth > most:
                wanted, most = i, worth
            if worth > top:
                room = True
                for e in range(start[c], start[c + 1]):
                    r = row[e]
                    unit = 1.0 if kind[r] == 0 else costs[kind[r] - 1, i]
                    if unit > 0.0 and used[r] + unit > ceiling[r]:
                        room = False
                        break
                if room:
                    best, top = i, worth
        if wanted != best:
            c = cell[wanted]
            for e in range(start[c], start[c + 1]):
                r = row[e]
                unit = 1.0 if kind[r] == 0 else costs[kind[r] - 1, wanted]
                if unit > 0.0 and used[r] + unit > ceiling[r]:
                    stopped[r] += 1
                    if first[r] < 0:
                        first[r] = u
        if best >= 0:
            total += value[best]
            sent += 1
            c = cell[best]
            for e in range(start[c], start[c + 1]):
                r = row[e]
                used[r] += 1.0 if kind[r] == 0 else costs[kind[r] - 1, best]
    return total, sent
