"""The decision rule on arrays: one rule for the scorecard of one experiment and for ten thousand simulated ones.

Arrays have the axes (…, looks, treatments, tests); a rejection stands once it was made, at whichever look, because each
test's bounds keep its error rate over all looks together.

References: Schultzberg, Ankargren, Frånberg (2024), arXiv 2402.11609, Decision Rule 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from homing.experiments.monitoring import Monitoring

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int8]

#: What the rule may say of a treatment; a code is an index into this.
VERDICTS = ("continue", "ship", "stop-harm", "stop-futility", "invalid")
CONTINUE, SHIP, HARM, FUTILITY, INVALID = range(len(VERDICTS))
#: A chance of still shipping below this is given up. Stopping there raises β to at most β / (1 - it).
LEAST_CHANCE = 0.05
#: Information counts as whole within rounding of shares.
_WHOLE = 1.0 - 1e-9


@dataclass(frozen=True)
class Paths:
    """All tests of one kind (superiority, non-inferiority or inferiority), at every look.

    Attributes:
        z: (…, looks, treatments, tests), oriented so that large values reject; NaN where there is none yet.
        bounds: what z must reach; infinite where a look may not reject. This and the rest broadcast against z.
        information: share of the information at the planned end.
        last_bounds: what z would have to reach at the planned end, were that the only look left.
        design: mean of z at the planned end under the effect designed for; minus infinity where there is none.
    """

    z: FloatArray
    bounds: FloatArray
    information: FloatArray
    last_bounds: FloatArray
    design: FloatArray

    @property
    def rejected(self) -> BoolArray:
        """(…, looks, treatments, tests), at this look or before."""
        return rejected_so_far(self.z, self.bounds)

    @property
    def chance(self) -> FloatArray:
        """(…, looks, treatments, tests), of rejecting by the planned end; 1 where it has."""
        found = chance_to_reject(self.z, self.information, self.last_bounds, self.design)
        return np.asarray(np.where(self.rejected, 1.0, found))

    @property
    def complete(self) -> BoolArray:
        """(…, looks, treatments), whether all have their planned information."""
        whole = np.broadcast_to(np.asarray(self.information) >= _WHOLE, np.shape(self.z))
        return np.asarray(whole.all(axis=-1))


def judge_looks(
    superior: Paths, non_inferior: Paths, inferior: Paths, invalid: BoolArray, *, futility: bool = True
) -> CodeArray:
    """The rule from z-paths and bounds: what `decide` says of one experiment, and `simulate_aa` of thousands.

    Args:
        superior: of success metrics.
        non_inferior: of guardrails.
        inferior: of all metrics; its planned end plays no part.
        invalid: (…, looks), whether a quality test rejects; a sequential one that has rejected still does.
        futility: whether to stop where shipping has hardly a chance left.

    Returns:
        (…, looks, treatments), codes of `VERDICTS`.
    """
    return judge(
        superior.rejected,
        non_inferior.rejected,
        inferior.rejected,
        invalid,
        final=superior.complete & non_inferior.complete,
        chance=chance_to_ship(superior.chance, non_inferior.chance) if futility else None,
    )


def rejected_so_far(z: ArrayLike, bounds: ArrayLike) -> BoolArray:
    """Whether each test has reached its bound at this look or before.

    Args:
        z: (…, looks, treatments, tests), oriented so that large values reject.
        bounds: of the same shape, or one that broadcasts; infinite where a look may not reject.

    Example:
        >>> z = np.array([1.0, 3.0, 1.0]).reshape(3, 1, 1)
        >>> rejected_so_far(z, np.array([2.9, 2.4, 2.0]).reshape(3, 1, 1)).ravel().tolist()
        [False, True, True]
    """
    return np.logical_or.accumulate(np.asarray(z) >= np.asarray(bounds), axis=-3)


def judge(
    superior: BoolArray,
    non_inferior: BoolArray,
    inferior: BoolArray,
    invalid: BoolArray,
    *,
    final: BoolArray,
    chance: FloatArray | None = None,
) -> CodeArray:
    """What the rule says of every treatment at every look.

    In this order: invalid where a quality test rejects; stop for harm where any metric is inferior; ship where a
    success metric is superior (or the plan has none) and all guardrails are non-inferior; stop for futility where the
    planned information is reached, or where shipping has hardly a chance left; otherwise continue. Stopping for
    futility is non-binding: who goes on may still ship without shipping more often than promised.

    Args:
        superior: (…, looks, treatments, success metrics), rejected so far.
        non_inferior: (…, looks, treatments, guardrails), rejected so far.
        inferior: (…, looks, treatments, all metrics), rejected so far.
        invalid: (…, looks), whether any quality test rejects.
        final: (…, looks, treatments) or what broadcasts, whether success and guardrails have their planned information.
        chance: (…, looks, treatments), an upper bound on the probability of still shipping, from `chance_to_ship`.

    Returns:
        (…, looks, treatments), codes of `VERDICTS`.

    Example:
        Superior at the second look, the guardrail at the third:

        >>> superior = np.array([False, True, True]).reshape(3, 1, 1)
        >>> non_inferior = np.array([False, False, True]).reshape(3, 1, 1)
        >>> found = judge(superior, non_inferior, superior & False, np.zeros(3, bool),
        ...               final=np.array([[False], [False], [True]]))
        >>> [VERDICTS[code] for code in found[:, 0]]
        ['continue', 'continue', 'ship']
    """
    gained = superior.any(axis=-1) if superior.shape[-1] else np.ones(superior.shape[:-1], dtype=bool)
    over = np.broadcast_to(final, gained.shape)
    if chance is not None:
        over = over | (chance < LEAST_CHANCE)
    out = np.where(over, FUTILITY, CONTINUE).astype(np.int8)
    out[gained & non_inferior.all(axis=-1)] = SHIP
    out[inferior.any(axis=-1)] = HARM
    out[np.broadcast_to(invalid[..., None], out.shape)] = INVALID
    return out


def first_verdict(codes: CodeArray) -> tuple[CodeArray, NDArray[np.int64]]:
    """What is decided by whoever stops at the first look that says anything but continue, and at which look.

    Args:
        codes: (…, looks, treatments).

    Returns:
        (…, treatments) each: the verdict (continue where no look decides) and the look, the last where none decides.

    Example:
        >>> first_verdict(np.array([[0], [1], [2]], dtype=np.int8))
        (array([1], dtype=int8), array([1]))
    """
    decided = codes != CONTINUE
    look = np.where(decided.any(axis=-2), decided.argmax(axis=-2), codes.shape[-2] - 1)
    return np.take_along_axis(codes, look[..., None, :], axis=-2)[..., 0, :], look


def chance_to_reject(z: ArrayLike, information: ArrayLike, bound: ArrayLike, design: ArrayLike) -> FloatArray:
    """Conditional power: P(z at t = 1 >= bound | z at t), for the better of the designed and the estimated effect.

    With B(t) = z √t a Brownian motion of drift θ, it is Φ((B(t) + θ (1 - t) - bound) / √(1 - t)). θ is the larger of
    the effect that was designed for and the one that the data so far suggest, so that only what neither supports is
    given up. From t = 1 on it is 0 or 1.

    Args:
        z: oriented so that large values reject.
        information: t, > 0.
        bound: in z at t = 1; with one look left.
        design: mean of z at t = 1 under the effect designed for; minus infinity where there is none.

    References:
        Lan, Simon, Halperin (1982), "Stochastically curtailed testing in long-term clinical trials"; Jennison and
        Turnbull (2000), section 10.2.

    Example:
        Half the data, nothing seen, planned for 80 % power at one-sided .05 (z_.95 + z_.8 == 2.486):

        >>> round(float(chance_to_reject(0.0, 0.5, 1.645, 2.486)), 3)
        0.285
    """
    from scipy.special import ndtr

    z, t = np.asarray(z, dtype=np.float64), np.asarray(information, dtype=np.float64)
    drift = np.maximum(design, z / np.sqrt(np.maximum(t, 1e-12)))
    left = np.maximum(1.0 - t, 1e-12)
    gap = z * np.sqrt(np.minimum(t, 1.0)) + drift * np.maximum(1.0 - t, 0.0) - np.asarray(bound)
    return np.asarray(np.where(t < 1.0, ndtr(gap / np.sqrt(left)), gap >= 0.0), dtype=np.float64)


def chance_to_ship(superior: FloatArray, non_inferior: FloatArray) -> FloatArray:
    """An upper bound on the probability of shipping, from each test's: min(Σ superior, non-inferior, 1), over tests.

    Whatever the dependence: one success metric must pass (Boole), and every guardrail.

    Args:
        superior: (…, success metrics), 1 where rejected already.
        non_inferior: (…, guardrails).

    Example:
        >>> print(chance_to_ship(np.array([[0.1, 0.2], [0.5, 0.9]]), np.array([[0.9, 0.25], [0.9, 0.95]])))
        [0.25 0.9 ]
    """
    gained = superior.sum(axis=-1) if superior.shape[-1] else np.ones(superior.shape[:-1])
    return np.asarray(np.minimum(np.minimum(gained, non_inferior.min(axis=-1, initial=1.0)), 1.0))


def last_look_bounds(monitoring: Monitoring, information: FloatArray, alpha: float, end: float = 1.0) -> FloatArray:
    """What z would have to reach at the planned end, seen from each look, were no other look left.

    Args:
        monitoring: the design.
        information: (looks,).
        alpha: one-sided level.
        end: information at the planned end.

    Returns:
        (looks,); what the design says of the end itself where it is reached.

    Example:
        >>> from homing.experiments import FixedHorizon
        >>> last_look_bounds(FixedHorizon(), np.array([0.4, 0.8]), 0.05).round(3).tolist()
        [1.645, 1.645]
    """
    looks = len(information)
    # One row for each look: information grows up to it, stands still (no look), and is whole in the last column.
    seen = np.minimum(information, information[:, None])
    last = np.maximum(information, end)[:, None]
    found = np.asarray(monitoring.critical(np.concatenate([seen, last], axis=1), np.full(looks, alpha)))
    return np.asarray(found[:, -1])
