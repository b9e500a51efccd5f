"""What an interval receives, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.ope.estimate import Estimate

FloatArray = NDArray[np.float64]
#: (least, greatest) of something at the least possible reward, and at the greatest.
Extremes = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Bounds:
    """What is known of a log before it is seen: how large a weight can be, and within what a reward lies.

    True bounds come from the design (the logging policy's exploration floor, a click is 0 or 1), never from the sample:
    the largest value seen is not a bound.

    Attributes:
        max_weight: the largest importance weight π / propensity that could occur; None where it is not known.
        reward: (least, greatest) reward of one decision, by objective; others are not known.

    Example:
        >>> Bounds(max_weight=9.0, reward={"clicked": (0.0, 1.0)}).max_weight
        9.0
    """

    max_weight: float | None = None
    reward: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_weight is not None:
            check_positive("bounds.max_weight", self.max_weight)
        for name, (low, high) in self.reward.items():
            if not -np.inf < low < high < np.inf:
                raise InvalidInputError(
                    describe(f"bounds.reward[{name!r}]", (low, high), "must be finite, the first below the second")
                )


@dataclass(frozen=True, eq=False)
class Part:
    """A term of an estimate that has a normaliser of its own.

    Under counts c_g of the users the term moves by Σ c_g ψ_g / Σ c_g s_g: that is how a ratio is recomputed exactly
    from sums.

    Attributes:
        psi: (G,), each user's contribution to the error; sums to 0.
        share: (G,), each user's share of the normaliser (of all decisions, of all weight); sums to 1.
        by_decisions: whether the normaliser is the number of decisions, which is no outcome of what was drawn.
    """

    psi: FloatArray
    share: FloatArray
    by_decisions: bool = True


@dataclass(frozen=True, eq=False)
class Contributions:
    """One estimate, or a difference of two, by user: all that an interval may use.

    Attributes:
        value: the point estimate.
        psi: (G,), each user's contribution to the error.
        parts: its terms by normaliser; their ψ sum to `psi`. Empty where only `psi` is known.
        extremes: (least, greatest) influence φ that one decision could have with the least possible reward, and with
            the greatest, whatever its weight; None where that is not known. Such a decision contributes ψ = φ / n.
        limits: what the value cannot leave; None where that is not known.
        bounded: whether `extremes` follow from declared `Bounds` alone, not from what was seen.
        decisions: n, how many there are; None for one a user.
        paired: of a difference, the extremes given what each decision could weigh under both policies at once (see
            `homing.ope.intervals.paired`), never wider than `extremes`; None where that is not known.
        longest: of one ratio with the importance weights as its normaliser, decisions of the user with most over the
            average number; None of others.
        pair: of a difference one - factor · two, these three; None of others.
    """

    value: float
    psi: FloatArray
    parts: tuple[Part, ...] = ()
    extremes: Extremes | None = None
    limits: tuple[float, float] | None = None
    bounded: bool = False
    decisions: int | None = None
    paired: Extremes | None = None
    longest: float | None = None
    pair: tuple[Contributions, Contributions, float] | None = None

    @property
    def reach(self) -> tuple[float, float] | None:
        """Least and greatest influence that one decision could have, whatever its reward."""
        return None if self.extremes is None else _ends(self.extremes)

    @property
    def unseen(self) -> tuple[float, float] | None:
        """The same for a decision that was not seen but could have been, in the contexts of the log."""
        return self.reach if self.paired is None else _ends(self.paired)

    def with_pairing(self, found: Extremes | None) -> Contributions:
        """The same with what a pairing says of it, as far as that is narrower."""
        if found is None or self.extremes is None:
            return self
        low, high = (
            (max(own[0], other[0]), min(own[1], other[1])) for own, other in zip(self.extremes, found, strict=True)
        )
        return replace(self, paired=(low, high))

    def minus(self, other: Contributions, factor: float = 1.0) -> Contributions:
        """This minus `factor` times another on the same users: what both share cancels, user by user.

        The extremes are those of a decision whose weight is the worst for one and the best for the other; its reward is
        the same for both.
        """
        parts: tuple[Part, ...] = ()
        if self.parts and other.parts:
            parts = (*self.parts, *(replace(part, psi=-factor * part.psi) for part in other.parts))
        extremes = limits = None
        if self.extremes is not None and other.extremes is not None:
            (low, high), (its_low, its_high) = self.extremes, other.extremes
            extremes = _less(low, its_low, factor), _less(high, its_high, factor)
        if self.limits is not None and other.limits is not None:
            limits = _less(self.limits, other.limits, factor)
        return Contributions(
            value=self.value - factor * other.value,
            psi=self.psi - factor * other.psi,
            parts=parts,
            extremes=extremes,
            limits=limits,
            bounded=self.bounded and other.bounded,
            decisions=self.decisions,
            pair=(self, other, factor),
        )


def _ends(extremes: Extremes) -> tuple[float, float]:
    low, high = extremes
    return min(low[0], high[0]), max(low[1], high[1])


def _less(one: tuple[float, float], two: tuple[float, float], factor: float) -> tuple[float, float]:
    """Interval arithmetic: what one - factor · two can be."""
    low, high = sorted((factor * two[0], factor * two[1]))
    return one[0] - high, one[1] - low


@runtime_checkable
class Interval(Protocol):
    """Maps contributions to estimates with their intervals.

    A new interval is one file with a frozen dataclass like this one and one line in `INTERVALS`:

    Example:
        >>> from homing.ope.estimate import interval
        >>> @dataclass(frozen=True)
        ... class TwoErrors:
        ...     name: str = "two-errors"
        ...     def __call__(self, items, level, rng=None):
        ...         return tuple(interval(item.value, item.psi, level) for item in items)
        >>> TwoErrors()([Contributions(0.5, np.array([-0.1, 0.1]))], 0.95)[0].value
        0.5
    """

    @property
    def name(self) -> str:
        """The name in reports."""
        ...

    def __call__(
        self, items: Sequence[Contributions], level: float, rng: np.random.Generator | None = None
    ) -> tuple[Estimate, ...]:
        """One estimate an item; all items are on the same users."""
        ...


def clipped(estimate: Estimate, limits: tuple[float, float] | None) -> Estimate:
    """The estimate with its interval inside of what the value cannot leave, but never without the value itself."""
    if limits is None:
        return estimate
    lower = min(max(estimate.lower, limits[0]), estimate.value)
    upper = max(min(estimate.upper, limits[1]), estimate.value)
    return estimate.between(lower, upper, estimate.interval)
