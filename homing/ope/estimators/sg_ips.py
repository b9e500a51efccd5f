"""Subgaussian inverse propensity scoring: weights shrunken towards 1 by a power mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.ope.estimators.base import FloatArray, RowEstimate, Rows, kept_share, linear


@dataclass(frozen=True)
class SubGaussianIPS:
    """V = mean(w_λ r) with w_λ = w / (1 - λ + λ w), the harmonic mean of w and 1: no weight is larger than 1 / λ.

    λ = 0 is IPS, λ = 1 the logged mean. Where I₂ = E[w²] is known, λ* = √(2 ln(1/δ) / (3 n I₂)), at most 1, makes the
    paper's bound at confidence 1 - δ smallest. Where it is not, mean(w²) must not stand for it: one huge weight raises
    it, lowers λ, and so escapes the shrinkage. The authors' choice is used instead: λ = η / n^¼, η being the root of
    mean((η w / (1 - η + η w))²) = 2 ln(1/δ) / (3 √n), to which no row adds more than 1 / n. The influence accounts for
    that choice.

    The tails of the estimate's error are then those of a normal variable even where weights have no third moment. It is
    paid for by a bias of the size of the standard error, λ E[w (w - 1) r / (1 - λ + λ w)], that vanishes no faster than
    1/√n and that the interval does not cover: right for comparing many policies by rank, wrong for a gate.

    Attributes:
        lam: λ in [0, 1]; None to choose it.
        delta: δ in (0, 1) of that choice.
        second_moment: I₂ >= 1 where it is known, as the mean of Σ_a π² / μ over contexts; None where it is not.

    References:
        Metelli, Russo and Restelli (2021), "Subgaussian and Differentiable Importance Sampling for Off-Policy
        Evaluation and Learning": the power-mean correction with s = -1, λ* for known I₂, and the choice from data.

    Example:
        >>> SubGaussianIPS(lam=0.5)(Rows(weight=np.array([3.0, 0.0]), reward=np.ones(2))).value
        0.75
    """

    lam: float | None = None
    delta: float = 0.05
    second_moment: float | None = None
    name: str = "sg-ips"
    needs_q_hat: bool = False

    def __post_init__(self) -> None:
        check_power_mean(self.lam, self.delta, self.second_moment)

    def __call__(self, rows: Rows) -> RowEstimate:
        return power_mean_estimate(0.0, rows.weight, rows.reward, self.lam, self.delta, self.second_moment)


def check_power_mean(lam: float | None, delta: float, second_moment: float | None) -> None:
    """Refuse settings outside of their bounds."""
    check_probability("delta", delta)
    if lam is not None and not (isinstance(lam, int | float | np.number) and 0.0 <= lam <= 1.0):
        raise InvalidInputError(describe("lam", lam, "must be in [0, 1]", "0 is IPS, 1 ignores the weights."))
    if second_moment is not None and not (
        isinstance(second_moment, int | float | np.number) and 1.0 <= second_moment < np.inf
    ):
        raise InvalidInputError(
            describe("second_moment", second_moment, "must be a finite number >= 1", "E[w] is 1, so E[w²] is no less.")
        )


def power_mean_estimate(
    base: FloatArray | float,
    weight: FloatArray,
    values: FloatArray,
    lam: float | None,
    delta: float,
    second_moment: float | None,
) -> RowEstimate:
    """mean(base + w_λ values) with its influence, through λ where that is chosen from the weights."""
    n, root = len(weight), None
    if lam is not None:
        at = float(lam)
    elif second_moment is not None:
        at = known_lambda(second_moment, n, delta)
    else:
        root = solve_eta(weight, 2.0 * math.log(1.0 / delta) / (3.0 * math.sqrt(n)))
        at = root / n**0.25
    # With λ = 1 every weight is 1, that of a row with w = 0 too: the limit of the harmonic mean with 1.
    scale = 1.0 - at + at * weight
    shrunken = np.divide(weight, scale, out=np.ones_like(weight), where=scale > 0)
    terms = base + shrunken * values
    value = float(terms.mean())
    influence = terms - value
    if root is not None and root < 1.0:
        # dw_λ/dλ = -w (w - 1) / (1 - λ + λ w)² = -w_λ (w_λ - 1) / (1 - λ), and η moves with row i's mass by
        # -(p_i² - mean(p²)) / mean(dp²/dη), with dp/dη = p (1 - p) / (η (1 - η)).
        slope = -float(((shrunken - 1.0) * shrunken) @ values) / n / (1.0 - at)
        part = _eta_part(weight, root)
        term = part**2
        derivative = 2.0 * float((term * (1.0 - part)).mean()) / (root * (1.0 - root))
        influence = influence - slope * (term - term.mean()) / derivative / n**0.25
    details = {
        "lambda": at,
        "largest_weight": float(shrunken.max()),
        "kept_weight_share": kept_share(weight, shrunken),
    }
    # w / (1 - λ + λ w) stays below 1 / λ.
    return RowEstimate(
        value,
        influence,
        details,
        max_weight=1.0 / at if at > 0.0 else None,
        unbiased=linear(base + weight * values),
    )


def known_lambda(second_moment: float, n: int, delta: float) -> float:
    """λ* = √(2 ln(1/δ) / (3 n I₂)), at most 1.

    >>> round(known_lambda(1.0, n=600, delta=math.exp(-9.0)), 12)
    0.1
    """
    return min(1.0, math.sqrt(2.0 * math.log(1.0 / delta) / (3.0 * n * second_moment)))


def solve_eta(weight: FloatArray, target: float) -> float:
    """The η in (0, 1] with mean((η w / (1 - η + η w))²) = target; 1 where even that is too small.

    The left side rises from 0 to the share of positive weights. Newton's steps; the bracket is halved where they leave
    it.

    >>> round(solve_eta(np.array([1.0, 1.0]), 0.25), 12)
    0.5
    """
    if np.count_nonzero(weight) <= target * len(weight):
        return 1.0
    low, high = 0.0, 1.0
    at = min(0.5, math.sqrt(target * len(weight) / float(weight @ weight)))
    for _ in range(200):
        part = _eta_part(weight, at)
        squares = part * part
        # dp/dη = p (1 - p) / (η (1 - η))
        derivative = 2.0 * float(squares.sum() - squares @ part) / (at * (1.0 - at))
        miss = float(squares.sum()) - target * len(weight)
        low, high = (at, high) if miss < 0 else (low, at)
        step = at - miss / derivative
        new = step if low < step < high else 0.5 * (low + high)
        if abs(new - at) <= 1e-13 * at:
            break
        at = new
    return at


def _eta_part(weight: FloatArray, eta: float) -> FloatArray:
    """p = η w / (1 - η + η w), in [0, 1), (n,)."""
    part = eta * weight
    part /= (1.0 - eta) + part
    return part
