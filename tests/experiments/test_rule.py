"""The decision rule on arrays: worked tables, its order of precedence, and the conditional power it gives up on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from homing.experiments.rule import (
    CONTINUE,
    FUTILITY,
    HARM,
    INVALID,
    SHIP,
    chance_to_reject,
    chance_to_ship,
    first_verdict,
    judge,
    rejected_so_far,
)

YES, NO = True, False


def one_look(superior, non_inferior, inferior, invalid=False, *, final=False, chance=None):
    """The verdict of one treatment at one look."""
    arrays = [np.array(item, dtype=bool).reshape(1, 1, len(item)) for item in (superior, non_inferior, inferior)]
    found = judge(
        *arrays,
        np.array([invalid]),
        final=np.array([[final]]),
        chance=None if chance is None else np.array([[chance]]),
    )
    return int(found[0, 0])


@pytest.mark.parametrize(
    ("superior", "non_inferior", "inferior", "more", "verdict"),
    [
        ((YES, NO), (YES, YES), (NO,), {}, SHIP),
        ((NO, NO), (YES, YES), (NO,), {}, CONTINUE),
        ((YES, YES), (YES, NO), (NO,), {}, CONTINUE),
        ((YES, YES), (YES, NO), (NO,), {"final": True}, FUTILITY),
        ((YES, YES), (YES, YES), (NO, YES), {"final": True}, HARM),
        ((YES, YES), (YES, YES), (YES,), {"invalid": True}, INVALID),
        ((), (YES, YES), (NO,), {}, SHIP),
        ((), (YES, NO), (NO,), {}, CONTINUE),
        ((NO, YES), (), (NO,), {}, SHIP),
        ((NO, NO), (YES,), (NO,), {"chance": 0.049}, FUTILITY),
        ((NO, NO), (YES,), (NO,), {"chance": 0.051}, CONTINUE),
        ((YES, NO), (YES,), (NO,), {"chance": 0.0}, SHIP),
    ],
    ids=[
        "one gains, all safe",
        "none gains",
        "a guardrail is open",
        "a guardrail is open at the end",
        "harm before ship",
        "invalid before all",
        "roll-out, all safe",
        "roll-out, one open",
        "no guardrails",
        "hardly a chance",
        "a chance",
        "shipped, whatever the chance",
    ],
)
def test_rule(superior, non_inferior, inferior, more, verdict):
    assert one_look(superior, non_inferior, inferior, **more) == verdict


def test_rejections_stand_and_treatments_are_apart():
    """(looks 3, treatments 2, tests 1): the first treatment's success at look 1 meets its guardrail at look 3."""
    z_success = np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 3.0]])[:, :, None]
    z_guard = np.array([[0.0, 3.0], [0.0, 0.0], [3.0, 0.0]])[:, :, None]
    bound = np.full((3, 1, 1), 2.0)
    harmed = np.zeros((3, 2, 1), dtype=bool)
    codes = judge(
        rejected_so_far(z_success, bound),
        rejected_so_far(z_guard, bound),
        harmed,
        np.zeros(3, dtype=bool),
        final=np.array([[NO], [NO], [YES]]),
    )
    assert codes.tolist() == [[CONTINUE, CONTINUE], [CONTINUE, CONTINUE], [SHIP, SHIP]]


def test_infinite_bounds_and_missing_values_reject_nothing():
    z = np.array([9.0, np.nan, 1.0])[:, None, None]
    assert not rejected_so_far(z, np.array([np.inf, 1.0, 2.0])[:, None, None]).any()


def test_first_verdict_stops_there():
    codes = np.array([[0, 0, 0], [0, 3, 0], [1, 1, 0]], dtype=np.int8)
    verdict, look = first_verdict(np.stack([codes, codes[:, ::-1]]))
    assert verdict.tolist() == [[SHIP, FUTILITY, CONTINUE], [CONTINUE, FUTILITY, SHIP]]
    assert look.tolist() == [[2, 1, 2], [2, 1, 2]]


def test_chance_to_reject_is_the_share_of_paths_that_do():
    """From z = 1 at t = .4, by simulation of the rest; one standard error of a share of 40,000 is at most .0025."""
    rng = np.random.default_rng(5)
    z, t, bound, design = 1.0, 0.4, 1.9, 2.5
    ends = z * np.sqrt(t) + design * (1 - t) + np.sqrt(1 - t) * rng.standard_normal(40_000)
    assert chance_to_reject(z, t, bound, design) == pytest.approx((ends >= bound).mean(), abs=0.01)


def test_chance_takes_the_better_effect():
    t = 0.5
    trend = 3.0 / np.sqrt(t)
    expected = norm.cdf((3.0 * np.sqrt(t) + trend * (1 - t) - 2.0) / np.sqrt(1 - t))
    assert chance_to_reject(3.0, t, 2.0, 1.0) == pytest.approx(expected, abs=1e-12)
    assert chance_to_reject(3.0, t, 2.0, -np.inf) == pytest.approx(expected, abs=1e-12)
    assert chance_to_reject(1.9, 1.0, 2.0, 9.0) == 0.0
    assert chance_to_reject(2.1, 1.2, 2.0, 0.0) == 1.0


def test_chance_to_ship_is_bounded_by_its_parts():
    some = chance_to_ship(np.array([[0.6, 0.7], [0.1, 0.2]]), np.array([[0.9], [0.9]]))
    assert some.tolist() == [0.9, pytest.approx(0.3)]
    assert chance_to_ship(np.empty((2, 0)), np.array([[0.4], [1.0]])).tolist() == [0.4, 1.0]
    assert chance_to_ship(np.array([[0.6, 0.7]]), np.empty((1, 0))).tolist() == [1.0]
