"""SLOPE: by hand, against the search that the paper describes, and whether its intervals are honest."""

import json

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope import Rows, evaluate_policy
from homing.ope.estimate import Clusters
from homing.ope.estimators import DR, IPS, ClippedIPS, DRps, RowEstimate
from homing.ope.selection import FAMILIES, slope, threshold_grid, tune


class Fixed:
    """An estimator with a given value and standard error."""

    needs_q_hat = False

    def __init__(self, value, std_error):
        self.name, self.value, self.std_error = f"{value}", value, std_error

    def __call__(self, rows):
        n = len(rows.weight)
        sign = np.where(np.arange(n) % 2, 1.0, -1.0)
        # Var = n / (n - 1) · Σ (φ / n)².
        return RowEstimate(self.value, sign * self.std_error * np.sqrt(n - 1))


def of_fixed(*pairs, level=0.95):
    rows = Rows(np.ones(1000), np.zeros(1000))
    return slope(rows, [Fixed(*pair) for pair in pairs], Clusters(np.arange(1000), 1000), level=level)


def test_intervals_by_hand():
    """Three candidates share 95 %: each half width is 2.398 standard errors, t with 999 degrees at 98.33 %.

    θ = 0, 4, 9.5 with errors 1, 0.5, 0.1: 2 c = 4.796, 2.398, 0.480. The first two share [1.6, 4.8]; the third's
    [9.0, 10.0] lies beyond.
    """
    found = of_fixed((0.0, 1.0), (4.0, 0.5), (9.5, 0.1))
    assert found.chosen == 1 and [item.kept for item in found.candidates] == [True, True, False]
    widths = [item.estimate.upper - item.estimate.lower for item in found.candidates]
    assert widths == pytest.approx([4.796, 2.398, 0.4796], rel=1e-3)
    # The honest interval is the first candidate's, 1.962 errors wide; the chosen value is moved to its end.
    assert found.interval_by == "unbiased" and found.estimate.level == 0.95
    assert (found.estimate.lower, found.estimate.upper) == pytest.approx((-1.9623, 1.9623), rel=1e-4)
    assert found.estimate.value == found.estimate.upper
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_gap_ends_the_search():
    """The third meets the first again, but not the second: candidates after a gap are never reached."""
    found = of_fixed((0.0, 1.0), (9.0, 0.1), (0.0, 0.1))
    assert found.chosen == 0 and [item.kept for item in found.candidates] == [True, False, False]


def test_agrees_with_the_search_of_the_paper(rng):
    """Intersections computed candidate by candidate, for 200 random families."""
    for _ in range(200):
        values, errors = rng.normal(size=6), np.sort(rng.random(6))[::-1] * 0.5
        found = of_fixed(*zip(values, errors, strict=True))
        low, high, last = -np.inf, np.inf, 0
        for i, item in enumerate(found.candidates):
            half = item.estimate.upper - item.estimate.value
            low, high = max(low, values[i] - 2 * half), min(high, values[i] + 2 * half)
            if low > high:
                break
            last = i
        assert found.chosen == last


def test_one_candidate_is_itself(random_case):
    log, _, target, _ = random_case()
    plain = evaluate_policy(log, target, estimators=("ips",)).estimate("clicked", "ips")
    weight = target[np.arange(log.n), log.action] / log.propensity
    found = slope(Rows(weight, log.reward[:, 0]), [IPS()], Clusters.of(log.user)).estimate
    assert (found.value, found.lower, found.upper) == pytest.approx((plain.value, plain.lower, plain.upper), rel=1e-12)


def test_bounds_by_hand():
    """Two thresholds on weights 4 and 0: clipped at 1, V is between mean(ŵ r) and 1 - mean(ŵ (1 - r))."""
    n = 4000
    weight = np.where(np.arange(n) % 4 == 0, 4.0, 0.0)
    reward = (np.arange(n) % 16 == 0).astype(float)
    rows = Rows(weight, reward)
    found = slope(rows, [ClippedIPS(tau=1.0)], Clusters(np.arange(n), n), reward_range=(0.0, 1.0)).estimate
    # mean(ŵ r) = 1 / 16 and 1 - mean(ŵ (1 - r)) = 1 - 3 / 16, each with the error of a rate.
    z = 1.9605
    assert found.lower == pytest.approx(1 / 16 - z * np.sqrt(1 / 16 * 15 / 16 / n), rel=1e-3)
    assert found.upper == pytest.approx(13 / 16 + z * np.sqrt(3 / 16 * 13 / 16 / n), rel=1e-3)
    plain = slope(rows, [ClippedIPS(tau=9.0)], Clusters(np.arange(n), n), reward_range=(0.0, 1.0)).estimate
    assert plain.value == pytest.approx(0.25) and plain.lower > found.lower and plain.upper < found.upper


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_starts_unbiased(random_case, family):
    log, _, target, q_hat = random_case()
    found = tune(log, target, family, q_hat=q_hat)
    assert set(found) == set(log.objectives)
    other = "ips" if family == "clipped-ips" else "dr"
    plain = evaluate_policy(log, target, q_hat=q_hat, estimators=(other,))
    for objective, item in found.items():
        assert len(item.candidates) == 8
        assert item.candidates[0].estimate.value == pytest.approx(plain.estimate(objective, other).value, rel=1e-9)
        assert item.estimate.lower <= item.estimate.value <= item.estimate.upper


