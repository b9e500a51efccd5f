"""Means and the covariance of means: of units, strata, clusters and ratios."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Means:
    """Estimated means of q columns in each variant at each look; independent between variants.

    Attributes:
        n: (…, V, L) units.
        mean: (…, V, L, q).
        cov: (…, V, L, q, q), of the estimated means: it shrinks as 1 / n.
    """

    n: FloatArray
    mean: FloatArray
    cov: FloatArray


def means_of(n: NDArray[np.integer], mean: FloatArray, products: FloatArray, *, ddof: int = 1) -> Means:
    """Means of independent units: cov = products / (n (n - ddof)). NaN where there are fewer than two units.

    Args:
        n: (…,) units.
        mean: (…, q).
        products: (…, q, q) Σ (x - mean x)(y - mean y).
        ddof: 1 for the unbiased variance; 0 for a proportion, whose variance p (1 - p) needs no other estimate.

    Example:
        >>> x = np.array([1.0, 2.0, 6.0])
        >>> made = means_of(np.array(3), np.array([3.0]), np.array([[14.0]]))
        >>> bool(np.isclose(made.cov[0, 0], x.var(ddof=1) / 3))
        True
    """
    count = np.asarray(n, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(count >= 2.0, 1.0 / (count * (count - ddof)), np.nan)
        return Means(count, np.where(count[..., None] >= 1.0, mean, np.nan), products * scale[..., None, None])


def post_stratified(strata: Means) -> Means:
    """Means with every variant's strata weighted as they are in all variants together.

    The weights w_s = n_s / n are the same in every variant, so that what strata differ in by chance does not count as
    an effect: mean = Σ w_s mean_s, cov = Σ w_s² cov_s (Miratrix, Sekhon and Yu 2013, "Adjusting treatment effect
    estimates by post-stratification in randomized experiments", JRSS B 75, equation 7). Where a stratum has fewer than
    two units in some variant, there is no estimate (NaN).

    Args:
        strata: with axes (…, V, L, S, …).

    Returns:
        Axes (…, V, L, …).
    """
    by_stratum = strata.n.sum(axis=-3, keepdims=True)
    weight = by_stratum / np.maximum(by_stratum.sum(axis=-1, keepdims=True), 1.0)
    empty = by_stratum == 0  # in no variant yet: it has no weight
    mean = np.where(empty[..., None], 0.0, strata.mean)
    cov = np.where(empty[..., None, None], 0.0, strata.cov)
    return Means(
        strata.n.sum(axis=-1),
        (weight[..., None] * mean).sum(axis=-2),
        (weight[..., None, None] ** 2 * cov).sum(axis=-3),
    )


def ratio(means: Means) -> Means:
    """The ratio of the first two columns and the means of the others, by the delta method.

    R = y / x has the gradient (1 / x, -R / x) (Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric
    Analytics", KDD, section 3.1). Wrong where x may be near 0 within its own error.

    Args:
        means: of (numerator, denominator, covariates…).

    Returns:
        Of (ratio, covariates…); NaN where the denominator is 0.
    """
    below = np.where(means.mean[..., 1] == 0, np.nan, means.mean[..., 1])
    value = means.mean[..., 0] / below
    slope = np.stack([np.ones_like(value), -value], axis=-1) / below[..., None]
    rest = means.mean.shape[-1] - 2
    gradient = np.zeros((*value.shape, 1 + rest, 2 + rest))
    gradient[..., 0, :2] = slope
    gradient[..., 1:, 2:] = np.eye(rest)
    return Means(
        means.n, np.concatenate([value[..., None], means.mean[..., 2:]], axis=-1), _mapped(gradient, means.cov)
    )


def per_cluster(means: Means, units: int) -> Means:
    """From means of clusters' sums: the first column over the second, and the covariates per unit of a cluster.

    Each becomes the ratio of two sums over clusters, whose error is that of clusters, however alike their units are.

    Args:
        means: of (numerator, denominator, covariates…), and the number of units at place `units` (it may be the
            denominator); all else between are covariates.
        units: place of the number of units.

    Returns:
        Of (numerator / denominator, covariates per unit…); NaN where what is divided by is 0.
    """
    places = [at for at in range(2, means.mean.shape[-1]) if at != units]
    pairs = [(0, 1), *((at, units) for at in places)]
    gradient = np.zeros((*means.mean.shape[:-1], len(pairs), means.mean.shape[-1]))
    values = []
    sizes = np.where(means.mean == 0, np.nan, means.mean)
    for row, (above, below) in enumerate(pairs):
        value = means.mean[..., above] / sizes[..., below]
        gradient[..., row, above] = 1.0 / sizes[..., below]
        gradient[..., row, below] = -value / sizes[..., below]
        values.append(value)
    return Means(means.n, np.stack(values, axis=-1), _mapped(gradient, means.cov))


def _mapped(gradient: FloatArray, cov: FloatArray) -> FloatArray:
    """J C J', whose diagonal rounding must not make negative."""
    made = np.asarray(gradient @ cov @ np.swapaxes(gradient, -1, -2))
    return np.where(np.eye(made.shape[-1], dtype=bool), np.maximum(made, 0.0), made)
