"""Pareto k: by the peer's numbers, by samples of known shape, and at the edges."""

import json
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.ope import evaluate_policy
from homing.ope.diagnostics import WeightTail, kish, weight_tail
from homing.ope.diagnostics.tails import pareto_shape
from homing.ope.estimate import Clusters

PEER = json.loads((Path(__file__).parent / "psis_reference.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("shape", [0.1, 0.3, 0.5, 0.7, 0.9, 1.1])
def test_arviz_finds_the_same_shape(shape):
    """arviz.psislw of the log of the same 2,000 Pareto quantiles; psis_reference.json holds what it returned."""
    grid = np.arange(1, 2001) / 2001
    assert weight_tail((1 - grid) ** -shape).k == pytest.approx(PEER["k"][str(shape)], rel=1e-9)


@pytest.mark.parametrize("shape", [-0.4, 0.3, 0.8, 1.3])
def test_shape_of_a_generalised_pareto_sample(shape, rng):
    """The error of the maximum likelihood estimator is (1 + k) / √M (Zhang and Stephens, section 1): 4 are allowed."""
    sample = np.sort((rng.random(5000) ** -shape - 1.0) / shape)  # by its quantile function
    assert pareto_shape(sample) == pytest.approx(shape, abs=4 * (1 + abs(shape)) / np.sqrt(5000))


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [
        pytest.param(0.3, "fine", id="light"),
        pytest.param(0.85, "caution", id="heavy"),
        pytest.param(1.3, "refuse", id="no mean"),
    ],
)  # fmt: skip
def test_verdicts(shape, verdict, rng):
    tail = weight_tail(rng.random(50_000) ** -shape)
    assert tail.verdict == verdict and bool(tail.reasons) == (verdict != "fine")
    assert tail.threshold == 0.7 and tail.users == 50_000
    assert WeightTail.from_dict(json.loads(json.dumps(tail.to_dict()))) == tail


def test_the_threshold_is_lower_for_few_users(rng):
    tail = weight_tail(rng.random(100) ** -0.6)
    assert tail.threshold == pytest.approx(1 - 1 / 2) and tail.tail == 20


def test_bounded_weights_have_no_tail(rng):
    assert weight_tail(np.tile([0.0, 2.0], 500)).k is None
    assert weight_tail(np.full(3, 2.0)).k is None and weight_tail(np.zeros(100)).k is None
    few = rng.choice([0.5, 1.0, 3.0], 10_000, p=[0.5, 0.4, 0.1])
    assert weight_tail(few).verdict == "fine"


def test_weights_of_a_user_are_summed(rng):
    weight = rng.random(3000) ** -0.5
    user = rng.integers(0, 1000, 3000)
    clusters = Clusters.of(user)
    assert weight_tail(weight, clusters).k == weight_tail(clusters.sums(weight)).k
    assert weight_tail(weight * 7.0).k == pytest.approx(weight_tail(weight).k, rel=1e-9)


def test_wrong_weights():
    with pytest.raises(InvalidInputError, match=r"weight\[1\] == -1\.0, must be >= 0"):
        weight_tail(np.array([1.0, -1.0]))
    with pytest.raises(InvalidInputError, match=r"weight\[0\] == nan, must be finite"):
        weight_tail(np.array([np.nan]))


def test_the_report_says_it(make_log, rng):
    n = 20_000
    propensity = (1.0 - rng.random(n)) ** 0.9 * 0.5  # 1 / propensity is Pareto with k = 0.9
    log = make_log(action=np.ones(n, int), propensity=propensity, reward=rng.random(n) < 0.2)
    support = evaluate_policy(log, np.tile([0.0, 1.0], (n, 1))).support
    assert support.verdict != "fine" and any("Pareto k is " in reason for reason in support.reasons)
    assert type(support).from_dict(json.loads(json.dumps(support.to_dict()))) == support


def test_effective_number():
    assert kish(np.array([3.0, 3.0, 0.0])) == 2.0


def test_bounded_weights_of_users_who_return_are_no_heavy_tail(rng):
    """Weights of two sizes, summed over users with 1, 2, 3 … decisions: k looks large between the sizes, in 60 logs of
    each shape hardly any is judged heavy. Pareto weights of k = 1 of the same users are, in three of four logs."""
    for explored, rows in ((0.9, 1000), (0.3, 1000), (0.3, 10_000), (0.05, 10_000)):
        alarms = missed = 0
        for _ in range(60):
            lengths = rng.geometric(1 / 3, rows // 3)
            user = np.repeat(np.arange(len(lengths)), lengths)
            taken = rng.random(len(user)) < explored / 3
            weight = np.where(taken, 2.8 / explored, 0.03 / (1 - explored * 2 / 3))
            clusters = Clusters.of(user)
            alarms += weight_tail(weight, clusters).verdict != "fine"
            missed += weight_tail((1.0 - rng.random(len(user))) ** -1.0, clusters).verdict == "fine"
        assert alarms <= 3 and missed <= 15, (explored, rows, alarms, missed)
