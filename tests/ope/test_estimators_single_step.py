"""What each single-step estimator promises: influence by the jackknife, limits, precision, and known biases."""

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError
from homing.ope import Rows, evaluate_policy
from homing.ope.bias import BIAS_ERRORS
from homing.ope.estimate import interval
from homing.ope.estimators import (
    DM,
    DR,
    ESTIMATORS,
    IPS,
    MIPS,
    MRDR,
    SNDR,
    SNIPS,
    SNMIPS,
    ClippedIPS,
    DRos,
    DRps,
    SubGaussianDR,
    SubGaussianIPS,
    SwitchDR,
    get_estimator,
)

#: Thresholds that depend on n are fixed: leaving a user out would move them.
FIXED = {
    "clipped-ips": ClippedIPS(tau=3.0),
    "drps": DRps(tau=3.0),
    "switch-dr": SwitchDR(tau=3.0),
    "dros": DRos(lam=9.0),
}


def draw_rows(rng, n, *, shape=1.5, noise=0.5):
    """Weights of mean 1 with a heavy tail, rewards that a model predicts in part."""
    weight = rng.pareto(shape, n) * (shape - 1.0)
    q = rng.normal(1.0, 0.5, n)
    reward = q + rng.normal(0.0, noise, n)
    return Rows(
        weight=weight, reward=reward, q_logged=0.5 * q, q_policy=0.5 * q + rng.normal(0.0, 0.1, n),
        ratios={"message": np.sqrt(weight), "campaign": np.minimum(weight, 2.0), "balanced": 0.5 + 0.5 * weight},
    )  # fmt: skip


def take(rows, index):
    return Rows(
        rows.weight[index], rows.reward[index], rows.q_logged[index], rows.q_policy[index],
        {name: values[index] for name, values in rows.ratios.items()},
    )  # fmt: skip


@pytest.mark.parametrize("name", tuple(ESTIMATORS))
def test_influence_agrees_with_the_jackknife_over_users(name, rng):
    """Leave-one-user-out needs no influence function. They agree to O(1/G), G = 300; weights have finite variance."""
    n, users = 1200, 300
    user = rng.integers(0, users, n)
    rows = draw_rows(rng, n, shape=6.0)
    # Users differ: rows of one depend on each other.
    rows = Rows(rows.weight, rows.reward + rng.normal(0.0, 0.5, users)[user], rows.q_logged, rows.q_policy, rows.ratios)
    estimator = FIXED.get(name, get_estimator(name))
    left_out = np.array([estimator(take(rows, user != item)).value for item in np.unique(user)])
    count = len(left_out)
    jackknife = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    psi = np.bincount(user, estimator(rows).influence) / n
    # MRDR fits two numbers: leaving a row out moves them by its leverage, which a few rows with weight have most of.
    assert np.sqrt((psi**2).sum()) == pytest.approx(jackknife, rel=0.06 if name == "mrdr" else 0.03)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if not get_estimator(name).needs_q_hat])
def test_the_logging_policy_earns_the_mean_reward(name, random_case, make_log):
    log, logging, _, _ = random_case(m=1)
    known = make_log(
        action=log.action, propensity=log.propensity, reward=log.reward, user=log.user, k=log.k, probs=logging
    )
    ratios = {item: np.ones(log.n) for item in ("campaign", "balanced") if item in name}
    found = evaluate_policy(known, logging, estimators=(name,), ratios=ratios).estimate("clicked", name)
    assert found.value == pytest.approx(log.reward.mean(), abs=1e-14)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(ClippedIPS(tau=1e9), IPS(), id="clipping above all weights is ips"),
        pytest.param(DRps(tau=1e9), DR(), id="drps above all weights is dr"),
        pytest.param(SubGaussianIPS(lam=0.0), IPS(), id="sg-ips with lambda 0 is ips"),
        pytest.param(SubGaussianDR(lam=0.0), DR(), id="sg-dr with lambda 0 is dr"),
        pytest.param(DRos(lam=0.0), DM(), id="dros with lambda 0 is dm"),
    ],
)
def test_limits(one, other, rng):
    rows = draw_rows(rng, 500)
    assert one(rows).value == pytest.approx(other(rows).value, rel=1e-12)
    np.testing.assert_allclose(one(rows).influence, other(rows).influence, atol=1e-10)


