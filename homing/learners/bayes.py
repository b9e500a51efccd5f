"""Bayesian linear regression of several objectives at once, its prior chosen by the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.log import LoggedDataset

FloatArray = NDArray[np.float64]
BATCH_ROWS = 4_096
#: Strengths of the prior that are tried, in observations of a feature with variance 1.
PRIORS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)


@dataclass(frozen=True, eq=False)
class Moments:
    """What n rows of p features and m targets come to: all that a linear model needs.

    Attributes:
        n: rows.
        gram: float64 (p, p), XᵀX.
        cross: float64 (p, m), XᵀY.
        squares: float64 (m, m), YᵀY.
    """

    n: int
    gram: FloatArray
    cross: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, dataset: LoggedDataset, features: Callable[..., FloatArray], size: int) -> Moments:
        """Of what was chosen; targets are rewards less their means.

        Args:
            dataset: the log.
            features: (context, candidates (n, 1, c)) → (n, 1, p).
            size: p.
        """
        m = len(dataset.objectives)
        mean = dataset.reward.mean(axis=0)
        gram, cross, squares = np.zeros((size, size)), np.zeros((size, m)), np.zeros((m, m))
        for batch in dataset.batches(BATCH_ROWS):
            rows = np.arange(len(batch.rows))
            x = features(batch.context, batch.candidates[rows, batch.action][:, None])[:, 0]
            y = batch.reward - mean
            gram += x.T @ x
            cross += x.T @ y
            squares += y.T @ y
        return cls(dataset.n, gram, cross, squares)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Θ (p, m) given the rows: matrix normal around `mean`, rows as B⁻¹, columns as `noise`.

    With Y = XΘ + E, rows of E normal with covariance Σ, and Θ ~ MN(0, I / λ, Σ): B = λI + XᵀX and the mean B⁻¹XᵀY
    (Bishop 2006, equations 3.53 and 3.54, in which Σ is a number). Σ is estimated, as its maximum of the evidence.

    Attributes:
        mean: float64 (p, m).
        root: float64 (p, p), with root · rootᵀ = B⁻¹.
        noise: float64 (m, m), Σ.
        prior: λ.
        evidence: of each prior that was tried, log p(Y | λ), summed over objectives.
    """

    mean: FloatArray
    root: FloatArray
    noise: FloatArray
    prior: float
    evidence: tuple[float, ...]

    def draws(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Parameter vectors, (count, m, p)."""
        values, vectors = np.linalg.eigh(self.noise)
        half = vectors * np.sqrt(np.clip(values, 0.0, None))  # half · halfᵀ = Σ
        z = rng.standard_normal((count, *self.mean.shape))
        moved: FloatArray = self.mean + self.root @ z @ half.T
        return moved.transpose(0, 2, 1)


def posterior(moments: Moments, priors: Sequence[float] = PRIORS) -> Posterior:
    """The posterior under the prior with the largest evidence.

    One eigendecomposition XᵀX = QΛQᵀ serves all priors: log p(y | λ) = −n/2 (log 2πσ² + 1) − ½ Σ_i log(1 + Λ_i / λ)
    with σ² = (yᵀy − yᵀX B⁻¹ Xᵀy) / n at its maximum. Wrong where rows of one user depend on each other: it then is
    surer than it should be.

    Args:
        moments: of the rows.
        priors: λ, to choose from.

    Example:
        >>> x = np.array([[1.0], [2.0]])
        >>> found = posterior(Moments(2, x.T @ x, x.T @ x, x.T @ x), priors=[5.0])
        >>> float(found.mean[0, 0]), float(found.root[0, 0] ** 2), float(found.noise[0, 0])
        (0.5, 0.1, 1.25)
    """
    n = moments.n
    values, vectors = np.linalg.eigh(moments.gram)
    values = np.clip(values, 0.0, None)
    turned = vectors.T @ moments.cross
    evidence: list[float] = []
    left: list[FloatArray] = []
    for prior in priors:
        rest = moments.squares - turned.T @ (turned / (values + prior)[:, None])
        spread = np.diag(rest) / n
        seen = spread > 1e-12 * np.maximum(np.diag(moments.squares) / n, 1e-300)
        scale = -n / 2 * (np.log(2 * np.pi * spread[seen]) + 1).sum()
        evidence.append(float(scale - seen.sum() / 2 * np.log1p(values / prior).sum()))
        left.append(rest / n)
    best = int(np.argmax(evidence))
    width = values + priors[best]
    return Posterior(
        mean=vectors @ (turned / width[:, None]),
        root=vectors / np.sqrt(width),
        noise=left[best],
        prior=float(priors[best]),
        evidence=tuple(evidence),
    )
