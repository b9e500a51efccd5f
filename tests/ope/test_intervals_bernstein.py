"""Bernstein's bound by hand, by its own equation, for ratios, and in simulation."""

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError
from homing.ope.estimate import Clusters
from homing.ope.estimators import SNIPS, Rows
from homing.ope.intervals import Bernstein, Contributions, Part, get_interval
from tests.ope.contributions import mean_of


def test_bernstein_by_hand():
    """G = 101, values 0 and 1 in [0, 1], 50 of 101: S² = (50 · 51 / 101) / 100, L = ln 80."""
    x = np.arange(101) % 2.0
    item = mean_of(x, (-x.mean(), 1 - x.mean()), bounded=True)
    half = np.sqrt(2 * (50 * 51 / 101 / 100) * np.log(80) / 101) + 7 * np.log(80) / 300
    found = Bernstein()([item], 0.95)[0]
    assert (found.value - found.lower, found.upper - found.value) == pytest.approx((half, half), rel=1e-12)


def test_bernstein_bounds_users_of_different_length(rng):
    """Its ends are the v at which the bound on Σ (a_g - v n_g) is met: checked by putting them in."""
    length = rng.integers(1, 5, 400)
    x = rng.binomial(length, 0.3)
    item = mean_of(x, (-0.3, 0.7), bounded=True, length=length)
    found = Bernstein()([item], 0.9)[0]
    scale, logs = 400 / length.sum(), np.log(4 / 0.1)
    for v in (found.lower, found.upper):
        z = scale * (x - v * length)
        bound = np.sqrt(2 * z.var(ddof=1) * logs / 400) + 7 * length.max() * scale * logs / (3 * 399)
        assert abs(z.mean()) == pytest.approx(bound, rel=1e-9)


def test_bernstein_of_snips_by_its_own_equation(rng):
    """Its ends are the v at which Maurer and Pontil's bound on the users' Σ w (r - v) is met; rewards are 0 or 1,
    weights at most 3, users have 1 to 4 decisions."""
    user = np.repeat(np.arange(900), rng.integers(1, 5, 900))
    n = len(user)
    weight = rng.choice([0.5, 1.0, 3.0], n)
    reward = (rng.random(n) < 0.3).astype(float)
    found = SNIPS()(Rows(weight, reward))
    clusters = Clusters.of(user)
    psi = clusters.sums(found.influence) / n
    share = clusters.sums(weight) / weight.sum()
    reach = -3.0 * found.value / weight.mean(), 3.0 * (1.0 - found.value) / weight.mean()
    longest = np.bincount(user).max() * 900 / n
    item = Contributions(
        found.value, psi, (Part(psi, share, False),), ((reach[0], 0.0), (0.0, reach[1])), bounded=True, longest=longest
    )
    ends = Bernstein()([item], 0.95)[0]
    for v in (ends.lower, ends.upper):
        z = clusters.sums(weight * (reward - v))
        bound = np.sqrt(2 * z.var(ddof=1) * np.log(80) / 900) + 7 * 3.0 * np.bincount(user).max() * np.log(80) / (
            3 * 899
        )
        assert abs(z.mean()) == pytest.approx(bound, rel=1e-9)


def test_bernstein_of_snips_covers(rng):
    """Weights 1/9 and 9 at a rate of 0.5 %, of a log of 3,000: the truth is inside in all of 300 logs, where the t
    interval misses in more than a tenth."""
    missed = dict.fromkeys(("bernstein", "cluster-t"), 0)
    for _ in range(300):
        weight = np.where(rng.random(3000) < 0.1, 9.0, 1 / 9)
        found = SNIPS()(Rows(weight, (rng.random(3000) < 0.005).astype(float)))
        low, high = -9.0 * found.value / weight.mean(), 9.0 * (1.0 - found.value) / weight.mean()
        part = Part(found.influence / 3000, weight / weight.sum(), False)
        item = Contributions(
            found.value, part.psi, (part,), ((low, 0.0), (0.0, high)), (0.0, 1.0), bounded=True, longest=1.0
        )
        for name in missed:
            ends = get_interval(name)([item], 0.95)[0]
            missed[name] += not ends.lower <= 0.005 <= ends.upper
    assert missed["bernstein"] == 0 and missed["cluster-t"] > 30


def test_bernstein_wants_true_bounds(some):
    seen = Contributions(some.value, some.psi, some.parts, some.extremes)
    with pytest.raises(
        InvalidInputError, match=r"bounds == None, are needed by interval 'bernstein'\. Pass bounds=Bou"
    ):
        Bernstein()([seen], 0.95)
    ratio = Contributions(some.value, some.psi, (), some.extremes, bounded=True)
    with pytest.raises(SupportError, match=r"not for what divides by the sum of weights"):
        Bernstein()([ratio], 0.95)
    weighted = Contributions(
        some.value, some.psi, (Part(some.psi, some.parts[0].share, False),), some.extremes, bounded=True, longest=1.0
    )
    assert Bernstein()([weighted], 0.95)[0].lower < some.value
    with pytest.raises(SupportError, match=r"sum of weights and adds\."):
        Bernstein()([ratio.minus(weighted)], 0.95)
    # A difference of ratios: the ends of both at 97.5 %, crosswise.
    each = Bernstein()([weighted], 0.975)[0]
    found = Bernstein()([weighted.minus(weighted, 0.5)], 0.95)[0]
    expected = each.lower - 0.5 * each.upper, each.upper - 0.5 * each.lower
    assert (found.lower, found.upper) == pytest.approx(expected, rel=1e-12)
    length = np.ones(300)
    length[0] = 3000.0
    with pytest.raises(
        SupportError, match=r"spread of users' lengths or weights == .* A few users hold most decisions"
    ):
        Bernstein()([mean_of(np.ones(300), (0.0, 1.0), bounded=True, length=length)], 0.95)