def test_without_a_model_sndr_is_snips_and_a_constant_in_the_model_is_corrected(rng):
    rows = draw_rows(rng, 500)
    nothing = Rows(rows.weight, rows.reward, np.zeros(500), np.zeros(500))
    assert SNDR()(nothing).value == pytest.approx(SNIPS()(rows).value, rel=1e-14)
    np.testing.assert_allclose(SNDR()(nothing).influence, SNIPS()(rows).influence, atol=1e-14)
    shifted = Rows(rows.weight, rows.reward, rows.q_logged + 100.0, rows.q_policy + 100.0)
    assert SNDR()(shifted).value == pytest.approx(SNDR()(rows).value, abs=1e-11)
    assert abs(DR()(shifted).value - DR()(rows).value) > 1.0  # 100 · (1 - mean w): DR pays for the constant
    with pytest.raises(SupportError, match=r"mean importance weight == 0\.0"):
        SNDR()(Rows(np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3)))


def test_clipping_loses_what_it_cuts():
    rows = Rows(weight=np.array([0.5, 8.0, 0.5, 0.5]), reward=np.ones(4))
    found = ClippedIPS()(rows)  # √4
    assert found.details == {"tau": 2.0, "clipped_share": 0.25, "kept_weight_share": 3.5 / 9.5}
    assert found.value == IPS()(rows).value - 6.0 / 4


def test_subgaussian_lambda_is_the_minimum_of_the_bound():
    """2 ln(1/δ) / (3 n λ) + λ I₂, the terms of the bound that depend on λ: no other λ on a fine grid is better."""
    n, second, delta = 2000, 7.0, 0.05
    found = SubGaussianIPS(delta=delta, second_moment=second)(Rows(np.full(n, 2.0), np.ones(n))).details
    grid = np.geomspace(1e-5, 1.0, 20_001)
    bound = 2 * np.log(1 / delta) / (3 * n * grid) + grid * second
    assert found["lambda"] == pytest.approx(grid[np.argmin(bound)], rel=1e-3)  # neighbours on the grid differ by 6e-4


def test_subgaussian_lambda_from_data_solves_its_equation(rng):
    from scipy.optimize import brentq

    weight = rng.pareto(1.5, 3000) * 0.5
    found = SubGaussianIPS()(Rows(weight, np.ones(3000))).details
    target = 2 * np.log(20) / (3 * np.sqrt(3000))
    eta = brentq(lambda x: np.mean((x * weight / (1 - x + x * weight)) ** 2) - target, 1e-9, 1.0, xtol=1e-15)
    assert found["lambda"] == pytest.approx(eta / 3000**0.25, rel=1e-10)
    assert found["largest_weight"] < 1.0 / found["lambda"]
    # Too few rows with weight to solve it: λ is as large as it can be.
    few = np.where(np.arange(3000) < 10, 300.0, 0.0)
    assert SubGaussianIPS()(Rows(few, np.ones(3000))).details["lambda"] == 3000**-0.25


def test_subgaussian_weights_have_no_outliers(rng):
    """2,000 logs of 200 rows whose weights have no third moment: how far the 99.9 % quantile of the error is out.

    For a normal variable it is 3.29 standard deviations. Of 2,000 logs two lie beyond it, so it is known only roughly.
    """
    weight = rng.pareto(2.2, (2000, 200)) * 1.2
    reward = 1.0 * (rng.random((2000, 200)) < 0.9)

    def tail(estimator):
        values = np.array([estimator(Rows(w, r)).value for w, r in zip(weight, reward, strict=True)])
        error = np.abs(values - np.median(values))
        return float(np.quantile(error, 0.999) / np.quantile(error, 0.6827)), float(values.mean())

    plain, mean = tail(IPS())
    shrunken, smaller = tail(SubGaussianIPS())
    assert plain > 6.0 and shrunken < 4.2
    assert smaller < mean  # the price: a bias towards 0


