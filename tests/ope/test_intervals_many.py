"""The level at which many intervals hold at once."""

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.ope.intervals import simultaneous_level


def test_simultaneous_levels_are_between_one_and_all(rng):
    base = rng.normal(size=1000)
    near = [base + 0.3 * rng.normal(size=1000) for _ in range(8)]
    apart = list(rng.normal(size=(8, 1000)))
    level = {
        name: simultaneous_level(items, 0.95, rng=np.random.default_rng(0))
        for name, items in (("same", [base] * 8), ("near", near), ("apart", apart))
    }
    assert level["same"] == pytest.approx(0.95, abs=0.002)
    assert level["same"] < level["near"] < level["apart"] <= 0.95 ** (1 / 8)
    assert simultaneous_level(apart, 0.95, method="bonferroni") == pytest.approx(1 - 0.05 / 8)
    # One that is certain costs nothing.
    assert simultaneous_level([base, np.zeros(1000)], 0.95) == 0.95


def test_max_t_is_exact_for_two(rng):
    """P(|Z1| <= q, |Z2| <= q) from the bivariate normal distribution, correlation 0.5; 20,000 draws: ± 0.002."""
    from scipy import stats

    one, two = rng.normal(size=(2, 5000))
    one, two = one / np.linalg.norm(one), two / np.linalg.norm(two)
    two = two - (one @ two) * one
    mixed = 0.5 * one + np.sqrt(0.75) * two / np.linalg.norm(two)
    q = stats.norm.isf((1 - simultaneous_level([one, mixed], 0.95, rng=rng)) / 2)
    law = stats.multivariate_normal(cov=[[1, 0.5], [0.5, 1]])
    held = law.cdf([q, q], lower_limit=[-q, -q])
    assert held == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 20_000))


def test_simultaneous_levels_need_one_log(rng):
    with pytest.raises(InvalidInputError, match=r"influences == .* must be arrays of one length"):
        simultaneous_level([np.ones(2), np.ones(3)], 0.95)
    with pytest.raises(InvalidInputError, match=r"rng == None, is needed by 'max-t'.*or method='sidak'"):
        simultaneous_level([np.array([1.0, -1.0]), np.array([1.0, 1.0])], 0.95)
