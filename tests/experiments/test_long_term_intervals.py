"""Intervals of single numbers against scipy, and Fieller's set against the test that it inverts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homing.errors import SupportError
from homing.experiments.intervals import ratio_set, welch


def test_welch_is_scipy_s() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 7), rng.normal(2, 4, 11)
    found = welch(a, b, 0.9)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.9)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), rel=1e-12)
    with pytest.raises(SupportError, match="units of the baseline group == 1"):
        welch(a[:1], b, 0.9)


@pytest.mark.parametrize("bottom", [1.0, 0.15, 0.02])
def test_ratio_set_inverts_its_test(bottom: float) -> None:
    covariance = np.array([[0.01, 0.004], [0.004, 0.04]])
    found = ratio_set(0.1, bottom, covariance, 30, 0.95)
    for ratio in np.linspace(-40, 40, 801) + 0.0137:
        t = (0.1 - ratio * bottom) / np.sqrt(np.array([-ratio, 1.0]) @ covariance @ np.array([-ratio, 1.0]))
        assert (abs(t) <= stats.t.ppf(0.975, 30)) == (ratio in found)
