"""What sums over a log can say about a policy, with a verdict: the part of `Support` that needs no row twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.ope.diagnostics.tails import WeightTail, tail_of_largest
from homing.ope.diagnostics.verdict import Verdict, worst
from homing.ope.events import EventSupport, judged_events, never
from homing.ope.limits import SupportLimits
from homing.ope.sums.moments import Columns, UserMoments
from homing.ope.weights import WeightSpread, judge_weights

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SumsSupport:
    """Diagnostics of a policy's importance weights on a log of any size.

    They are those of `Support`, by the same limits, but for what needs the rows again: which messages and segments lack
    support, and whether propensities are true of each message. What a policy does that the log never did takes the
    mean weight below 1, which is tested here, on large logs down to one choice in a hundred.

    Attributes:
        ess: effective sample size (Σw)² / Σw², in decisions.
        effective_users: the same over users' summed weights.
        max_weight: the largest weight.
        top_user_share: share of all weight that the heaviest user carries.
        weight_mean, weight_mean_error: of the weights; 1 up to its error where propensities are right.
        verdict: `fine`, `caution` (read with the reasons) or `refuse` (the estimates mean nothing).
        reasons: sentences behind the verdict.
        events: what stands behind each objective. Events are decisions whose reward is not 0; effectively so many users
            have them as Kish's number of users' |Σ w r| says.
        tail: how heavy the tail of the users' weights is.
    """

    ess: float
    effective_users: float
    max_weight: float
    top_user_share: float
    weight_mean: float
    weight_mean_error: float
    verdict: Verdict
    reasons: tuple[str, ...]
    events: Mapping[str, EventSupport]
    tail: WeightTail

    def verdict_for(self, objective: str) -> Verdict:
        """The worse of the weights' verdict and the objective's own."""
        return worst(self.verdict, self.events[objective].verdict)

    def reasons_for(self, objective: str) -> tuple[str, ...]:
        """The sentences behind `verdict_for`."""
        return (*self.reasons, *self.events[objective].reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            **asdict(self),
            "reasons": list(self.reasons),
            "events": {name: {**asdict(item), "reasons": list(item.reasons)} for name, item in self.events.items()},
            "tail": self.tail.to_dict(),
        }


def support_of(
    policy: str,
    total: FloatArray,
    moments: UserMoments,
    columns: Columns,
    max_weight: float,
    limits: SupportLimits | None = None,
) -> SumsSupport:
    """What sums z (D,) over a log, and their users' moments, say of a policy."""
    limits = limits or SupportLimits()
    w, n, p = columns.weight[policy], total[columns.count], moments.products
    mean, largest = float(total[w] / n), moments.largest[policy]
    error = math.sqrt(moments.count / (moments.count - 1) * _squared_error(moments, columns, w, mean)) / float(n)
    spread = WeightSpread(
        n=round(float(n)),
        n_users=moments.count,
        ess=_ratio(total[w] ** 2, total[columns.squares[policy]]),
        effective_users=_ratio(total[w] ** 2, p[w, w]),
        top_user_share=_ratio(largest.max(initial=0.0), total[w]),
        mean=mean,
        mean_error=error,
    )
    tail = tail_of_largest(largest, moments.weighing[policy])
    found = judge_weights(spread, tail, limits)
    return SumsSupport(
        ess=spread.ess,
        effective_users=spread.effective_users,
        max_weight=max_weight,
        top_user_share=spread.top_user_share,
        weight_mean=mean,
        weight_mean_error=error,
        verdict=found.verdict,
        reasons=tuple(found.reasons),
        events={name: _events_of(policy, name, total, moments, columns, limits) for name in columns.logged},
        tail=tail,
    )


def _events_of(
    policy: str, objective: str, total: FloatArray, moments: UserMoments, columns: Columns, limits: SupportLimits
) -> EventSupport:
    """What stands behind an objective."""
    key, n = (policy, objective), float(total[columns.count])
    a, r = columns.weighted[key], columns.logged[objective]
    count, mean = round(float(total[columns.events[objective]])), float(total[r]) / n
    same = _squared_error(moments, columns, r, mean) <= 1e-12 * moments.products[r, r]
    if count == 0 or (count == round(n) and same):
        return never(objective, mean, round(n), "decisions")
    value = _ratio(total[a], total[columns.weight[policy]])
    effective = _ratio(moments.absolute[key] ** 2, moments.products[a, a])
    return judged_events(objective, count, effective, moments.skewness(key, columns, value), limits)


def _squared_error(moments: UserMoments, columns: Columns, column: int, mean: float) -> float:
    """Σ_g (z_g - mean N_g)² over users, of a column's mean per decision."""
    p, rows = moments.products, columns.count
    return max(float(p[column, column] - 2.0 * mean * p[column, rows] + mean**2 * p[rows, rows]), 0.0)


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom > 0 else 0.0
