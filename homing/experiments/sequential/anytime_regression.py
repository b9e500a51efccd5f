"""Regression whose t statistics may be read at any time: valid for every sample size, without a limit theorem."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.estimates import mixture_growth

FloatArray = NDArray[np.float64]


def anytime_regression_p_value(
    coefficient: ArrayLike, std_error: ArrayLike, residual_sd: ArrayLike, df: ArrayLike, *, precision: float
) -> FloatArray:
    """Sequential p-value of a coefficient of ordinary least squares, from the columns of any regression table.

    Under normal errors the t statistics of a growing regression have a likelihood ratio, against effects that are
    normal around 0 with variance σ² / φ, that depends on nothing else (the nuisance coefficients and σ integrate out):

        ln BF = ½ ln r + ½ (ν + 1) [ln(1 + t² / ν) - ln(1 + r t² / ν)],  r = φ / (φ + (σ / SE)²),

    a martingale under H0, so that p = 1 / BF, the least so far, is below α at any time with probability of at most α.
    Covariates shorten it as they do at a fixed size; with many units it becomes the two-sided confidence sequence.

    Wrong to use with heteroskedasticity-robust standard errors (the law above is that of classical ones) or clustered
    rows.

    Args:
        coefficient: (…, looks).
        std_error: (…, looks), classical.
        residual_sd: (…, looks), σ estimated with ν degrees of freedom.
        df: (…, looks), ν, rows less columns.
        precision: φ > 0; `regression_precision` finds the one that is best at some size.

    Returns:
        (…, looks), never rising.

    Raises:
        InvalidInputError: if a standard error, σ or ν is not positive.

    References:
        Lindon, Ham, Tingley and Bojinov (2022), "Anytime-valid linear models and regression adjusted causal inference
        in randomized experiments", arXiv 2210.08589, for the t test.

    Example:
        >>> p = anytime_regression_p_value([0.9, 0.5], [0.3, 0.1], 1.0, [40, 400], precision=10.0)
        >>> p.round(5).tolist()
        [0.18076, 5e-05]
    """
    check_positive("precision", precision)
    t2, nu, r = _statistics(coefficient, std_error, residual_sd, df, precision)
    log_ratio = 0.5 * np.log(r) + 0.5 * (nu + 1.0) * (np.log1p(t2 / nu) - np.log1p(r * t2 / nu))
    return np.minimum.accumulate(np.minimum(1.0, np.exp(-log_ratio)), axis=-1)


def anytime_regression_half_width(
    std_error: ArrayLike, residual_sd: ArrayLike, df: ArrayLike, *, alpha: float, precision: float
) -> FloatArray:
    """Half width of the two-sided interval of a coefficient that holds at all looks together with 1 - alpha.

    The t at which the likelihood ratio of `anytime_regression_p_value` is 1 / α, times SE: with κ = (r α²)^(-1/(ν+1)),
    t² = ν (κ - 1) / (1 - r κ), infinite where rows are too few for any t to be enough.

    Args:
        std_error: (…, looks), classical.
        residual_sd: (…, looks).
        df: (…, looks).
        alpha: of both sides together, over all looks.
        precision: as there.

    Example:
        >>> anytime_regression_half_width([0.3, 0.1], 1.0, [40, 400], alpha=0.05, precision=10.0).round(3).tolist()
        [1.207, 0.305]
    """
    check_positive("precision", precision)
    check_probability("alpha", alpha)
    _, nu, r = _statistics(0.0, std_error, residual_sd, df, precision)
    kappa = np.exp(-(np.log(r) + 2.0 * np.log(alpha)) / (nu + 1.0))
    enough = r * kappa < 1.0
    t2 = np.where(enough, nu * (kappa - 1.0) / np.where(enough, 1.0 - r * kappa, 1.0), np.inf)
    return np.asarray(np.sqrt(t2) * np.asarray(std_error, dtype=np.float64))


def regression_precision(n_star: float, information_per_unit: float, alpha: float) -> float:
    """φ with which the interval is tightest at n_star units.

    Args:
        n_star: units.
        information_per_unit: (σ / SE)² / n; for a treatment indicator with share p it is p (1 - p).
        alpha: of both sides together.

    Example:
        >>> round(regression_precision(10_000, 0.25, 0.05), 1)
        315.0
    """
    check_positive("n_star", n_star)
    check_positive("information_per_unit", information_per_unit)
    return n_star * information_per_unit / mixture_growth(1.0 - alpha)


def _statistics(
    coefficient: ArrayLike, std_error: ArrayLike, residual_sd: ArrayLike, df: ArrayLike, precision: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """t², ν and r at each look."""
    beta = np.asarray(check_finite("coefficient", coefficient), dtype=np.float64)
    given = {"std_error": std_error, "residual_sd": residual_sd, "df": df}
    arrays = {name: np.asarray(check_finite(name, value), dtype=np.float64) for name, value in given.items()}
    for name, array in arrays.items():
        if (array <= 0).any():
            raise InvalidInputError(
                describe(name, float(array.min()), "must be > 0", "Begin when there are more rows.")
            )
    se, sigma, nu = arrays.values()
    t2, nu, r = np.broadcast_arrays((beta / se) ** 2, nu, precision / (precision + (sigma / se) ** 2))
    return np.atleast_1d(t2), np.atleast_1d(nu), np.atleast_1d(r)