def test_one_huge_weight_does_not_escape_the_shrinkage(rng):
    """Measured by mean(w²) it would: that rises with the weight, and λ falls."""
    weight = np.append(rng.random(999) * 2.0, 1e6)
    found = SubGaussianIPS()(Rows(weight, np.ones(1000)))
    assert found.details["largest_weight"] < 100.0
    assert found.value == pytest.approx(1.0, abs=0.15) and IPS()(Rows(weight, np.ones(1000))).value > 1000.0


def test_mrdr_is_at_least_as_precise_as_the_best_of_its_kin(rng):
    n = 20_000
    for shift, scale in ((0.0, 1.0), (5.0, 1.0), (0.0, 10.0), (-3.0, -0.5)):
        base = draw_rows(rng, n, shape=8.0)
        rows = Rows(base.weight, base.reward, shift + scale * base.q_logged, shift + scale * base.q_policy)
        spread = {item.name: item(rows).influence.std() for item in (IPS(), SNIPS(), DR(), SNDR(), MRDR())}
        # In the class (b₀, b₁) no value has a smaller spread; SNIPS and SNDR are in it to first order (O(1/√n) here).
        assert spread["mrdr"] <= min(spread["ips"], spread["dr"]) * (1 + 1e-9)
        assert spread["mrdr"] <= min(spread["snips"], spread["sndr"]) * 1.01
        assert MRDR()(rows).value == pytest.approx(MRDR()(base).value, abs=1e-9)  # a linear map of q̂ changes nothing


def test_mrdr_where_a_control_does_not_vary(rng):
    """Weights of 1, a constant model and no model at all: no coefficient, not a failure."""
    reward, ones, weight = rng.normal(1.0, 1.0, 300), np.ones(300), rng.choice([0.5, 1.5], 300)
    assert MRDR()(Rows(ones, reward, 2.0 * ones, 2.0 * ones)).value == pytest.approx(reward.mean(), abs=1e-14)
    alone = MRDR()(Rows(weight, reward, 0.0 * ones, 0.0 * ones))
    y, c = weight * reward, weight - 1.0
    slope, intercept = np.polyfit(c, y, 1)
    assert alone.value == pytest.approx(intercept, abs=1e-12) and alone.details["slope"] == 0.0
    assert alone.details["intercept"] == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize("name", ["sndr", "mrdr", "dr"])
def test_coverage(name):
    """1,000 logs of 400 independent rows, weights 1/5 and 5: of the 95 % intervals 95 ± 2.1 % hold (three errors)."""
    rng, logs, n = np.random.default_rng(11), 1000, 400
    estimator, hits, truth = get_estimator(name), 0, 1.2
    for _ in range(logs):
        x = rng.random(n)
        action = rng.random(n) < 1 / 6
        weight = np.where(action, (5 / 6) / (1 / 6), (1 / 6) / (5 / 6))
        reward = x + 0.84 * action + rng.normal(0.0, 0.5, n)  # V = 0.5 + 0.84 · 5/6
        rows = Rows(weight, reward, 0.5 + 0.5 * x + 0.5 * action, 0.5 + 0.5 * x + 0.5 * 5 / 6)
        found = estimator(rows)
        half = 1.966 * np.sqrt((found.influence**2).sum() / (n - 1) / n)
        hits += abs(found.value - truth) <= half
    assert abs(hits / logs - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / logs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(lambda: ClippedIPS(tau=0.0), r"tau == 0\.0, must be a finite number > 0", id="clipped"),
        pytest.param(lambda: DRps(tau=-1.0), r"tau == -1\.0, must be a finite number > 0", id="drps"),
        pytest.param(lambda: SubGaussianIPS(lam=1.5), r"lam == 1\.5, must be in \[0, 1\]\. 0 is IPS", id="sg-ips"),
        pytest.param(lambda: SubGaussianDR(delta=0.0), r"delta == 0\.0, must be in \(0, 1\)", id="sg-dr"),
        pytest.param(lambda: SubGaussianDR(second_moment=0.5), r"second_moment == 0\.5, must be .* >= 1", id="moment"),
        pytest.param(
            lambda: SNMIPS("topic")(Rows(np.ones(2), np.ones(2))), r"ratios == \[\], must hold 'topic'", id="no ratio"
        ),
    ],
)
def test_errors(build, message):
    with pytest.raises(InvalidInputError, match=message):
        build()


