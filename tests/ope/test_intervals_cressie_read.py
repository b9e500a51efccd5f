"""Cressie–Read against the t interval of a longer sample, and empirical likelihood against a peer."""

import json
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.ope.intervals import ClusterT, Contributions, CressieRead, empirical_likelihood
from tests.ope.contributions import mean_of

REFERENCE = json.loads((Path(__file__).parent / "interval_reference.json").read_text(encoding="utf-8"))


def test_cressie_read_is_the_t_interval_with_one_more_user(some):
    """Another route: append the worst user to the sample and take the classical interval of the longer one's mean."""
    from scipy import stats

    found = CressieRead()([some], 0.9)[0]
    u = len(some.psi) * some.psi
    for end, side, extreme in ((found.lower, 0, some.reach[0]), (found.upper, 1, some.reach[1])):
        longer = np.append(u, extreme)
        expected = stats.t.interval(0.9, len(u), longer.mean(), stats.sem(longer))[side]
        assert end - some.value == pytest.approx(expected, rel=1e-10)


def test_without_a_range_the_most_extreme_user_stands_in(some):
    bare = Contributions(some.value, some.psi)
    seen = (300 * some.psi.min(), 300 * some.psi.max())
    assert CressieRead()([bare], 0.95) == CressieRead()([Contributions(some.value, some.psi, (), (seen, seen))], 0.95)


def test_the_unseen_user_has_one_decision(some):
    """Of 900 decisions of 300 users one more is a third of an average user."""
    thirds = Contributions(some.value, some.psi, (), tuple((low / 3, high / 3) for low, high in some.extremes))
    of_900 = Contributions(some.value, some.psi, (), some.extremes, decisions=900)
    one, two = CressieRead()([of_900, thirds], 0.95)
    assert (one.lower, one.upper) == pytest.approx((two.lower, two.upper), rel=1e-12)


def test_no_event_at_all_still_has_an_upper_end():
    """m = w / (G + 1), v ≈ w² / G: the upper end is about (1 + 1.96) w / G, where the t interval says 0."""
    item = mean_of(np.zeros(2000), (0.0, 9.0), (0.0, 1.0))
    assert CressieRead()([item], 0.95)[0].upper == pytest.approx(2.96 * 9 / 2000, rel=0.01)
    assert ClusterT()([item], 0.95)[0].upper == 0.0


def test_it_tends_to_the_t_interval(rng):
    x = rng.random(100_000)
    one, two = (kind([mean_of(x, (-0.5, 0.5))], 0.95)[0] for kind in (CressieRead(), ClusterT()))
    assert (one.lower, one.upper) == pytest.approx((two.lower, two.upper), abs=1e-5)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=range(len(REFERENCE["cases"])))
def test_empirical_likelihood_equals_vw_estimators(case):
    found = empirical_likelihood(
        case["weight"], case["reward"], weight_range=case["weight_range"], reward_range=case["reward_range"],
        level=case["level"],
    )  # fmt: skip
    assert [found.value, found.lower, found.upper] == pytest.approx([case["value"], *case["interval"]], rel=1e-9)


def test_empirical_likelihood_by_users():
    """Users whose decisions are copies of one are users with one decision, but for the unseen one: a third of them."""
    case = REFERENCE["cases"][2]
    w, r = np.array(case["weight"]), np.array(case["reward"])
    ranges = {"weight_range": (0.0, 8.0), "reward_range": (0.0, 1.0)}
    once = empirical_likelihood(w, r, **ranges)
    thrice = empirical_likelihood(w.repeat(3), r.repeat(3), cluster=np.arange(len(w)).repeat(3), **ranges)
    assert (thrice.value, thrice.lower, thrice.upper) == pytest.approx((once.value, once.lower, once.upper), rel=0.06)
    assert thrice.upper - thrice.lower < once.upper - once.lower
    wrong = empirical_likelihood(w.repeat(3), r.repeat(3), **ranges)
    assert wrong.upper - wrong.lower < 0.7 * (once.upper - once.lower)


def test_empirical_likelihood_corrects_for_a_mean_weight_that_came_out_low():
    """Reward 1 throughout: the value is 1 whatever the weights; IPS says their mean."""
    weight = np.array(REFERENCE["cases"][2]["weight"])
    found = empirical_likelihood(weight, np.ones(300), weight_range=(0.0, 8.0))
    assert weight.mean() < 0.9 and found.value == pytest.approx(1.0, abs=1e-9) and found.upper == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"weight": [9.5, 0.1]}, r"weight\[0\] == 9\.5, must be in \[0, 9\], as declared", id="weight"),
        pytest.param({"reward": [0.0, 2.0]}, r"reward\[1\] == 2\.0, must be in \[0, 1\], as declared", id="reward"),
        pytest.param({"weight_range": (0.0, np.inf)}, r"weight_range == .* must be finite", id="no bound"),
        pytest.param({"weight_range": (2.0, 9.0)}, r"weight_range == .* hold 1 inside", id="without 1"),
        pytest.param({"reward": [0.0]}, r"reward\.shape == \(1,\)", id="shapes"),
        pytest.param({"cluster": [0]}, r"cluster\.shape == \(1,\)", id="labels"),
    ],
)
def test_ranges_that_the_log_breaks(changes, message):
    arguments = {"weight": [9.0, 0.1], "reward": [0.0, 1.0], "weight_range": (0.0, 9.0)} | changes
    with pytest.raises(InvalidInputError, match=message):
        empirical_likelihood(arguments.pop("weight"), arguments.pop("reward"), **arguments)
