"""The power of one test: units for an effect, the effect for units, and what it costs to look more than once."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.experiments.baseline import MetricBaseline
from homing.experiments.monitoring import ConfidenceSequence, Monitoring
from homing.experiments.sequential import inflation_factor


def units_needed(
    effect: float,
    *,
    variance_control: float,
    variance_treatment: float,
    share_control: float,
    share_treatment: float,
    alpha: float,
    power: float,
    inflation: float = 1.0,
) -> int:
    """Units in all variants at which a one-sided z test of one pair has its power.

    n_treatment = (z_{1-α} + z_{power})² (σ²_c / κ + σ²_t) / Δ² with κ = n_c / n_t. Superiority is planned at Δ = MDE,
    non-inferiority at an effect of 0, which lies Δ = NIM from its null.

    Wrong to use for fewer than about 30 units a variant, or for shares of a few events: z is not normal there.

    Args:
        effect: Δ, distance from the null to the effect planned for, > 0.
        variance_control: of one unit.
        variance_treatment: of one unit, where the effect is as planned.
        share_control: of all units, in (0, 1).
        share_treatment: of all units, in (0, 1).
        alpha: one-sided.
        power: in (alpha, 1).
        inflation: of the units, for several looks.

    References:
        Chow, Shao, Wang, Lokhnygina (2017), "Sample Size Calculations in Clinical Research", sections 3.2 and 4.2.

    Example:
        A share of 10 %, 5 % more of it, half of the units each:

        >>> units_needed(0.005, variance_control=0.1 * 0.9, variance_treatment=0.105 * 0.895,
        ...              share_control=0.5, share_treatment=0.5, alpha=0.05, power=0.8)
        90996
    """
    check_positive("effect", effect)
    ratio = share_control / share_treatment
    at_once = _quantiles(alpha, power) ** 2 * (variance_control / ratio + variance_treatment) / effect**2
    return math.ceil(math.ceil(at_once * inflation) / share_treatment)


def effect_detectable(
    n_total: float,
    baseline: MetricBaseline,
    *,
    sign: int,
    share_control: float,
    share_treatment: float,
    alpha: float,
    power: float,
    moves_variance: bool,
) -> float:
    """The effect at which `units_needed` is `n_total`: the same equation, solved for Δ > 0.

    With σ²_t = v p_t (1 - p_t) and p_t = p + sign Δ of a share it is quadratic in Δ.

    Args:
        n_total: units in all variants, over the inflation.
        baseline: of the metric.
        sign: +1 where an increase is good.
        share_control: of all units.
        share_treatment: of all units.
        alpha: one-sided.
        power: in (alpha, 1).
        moves_variance: whether a share is planned at the alternative (superiority), or where nothing changes.

    Example:
        >>> round(effect_detectable(90_996, MetricBaseline(0.1), sign=1, share_control=0.5, share_treatment=0.5,
        ...                         alpha=0.05, power=0.8, moves_variance=True), 6)
        0.005
    """
    scale = _quantiles(alpha, power) ** 2 / check_positive("n_total", n_total)
    still = scale * baseline.unit_variance * (1.0 / share_control + 1.0 / share_treatment)
    if baseline.variance is not None or not moves_variance:
        return math.sqrt(still)
    moving = scale / share_treatment * (1.0 - baseline.r_squared) * baseline.design_effect
    linear = moving * sign * (1.0 - 2.0 * baseline.mean)
    return (linear + math.sqrt(linear**2 + 4.0 * (1.0 + moving) * still)) / (2.0 * (1.0 + moving))


@lru_cache(maxsize=1024)
def inflation_of(
    monitoring: Monitoring, alpha: float, power: float, looks: int | None, fixed_size: float | None = None
) -> float:
    """`monitoring.inflation`, which searches for a root, kept: a plan's tests share their levels."""
    return monitoring.inflation(alpha, power, looks=looks, fixed_size=fixed_size)


def planned_end(monitoring: Monitoring, planned_size: int | None) -> float:
    """Information at the planned end: 1, but for a sequence that counts it in units of its own; infinite without one.

    Example:
        >>> from homing.experiments import ConfidenceSequence
        >>> planned_end(ConfidenceSequence(n_star=10_000), 25_000)
        2.5
    """
    if not isinstance(monitoring, ConfidenceSequence) or monitoring.n_star is None:
        return 1.0
    return math.inf if planned_size is None else planned_size / monitoring.n_star


def inflation_at(n_total: int, monitoring: Monitoring, alpha: float, power: float, looks: int | None) -> float:
    """At a given size, which says where bounds that count units end."""
    if not counts_units(monitoring) or looks is None:
        return inflation_of(monitoring, alpha, power, looks)
    t = np.arange(1, looks + 1) / looks * planned_end(monitoring, n_total)
    return inflation_factor(monitoring.critical(t, alpha), t, alpha, power)


def counts_units(monitoring: Monitoring) -> bool:
    """Whether bounds depend on units rather than on shares of the planned size."""
    return math.isinf(planned_end(monitoring, None))


def _quantiles(alpha: float, power: float) -> float:
    """z_{1-α} + z_{power}."""
    from scipy.special import ndtri

    check_probability("alpha", alpha)
    check_probability("power", power)
    if power <= alpha:
        raise InvalidInputError(describe("power", power, f"must be > alpha == {alpha}", "0.8 is common."))
    return float(ndtri(power) - ndtri(alpha))