def test_names_of_marginal_estimators_say_what_is_shared():
    assert (MIPS("channel").name, SNMIPS("campaign").name, MIPS("channel", name="mine").name) == (
        "mips-channel", "snmips-campaign", "mine",
    )  # fmt: skip


def test_a_bias_that_the_interval_leaves_out_is_named(make_log):
    """The policy takes in one of four decisions what the log drew in one of a hundred.

    V = 0.75 · 0 + 0.25 · 2 = 0.5 exactly: candidate 1 comes in 4 of 400 rows with weight 25, clipped to 5, so the
    clipped value is 0.1. Its bias, -0.4, rests on 4 users and has an interval of its own.
    """
    action = (np.arange(400) % 100 == 0).astype(int)
    log = make_log(action=action, propensity=np.where(action == 1, 0.01, 0.99), reward=2.0 * action)
    target = np.tile([0.75, 0.25], (400, 1))
    report = evaluate_policy(log, target, estimators=("ips", ClippedIPS(tau=5.0), ClippedIPS(tau=100.0, name="loose")))
    plain, clipped = (report.estimate("clicked", name) for name in ("ips", "clipped-ips"))
    assert (plain.value, clipped.value) == (pytest.approx(0.5), pytest.approx(0.1))
    # Both are 4 equal rows of 400: the bias' standard error is 4/5 of that of IPS, and t(0.975, 399) is 1.9659.
    possible = 0.4 + 1.96593 * 0.8 * plain.std_error
    assert report.details["clipped-ips", "clicked"]["possible_bias"] == pytest.approx(possible, rel=1e-4)
    assert report.notes == (
        f"Caution: not covered by its interval is a possible bias of up to {possible:.4g} in clipped-ips of clicked.",
    )
    # Nothing is cut: nothing to say.
    assert report.details["loose", "clicked"]["possible_bias"] == 0.0


def test_no_bias_is_named_where_weights_are_small(random_case):
    log, _, target, q_hat = random_case(n=4000)
    bounded = np.clip(target, 0.1, None) / np.clip(target, 0.1, None).sum(axis=1, keepdims=True)
    report = evaluate_policy(log, bounded, q_hat=q_hat, estimators=("ips", "dr", "switch-dr", "sndr", "mrdr"))
    assert report.notes == ()
    # The model alone is never free of it.
    (note,) = evaluate_policy(log, bounded, q_hat=q_hat, estimators=("dm",)).notes
    assert note.startswith("Caution: not covered by its interval") and "in dm of clicked, " in note


@pytest.mark.parametrize("name", ["clipped-ips", "sg-ips", "sg-dr", "switch-dr", "dros", "dm"])
def test_where_bias_breaks_the_interval_it_is_named(name):
    """100 logs of 1,000 rows, candidate 1 logged with 2 % and wanted with 70 %, a model that misses what it adds.

    Intervals of all of these hold in fewer than 90 % of logs; then the caution must be there in 95 %.
    """
    rng, logs, n, truth = np.random.default_rng(4), 100, 1000, 0.7
    held = said = 0
    for _ in range(logs):
        action = rng.random(n) < 0.02
        weight = np.where(action, 0.7 / 0.02, 0.3 / 0.98)
        rows = Rows(weight, action + rng.normal(0.0, 0.5, n), np.full(n, 0.2), np.full(n, 0.2))
        found = get_estimator(name)(rows)
        item = interval(found.value, found.influence / n, 0.95)
        held += item.lower <= truth <= item.upper
        if found.unbiased is not None:
            moved = interval(found.value - found.unbiased.value, (found.influence - found.unbiased.influence) / n, 0.95)
            said += max(abs(moved.lower), abs(moved.upper)) > BIAS_ERRORS * item.std_error
    assert held / logs < 0.9 and said / logs >= 0.95
