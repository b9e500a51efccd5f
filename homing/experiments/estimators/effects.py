"""Absolute and relative effects of treatments against the control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.experiments.estimators.adjust import ArmValues

FloatArray = NDArray[np.float64]
#: A control this small beside the other variants is the rounding of a 0.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Effect:
    """An estimated effect.

    Attributes:
        value: (…, T, L) for T treatments at L looks.
        std_error: (…, T, L).
        df: (…, T, L), of the standard error (Satterthwaite).
    """

    value: FloatArray
    std_error: FloatArray
    df: FloatArray

    @property
    def t(self) -> FloatArray:
        """value / std_error; infinite where there is an effect without error, NaN where there is neither."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.value / self.std_error


def difference(values: ArmValues, control: int, *, control_weight: ArrayLike = 1.0, shift: ArrayLike = 0.0) -> Effect:
    """value_t - weight · value_c - shift, for every treatment.

    With weight 1 this is Welch's comparison: variance V_t + V_c, degrees of freedom (V_t + V_c)² over
    V_t² / ν_t + V_c² / ν_c (Satterthwaite 1946, Biometrics Bulletin 2). With weight 1 - r and t >= 0 the treatment has
    kept the share 1 - r of the control: the test of a relative margin, with the control's own error in it (Fieller's).

    Args:
        values: of all variants.
        control: index of the control among them.
        control_weight: scalar or (…, 1, L).
        shift: scalar or (…, T, L).

    Example:
        >>> n = np.array([[10.0], [20.0]])
        >>> arms = ArmValues(n, np.array([[1.0], [1.5]]), np.array([[0.04], [0.09]]), np.zeros((2, 2, 1)), n - 1)
        >>> made = difference(arms, 0)
        >>> made.value.item(), round(made.std_error.item() ** 2, 12), round(made.df.item(), 2)
        (0.5, 0.13, 27.98)
    """
    others = [at for at in range(values.value.shape[-2]) if at != control]
    weight = np.asarray(control_weight, dtype=np.float64)
    moved = np.asarray(shift, dtype=np.float64)

    def taken(array: FloatArray, place: list[int]) -> FloatArray:
        return array[..., place, :]

    value = taken(values.value, others) - weight * taken(values.value, [control]) - moved
    of_treatment, of_control = taken(values.variance, others), weight**2 * taken(values.variance, [control])
    shared = taken(values.shared[..., control, :, :], others)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = (of_treatment + of_control) ** 2 / (
            of_treatment**2 / taken(values.df, others) + of_control**2 / taken(values.df, [control])
        )
    variance = of_treatment + of_control - 2.0 * weight * shared
    # Rounding of equal slopes' shared terms must not make a variance negative.
    return Effect(value, np.sqrt(np.maximum(variance, 0.0)), df)


def relative(values: ArmValues, control: int) -> Effect:
    """(value_t - value_c) / |value_c|, with the delta method's standard error.

    With r = value_t / value_c, variance (V_t - 2 r C + r² V_c) / value_c². An interval made from it is symmetric, which
    a ratio is not where the control's error is not small: use `fieller` for intervals. NaN where the control is 0.
    """
    others = [at for at in range(values.value.shape[-2]) if at != control]
    base = _divisor(values, control)
    share = values.value[..., others, :] / base
    effect = difference(values, control, control_weight=share)
    return Effect((share - 1.0) * np.sign(base), effect.std_error / np.abs(base), effect.df)


def fieller(values: ArmValues, control: int, quantile: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Fieller's interval of (value_t - value_c) / |value_c|: all shares that the data do not reject.

    The set of r with (value_t - r value_c)² <= q² (V_t - 2 r C + r² V_c) (Fieller 1954, "Some Problems in Interval
    Estimation", JRSS B 16). It is an interval only where the control differs from 0 at the same level; NaN elsewhere.
    An interval of the difference that is divided by the control's value covers .878 instead of .95 at a lift of 50 %;
    this one covers what it says.

    Args:
        values: of all variants.
        control: index of the control.
        quantile: of |t|, scalar or (…, T, L).

    Returns:
        (…, T, L) lower and upper ends.
    """
    others = [at for at in range(values.value.shape[-2]) if at != control]
    q2 = np.asarray(quantile, dtype=np.float64) ** 2
    top, base = values.value[..., others, :], _divisor(values, control)
    cov = values.shared[..., control, :, :][..., others, :]
    a = base**2 - q2 * values.variance[..., [control], :]
    b = top * base - q2 * cov
    c = top**2 - q2 * values.variance[..., others, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        low, high = ((b - root) / a - 1.0) * np.sign(base), ((b + root) / a - 1.0) * np.sign(base)
    defined = a > 0
    return np.where(defined, np.minimum(low, high), np.nan), np.where(defined, np.maximum(low, high), np.nan)


def _divisor(values: ArmValues, control: int) -> FloatArray:
    """(…, 1, L) the control's value; NaN where it is 0, or but the rounding of what the variants' values are."""
    base = values.value[..., [control], :]
    size = np.abs(values.value).max(axis=-2, keepdims=True)
    return np.where(np.abs(base) <= _ROUNDING * size, np.nan, base)