def test_thresholds_can_be_given(random_case):
    log, _, target, _ = random_case()
    found = tune(log, target, thresholds=(2.0, 50.0))["clicked"]
    assert [item.settings["tau"] for item in found.candidates] == [50.0, 2.0]
    assert threshold_grid(np.array([0.5, 0.2])) == [1.0]


def test_wrong_questions(random_case):
    log, _, target, _ = random_case()
    with pytest.raises(UnknownNameError, match=r"family == 'cliped-ips'.*Did you mean 'clipped-ips'"):
        tune(log, target, "cliped-ips")
    with pytest.raises(InvalidInputError, match=r"q_hat == None, is needed by drps"):
        tune(log, target, "drps")
    with pytest.raises(InvalidInputError, match=r"reward\[\d+\] == .*must be in \[0, 1\]. Declare the range"):
        tune(log, target, reward_ranges={"clicked": (0.0, 1.0)})
    with pytest.raises(InvalidInputError, match=r"reward_range == \(1\.0, 0\.0\)"):
        slope(Rows(np.ones(2), np.zeros(2)), [IPS()], Clusters(np.arange(2), 2), reward_range=(1.0, 0.0))
    with pytest.raises(InvalidInputError, match=r"candidates == \[\], must hold at least one"):
        slope(Rows(np.ones(2), np.zeros(2)), [], Clusters(np.arange(2), 2))
    with pytest.raises(InvalidInputError, match=r"q_hat\[0, 0, 0\] == nan, must be finite"):
        tune(log, target, "drps", q_hat=np.full((log.n, log.k, 2), np.nan))


def test_a_policy_that_the_log_never_follows(make_log):
    """Of declared rewards it may earn anything; without, 0 ± 0 would be a lie."""
    log = make_log(action=[0] * 50, propensity=0.5, reward=[0, 1] * 25)
    always = np.tile([0.0, 1.0], (50, 1))
    with pytest.raises(SupportError, match=r"mean importance weight == 0\.0, must be > 0"):
        tune(log, always)
    found = tune(log, always, reward_ranges={"clicked": (0.0, 1.0)})["clicked"].estimate
    assert (found.lower, found.upper) == (0.0, 1.0)


def heavy(rng, n, support=1.0):
    """A log whose policy is rare in a tenth of the rows: weights 0.56 to 50; reward 0.5 there, 0.1 elsewhere."""
    rare = rng.random(n) < 0.1
    propensity = np.where(rare, 0.02, 0.9)
    taken = rng.random(n) < propensity * np.where(rare, support, 1.0)
    weight = np.where(taken, 1.0 / propensity, 0.0)
    reward = (rng.random(n) < np.where(rare, 0.5, 0.1)).astype(float)
    return Rows(weight, reward, np.full(n, 0.1), np.full(n, 0.1))


@pytest.mark.parametrize(
    ("make", "bounds", "n", "logs"),
    [
        pytest.param(lambda tau: ClippedIPS(tau=tau), None, 20_000, 100, id="clipped, first alone"),
        pytest.param(lambda tau: ClippedIPS(tau=tau), (0.0, 1.0), 3000, 400, id="clipped, bounds"),
        pytest.param(lambda tau: DRps(tau=tau), (0.0, 1.0), 3000, 400, id="doubly robust, bounds"),
    ],
)
def test_intervals_are_honest(make, bounds, n, logs):
    """Truth 0.14; at 95 % at least 0.95 m - 3 · √(0.05 · 0.95 m) of m logs hold it; t intervals of the first alone need
    20,000 rows, of which 40 weigh 50. The most biased candidate's own interval holds it in under half."""
    held = naive = 0
    for seed in range(logs):
        rows = heavy(np.random.default_rng(seed), n)
        candidates = [make(tau) for tau in (50.0, 15.0, 5.0, 1.5)]
        found = slope(rows, candidates, Clusters(np.arange(n), n), reward_range=bounds)
        held += found.estimate.lower <= 0.14 <= found.estimate.upper
        last = found.candidates[-1].estimate
        naive += last.lower <= 0.14 <= last.upper
    assert held >= 0.95 * logs - 3 * np.sqrt(0.05 * 0.95 * logs) and naive < logs / 2


def test_bounds_hold_without_support():
    """A tenth of the rows is never taken: V = 0.14 of the log's own mean, IPS finds 0.09; bounds still hold 0.14."""
    held = plain = 0
    for seed in range(100):
        rows = heavy(np.random.default_rng(seed), 3000, support=0.0)
        everyone = Clusters(np.arange(3000), 3000)
        clipped = [ClippedIPS(tau=tau) for tau in (15.0, 5.0)]
        found = slope(rows, clipped, everyone, reward_range=(0.0, 1.0)).estimate
        held += found.lower <= 0.14 <= found.upper
        plain += slope(rows, clipped, everyone).estimate.upper >= 0.14
    assert plain == 0 and held >= 88


def test_doubly_robust_first_is_used_as_it_is(rng):
    """With a model that is right, the unbiased candidate's own interval is the shortest, and part of the bounds."""
    rows = heavy(rng, 3000)
    everyone = Clusters(np.arange(3000), 3000)
    alone = slope(rows, [DR()], everyone, reward_range=(0.0, 1.0)).estimate
    plain = slope(rows, [DR()], everyone).estimate
    assert alone.lower >= plain.lower - 1e-12 and alone.upper <= plain.upper + 1e-12
