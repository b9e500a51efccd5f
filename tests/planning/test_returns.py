"""What past days say of the next: closed forms, then days drawn from a mixture that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.planning import RemainingRatio, Returns, estimate_returns
from homing.planning.returns import DaysAlikeError

SHAPE = 400.0 * (1.2 + np.sin(np.linspace(0, 3, 24)))


def test_two_parts_by_hand():
    """Forecast 100 and 300. A day of 150 and 450 is half larger, one of 50 and 350 comes later by 50.

    Σ E d² − M e d − M E = (300·2500 − 100·150·50 − 30000) + (300·2500 + 100·50·50 − 30000) + (−30000) = 910000 and
    Σ (M + E)(d² − M) = 400 · (2400 + 2400 − 100) = 1880000."""
    found = estimate_returns([[150, 450], [50, 350], [100, 300]], forecast=[100, 300])
    assert found.value == pytest.approx(910 / 1880)
    assert found.days == 3
    assert found.to_dict()["level"] == 0.95


def test_the_interval_is_the_jackknifes():
    """Of the case above, r without each of its days; 0.6745 is the quartile of a normal."""
    found = estimate_returns([[150, 450], [50, 350], [100, 300]], forecast=[100, 300], level=0.5)
    parts = np.array([[-30_000.0, 960_000.0], [970_000.0, 960_000.0], [-30_000.0, -40_000.0]])
    rest = parts.sum(axis=0) - parts
    ratio = rest[:, 0] / rest[:, 1]
    half = 0.6744897501960817 * np.sqrt(2 / 3 * np.square(ratio - ratio.mean()).sum())
    assert found.lower == pytest.approx(max(0.0, 910 / 1880 - half))
    assert found.upper == pytest.approx(min(0.95, 910 / 1880 + half))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.0, 50.0))
def test_days_of_one_kind_are_told_whatever_their_shape(seed, peak):
    """Without noise of counting to speak of: all larger or smaller is 0; all moved is the most."""
    rng = np.random.default_rng(seed)
    shape = 1e9 * rng.uniform(1.0, peak, 12)
    size = estimate_returns(shape * rng.lognormal(0, 0.2, (20, 1)), forecast=shape)
    assert size.value == pytest.approx(0.0, abs=1e-6)
    moved = np.zeros((20, 12))
    moved[:, 0] = rng.uniform(-0.5, 0.5, 20) * min(shape[0], shape[-1])
    moved[:, -1] = -moved[:, 0]
    time = estimate_returns(shape + moved, forecast=shape)
    assert (time.value, time.upper) == (0.95, 0.95)


@pytest.mark.parametrize("mean", [False, True], ids=["forecast given", "the days' mean"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_mixture_is_found_in_counted_days(share, mean):
    """Days that are larger all day, or in the morning and as much smaller from noon on, of equal variance; Poisson
    counts. Over 40 histories of 60 days the mean is off by at most four of its standard errors (and by 0.02, as a ratio
    of moments may be by a part of 1/60); of 40 intervals of 95 % fewer than 31 hold the truth with a chance of 1e-4
    where they are right to within a tenth."""
    rng = np.random.default_rng([7, int(10 * share), mean])
    half = np.where(np.arange(24) < 12, 1.0, -SHAPE[:12].sum() / SHAPE[12:].sum())
    found = []
    for _ in range(40):
        moved = rng.random((60, 1)) < share
        off = rng.normal(0, 0.2, (60, 1))
        days = SHAPE * (1 + np.where(moved, off * half, off))
        found.append(estimate_returns(rng.poisson(np.maximum(days, 0)), forecast=None if mean else SHAPE))
    values = np.array([each.value for each in found])
    held = np.mean([each.lower <= share <= each.upper for each in found])
    assert abs(values.mean() - share) < 4 * values.std() / np.sqrt(40) + 0.02
    assert held > 0.75


def test_days_that_say_little_are_not_believed():
    """Of 200 histories that differ by counting alone (where they do at all, beyond it by chance), a tenth at most moves
    the default; what is found in most of them is far from it."""
    believed, odd = [], []
    for seed in range(200):
        try:
            found = estimate_returns(np.random.default_rng(seed).poisson(SHAPE, (28, 24)))
        except DaysAlikeError:
            continue
        believed.append(found.believed)
        odd.append(abs(found.value - 0.3) > 0.2)
    assert len(believed) > 50 and np.mean(odd) > 0.5
    assert np.mean(np.array(believed) != 0.3) < 0.1


def test_what_is_believed_is_the_part_of_the_interval_that_is_nearest_to_the_default():
    for value, lower, upper, believed in ((0.3, 0.29, 0.31, 0.3), (0.5, 0.4, 0.7, 0.4), (0.1, 0.0, 0.2, 0.2)):
        assert Returns(value, lower, upper, 99, 0.95).believed == believed


def test_it_is_what_a_pacer_takes():
    days = np.random.default_rng(0).poisson(SHAPE * np.random.default_rng(1).lognormal(0, 0.2, (30, 1)))
    assert RemainingRatio(returns=estimate_returns(days).value).returns < 0.1


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([[1.0, 2.0]] * 2, r"history.shape == \(2, 2\), must be \(3, 2\) or more: days and their parts"),
        ([[1.0, -2.0]] * 4, r"history == -2.0, must be counts >= 0"),
        ([[50.0, 50.0]] * 4, "days of history == 4, must differ by more than counting does. Keep the default"),
    ],
    ids=["two days", "negative", "all alike"],
)
def test_what_cannot_be_learned_from_is_refused(history, told):
    with pytest.raises(InvalidInputError, match=told):
        estimate_returns(history)
