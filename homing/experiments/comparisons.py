"""Comparisons for people, from the arrays of all tests at all looks."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from homing.estimates import Estimate
from homing.experiments.arms import MetricValues
from homing.experiments.estimators import ArmValues, fieller, relative, t_bound
from homing.experiments.plan import ExperimentPlan
from homing.experiments.scorecard import Comparison, ComparisonPath, OneSidedTest
from homing.experiments.testing import Compared

FloatArray = NDArray[np.float64]
#: Infinitely many degrees of freedom, as a whole number.
_MANY = 2**31 - 1


def comparisons(values: MetricValues, table: Compared, plan: ExperimentPlan) -> tuple[Comparison, ...]:
    """Every metric × treatment at the last look, with its path."""
    from scipy.special import ndtr, ndtri

    variants, control = list(plan.variants), list(plan.variants).index(plan.control)
    alpha = np.array([_alpha(plan, role) for role in plan.roles.values()])
    z = -np.asarray(ndtri(alpha))[:, None]
    last = _at_last(values.absolute)
    effect, df = table.effect, table.effect.df[..., -1]
    quantile = t_bound(np.broadcast_to(z, df.shape), df)
    shares = relative(last, control)
    low, high = (end[..., 0] for end in fieller(last, control, quantile[..., None]))
    own = t_bound(np.broadcast_to(z, last.df.shape[:-1]), last.df[..., 0])
    told = _estimates(last.value[..., 0], np.sqrt(last.variance[..., 0]), last.df[..., 0], own, alpha)
    differences = _estimates(effect.value[..., -1], effect.std_error[..., -1], df, quantile, alpha)
    n = values.arms.n.astype(np.int64)
    lower, upper = table.bounds(np.array([metric.sign for metric in plan.metrics], dtype=np.float64))
    p_values = {name: np.asarray(ndtr(-test.z[..., -1])) for name, test in table.tests.items()}
    rejected = {name: test.rejected[..., -1] for name, test in table.tests.items()}

    bounds = {name: _last_finite(test.critical) for name, test in table.tests.items()}

    def one_sided(name: str, m: int, t: int) -> OneSidedTest | None:
        test = table.tests.get(name)
        if test is None or np.isnan(test.alpha[m]):
            return None
        return OneSidedTest(
            p_value=float(p_values[name][m, t]),
            sequential_p_value=float(test.sequential_p[m, t, -1]),
            alpha=float(test.alpha[m]),
            critical=float(bounds[name][m, t]),
            z=float(test.z[m, t, -1]),
            rejected=bool(rejected[name][m, t]),
        )

    found = []
    for m, metric in enumerate(plan.metrics):
        for t, treatment in enumerate(plan.treatments):
            v = variants.index(treatment)
            share = None
            if np.isfinite(low[m, t]):
                share = Estimate(
                    float(shares.value[m, t, 0]),
                    float(shares.std_error[m, t, 0]),
                    float(low[m, t]),
                    float(high[m, t]),
                    1.0 - 2.0 * float(alpha[m]),
                    _whole(float(shares.df[m, t, 0])),
                    "fieller",
                )
            here = {name: test for name, test in table.tests.items() if not np.isnan(test.alpha[m])}
            inferior = one_sided("inferior", m, t)
            assert inferior is not None  # every metric has this test
            found.append(
                Comparison(
                    metric=metric,
                    role=plan.roles[metric.name],
                    treatment=treatment,
                    control=plan.control,
                    difference=differences[m][t],
                    relative=share,
                    values={plan.control: told[m][control], treatment: told[m][v]},
                    sign=metric.sign,
                    n={plan.control: int(n[m, control, -1]), treatment: int(n[m, v, -1])},
                    information_fraction=float(table.information[m, t, -1]),
                    margin=None if np.isnan(table.margins[m, -1]) else float(table.margins[m, -1]),
                    superior=one_sided("superior", m, t),
                    non_inferior=one_sided("non_inferior", m, t),
                    inferior=inferior,
                    path=ComparisonPath(
                        n=n[m, control] + n[m, v],
                        information=table.information[m, t],
                        value=effect.value[m, t],
                        std_error=effect.std_error[m, t],
                        lower=lower[m, t],
                        upper=upper[m, t],
                        z={name: test.z[m, t] for name, test in here.items()},
                        critical={name: test.critical[m, t] for name, test in here.items()},
                    ),
                )
            )
    return tuple(found)


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


def _estimates(
    value: FloatArray, std_error: FloatArray, df: FloatArray, quantile: FloatArray, alpha: FloatArray
) -> list[list[Estimate]]:
    """(M, …) numbers as estimates with Welch intervals at 1 - 2 alpha."""
    half = quantile * std_error
    return [
        [
            Estimate(v, s, v - h, v + h, 1.0 - 2.0 * a, _whole(d), "welch-t")
            for v, s, d, h in zip(*(part[m].tolist() for part in (value, std_error, df, half)), strict=True)
        ]
        for m, a in enumerate(alpha.tolist())
    ]


def _whole(df: float) -> int:
    return int(min(max(df, 1.0), _MANY)) if df == df else 0
