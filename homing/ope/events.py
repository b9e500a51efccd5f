"""Events behind an objective: rare ones, and sums that few large contributions decide, make normal intervals err."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.ope.diagnostics.tails import kish
from homing.ope.diagnostics.verdict import Verdict
from homing.ope.estimate import Clusters
from homing.ope.limits import SupportLimits

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class EventSupport:
    """What stands behind one objective's estimate.

    Attributes:
        objective: its name.
        events: rows whose reward differs from the usual one (the median), as logged.
        effective_events: Kish's effective number of users with such rows, weighted by weight and size.
        verdict: `caution` when few or skewed, `refuse` when none.
        reasons: sentences behind the verdict.
        skewness: of the self-normalised mean, Σ x³ / (Σ x²)^1.5 over users' x = Σ w (r - V); 0 where there is no event.
    """

    objective: str
    events: int
    effective_events: float
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    skewness: float = 0.0


def judge_events(
    name: str, weight: FloatArray, reward: FloatArray, clusters: Clusters, limits: SupportLimits, unit: str
) -> EventSupport:
    """What one objective (n,) rests on under a policy's weights (n,).

    Args:
        name: of the objective.
        weight, reward: (n,).
        clusters: rows that may depend on each other.
        limits: where `caution` begins.
        unit: what a row is, for the sentences.
    """
    size = np.abs(reward - np.median(reward))
    count = int(np.count_nonzero(size))
    if count == 0:
        return never(name, float(reward[0]), len(reward), unit)
    effective = kish(clusters.sums(weight * size))
    if effective == 0.0:
        return judged_events(name, count, 0.0, 0.0, limits)
    skewness = _skewness(clusters.sums(weight * (reward - float((weight * reward).sum() / weight.sum()))))
    return judged_events(name, count, effective, skewness, limits)


def never(name: str, usual: float, n: int, unit: str) -> EventSupport:
    """Of an objective that is the same in all n rows."""
    said = f"{name} is {usual:g} in all {n:,} {unit}: its interval says nothing."
    return EventSupport(name, 0, 0.0, "refuse", (said,))


def judged_events(
    name: str, count: int, effective: float, skewness: float, limits: SupportLimits
) -> EventSupport:  # fmt: skip
    """What so many events are worth, of which effectively so many users carry weight."""
    if effective == 0.0:
        said = f"None of the {count:,} events of {name} carries weight: the interval says nothing."
        return EventSupport(name, count, 0.0, "refuse", (said,))
    if effective < limits.caution_events:
        said = (
            f"{name} rests on effectively {effective:.1f} users with an event; "
            f"below {limits.caution_events:g} normal intervals are too narrow."
        )
        return EventSupport(name, count, effective, "caution", (said,), skewness)
    if abs(skewness) > limits.caution_skewness:
        said = (
            f"The mean of {name} is skewed by a few large contributions (skewness {skewness:.2f}); "
            f"beyond {limits.caution_skewness:g} normal intervals are too short on one side."
        )
        return EventSupport(name, count, effective, "caution", (said,), skewness)
    return EventSupport(name, count, effective, "fine", (), skewness)


def _skewness(x: FloatArray) -> float:
    """Skewness of the mean of independent x (G,): it falls with 1 / √G, and what is left makes normal intervals err.

    >>> round(_skewness(np.array([-0.1] * 9 + [0.9])), 4)  # a rate of 1 in 10: (1 - 2p) / √(p (1 - p) G)
    0.8433
    """
    top = float(np.abs(x).max(initial=0.0))
    if top == 0.0:
        return 0.0
    scaled = x / top
    square = scaled * scaled
    return float((square * scaled).sum() / square.sum() ** 1.5)
