"""Two workers train as good a policy as one, where the truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.scale_out.workers import seed_of
from homing.simulation import make_world


@pytest.mark.slow
def test_two_workers_train_as_good_a_policy_as_one() -> None:
    """Six logs, of each a policy by one worker and by two; the interval of their true difference holds 0."""
    rows = [seed_of(seed, make_world("step-count")) for seed in range(6)]
    print(*map(json.dumps, rows), sep="\n")
    behaviour, one, two = (np.array([row[name] for row in rows]) for name in ("behaviour", "1", "2"))
    gain, difference = (one - behaviour).mean(), two - one
    error = difference.std(ddof=1) / np.sqrt(len(rows))
    assert gain > 0.2 * behaviour.mean()
    assert abs(difference.mean()) < stats.t.ppf(0.975, len(rows) - 1) * error
    assert abs(difference.mean()) < 0.2 * gain
