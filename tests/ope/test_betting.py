"""The betting confidence sequence: its capital by hand, its symmetries, and misses at any time in seeded simulation."""

import json

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.ope.intervals import betting_sequence


def capital(scores, mean):
    """Of a bettor on scores above their mean, share by share and user by user."""
    total = 0.0
    for k in range(16):
        own = 1.0
        for score in scores:
            own *= 1.0 - 0.9 * 0.5**k + 0.9 * 0.5**k * score / mean
        total += own / 16
    return total


def stream(rng, n, rate, top=9.0):
    """Weights of 1/9 and `top`, of mean 1, and rewards that come more often with the large ones."""
    large = rng.random(n) < (1 - 1 / 9) / (top - 1 / 9)
    return np.where(large, top, 1 / 9), (rng.random(n) < np.where(large, 1.5 * rate, rate)).astype(float)


def truth(rate, top=9.0):
    chance = (1 - 1 / 9) / (top - 1 / 9)
    return rate * (1.5 * chance * top + (1 - chance) / 9)


def test_bounds_are_where_the_capital_is_two_over_alpha(rng):
    weight, reward = stream(rng, 60, 0.3)
    found = betting_sequence(weight, reward, level=0.9, looks=[60])
    assert capital(weight * reward, found.lower[0]) == pytest.approx(20.0, rel=1e-5)
    assert capital(weight * (1 - reward), 1 - found.upper[0]) == pytest.approx(20.0, rel=1e-5)
    assert found.value[0] == pytest.approx((weight * reward).mean())
    known = betting_sequence(weight, reward, level=0.9, looks=[60], max_weight=9.0)
    assert known.lower[0] == found.lower[0]
    both = capital(weight * (1 - reward), 1 - known.upper[0]), capital(1 - weight * reward / 9, 1 - known.upper[0] / 9)
    assert sum(both) / 2 == pytest.approx(20.0, rel=1e-5)


def test_no_event_in_closed_form():
    """Without an event the lower end is 0, and with a known weight all capital grows: nearly as fast as its 0.9 share.

    Weights of 1: (1 + 0.9 ν / (1 - ν))^n / 16 = 40 is passed a little before, by what the other shares and games add.
    """
    found = betting_sequence(np.ones(2000), np.zeros(2000), max_weight=1.0, looks=[2000])
    alone = np.log(16 * 40) / (0.9 * 2000)
    assert found.value[0] == found.lower[0] == 0.0 and 0.8 * alone < found.upper[0] < alone


def test_symmetries(rng):
    weight, reward = stream(rng, 300, 0.3)
    plain = betting_sequence(weight, reward)
    assert plain.users[0] == 1 and plain.users[-1] == 300
    assert (np.diff(plain.lower) >= 0).all() and (np.diff(plain.upper) <= 0).all()
    mirrored = betting_sequence(weight, 1 - reward)
    np.testing.assert_allclose([mirrored.lower, mirrored.upper], [1 - plain.upper, 1 - plain.lower], atol=1e-9)
    money = betting_sequence(weight, 50 * reward - 20, reward_range=(-20, 30))
    np.testing.assert_allclose(money.upper, 50 * plain.upper - 20, atol=1e-6)
    # Rows of a user are one score, wherever they stand; users come in order of their first row.
    user = np.r_[np.arange(300)[::-1], rng.permutation(300)]
    twice = betting_sequence(
        np.r_[weight, weight[299 - user[300:]]], np.r_[reward, reward[299 - user[300:]]], user=user
    )
    np.testing.assert_allclose([twice.lower, twice.upper], [plain.lower, plain.upper], atol=1e-9)
    assert json.loads(json.dumps(plain.to_dict()))["lower"] == plain.lower.tolist()


@pytest.mark.parametrize(
    ("rate", "max_weight"),
    [
        pytest.param(0.3, None, id="common"),
        pytest.param(0.02, None, id="rare"),
        pytest.param(0.02, 9.0, id="rare, weight known"),
    ],
)
def test_misses_at_any_time_stay_within_the_level(rate, max_weight):
    """At level 0.8 no more than 20 of 100 streams may ever miss the truth: 20 + 3 · √(100 · 0.2 · 0.8) = 32 are not
    exceeded. A t interval that is looked at as often misses it in more."""
    rng = np.random.default_rng(17)
    looks, missed, naive = [20, 60, 200], 0, 0
    for _ in range(100):
        weight, reward = stream(rng, 200, rate)
        found = betting_sequence(weight, reward, level=0.8, max_weight=max_weight, looks=looks)
        missed += not found.lower[-1] <= truth(rate) <= found.upper[-1]  # what is ruled out at one look stays so
        naive += any(
            abs(x.mean() - truth(rate)) > 1.2816 * x.std() / np.sqrt(len(x))
            for x in (weight[:n] * reward[:n] for n in looks)
        )
    assert missed <= 32 < naive


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"weight": [1.0, -1.0]}, r"weight\[1\] == -1.0, must be in \[0, inf\]", id="weight"),
        pytest.param({"reward": [0.0, 2.0]}, r"reward\[1\] == 2.0, must be in \[0, 1\]", id="reward"),
        pytest.param({"max_weight": 0.5}, "max_weight == 0.5, must be finite and >= 1", id="largest weight"),
        pytest.param({"max_weight": 1.5, "weight": [1.0, 2.0]}, r"weight\[1\] == 2.0", id="beyond it"),
        pytest.param({"looks": [2, 1]}, r"looks == \[2, 1\], must increase from at least 1 to at most 2", id="looks"),
        pytest.param({"reward_range": (1.0, 0.0)}, "reward_range == .* must be finite", id="range"),
        pytest.param({"level": 1.0}, "level == 1.0", id="level"),
    ],
)
def test_wrong_input_is_an_error(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        betting_sequence(**({"weight": [1.0, 1.0], "reward": [0.0, 1.0]} | changes))
