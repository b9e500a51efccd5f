"""Intervals that hold at any time: the boundary, and what peeking costs."""

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.ope.intervals import Anytime
from tests.ope.contributions import mean_of


def test_anytime_is_the_normal_mixture_boundary():
    """Robbins (1970): |S_t| < √((t + 1/ρ²) ln((t ρ² + 1) / α²)) for unit variances; another form of the same."""
    alpha, t = 0.05, 700
    kind = Anytime(users=1000)
    squared = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / 1000
    boundary = np.sqrt((t + 1 / squared) * np.log((t * squared + 1) / alpha**2))
    assert kind.quantile(t, 0.95) == pytest.approx(boundary / np.sqrt(t), rel=1e-12)
    at = [kind.quantile(users, 0.95) for users in (100, 700, 1000, 1400, 100_000)]
    assert min(at) == at[2]  # tightest where planned
    assert Anytime().quantile(10_000, 0.95) / 1.96 == pytest.approx(1.55, abs=0.01)
    with pytest.raises(InvalidInputError, match=r"users == 0, must be a finite number > 0"):
        Anytime(users=0)


def test_peeking_is_paid_for(rng):
    """40 looks from 200 to 8,000 users in 500 logs: the sequence misses at some look in at most 5 % of logs, ± 3
    standard errors of 1 %; the t interval in far more (about 30 % at 40 looks, Armitage, McPherson and Rowe 1969)."""
    looks = np.arange(200, 8001, 200)
    x = rng.random((500, 8000), dtype=np.float32) < 0.3
    total = np.cumsum(x, axis=1, dtype=np.int32)[:, looks - 1]
    mean = total / looks
    error = np.sqrt(mean * (1 - mean) / (looks - 1))
    missed = {}
    for name, quantiles in (("t", 1.96), ("anytime", np.array([Anytime(2000).quantile(int(g), 0.95) for g in looks]))):
        missed[name] = (np.abs(mean - 0.3) > quantiles * error).any(axis=1).mean()
    assert missed["anytime"] <= 0.08 and missed["t"] > 0.2
    # The arrays above are what the class does at one look, but for the unseen decision: 1 in 2,000.
    item = mean_of(x[0, :2000])
    found = Anytime(2000)([item], 0.95)[0]
    assert found.upper - found.value == pytest.approx(Anytime(2000).quantile(2000, 0.95) * error[0, 9], rel=0.02)


def test_peeking_at_rare_harms(rng):
    """The case of weights 1/9 and 9 at a rate of 0.5 %, looked at 12 times from 250 users on, in 400 logs: within 3
    standard errors (1.1 %) of the level, where the mixture alone misses in more logs than that."""
    looks = np.linspace(250, 6000, 12).astype(int)
    missed = dict.fromkeys(("with the unseen", "without"), 0)
    kind = Anytime(2000)
    for _ in range(400):
        w = np.where(rng.random(6000) < 0.1, 9.0, 1 / 9)
        x = w * (rng.random(6000) < 0.005)
        items = [mean_of(x[:g], (-x[:g].mean(), 9.0 - x[:g].mean()), (0.0, 1.0)) for g in looks]
        found = [kind([item], 0.95)[0] for item in items]
        missed["with the unseen"] += any(not item.lower <= 0.005 <= item.upper for item in found)
        bare = zip(found, looks, strict=True)
        missed["without"] += any(
            abs(item.value - 0.005) > item.std_error * kind.quantile(int(g), 0.95) for item, g in bare
        )
    assert missed["with the unseen"] / 400 <= 0.05 + 3 * 0.011 < missed["without"] / 400
