"""The bootstrap against the delta method, in groups, paired, and where a replicate has no weight."""

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.ope.estimate import interval
from homing.ope.intervals import Bootstrap, Contributions, Part
from tests.ope.contributions import mean_of


@pytest.mark.parametrize("counts", ["multinomial", "poisson"])
def test_bootstrap_recomputes_ratios(rng, counts):
    """Another route: gather the users of each replicate and divide, with the same counts."""
    length = rng.integers(1, 9, 200)
    x = rng.random(200) * length
    weight = rng.gamma(0.3, 3.0, 200)
    w_mean = float((weight * x).sum() / weight.sum())
    snips_psi = weight * (x - w_mean) / weight.sum()
    item = mean_of(x, length=length)
    both = Contributions(
        item.value + w_mean,
        item.psi + snips_psi,
        (*item.parts, Part(snips_psi, weight / weight.sum())),
    )
    kind = Bootstrap(replicates=50, counts=counts)
    moved = kind.replicate([item, both], np.random.default_rng(3))
    drawn = kind._counts(50, 200, np.random.default_rng(3))
    mean = drawn @ x / (drawn @ length)
    ratio = drawn @ (weight * x) / (drawn @ weight)
    assert np.allclose(item.value + moved[:, 0], mean, rtol=1e-12)
    assert np.allclose(both.value + moved[:, 1], mean + ratio, rtol=1e-12)
    assert drawn.sum(axis=1).mean() == pytest.approx(200, abs=6)  # Poisson totals: ± 3 · √(200 / 50)


def test_bootstrap_agrees_with_the_delta_method_and_with_groups(rng):
    """20,000 users: as they are, and in 500 groups. The standard error's own error is 1/√(2 · 1000) = 2.2 % from the
    replicates and 1/√(2 · 500) = 3.2 % from the groups: 4 standard deviations of both are 16 %."""
    item = mean_of(rng.exponential(1.0, 20_000))
    exact = interval(item.value, item.psi, 0.95)
    grouped = Bootstrap(groups=500)([item], 0.95, np.random.default_rng(2))[0]
    assert grouped.std_error == pytest.approx(exact.std_error, rel=0.16)
    assert (grouped.lower, grouped.upper) == pytest.approx((exact.lower, exact.upper), abs=0.35 * exact.std_error)


def test_bootstrap_of_a_difference_is_paired(some):
    """Both are moved by the same counts: twice an estimate minus itself varies as the estimate does."""
    twice = Contributions(2 * some.value, 2 * some.psi, (Part(2 * some.psi, some.parts[0].share),))
    kind = Bootstrap(replicates=40)
    one, difference = kind.replicate([some, twice.minus(some)], np.random.default_rng(0)).T
    assert np.allclose(one, difference)


def test_bootstrap_survives_a_replicate_without_weight():
    """One of three users carries all weight: a replicate without them says nothing, and is left out."""
    psi = np.array([0.0, 0.0, 0.0])
    item = Contributions(0.5, psi, (Part(psi, np.array([1.0, 0.0, 0.0])),))
    moved = Bootstrap(replicates=200).replicate([item], np.random.default_rng(0))
    assert 0.2 < np.isnan(moved).mean() < 0.4  # (2/3)³ = 0.296
    assert Bootstrap(replicates=200)([item], 0.95, np.random.default_rng(0))[0].upper == 0.5


def test_bootstrap_is_reproducible_and_needs_an_rng(some):
    one, two = (Bootstrap()([some], 0.95, np.random.default_rng(4)) for _ in range(2))
    assert one == two
    with pytest.raises(InvalidInputError, match=r"rng == None, is needed by interval 'bootstrap'\. Pass rng="):
        Bootstrap()([some], 0.95)
    with pytest.raises(InvalidInputError, match=r"groups == 1, must be >= 2"):
        Bootstrap(groups=1)
    with pytest.raises(UnknownNameError, match=r"counts == 'poison'.*Did you mean 'poisson'"):
        Bootstrap(counts="poison")
