"""What a log tells of effects: what fits a user better does no worse by what matters, where the fit is known."""

from __future__ import annotations

import numpy as np
import pytest

from homing.learners.doubts import Offered
from homing.learners.shrinkage import FREE
from homing.learners.told_effects import Terms, told_effects
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel


@pytest.mark.parametrize(("fits", "weight"), [(True, 1.0), (True, -2.0), (True, 0.0), (False, 1.0)])
def test_what_fits_better_does_no_worse_by_what_matters(rng, fits, weight) -> None:
    """One message with one number, half of whose responses it tells, sent in half of 4,000 decisions. Each unit of it
    does −0.2 for sure to the first objective, and +0.2 to the second: either is 0.2 / (2 / √4000) = 6 errors off 0."""
    n, number = 4_000, rng.normal(size=4_000)
    candidates = np.zeros((n, 2, 1), dtype=np.float32)
    candidates[:, 1, 0] = number
    action = rng.integers(0, 2, n)
    data = LoggedDataset(
        context=np.zeros((n, 1)), candidates=candidates, eligible=np.ones((n, 2), dtype=bool), action=action,
        propensity=np.full(n, 0.5), reward=np.zeros((n, 2)), objectives=("paid", "stayed"), user=np.arange(n),
        time=np.zeros(n, dtype=np.int64), probs=np.full((n, 2), 0.5),
    )  # fmt: skip
    outcome = action[:, None] * number[:, None] * np.array([-0.2, 0.2]) + rng.normal(size=(n, 2))
    model = LinearRewardModel(
        np.zeros((1, 1, 1), dtype=np.float32), np.zeros((1, 1)), np.array([[0.5]]), np.zeros(1), ("logit",),
        np.ones(1), np.zeros(1), np.ones(1),
    )  # fmt: skip
    fit, every = np.eye(6)[2] * 0.5, np.eye(6)[0]
    terms = Terms((np.column_stack([fit, every]),) * 3, np.full(2, FREE), fits)
    offered = Offered.of(data, np.zeros(0, dtype=int), model, terms.maps[-1], rng)
    both = np.ones(2, dtype=bool)
    told = told_effects(
        data, terms, outcome, np.ones(n), np.arange(n) % 2, [model] * 2, np.array([weight, weight]), both, both, offered
    )  # fmt: skip
    by_number = told.theta[2]
    free = np.array([-0.2, 0.2])
    known = fits and weight != 0
    # Four errors of 2/√4000 = 0.032; what has the wrong sign is told as next to nothing of the right one.
    expected = np.where(free * weight > 0, free, 0.0) if known else free
    np.testing.assert_allclose(by_number, expected, atol=0.13)
    if known:
        assert (by_number * weight > 0).all()
