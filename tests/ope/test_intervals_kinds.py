"""What every kind of interval keeps: one contract, pairs, bounds; and how often each holds the truth."""

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope.estimate import Clusters, Estimate, interval
from homing.ope.intervals import INTERVALS, Bounds, Contributions, Interval, Part, get_interval
from tests.ope.contributions import mean_of


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_every_kind_keeps_the_contract(some, name):
    """Holds the value, widens with the level, keeps its name, does not depend on the users' order; pairs cancel."""
    kind = get_interval(name)
    assert isinstance(kind, Interval) and kind.name == name and get_interval(kind) is kind
    narrow, wide = (kind([some], level, np.random.default_rng(1))[0] for level in (0.8, 0.99))
    for found, level in ((narrow, 0.8), (wide, 0.99)):
        assert (found.interval, found.level, found.df) == (name, level, 299)
        assert found.lower < found.value == some.value < found.upper
        assert Estimate.from_dict(found.to_dict()) == found
    assert wide.lower < narrow.lower and narrow.upper < wide.upper
    assert narrow.std_error == pytest.approx(interval(some.value, some.psi, 0.8).std_error, rel=0.1)
    turned = Contributions(
        some.value, some.psi[::-1], (Part(some.psi[::-1], some.parts[0].share),), some.extremes, some.limits, True, 300
    )
    again = kind([turned], 0.8, np.random.default_rng(1))[0]
    if name != "bootstrap":  # which draws users by their place
        assert (again.lower, again.upper) == pytest.approx((narrow.lower, narrow.upper), rel=1e-12)
    nothing = kind([some.minus(some)], 0.95, np.random.default_rng(1))[0]
    assert nothing.value == 0.0 and nothing.std_error == 0.0


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_one_user_gives_no_interval(name):
    item = mean_of([1.0], (-1.0, 1.0), bounded=True)
    with pytest.raises(SupportError, match=r"number of clusters == 1, must be >= 2"):
        get_interval(name)([item], 0.95, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["cluster-t", "cressie-read", "bootstrap", "anytime"])
def test_contributions_whose_square_is_no_number_are_named(name):
    """A propensity of 1e-300 is one; its weight's square is not."""
    item = Contributions(1e297, np.array([-1e297, 1e297]), extremes=((-1e300, 0.0), (0.0, 1e300)))
    with pytest.raises(InvalidInputError, match=r"estimate == 1e\+297, must be finite, .* extreme rewards or weights"):
        get_interval(name)([item], 0.95, np.random.default_rng(0))


def test_unknown_kinds_have_hints():
    with pytest.raises(UnknownNameError, match=r"interval == 'cresie-read'.*Did you mean 'cressie-read'"):
        get_interval("cresie-read")


def test_a_difference_takes_the_worst_of_both():
    one = mean_of([0.0, 2.0], ((-1.0, 0.0), (0.0, 3.0)), (0.0, 1.0), bounded=True)
    two = mean_of([1.0, 0.0], ((-0.5, 0.0), (0.0, 2.5)), (0.0, 2.0))
    found = one.minus(two, 0.5)
    assert found.value == 1.0 - 0.5 * 0.5
    # A decision has one reward: the least of both, or the greatest of both.
    assert found.extremes == ((-1.0, 0.25), (-1.25, 3.0)) and found.reach == (-1.25, 3.0)
    assert found.limits == (-1.0, 1.0) and not found.bounded and found.decisions == 2
    assert np.allclose(sum(part.psi for part in found.parts), found.psi)
    assert one.minus(two, -0.5).extremes == ((-1.25, 0.0), (0.0, 4.25))
    assert one.minus(Contributions(0.0, two.psi)).reach is None


def test_bounds_are_bounds():
    with pytest.raises(InvalidInputError, match=r"bounds\.max_weight == -1"):
        Bounds(max_weight=-1)
    with pytest.raises(InvalidInputError, match=r"bounds\.reward\['clicked'\] == \(1, 0\), must be finite, the first"):
        Bounds(reward={"clicked": (1, 0)})


def test_rare_harms_are_covered(rng):
    """The measured case: rate 0.5 %, 2,000 users, weights 1/9 and 9. The number of events by weight is binomial, so
    20,000 logs cost nothing: the t interval covers about 63 % ± 1.4 % (4 standard errors), Cressie–Read at least 98 %,
    Bernstein's bound all; with the largest term seen instead of the largest possible one it is no bound.
    """
    heavy = rng.binomial(2000, 0.1, 20_000)
    events = rng.binomial(heavy, 0.005), rng.binomial(2000 - heavy, 0.005)
    codes, place, count = np.unique(9 * 1000 * events[0] + events[1], return_inverse=True, return_counts=True)
    held = dict.fromkeys(("cluster-t", "cressie-read", "bernstein", "bernstein of the sample"), 0)
    for code, times in zip(codes, count, strict=True):
        x = np.zeros(2000)
        x[: code // 9000], x[code // 9000 : code // 9000 + code % 9000] = 9.0, 1 / 9
        true, seen = (mean_of(x, (-x.mean(), top - x.mean()), (0.0, 1.0), bounded=True) for top in (9.0, x.max()))
        for name in held:
            found = get_interval(name.split()[0])([seen if "sample" in name else true], 0.95)[0]
            held[name] += times * (found.lower <= 0.005 <= found.upper)
    assert len(place) == 20_000
    assert held["cluster-t"] / 20_000 == pytest.approx(0.633, abs=0.02)
    assert held["cressie-read"] / 20_000 > 0.98
    assert held["bernstein"] == 20_000
    assert held["bernstein of the sample"] / 20_000 < 0.9


def test_clusters_fold_before_anything_else():
    assert Clusters.of(np.array([4, 4, 2])).sums(np.ones(3)).tolist() == [1.0, 2.0]
