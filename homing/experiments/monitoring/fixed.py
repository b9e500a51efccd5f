"""One look: at a planned size, or when the standard error is small enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.experiments.monitoring.protocol import FloatArray, final_look
from homing.experiments.sequential.boundaries import check_sides
from homing.experiments.sequential.fixed_power import fixed_power_information


@dataclass(frozen=True)
class FixedHorizon:
    """One look, at the planned size: the first day with all of the information decides, and no other.

    Wrong to use when somebody looks before and would act on it.

    Example:
        >>> FixedHorizon().critical([0.5, 1.0, 1.2], 0.05).round(3).tolist()
        [inf, 1.645, inf]
    """

    name: ClassVar[str] = "fixed-horizon"
    several_looks: ClassVar[bool] = False

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
        return np.where(final_look(information), bound, np.inf)

    def p_value(self, z: ArrayLike, information: ArrayLike, alpha: ArrayLike, sides: int = 1) -> FloatArray:
        """See `Monitoring`; 1 before the end, and from then on what it was there."""
        from scipy.special import ndtr

        check_sides(sides)
        seen = np.asarray(z, dtype=np.float64)
        p = sides * np.asarray(ndtr(-(np.abs(seen) if sides == 2 else seen)))
        return np.minimum.accumulate(np.where(final_look(information) & ~np.isnan(p), p, 1.0), axis=-1)

    def inflation(
        self, alpha: float, power: float, sides: int = 1, *, looks: int | None = None, fixed_size: float | None = None
    ) -> float:
        """See `Monitoring`; 1."""
        return 1.0


@dataclass(frozen=True)
class FixedPower(FixedHorizon):
    """One look, when the standard error is what the planned effect asks for: the size follows the variance.

    The choice where variances are not known before. Each comparison ends when its own precision is reached; power is
    the planned one, and no planned size is needed. See `fixed_power_information`.

    Wrong to use with a short burn-in on rare events and heavy tails, where a small variance comes with a small mean.

    Attributes:
        burn_in: units in both variants before which nothing is read off.

    Example:
        >>> design = FixedPower(burn_in=1000)
        >>> t = design.information([500, 2000, 8000], std_error=[0.01, 0.06, 0.03], effect=0.1, alpha=0.05, power=0.8)
        >>> t.round(2).tolist(), design.critical(t, 0.05).round(3).tolist()
        ([0.0, 0.45, 1.8], [inf, inf, 1.645])
    """

    burn_in: int = 1000
    name: ClassVar[str] = "fixed-power"
    several_looks: ClassVar[bool] = True  # any day may turn out to be the one

    def __post_init__(self) -> None:
        check_positive("burn_in", self.burn_in)

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
        """See `Monitoring`; the planned size is not looked at."""
        if std_error is None or effect is None or alpha is None or power is None:
            missing = [
                name
                for name, value in (("std_error", std_error), ("effect", effect), ("alpha", alpha), ("power", power))
                if value is None
            ]
            step = "Give the metric an MDE or a NIM: a design by power needs an effect to find."
            raise InvalidInputError(describe(missing[0], None, f"is needed by {self.name!r} monitoring", step))
        return fixed_power_information(std_error, effect, alpha, power, n, burn_in=self.burn_in)
