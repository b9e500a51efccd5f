"""Comparisons for people, from the arrays of all tests at all looks."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from homing.estimates import Estimate
from homing.experiments.arms import MetricValues
from homing.experiments.estimators import ArmValues, fieller, relative, t_bound
from homing.experiments.plan import ExperimentPlan
from homing.experiments.scorecard import Comparison, ComparisonPath, OneSidedTest
from homing.experiments.testing import Compared, Judged

FloatArray = NDArray[np.float64]
#: Infinitely many degrees of freedom, as a whole number.
_MANY = 2**31 - 1


def comparisons(values: MetricValues, table: Compared, plan: ExperimentPlan) -> tuple[Comparison, ...]:
    """Every metric × treatment at the last look, with its path."""
    from scipy.special import ndtri

    variants, control = list(plan.variants), list(plan.variants).index(plan.control)
    alpha = np.array([_alpha(plan, role) for role in plan.roles.values()])
    z = -np.asarray(ndtri(alpha))[:, None]
    last = _at_last(values.absolute)
    effect, df = table.effect, table.effect.df[..., -1]
    quantile = t_bound(np.broadcast_to(z, df.shape), df)
    own = t_bound(np.broadcast_to(z, last.df.shape[:-1]), last.df[..., 0])
    level = 1.0 - 2.0 * alpha
    told = _welch(last.value[..., 0], np.sqrt(last.variance[..., 0]), last.df[..., 0], own, level)
    differences = _welch(effect.value[..., -1], effect.std_error[..., -1], df, quantile, level)
    n = values.arms.n.astype(np.int64)
    signs = np.array([metric.sign for metric in plan.metrics], dtype=np.float64)
    lower, upper = table.bounds(signs)
    tests = {name: _one_sided(test) for name, test in table.tests.items()}
    relatives = _relatives(last, control, quantile, level)
    information, margins = table.information[..., -1].tolist(), table.margins[..., -1].tolist()
    counts = n[..., -1].tolist()
    treated = [variants.index(name) for name in plan.treatments]
    pairs = list((n[:, treated] + n[:, [control]]).reshape(-1, n.shape[-1]))
    floats: tuple[FloatArray, ...] = (table.information, effect.value, effect.std_error, lower, upper)
    shares, value, error, low, high = (list(part.reshape(-1, n.shape[-1])) for part in floats)
    z_of, critical_of = (
        {name: list(getattr(test, part).reshape(-1, n.shape[-1])) for name, test in table.tests.items()}
        for part in ("z", "critical")
    )
    found = []
    for m, metric in enumerate(plan.metrics):
        names = [name for name, rows in tests.items() if rows[m]]
        for t, (treatment, v) in enumerate(zip(plan.treatments, treated, strict=True)):
            row = m * len(treated) + t
            here = {name: tests[name][m][t] for name in names}
            found.append(
                Comparison(
                    metric=metric,
                    role=plan.roles[metric.name],
                    treatment=treatment,
                    control=plan.control,
                    difference=differences[m][t],
                    relative=relatives[m][t],
                    values={plan.control: told[m][control], treatment: told[m][v]},
                    sign=metric.sign,
                    n={plan.control: counts[m][control], treatment: counts[m][v]},
                    information_fraction=information[m][t],
                    margin=None if math.isnan(margins[m]) else margins[m],
                    superior=here.get("superior"),
                    non_inferior=here.get("non_inferior"),
                    inferior=here["inferior"],
                    path=ComparisonPath(
                        n=pairs[row],
                        information=shares[row],
                        value=value[row],
                        std_error=error[row],
                        lower=low[row],
                        upper=high[row],
                        z={name: z_of[name][row] for name in names},
                        critical={name: critical_of[name][row] for name in names},
                    ),
                )
            )
    return tuple(found)


def _one_sided(test: Judged) -> list[list[OneSidedTest]]:
    """(M, T) tests at the last look; none for a metric that has no such test."""
    from scipy.special import ndtr

    z = test.z[..., -1]
    parts = (
        np.asarray(ndtr(-z)),
        test.sequential_p[..., -1],
        np.broadcast_to(test.alpha[:, None], z.shape),
        _last_finite(test.critical),
        z,
        test.rejected[..., -1],
    )
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return [
        [] if math.isnan(alpha) else [OneSidedTest(*items) for items in zip(*row, strict=True)]
        for row, alpha in zip(rows, test.alpha.tolist(), strict=True)
    ]


def _relatives(last: ArmValues, control: int, quantile: FloatArray, level: FloatArray) -> list[list[Estimate | None]]:
    """(M, T) relative effects with Fieller's intervals; None where the control may be 0."""
    shares = relative(last, control)
    ends = fieller(last, control, quantile[..., None])
    value, std_error, df, low, high = (part[..., 0] for part in (shares.value, shares.std_error, shares.df, *ends))
    rows = _estimates(value, std_error, low, high, level, df, "fieller")
    return [[None if math.isnan(one.lower) else one for one in row] for row in rows]


def _alpha(plan: ExperimentPlan, role: str) -> float:
    rates = plan.corrections
    by_role = {"success": rates.alpha_success, "guardrail": rates.alpha_guardrail}
    return float(by_role.get(role) or rates.alpha_deterioration)


def _at_last(values: ArmValues) -> ArmValues:
    return ArmValues(**{item.name: getattr(values, item.name)[..., -1:] for item in fields(values)})


def _last_finite(critical: FloatArray) -> FloatArray:
    """(…) from (…, L): the bound at the last look that the design has taken; infinite where it has taken none."""
    finite = np.isfinite(critical)
    place = critical.shape[-1] - 1 - np.argmax(finite[..., ::-1], axis=-1)
    return np.asarray(np.take_along_axis(critical, place[..., None], axis=-1)[..., 0])


def _welch(
    value: FloatArray, std_error: FloatArray, df: FloatArray, quantile: FloatArray, level: FloatArray
) -> list[list[Estimate]]:
    half = quantile * std_error
    return _estimates(value, std_error, value - half, value + half, level, df, "welch-t")


def _estimates(
    value: FloatArray,
    std_error: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    level: FloatArray,
    df: FloatArray,
    interval: str,
) -> list[list[Estimate]]:
    """(M, …) numbers as estimates; level is (M,)."""
    whole = np.clip(np.nan_to_num(df), 1.0, _MANY).astype(np.int64)
    parts = (value, std_error, lower, upper, np.broadcast_to(level[:, None], value.shape), whole)
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return [
        [Estimate(v, s, low, high, a, d, interval) for v, s, low, high, a, d in zip(*row, strict=True)] for row in rows
    ]
