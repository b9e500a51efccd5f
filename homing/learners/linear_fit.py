"""Penalised bilinear models of rewards: exact least squares from sums, logistic regression by Newton's method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from homing.learners.bilinear_design import BilinearDesign
from homing.learners.newton import Curvature, Local, Loss, is_dense, minimise

FloatArray = NDArray[np.float64]


def fit_path(
    design: BilinearDesign,
    target: FloatArray,
    links: Sequence[str],
    penalties: Sequence[float],
    weight: FloatArray | None = None,
) -> list[FloatArray]:
    """Minimise Σ loss + penalty / 2 · (|a|² + |b|² + |W|²) over z = c·W x + b·c + a·x + i, for each penalty.

    The loss is the log loss where the link is a logit, half the squared error elsewhere. Squared errors need one pass
    over the examples for all objectives and penalties together; log losses start where the stronger penalty ended.

    Args:
        design: n examples.
        target: (n, m); identity targets are expected standardised.
        links: of each objective.
        penalties: in observations, from the strongest.
        weight: (n,), of each example's loss; 1 without.

    Returns:
        Θ (m, 1 + c, 1 + d) for each penalty, as in `BilinearDesign`.

    Example:
        >>> from homing.learners.examples import Examples
        >>> from homing.log import CandidateStore
        >>> store = CandidateStore.from_padded(np.zeros((2, 1, 0)))
        >>> data = Examples(np.array([[-1.0], [1.0]], np.float32), store, np.zeros((2, 1)), np.arange(2))
        >>> fits = fit_path(BilinearDesign.of(data), np.array([[-1.0], [1.0]]), ("identity",), [2.0])
        >>> fits[0].round(6).tolist()  # Σ x y / (Σ x² + penalty) = 2 / 4
        [[[0.0, 0.5]]]
    """
    counts = np.ones(design.n) if weight is None else weight
    out = [np.zeros((len(links), *design.shape)) for _ in penalties]
    lines = [j for j, link in enumerate(links) if link == "identity"]
    if lines and is_dense(design):
        curvature = Curvature(design, counts, dense=True)
        moments = np.stack([design.slopes(counts * target[:, j]).ravel() for j in lines], axis=1)
        for fit, penalty in zip(out, penalties, strict=True):
            fit[lines] = curvature.inverse(penalty)(moments).T.reshape(len(lines), *design.shape)
        if curvature.exact:
            lines = []  # else by steps, which sums that rounding spoilt guide well enough
    begin = starting_intercept(target, links)
    for j, link in enumerate(links):
        if link == "identity" and j not in lines:
            continue
        theta, known = np.zeros(design.size), None
        theta[0] = begin[j]
        loss = log_loss(target[:, j], counts) if link == "logit" else squared_error(target[:, j], counts)
        for fit, penalty in zip(out, penalties, strict=True):
            theta, known = minimise(design, loss, penalty, theta, known)
            fit[j] = theta.reshape(design.shape)
    return out


def parts(
    theta: FloatArray,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Θ (m, 1 + c, 1 + d) as W (m, c, d), b (m, c), a (m, d), i (m,), float32."""
    out = theta.astype(np.float32)
    return out[:, 1:, 1:], out[:, 1:, 0], out[:, 0, 1:], out[:, 0, 0]


def outputs(design: BilinearDesign, theta: FloatArray) -> FloatArray:
    """z (n, m) of Θ (m, 1 + c, 1 + d)."""
    return np.column_stack([design.outputs(each) for each in theta])


def pointwise_loss(z: FloatArray, target: FloatArray, links: Sequence[str]) -> FloatArray:
    """Log loss where the link is a logit, half the squared error elsewhere; (n, m)."""
    logit = np.array([link == "logit" for link in links])
    out: FloatArray = np.where(logit, _softplus(z) - target * z, 0.5 * (z - target) ** 2)
    return out


def log_loss(target: FloatArray, weight: FloatArray) -> Loss:
    """Σ_i weight_i · −log P(target_i), with logits as outputs."""

    def at(z: FloatArray, own: FloatArray) -> Local:
        small = np.exp(-np.abs(z))
        chance = np.where(z >= 0.0, 1.0, small) / (1.0 + small)
        value = float(weight @ (np.maximum(z, 0.0) + np.log1p(small) - target * z))
        return Local.plain(value, weight * (chance - target), weight * chance * (1.0 - chance))

    return at


def squared_error(target: FloatArray, weight: FloatArray) -> Loss:
    """Σ_i weight_i · (z_i − target_i)² / 2."""

    def at(z: FloatArray, own: FloatArray) -> Local:
        error = z - target
        return Local.plain(0.5 * float(weight @ error**2), weight * error, weight)

    return at


def starting_intercept(reward: FloatArray, links: Sequence[str]) -> FloatArray:
    """Each objective's mean on its own scale (m,): rare events start where they are."""
    mean = reward.mean(axis=0)
    edge = 0.5 / len(reward)
    odds = np.clip(mean, edge, 1 - edge)
    out: FloatArray = np.where([link == "logit" for link in links], np.log(odds / (1 - odds)), mean)
    return out


def _softplus(z: FloatArray) -> FloatArray:
    out: FloatArray = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
    return out
