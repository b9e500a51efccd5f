"""z-paths of experiments in which nothing happens: what every simulated experiment is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_shape
from homing.errors import InvalidInputError, describe

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

FloatArray = NDArray[np.float64]


def z_paths(
    n: int,
    information: FloatArray,
    rng: np.random.Generator,
    *,
    metrics: FloatArray | None = None,
    treatments: FloatArray | None = None,
) -> FloatArray:
    """z-paths under no effect: Brownian motions over √t, looked at when information is t.

    Args:
        n: experiments.
        information: (looks,), increasing, > 0.
        rng: source of randomness.
        metrics: (metrics, metrics), correlations; one metric when None.
        treatments: (treatments, treatments), correlations; one treatment when None.

    Returns:
        (n, looks, treatments, metrics).

    Example:
        >>> z = z_paths(20_000, np.array([0.25, 1.0]), np.random.default_rng(1))[:, :, 0, 0]
        >>> bool(abs(np.corrcoef(z.T)[0, 1] - 0.5) < 0.02)  # √(t_1 / t_2)
        True
    """
    one = np.ones((1, 1))
    between, among = _root(one if metrics is None else metrics), _root(one if treatments is None else treatments)
    steps = rng.standard_normal((n, len(information), len(among), len(between)))
    steps = among @ (steps @ between) * np.sqrt(np.diff(information, prepend=0.0))[:, None, None]
    return np.asarray(np.cumsum(steps, axis=1) / np.sqrt(information)[:, None, None])


def schedule(information: int | ArrayLike) -> FloatArray:
    """(looks,), shares of the planned size: a number means equal steps up to 1.

    Raises:
        InvalidInputError: if they do not grow from above 0.
    """
    given = np.asarray(check_finite("information", information), dtype=np.float64)
    t = np.arange(1, int(given) + 1) / int(given) if given.ndim == 0 else given
    if t.ndim != 1 or not len(t) or t[0] <= 0 or (np.diff(t) <= 0).any():
        raise InvalidInputError(
            describe("information", t.tolist(), "must grow from above 0", "Pass shares of the size.")
        )
    return t


def correlations(correlation: ArrayLike, metrics: int) -> FloatArray:
    """(metrics, metrics), from one number for every pair or from the matrix.

    Raises:
        InvalidInputError: if it is none of that size.
    """
    given = np.asarray(check_finite("correlation", correlation), dtype=np.float64)
    if given.ndim == 0:
        given = np.where(np.eye(metrics) == 1.0, 1.0, given)
    check_shape("correlation", given, (metrics, metrics), next_step="One row for each metric, in the plan's order.")
    if not np.allclose(given, given.T) or not np.allclose(np.diag(given), 1.0) or np.linalg.eigvalsh(given)[0] < -1e-9:
        raise InvalidInputError(
            describe(
                "correlation",
                given.tolist(),
                "must be a correlation matrix: symmetric, 1 on its diagonal, no negative variance",
                "Estimate it from a history, of all metrics at once.",
            )
        )
    return given


def shared_control(plan: ExperimentPlan) -> FloatArray:
    """Correlations of differences from one control: (1/n_c) / √((1/n_i + 1/n_c) (1/n_j + 1/n_c)).

    Returns:
        (treatments, treatments).

    Example:
        >>> from homing.experiments import ExperimentPlan, Metric
        >>> shares = {"control": 0.5, "warm": 0.25, "cold": 0.25}
        >>> plan = ExperimentPlan("three", success=[Metric("visits", "mean", "visits")], variants=shares)
        >>> shared_control(plan).round(3)
        array([[1.   , 0.333],
               [0.333, 1.   ]])
    """
    control = 1.0 / plan.variants[plan.control]
    each = np.array([1.0 / plan.variants[name] + control for name in plan.treatments])
    out = control / np.sqrt(each[:, None] * each)
    np.fill_diagonal(out, 1.0)
    return np.asarray(out)


def _root(correlation: FloatArray) -> FloatArray:
    """Symmetric square root: also where metrics are perfectly correlated."""
    values, vectors = np.linalg.eigh(correlation)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
