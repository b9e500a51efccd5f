"""When an experiment may be looked at, and what a result must exceed then: what a plan's `monitoring` takes.

All designs answer the same questions for each day of data: how much of the information is there, which z rejects, what
is the p-value, and how many more units does looking cost. Days on which a design does not look have an infinite bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.experiments.sequential.boundaries import check_sides
from homing.experiments.sequential.group_sequential import (
    check_looks,
    group_sequential_bounds,
    group_sequential_p_value,
    inflation_factor,
    look_information,
)
from homing.experiments.sequential.spending import check_spending

FloatArray = NDArray[np.float64]


class Monitoring(Protocol):
    """A monitoring design: a frozen dataclass, written in YAML as `design: NAME` and its fields.

    z is oriented so that large values speak against H0 (one-sided). Arrays have days last; leading axes are
    comparisons or simulated experiments. Which day is a look must not depend on the data's effects.

    Example:
        >>> design = GroupSequential(looks=3)
        >>> t = design.information([300, 600, 900, 1200], planned_size=900)
        >>> design.critical(t, 0.05).round(3).tolist()
        [3.2, 2.141, 1.695, inf]
        >>> design.p_value([1.0, 2.3, 2.2, 9.9], t, 0.05).round(3).tolist()
        [0.416, 0.037, 0.015, 0.015]
        >>> round(design.inflation(0.05, 0.8), 3)
        1.02
    """

    @property
    def name(self) -> str:
        """The design's name, its key in `MONITORING`."""
        ...

    def information(
        self,
        n: ArrayLike,
        planned_size: float | None = None,
        *,
        std_error: ArrayLike | None = None,
        effect: ArrayLike | None = None,
        alpha: float | None = None,
        power: float | None = None,
    ) -> FloatArray:
        """(…, days), the share of the information that a comparison has, from its units (…, days) so far.

        The planned size is in the same units as n, frozen at the start. Only `FixedPower` needs the rest: the standard
        error so far, the effect to be found, the comparison's error rates.
        """
        ...

    def critical(self, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """(…, days), what z (or |z|, two-sided) must reach at each day; alpha is a scalar or (…)."""
        ...

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """(…, days), the smallest level whose bound has been reached so far; at most alpha if it rejects at alpha.

        The level that the design is made for is needed where a design is tuned to it.
        """
        ...

    def inflation(self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None) -> float:
        """Planned units over the fixed test's, for the same power; `looks` is how many equal steps there are to be.

        It is needed where a design looks daily, and ignored by a design that has its own schedule.
        """
        ...


@dataclass(frozen=True)
class FixedHorizon:
    """One look, at the planned size: the first day with all of the information decides, and no other.

    Wrong to use when somebody looks before and would act on it.

    Example:
        >>> FixedHorizon().critical([0.5, 1.0, 1.2], 0.05).round(3).tolist()
        [inf, 1.645, inf]
    """

    name: ClassVar[str] = "fixed-horizon"

    def information(
        self,
        n: ArrayLike,
        planned_size: float | None = None,
        *,
        std_error: ArrayLike | None = None,
        effect: ArrayLike | None = None,
        alpha: float | None = None,
        power: float | None = None,
    ) -> FloatArray:
        """See `Monitoring`; without a planned size the last day is taken for the end."""
        units = np.asarray(n, dtype=np.float64)
        if planned_size is None:
            return units / np.maximum(units[..., -1:], 1.0)
        return units / check_positive("planned_size", planned_size)

    def critical(self, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`."""
        from scipy.special import ndtri

        check_sides(sides)
        bound = -np.asarray(ndtri(np.asarray(alpha, dtype=np.float64) / sides))[..., None]
        return np.where(_final(information), bound, np.inf)

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`; 1 before the end, and from then on what it was there."""
        from scipy.special import ndtr

        check_sides(sides)
        seen = np.asarray(z, dtype=np.float64)
        p = sides * np.asarray(ndtr(-(np.abs(seen) if sides == 2 else seen)))
        return np.minimum.accumulate(np.where(_final(information) & ~np.isnan(p), p, 1.0), axis=-1)

    def inflation(self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None) -> float:
        """See `Monitoring`; 1."""
        return 1.0


@dataclass(frozen=True)
class GroupSequential:
    """Several looks that share one error rate, spent as information arrives; the planned size is frozen.

    The choice for experiments with a planned size: at the end it costs a few per cent more units than one look, on the
    way it stops for large effects, good or bad. Looks may come at any time; the first day with all of the information
    is the last look, and running over keeps the error rate.

    Wrong to use on metrics that keep growing for a unit after it was counted (an average per user re-measured daily):
    increments must be independent. Give metrics a window.

    Attributes:
        spending: "obrien-fleming" (hardly anything early), "pocock", "power" or "hsd"; see `spend`.
        looks: "daily", a number of looks in equal steps of information, or increasing fractions that end with 1.
        parameter: of the families "power" (2 when not given) and "hsd" (-4 when not given).

    Raises:
        UnknownNameError: for another spending function.
        InvalidInputError: if the schedule does not increase to 1, or the parameter does not fit.

    Example:
        >>> GroupSequential("pocock", looks=4).critical([0.25, 0.5, 0.75, 1.0], 0.05).round(3).tolist()
        [2.1, 2.077, 2.053, 2.035]
    """

    spending: str = "obrien-fleming"
    looks: str | int | tuple[float, ...] = "daily"
    parameter: float | None = None
    name: ClassVar[str] = "group-sequential"

    def __post_init__(self) -> None:
        check_spending(self.spending, self.parameter)
        check_looks(self.looks)

    def information(
        self,
        n: ArrayLike,
        planned_size: float | None = None,
        *,
        std_error: ArrayLike | None = None,
        effect: ArrayLike | None = None,
        alpha: float | None = None,
        power: float | None = None,
    ) -> FloatArray:
        """See `Monitoring`."""
        if planned_size is None:
            step = "Set it before the start: plan.sized(plan.sample_size(baseline).n_total)."
            raise InvalidInputError(describe("planned_size", None, f"is needed by {self.name!r} monitoring", step))
        return np.asarray(n, dtype=np.float64) / check_positive("planned_size", planned_size)

    def critical(self, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`."""
        return group_sequential_bounds(
            information, alpha, spending=self.spending, parameter=self.parameter, looks=self.looks, sides=sides
        )

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`; it does not depend on alpha."""
        return group_sequential_p_value(
            z, information, spending=self.spending, parameter=self.parameter, looks=self.looks, sides=sides
        )

    def inflation(self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None) -> float:
        """See `Monitoring`."""
        t = _planned(looks if self.looks == "daily" else self.looks, self.name)
        return inflation_factor(self.critical(t, alpha, sides), t, alpha, power, sides=sides)


def _planned(looks: str | int | tuple[float, ...] | None, name: str) -> FloatArray:
    """Information at the looks that are planned."""
    if looks is None or isinstance(looks, str):
        step = "Pass looks=, the days that the experiment is to run."
        raise InvalidInputError(describe("looks", looks, f"must be a number where {name!r} looks daily", step))
    t = np.arange(1, looks + 1) / looks if isinstance(looks, int) else np.asarray(looks, dtype=np.float64)
    check_probability("step of looks", float(t[0]) / 2.0)
    return t


def _final(information: ArrayLike) -> NDArray[np.bool_]:
    """(…, days), where the last look is: the first day with all of the information."""
    return np.asarray(np.diff(look_information(information, 1), axis=-1, prepend=0.0) > 0)


#: By name, as a plan in YAML says it.
MONITORING: dict[str, type[Monitoring]] = {item.name: item for item in (FixedHorizon, GroupSequential)}
