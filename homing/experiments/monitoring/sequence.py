"""Looks at any time: a confidence sequence, alone or until one last look at the planned size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.experiments.monitoring.protocol import FloatArray, Planned, final_look, planned_looks
from homing.experiments.sequential.boundaries import spending_bounds
from homing.experiments.sequential.confidence_sequence import (
    confidence_sequence_bounds,
    confidence_sequence_p_value,
)
from homing.experiments.sequential.group_sequential import (
    inflation_factor,
    look_information,
    p_value_levels,
    tabulated_p_value,
)


@dataclass(frozen=True)
class ConfidenceSequence(Planned):
    """Looks whenever one likes, for as long as one likes: no size needs to be planned, and nothing ends the test.

    The choice where experiments have no planned end, or where people stop them when they please. For the same power it
    needs 1.7 to 1.9 times the units of one look. See `confidence_sequence_bounds`.

    Wrong to use in the first days of rare events (it holds once averages are near normal).

    Attributes:
        n_star: units in both variants at which the bound shall be tightest; the planned size when not given.

    Raises:
        InvalidInputError: if n_star is not positive.

    Example:
        >>> design = ConfidenceSequence(n_star=10_000)
        >>> t = design.information([1000, 10_000, 40_000])
        >>> design.critical(t, 0.05, sides=2).round(3).tolist()
        [3.855, 3.035, 3.127]
    """

    n_star: int | None = None
    name: ClassVar[str] = "confidence-sequence"

    def __post_init__(self) -> None:
        if self.n_star is not None:
            check_positive("n_star", self.n_star)

    def information(
        self,
        n: ArrayLike,
        planned_size: float | None = None,
        *,
        std_error: ArrayLike | None = None,
        effect: ArrayLike | None = None,
        alpha: ArrayLike | None = None,
        power: float | None = None,
    ) -> FloatArray:
        """See `Monitoring`; in units of n_star, where that is given."""
        return super().information(n, planned_size if self.n_star is None else self.n_star)

    def critical(self, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`."""
        return confidence_sequence_bounds(information, alpha, sides=sides)

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`."""
        return confidence_sequence_p_value(z, information, alpha, sides=sides)

    def inflation(
        self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None, fixed_size: float | None = None
    ) -> float:
        """See `Monitoring`; the power is that by the planned size, at equally spaced looks."""
        steps = planned_looks(looks, self.name)
        if self.n_star is None:
            return inflation_factor(self.critical(steps, alpha, sides), steps, alpha, power, sides=sides)
        if fixed_size is None:
            step = "Pass fixed_size=, or leave n_star out to tune the sequence at the planned size."
            raise InvalidInputError(describe("fixed_size", None, "is needed with n_star", step))

        star, fixed = self.n_star, check_positive("fixed_size", fixed_size)
        factor, before = 1.0, 0.0
        # How far looks go changes the bounds a little, hence the size, hence how far they go.
        while abs(factor - before) > 1e-6:
            before, t = factor, steps * (factor * fixed / star)
            factor = inflation_factor(self.critical(t, alpha, sides), t, alpha, power, sides=sides)
        return factor


@dataclass(frozen=True)
class Hybrid(Planned):
    """A confidence sequence while the experiment runs, and one last look at the planned size.

    A share of alpha goes to the sequence, whose bound one may cross on any day; what it has not used by the planned
    size (found by integration over the days that came, it never uses all of it) goes to the last look, whose bound is
    then near the fixed test's. For those who stop early only for large effects, good or bad, and decide at the end.

    Wrong to use where a group-sequential test would do: that is a little more powerful at the same looks.

    Attributes:
        share: of alpha that the sequence may use, in (0, 1).

    Raises:
        InvalidInputError: if the share is outside of (0, 1).

    Example:
        >>> Hybrid().critical([0.25, 0.5, 0.75, 1.0, 1.2], 0.05).round(3).tolist()
        [3.565, 3.397, 3.361, 1.646, inf]
    """

    share: float = 0.2
    name: ClassVar[str] = "hybrid"

    def __post_init__(self) -> None:
        check_probability("share", self.share)

    def critical(self, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`."""
        t = look_information(information)
        levels = np.asarray(alpha, dtype=np.float64)
        return _hybrid_bounds(t, levels, self.share, levels, sides)

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`."""
        design = np.asarray(alpha, dtype=np.float64)
        t = look_information(information)
        shape = np.broadcast_shapes(np.shape(z), t.shape, (*design.shape, 1))
        t, seen, tuned = (np.broadcast_to(item, shape) for item in (t, np.asarray(z), design[..., None]))
        out = np.ones(shape)
        for level in np.unique(design):
            rows = tuned[..., 0] == level

            def table(row: tuple[float, ...], level: float = float(level)) -> FloatArray:
                return _hybrid_table(row, self.share, level, sides)

            out[rows] = tabulated_p_value(seen[rows], t[rows], table, sides=sides)
        return out

    def inflation(
        self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None, fixed_size: float | None = None
    ) -> float:
        """See `Monitoring`."""
        t = planned_looks(looks, self.name)
        return inflation_factor(self.critical(t, alpha, sides), t, alpha, power, sides=sides)


def _hybrid_bounds(t: FloatArray, alpha: FloatArray, share: float, tuned: FloatArray, sides: int) -> FloatArray:
    """Bounds at levels alpha (…) of a sequence that is tuned to a share of others, and what it leaves at the end."""
    running = confidence_sequence_bounds(t, alpha * share, sides=sides, tuned_to=tuned * share)
    given = np.where(final_look(t), np.nan, running)
    return spending_bounds(np.broadcast_to(t, given.shape), alpha[..., None] / sides, sides=sides, given=given)


@lru_cache(maxsize=256)
def _hybrid_table(row: tuple[float, ...], share: float, alpha: float, sides: int) -> FloatArray:
    return _hybrid_bounds(np.asarray(row), sides * p_value_levels(), share, np.asarray(alpha), sides)
