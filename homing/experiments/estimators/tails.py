"""Student's t and the normal distribution, as far out as one likes and fast for many degrees of freedom."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
#: From this many degrees of freedom on, the expansions below are exact to 1e-10 for |t| < 10.
_MANY = 50_000.0
#: Beyond this the normal distribution's tail is below what floats hold.
_FAR = 37.0


def t_to_z(t: ArrayLike, df: ArrayLike) -> FloatArray:
    """The normal quantile of a t statistic's probability: z with Φ(z) = P(T_df <= t).

    By it t statistics are compared with bounds that were made for normal ones (Jennison and Turnbull 2000, "Group
    Sequential Methods", section 3.8: significance levels carry over).

    For many degrees of freedom by the expansion t - (t³ + t) / 4ν + (13 t⁵ + 8 t³ + 3 t) / 96 ν² - … (Fisher and
    Cornish 1960, Technometrics 2, inverted), far out by √(ν ln(1 + t²/ν)) (8ν + 1) / (8ν + 3)
    (Wallace 1959, Annals of Mathematical Statistics 30) where the tail is no float any more, within 0.01 %.

    Example:
        >>> round(float(t_to_z(2.5, 9.0)), 6)
        2.121713
    """
    from scipy.special import ndtri, stdtr

    t, df, shape = _together(t, df)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        out = np.sign(t) * np.sqrt(df * np.log1p(t * t / df)) * (8.0 * df + 1.0) / (8.0 * df + 3.0)
        many = (df >= _MANY) & (np.abs(t) < 10.0)
        square = t * t
        expanded = t * (
            1.0
            - (square + 1.0) / (4.0 * df)
            + ((13.0 * square + 8.0) * square + 3.0) / (96.0 * df**2)
            - (((35.0 * square + 19.0) * square + 1.0) * square - 15.0) / (384.0 * df**3)
        )
    out = np.where(many, expanded, out)
    exact = ~many & np.isfinite(t) & (df > 0)
    if exact.any():
        tail = np.asarray(stdtr(df[exact], -np.abs(t[exact])))
        z = -np.sign(t[exact]) * np.asarray(ndtri(tail))
        out[exact] = np.where(tail > 1e-290, z, out[exact])
    return np.where(df > 0, out, np.nan).reshape(shape)


def t_bound(z: ArrayLike, df: ArrayLike) -> FloatArray:
    """The inverse of `t_to_z`: which t has the probability of a z; infinite where z is.

    Example:
        >>> round(float(t_bound(2.121713, 9.0)), 4)
        2.5
    """
    from scipy.special import ndtr, stdtrit

    z, df, shape = _together(z, df)
    with np.errstate(divide="ignore", invalid="ignore"):
        square = z * z
        out = np.asarray(
            z
            * (
                1.0
                + (square + 1.0) / (4.0 * df)
                + ((5.0 * square + 16.0) * square + 3.0) / (96.0 * df**2)
                + (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / (384.0 * df**3)
            )
        )
    exact = (df < _MANY) & (df > 0) & (np.abs(z) < _FAR)
    if exact.any():
        out[exact] = -np.sign(z[exact]) * np.asarray(stdtrit(df[exact], ndtr(-np.abs(z[exact]))))
    return np.where(df > 0, np.where(np.isinf(z), z, out), np.nan).reshape(shape)


def _together(one: ArrayLike, df: ArrayLike) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Both flat and of one length, and their common shape."""
    a, b = np.broadcast_arrays(np.asarray(one, dtype=np.float64), np.asarray(df, dtype=np.float64))
    return a.ravel(), b.ravel(), a.shape
