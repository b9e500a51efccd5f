"""Shares of rare objectives: by hand, and what noise passes for."""

from __future__ import annotations

import numpy as np
import pytest

from homing.estimates import t_quantile
from homing.learners.rare_effects import sure_shares
from homing.learners.told_effects import OWN_ERROR


def test_the_interval_s_end_nearest_to_nothing_by_hand() -> None:
    """Effects of 1, 1, 1 and 2 on the others; moments 3, 2, 4 and 8: Σ θ m = 25 over Σ θ² = 7."""
    others, gram = np.array([[1.0], [1.0], [1.0], [2.0]]), np.ones((4, 1, 1))
    moment = np.array([3.0, 2.0, 4.0, 8.0])[:, None, None]
    share = 25 / 7
    left = np.array([3 - share, 2 - share, 4 - share, 16 - 4 * share]) / 7
    half = t_quantile(0.9, 3) * np.sqrt(4 / 3 * (left**2).sum())
    assert sure_shares(gram, moment, others, 0.9) == pytest.approx([share - half])
    assert sure_shares(gram, -moment, others, 0.9) == pytest.approx([-share + half])
    assert sure_shares(gram, moment, others, 0.9999) == pytest.approx([0.0])


def test_nothing_is_shared_of_nothing() -> None:
    assert sure_shares(np.ones((3, 1, 1)), np.ones((3, 1, 2)), np.zeros((3, 1)), 0.9).tolist() == [0.0, 0.0]


def test_noise_passes_as_seldom_as_is_asked_for_though_parts_differ(rng) -> None:
    """Thirty parts, those of a third with three times the noise, and three features."""
    gram = np.tile(np.eye(3), (30, 1, 1))
    others = np.tile([1.0, -2.0, 0.5], (30, 1)) + rng.normal(0, 0.1, (30, 3))
    noise = np.where(np.arange(30) < 10, 3.0, 1.0)[:, None, None] * rng.normal(size=(30, 3, 4000))
    passed = (sure_shares(gram, noise, others, 0.9) != 0).mean()
    # 0.1 ± 4 sqrt(0.09 / 4000); uneven parts have fewer degrees of freedom, of which t with 29 knows nothing: + 0.01.
    assert passed == pytest.approx(0.1, abs=0.03)
    told = sure_shares(gram, noise + np.einsum("pfg,pg->pf", gram, others)[:, :, None] * 2.0, others, 0.9)
    assert (told < 2.0).mean() > 0.9  # pessimistic
    assert told.mean() > 1.0


def test_noise_tells_effects_of_its_own_as_seldom_as_is_asked_for(rng) -> None:
    """Thirty parts, twenty features and no effect: θ is the other folds' moment, and tells its own fold's."""
    fold, gram = np.arange(30) % 3, np.broadcast_to(np.eye(20), (30, 20, 20))
    passed = np.zeros((1_000, 2), dtype=bool)
    for row in passed:
        moment = rng.normal(size=(30, 20))
        own = np.stack([moment[fold != number].mean(axis=0) for number in range(3)])[fold]
        row[:] = [sure_shares(gram, moment[:, :, None], own, 0.95, error)[0] > 0 for error in (1.0, OWN_ERROR)]
    # 0.025 + 3 sqrt(0.025 / 1000) = 0.04; as if θ were given, twice as many pass.
    assert passed[:, 1].mean() <= 0.04 < passed[:, 0].mean()
