"""What every monitoring design answers, and what several of them share."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.experiments.sequential.group_sequential import look_information

FloatArray = NDArray[np.float64]


class Monitoring(Protocol):
    """A monitoring design: a frozen dataclass, written in YAML as `design: NAME` and its fields.

    z is oriented so that large values speak against H0 (one-sided). Arrays have days last; leading axes are
    comparisons or simulated experiments. Which day is a look must not depend on the data's effects.

    Example:
        >>> from homing.experiments.monitoring import GroupSequential
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

    @property
    def several_looks(self) -> bool:
        """Whether more than one day can decide, so that what was counted must stay as it was."""
        ...

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
        """(…, days), the share of the information that a comparison has, from its units (…, days) so far.

        The planned size is in the same units as n, frozen at the start. Only `FixedPower` needs the rest: the standard
        error so far, the effect to be found, the comparison's error rates.
        """
        ...

    def __hash__(self) -> int:
        """Designs are values."""
        ...

    def critical(self, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """(…, days), what z (or |z|, two-sided) must reach at each day; alpha is a scalar or (…)."""
        ...

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """(…, days), the smallest level whose bound has been reached so far; at most alpha if it rejects at alpha.

        The level that the design is made for is needed where a design is tuned to it.
        """
        ...

    def inflation(
        self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None, fixed_size: float | None = None
    ) -> float:
        """Planned units over the fixed test's, for the same power; `looks` is how many equal steps there are to be.

        It is needed where a design looks daily, and ignored by a design that has its own schedule. `fixed_size`, the
        units that the fixed test needs, is asked for only by a design that is tuned at a number of units.
        """
        ...


class Planned:
    """A design of several looks, whose information is the share of the planned size."""

    name: ClassVar[str]
    several_looks: ClassVar[bool] = True

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
        """See `Monitoring`; a design like this cannot do without a planned size."""
        if planned_size is None:
            step = "Set it before the start: plan.sized(plan.sample_size(baseline).n_total)."
            raise InvalidInputError(describe("planned_size", None, f"is needed by {self.name!r} monitoring", step))
        return np.asarray(n, dtype=np.float64) / check_positive("planned_size", planned_size)


def planned_looks(looks: str | int | tuple[float, ...] | None, name: str) -> FloatArray:
    """Information at the looks that are planned, the last being 1."""
    if looks is None or isinstance(looks, str) or (isinstance(looks, int) and looks < 1):
        step = "Pass looks=, the days that the experiment is to run."
        raise InvalidInputError(describe("looks", looks, f"must be >= 1 where {name!r} looks daily", step))
    return np.arange(1, looks + 1) / looks if isinstance(looks, int) else np.asarray(looks, dtype=np.float64)


def final_look(information: ArrayLike) -> NDArray[np.bool_]:
    """(…, days), where the last look is: the first day with all of the information."""
    return np.asarray(np.diff(look_information(information, 1), axis=-1, prepend=0.0) > 0)
