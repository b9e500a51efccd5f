"""The benchmark's own sums: expected lives against those lived, and how far an objective may fall on its way up."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dial.expected import DIALLED, live
from benchmarks.dial.monotony import monotony
from homing.simulation import simulate
from homing.simulation.messaging import MessagingParameters, MessagingWorld


def test_expected_lives_are_those_lived_on_average() -> None:
    # All that is rare happens often here. Means of 3,000 users each, who meet other chance: five |z| > 4 together pass
    # by chance in 3e-4 of all worlds.
    often = MessagingParameters(
        churn_per_day=0.05, cancel_per_day=0.03, conversion_per_session=0.03, opt_out_logit=(-3.0, -3.0, -1e9)
    )
    world = MessagingWorld(often)
    behaviour = world.behaviour_policy()
    run = simulate(world, behaviour, horizon_days=21, n_users=3_000, seed=1)
    life = live(behaviour, None, days=21, n_users=3_000, seed=2, parameters=often)
    lived = np.column_stack([run.total[:, [world.objectives.index(name) for name in DIALLED]], run.sends])
    expected = np.column_stack([life.total, life.sends])
    error = np.sqrt((lived.var(axis=0) + expected.var(axis=0)) / 3_000)
    assert (np.abs(lived.mean(axis=0) - expected.mean(axis=0)) < 4.0 * error).all()
    # What is rare is told by fewer users.
    assert (expected.var(axis=0)[1:4] < lived.var(axis=0)[1:4] / 1.5).all()


def test_falls_are_bounded_over_logs() -> None:
    # Two logs, whose users all do alike: means of 0, 2, 1 and of 0, 4, 1. The rise is 1 in both. The fall from the
    # second factor to the third is 1 and 3: 2 on average with a standard error of 1, and t(0.95; 1) = 6.3138.
    lives = np.repeat(np.array([[0.0, 2.0, 1.0], [0.0, 4.0, 1.0]])[:, :, None], 5, axis=2)
    found = monotony(lives)
    assert (found.whole.lower, found.whole.value, found.whole.upper) == (1.0, 1.0, 1.0)
    assert (found.fall, found.at_most) == (2.0, pytest.approx(2.0 + 6.3138, abs=1e-3))
    assert (found.wrong_steps, found.surely, found.rising, found.falling) == (2, 0, 2, 2)


def test_no_fall_is_less_than_none() -> None:
    lives = np.cumsum(np.ones((3, 4, 5)), axis=1)
    found = monotony(lives)
    assert (found.fall, found.at_most, found.wrong_steps, found.falling, found.rising) == (0.0, 0.0, 0, 0, 3)
