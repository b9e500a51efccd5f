"""Several looks that share one error rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from homing.errors import InvalidInputError, describe
from homing.experiments.monitoring.protocol import FloatArray, Planned, planned_looks
from homing.experiments.sequential.group_sequential import (
    check_looks,
    group_sequential_bounds,
    group_sequential_p_value,
    inflation_factor,
)
from homing.experiments.sequential.spending import check_spending


@dataclass(frozen=True)
class GroupSequential(Planned):
    """Several looks that share one error rate, spent as information arrives; the planned size is frozen.

    The choice for experiments with a planned size: at the end it costs a few per cent more units than one look, on the
    way it stops for large effects, good or bad. Looks may come at any time; the first day with all of the information
    is the last look, and running over keeps the error rate.

    Wrong to use on metrics that keep growing for a unit after it was counted (an average per user re-measured daily):
    increments must be independent. Give metrics a window.

    Attributes:
        spending: "obrien-fleming" (hardly anything early), "pocock", "power" or "hsd"; see `spend`. `_` is read as `-`.
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
        object.__setattr__(self, "spending", str(self.spending).replace("_", "-"))
        looks: Any = self.looks
        parameter: Any = self.parameter
        if isinstance(looks, list):
            object.__setattr__(self, "looks", tuple(looks))
        elif not isinstance(looks, str | int | tuple):
            step = "Write 'daily', a number of looks, or fractions such as [0.5, 1]."
            raise InvalidInputError(describe("looks", looks, "must be 'daily', a whole number or fractions", step))
        if not isinstance(parameter, int | float | None):
            raise InvalidInputError(describe("parameter", parameter, "must be a number"))
        check_spending(self.spending, self.parameter)
        check_looks(self.looks)

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

    def inflation(
        self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None, fixed_size: float | None = None
    ) -> float:
        """See `Monitoring`."""
        t = planned_looks(looks if self.looks == "daily" else self.looks, self.name)
        return inflation_factor(self.critical(t, alpha, sides), t, alpha, power, sides=sides)
