"""Complier effects against closed forms and statsmodels; the Anderson–Rubin set by its own definition."""

from __future__ import annotations

import json

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.sandbox.regression.gmm import IV2SLS

from homing.errors import InvalidInputError, SupportError
from homing.estimates import t_quantile
from homing.experiments.encouragement import complier_effect


def draw(rng: np.random.Generator, n: int = 600, share: float = 0.6) -> tuple[np.ndarray, ...]:
    """Sending, receiving (by a latent eagerness that raises the outcome too), outcome with effect 1, two covariates."""
    sent = rng.integers(0, 2, n).astype(float)
    eager = rng.normal(size=n)
    x = np.column_stack([rng.normal(size=n), rng.integers(0, 3, n)])
    received = ((sent == 1) & (rng.random(n) < share) | (eager > 1.5)).astype(float)
    outcome = received + eager + x @ [0.5, -0.2] + rng.normal(size=n)
    return sent, received, outcome, x


def test_by_hand() -> None:
    # Sent: 3 of 4 receive it, outcomes sum to 8; not sent: 1 of 4, 4. So (2 - 1) / (.75 - .25) = 2.
    found = complier_effect([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0], [3, 2, 3, 0, 2, 1, 1, 0])
    assert found.effect.value == pytest.approx(2.0, abs=1e-12)
    assert found.received.value == pytest.approx(0.5, abs=1e-12)
    # Welch: each arm has variance of receiving 3/16 · 4/3 = .25 over 4 units.
    assert found.received.std_error == pytest.approx(np.sqrt(0.25 / 4 * 2), abs=1e-12)
    assert found.first_stage_f == pytest.approx(0.25 / 0.125, abs=1e-9)
    assert found.weak
    json.dumps(found.to_dict(), allow_nan=False)


def test_agrees_with_statsmodels() -> None:
    sent, received, outcome, x = draw(np.random.default_rng(0))
    found = complier_effect(sent, received, outcome, covariates=x)
    rest = sm.add_constant(x)
    two_stages = IV2SLS(outcome, np.column_stack([received, rest]), np.column_stack([sent, rest])).fit()
    assert found.effect.value == pytest.approx(two_stages.params[0], rel=1e-9)
    design = np.column_stack([sent, rest])
    for one, target in ((found.sent, outcome), (found.received, received)):
        fit = sm.OLS(target, design).fit(cov_type="HC2", use_t=True)
        assert one.value == pytest.approx(fit.params[0], rel=1e-9)
        assert one.std_error == pytest.approx(fit.bse[0], rel=1e-9)
        assert (one.lower, one.upper) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)
    # The delta method's error is that of the regression of the structural residual y - effect · d on the instrument.
    fit = sm.OLS(outcome - found.effect.value * received, design).fit(cov_type="HC2")
    assert found.effect.std_error == pytest.approx(fit.bse[0] / abs(found.received.value), rel=1e-9)


@pytest.mark.parametrize(("share", "seed", "shape"), [(0.6, 5, "interval"), (0.0, 0, "rays"), (0.0, 1, "line")])
def test_anderson_rubin_holds_what_its_test_does_not_reject(share: float, seed: int, shape: str) -> None:
    sent, received, outcome, x = draw(np.random.default_rng(seed), share=share)
    found = complier_effect(sent, received, outcome, covariates=x)
    assert found.anderson_rubin.shape == shape
    design = np.column_stack([sent, sm.add_constant(x)])
    bound = t_quantile(0.95, len(sent) - 4)
    for effect in np.linspace(-30, 30, 61) + 0.013:
        fit = sm.OLS(outcome - effect * received, design).fit(cov_type="HC2")
        assert (abs(fit.tvalues[0]) <= bound) == (effect in found.anderson_rubin), effect


def test_covers_at_any_strength() -> None:
    # 400 experiments in which being sent it moves receiving by 2 %: coverage .95 has a standard error of .011. (Arms
    # of different size: shares of receivers are never equal by chance, so the ratio exists.)
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        sent = np.repeat([0.0, 1.0], [150, 151])
        eager = rng.normal(size=301)
        received = ((rng.random(301) < 0.3 + 0.02 * sent) | (eager > 1)).astype(float)
        inside += 1.0 in complier_effect(sent, received, received + eager).anderson_rubin
    assert abs(inside / 400 - 0.95) < 4 * 0.011


def test_comparing_receivers_is_biased_and_this_is_not() -> None:
    sent, received, outcome, x = draw(np.random.default_rng(2), n=40_000)
    naive = outcome[received == 1].mean() - outcome[received == 0].mean()
    found = complier_effect(sent, received, outcome, covariates=x)
    assert naive > 1.2
    assert abs(found.effect.value - 1.0) < 4 * found.effect.std_error
    assert found.effect.std_error < 0.05


@pytest.mark.parametrize(
    ("sent", "received", "covariates", "error", "message"),
    [
        ([0, 2, 1, 1], [0, 0, 1, 1], None, InvalidInputError, r"sent\[1\] == 2.0, must be 0 or 1"),
        ([0, 1, 1, 1], [0, 0, 1, 1], None, InvalidInputError, "smaller arm == 1, must be >= 2"),
        ([0, 0, 1, 1], [0, 1, 1, 0], None, SupportError, "only the effect of sending"),
        ([0, 0, 1, 1], [0, 0, 1], None, InvalidInputError, "received.shape"),
        ([0, 0, 1, 1] * 3, [0, 0, 1, 0] * 3, [[5.0]] * 12, InvalidInputError, "must not be constant"),
    ],
)
def test_bad_input(sent: list[int], received: list[int], covariates: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        complier_effect(sent, received, np.arange(len(sent)), covariates=covariates)
