"""Variance reduction with pre-exposure covariates (CUPED, regression adjustment), from means and their covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.experiments.estimators.moments import Means

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ArmValues:
    """One number per variant and look, with what is needed to compare two variants.

    Attributes:
        n: (…, V, L) units.
        value: (…, V, L).
        variance: (…, V, L), of the value.
        shared: (…, V, V, L), covariance of two variants' values: they share the estimated mean of the covariates.
        df: (…, V, L), degrees of freedom of the variance.
    """

    n: FloatArray
    value: FloatArray
    variance: FloatArray
    shared: FloatArray
    df: FloatArray


def unadjusted(means: Means) -> ArmValues:
    """The first column's mean as it is."""
    value, variance = means.mean[..., 0], means.cov[..., 0, 0]
    return ArmValues(means.n, value, variance, np.zeros((*value.shape[:-1], *value.shape[-2:])), means.n - 1.0)


def adjusted(means: Means, *, pooled: bool = False) -> ArmValues:
    """The first column's mean, had every variant had the covariate means of all variants together.

    value_v = y_v - θ_v'(c_v - c), with c the covariate means over all variants. With a slope of each variant's own
    this is the regression with all interactions (Lin 2013, "Agnostic notes on regression adjustments to experimental
    data", Annals of Applied Statistics 7), which never has a larger asymptotic variance than no adjustment, whatever
    the truth is; with one slope (`pooled`) it is CUPED (Deng, Xu, Kohavi and Walker 2013, WSDM) with the slope of the
    regression on covariates and variants.

    The variance is of the residual means, with residuals' degrees of freedom n - 1 - p and the leverage of the mean
    covariates (what HC2 estimates; without covariates it is exactly the Welch variance), plus what c varies when
    slopes differ: θ_v' Cov(c) θ_w (Negi and Wooldridge 2021, "Revisiting regression adjustment in experiments",
    Econometric Reviews 40, section 4).

    Wrong to use with anything that the treatment can have changed.

    Args:
        means: of (outcome, covariates…).
        pooled: one slope for all variants.
    """
    mean, cov, n = means.mean, means.cov, means.n
    p = mean.shape[-1] - 1
    within = cov[..., 1:, 1:]
    cross = cov[..., 1:, 0]
    # cov · n (n - 1) are sums of products; those of all variants together give the regression's common slope.
    scale = np.nan_to_num(n * (n - 1.0))[..., None]
    squares, products = scale[..., None] * within, scale * cross
    if pooled:
        squares = np.broadcast_to(np.nansum(squares, axis=-4, keepdims=True), within.shape)
        products = np.broadcast_to(np.nansum(products, axis=-3, keepdims=True), cross.shape)
    slope = _solve(squares, products)
    share = n / np.maximum(n.sum(axis=-2, keepdims=True), 1.0)
    centre = (share[..., None] * np.nan_to_num(mean[..., 1:])).sum(axis=-3, keepdims=True)
    gap = centre - mean[..., 1:]
    value = mean[..., 0] + _dot(slope, gap)
    # The residual mean r = y - θ'c of a variant, and its covariance with the mean of all covariates.
    rest = cov[..., 0, 0] - 2.0 * _dot(slope, cross) + _dot(slope, _apply(within, slope))
    rest = np.maximum(rest, 0.0)
    df = n - 1.0 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        leverage = 1.0 + n * _dot(gap, _solve(squares, gap))
        rest = np.where(df > 0, rest * (n - 1.0) / df * leverage, np.nan)
    with_centre = share[..., None] * (cross - _apply(within, slope))
    of_centre = np.nansum(share[..., None, None] ** 2 * within, axis=-4)
    both = np.einsum("...vli,...lij,...wlj->...vwl", slope, of_centre, slope)
    crossed = np.einsum("...vli,...wli->...vwl", with_centre, slope)
    shared = both + crossed + np.swapaxes(crossed, -2, -3)
    own = np.einsum("...vvl->...vl", shared)
    return ArmValues(n, value, np.maximum(rest + own, 0.0), shared, df)


def _solve(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """matrix⁻¹ vector, with the pseudo-inverse: a covariate that does not vary, or repeats another, has no slope."""
    known = np.nan_to_num(matrix)
    if matrix.shape[-1] == 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(known[..., 0] > 0, vector / known[..., 0], 0.0)
    return np.asarray((pseudo_inverse(known) @ np.nan_to_num(vector)[..., None])[..., 0])


def pseudo_inverse(matrix: FloatArray) -> FloatArray:
    """Of covariance matrices (…, q, q), of whatever scales: what does not vary, or repeats others, adds nothing."""
    size = np.sqrt(np.maximum(np.einsum("...ii->...i", matrix), 0.0))
    unit = np.where(size > 0, size, 1.0)
    scale = unit[..., None, :] * unit[..., :, None]
    return np.asarray(np.linalg.pinv(matrix / scale, rcond=1e-12, hermitian=True) / scale)


def _apply(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    return np.asarray((matrix @ vector[..., None])[..., 0])


def _dot(one: FloatArray, two: FloatArray) -> FloatArray:
    return np.asarray((one * two).sum(axis=-1))
