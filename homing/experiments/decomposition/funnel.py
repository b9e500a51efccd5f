"""A funnel: a movement as the sum of what each step's rate contributed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe
from homing.experiments.decomposition.means import PairedMeans
from homing.experiments.decomposition.result import Decomposition, assemble
from homing.experiments.decomposition.rows import Rows

Numbers = NDArray[np.inexact]


def funnel(
    rows: Rows, stages: tuple[str, ...], counts: list[NDArray[np.float64]], method: str, level: float
) -> Decomposition:
    """What each step's rate contributed to the movement of the last stage's mean, or of its ratio to a denominator."""
    if stages[-1] != rows.metric.numerator:
        bound = f"must be the metric's numerator {rows.metric.numerator!r}"
        raise InvalidInputError(describe("last stage", stages[-1], bound))
    base = rows.metric.denominator
    names = stages if base is None else (base, *stages)
    table = np.column_stack(counts if base is None else [rows.bottom, *counts])
    places = np.broadcast_to(np.arange(len(names)), table.shape)
    means = PairedMeans.of_rows(rows.compared, rows.units, places, table, len(names))
    _check(means.mean, names, logarithms=method == "log-mean")
    terms = METHODS[method]

    def per_base(means: Numbers) -> Numbers:
        return terms(means[..., 1:] / means[..., :1])

    before = ("unit" if base is None else base, *stages[:-1])
    return assemble(
        rows.movement,
        "funnel",
        means.through(terms if base is None else per_base),
        means.df,
        names=[f"{stage} per {one}" for stage, one in zip(stages, before, strict=True)],
        parts=["step"] * len(stages),
        segments=[None] * len(stages),
        level=level,
    )


def rates(means: Numbers) -> Numbers:
    """Each stage per unit of the stage before, (…, K), of stages' means (…, K); the first is per unit.

    >>> rates(np.array([4.0, 2.0, 0.5])).tolist()
    [4.0, 0.5, 0.25]
    """
    out: Numbers = means / np.concatenate([np.ones_like(means[..., :1]), means[..., :-1]], axis=-1)
    return out


def log_mean_terms(means: Numbers) -> Numbers:
    """The logarithmic mean Divisia index in its additive form (LMDI-I), (…, K), of means (…, 2, K).

    With y the last stage's mean, a product of rates r_k: term k = L(y1, y0) ln(r_k1 / r_k0), where L(a, b) =
    (a - b) / (ln a - ln b) is the logarithmic mean. They add up to y1 - y0 exactly, do not depend on the order of the
    steps, and change sign when the groups change places.

    Wrong to use where a rate is 0 in a group: see `shapley_terms`.

    References:
        Ang (2005), "The LMDI approach to decomposition analysis: a practical guide", Energy Policy 33, equation 5.

    Example:
        >>> log_mean_terms(np.array([[2.0, 1.0], [4.0, 1.0]])).round(4).tolist()  # twice the sends, half the rate
        [0.6931, -0.6931]
    """
    logs = np.log(rates(means))
    change = logs[..., 1, :] - logs[..., 0, :]
    total = change.sum(axis=-1, keepdims=True)
    out: Numbers = means[..., 0, -1:] * _expm1_ratio(total) * change
    return out


def shapley_terms(means: Numbers) -> Numbers:
    """Each rate's average contribution over all orders in which the rates can change, (…, K), of means (…, 2, K).

    Exact and symmetric as the logarithmic mean is, and defined where a rate is 0; its work doubles with each stage.

    References:
        Shapley (1953), "A Value for n-Person Games"; Sun (1998), Energy Economics 20, is the same for products.

    Example:
        >>> shapley_terms(np.array([[2.0, 1.0], [4.0, 0.0]])).tolist()
        [0.5, -1.5]
    """
    r = rates(means)
    before, after = r[..., 0, :], r[..., 1, :]
    k = r.shape[-1]
    terms = []
    for i in range(k):
        others = [j for j in range(k) if j != i]
        total = np.zeros_like(before[..., 0])
        for size in range(k):
            weight = factorial(size) * factorial(k - 1 - size) / factorial(k)
            for moved in combinations(others, size):
                still = [j for j in others if j not in moved]
                total = total + weight * after[..., list(moved)].prod(axis=-1) * before[..., still].prod(axis=-1)
        terms.append(total * (after[..., i] - before[..., i]))
    return np.stack(terms, axis=-1)


def _check(means: NDArray[np.float64], stages: tuple[str, ...], *, logarithms: bool) -> None:
    """Refuse means (2, K) whose rates, or their logarithms, are not defined."""
    for group, row in zip(("baseline", "comparison"), means, strict=True):
        for i, (stage, value) in enumerate(zip(stages, row, strict=True)):
            last = i == len(stages) - 1
            if value < 0 or (value == 0 and (logarithms or not last)):
                raise SupportError(
                    describe(
                        f"mean of stage {stage!r} in the {group} group",
                        float(value),
                        "must be > 0" if logarithms or not last else "must be >= 0",
                        "End the funnel before this stage"
                        + (", or use method='shapley'." if last and value == 0 else "."),
                    )
                )


def _expm1_ratio(x: Numbers) -> Numbers:
    """(exp(x) - 1) / x, by its series near 0, where the quotient and its derivative cancel."""
    near = np.abs(x) < 1e-3
    safe = np.where(near, 1.0, x)
    series = 1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6))))
    out: Numbers = np.where(near, series, np.expm1(safe) / safe)
    return out


METHODS: dict[str, Callable[[Numbers], Numbers]] = {"log-mean": log_mean_terms, "shapley": shapley_terms}
