"""Kinds of intervals on users' contributions: by hand, against a peer, by properties, and in seeded simulation."""

import json
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope.estimate import Clusters, Estimate, interval
from homing.ope.estimators import SNIPS, Rows
from homing.ope.intervals import (
    INTERVALS,
    Anytime,
    Bernstein,
    Bootstrap,
    Bounds,
    ClusterT,
    Contributions,
    CressieRead,
    Interval,
    Part,
    empirical_likelihood,
    get_interval,
    simultaneous_level,
)

REFERENCE = json.loads((Path(__file__).parent / "interval_reference.json").read_text(encoding="utf-8"))


def mean_of(x, extremes=None, limits=None, bounded=False, length=None):
    """Contributions of a mean over users' decisions: x are the users' sums, `length` their numbers of decisions."""
    x = np.asarray(x, dtype=float)
    length = np.ones(len(x)) if length is None else np.asarray(length, dtype=float)
    value = x.sum() / length.sum()
    psi = (x - value * length) / length.sum()
    if extremes is not None and np.ndim(extremes) == 1:  # the same at either end of the reward
        extremes = (extremes, extremes)
    parts = (Part(psi, length / length.sum()),)
    return Contributions(value, psi, parts, extremes, limits, bounded, int(length.sum()))


@pytest.fixture
def some(rng):
    """A positive, skewed mean of 300 users, all that can be known of it."""
    x = rng.gamma(0.5, 2.0, 300).clip(0, 20)
    return mean_of(x, (-x.mean(), 20 - x.mean()), (0.0, 20.0), bounded=True)


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_every_kind_keeps_the_contract(some, name):
    """Holds the value, widens with the level, keeps its name, does not depend on the users' order; pairs cancel."""
    kind = get_interval(name)
    assert isinstance(kind, Interval) and kind.name == name and get_interval(kind) is kind
    narrow, wide = (kind([some], level, np.random.default_rng(1))[0] for level in (0.8, 0.99))
    for found, level in ((narrow, 0.8), (wide, 0.99)):
        assert (found.interval, found.level, found.df) == (name, level, 299)
        assert found.lower < found.value == some.value < found.upper
        assert Estimate.from_dict(found.to_dict()) == found
    assert wide.lower < narrow.lower and narrow.upper < wide.upper
    assert narrow.std_error == pytest.approx(interval(some.value, some.psi, 0.8).std_error, rel=0.1)
    turned = Contributions(
        some.value, some.psi[::-1], (Part(some.psi[::-1], some.parts[0].share),), some.extremes, some.limits, True, 300
    )
    again = kind([turned], 0.8, np.random.default_rng(1))[0]
    if name != "bootstrap":  # which draws users by their place
        assert (again.lower, again.upper) == pytest.approx((narrow.lower, narrow.upper), rel=1e-12)
    nothing = kind([some.minus(some)], 0.95, np.random.default_rng(1))[0]
    assert nothing.value == 0.0 and nothing.std_error == 0.0


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_one_user_gives_no_interval(name):
    item = mean_of([1.0], (-1.0, 1.0), bounded=True)
    with pytest.raises(SupportError, match=r"number of clusters == 1, must be >= 2"):
        get_interval(name)([item], 0.95, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["cluster-t", "cressie-read", "bootstrap", "anytime"])
def test_contributions_whose_square_is_no_number_are_named(name):
    """A propensity of 1e-300 is one; its weight's square is not."""
    item = Contributions(1e297, np.array([-1e297, 1e297]), extremes=((-1e300, 0.0), (0.0, 1e300)))
    with pytest.raises(InvalidInputError, match=r"estimate == 1e\+297, must be finite, .* extreme rewards or weights"):
        get_interval(name)([item], 0.95, np.random.default_rng(0))


def test_unknown_kinds_have_hints():
    with pytest.raises(UnknownNameError, match=r"interval == 'cresie-read'.*Did you mean 'cressie-read'"):
        get_interval("cresie-read")


def test_a_difference_takes_the_worst_of_both():
    one = mean_of([0.0, 2.0], ((-1.0, 0.0), (0.0, 3.0)), (0.0, 1.0), bounded=True)
    two = mean_of([1.0, 0.0], ((-0.5, 0.0), (0.0, 2.5)), (0.0, 2.0))
    found = one.minus(two, 0.5)
    assert found.value == 1.0 - 0.5 * 0.5
    # A decision has one reward: the least of both, or the greatest of both.
    assert found.extremes == ((-1.0, 0.25), (-1.25, 3.0)) and found.reach == (-1.25, 3.0)
    assert found.limits == (-1.0, 1.0) and not found.bounded and found.decisions == 2
    assert np.allclose(sum(part.psi for part in found.parts), found.psi)
    assert one.minus(two, -0.5).extremes == ((-1.25, 0.0), (0.0, 4.25))
    assert one.minus(Contributions(0.0, two.psi)).reach is None


def test_bounds_are_bounds():
    with pytest.raises(InvalidInputError, match=r"bounds\.max_weight == -1"):
        Bounds(max_weight=-1)
    with pytest.raises(InvalidInputError, match=r"bounds\.reward\['clicked'\] == \(1, 0\), must be finite, the first"):
        Bounds(reward={"clicked": (1, 0)})


# Cressie–Read


def test_cressie_read_is_the_t_interval_with_one_more_user(some):
    """Another route: append the worst user to the sample and take the classical interval of the longer one's mean."""
    from scipy import stats

    found = CressieRead()([some], 0.9)[0]
    u = len(some.psi) * some.psi
    for end, side, extreme in ((found.lower, 0, some.reach[0]), (found.upper, 1, some.reach[1])):
        longer = np.append(u, extreme)
        expected = stats.t.interval(0.9, len(u), longer.mean(), stats.sem(longer))[side]
        assert end - some.value == pytest.approx(expected, rel=1e-10)


def test_without_a_range_the_most_extreme_user_stands_in(some):
    bare = Contributions(some.value, some.psi)
    seen = (300 * some.psi.min(), 300 * some.psi.max())
    assert CressieRead()([bare], 0.95) == CressieRead()([Contributions(some.value, some.psi, (), (seen, seen))], 0.95)


def test_the_unseen_user_has_one_decision(some):
    """Of 900 decisions of 300 users one more is a third of an average user."""
    thirds = Contributions(some.value, some.psi, (), tuple((low / 3, high / 3) for low, high in some.extremes))
    of_900 = Contributions(some.value, some.psi, (), some.extremes, decisions=900)
    one, two = CressieRead()([of_900, thirds], 0.95)
    assert (one.lower, one.upper) == pytest.approx((two.lower, two.upper), rel=1e-12)


def test_no_event_at_all_still_has_an_upper_end():
    """m = w / (G + 1), v ≈ w² / G: the upper end is about (1 + 1.96) w / G, where the t interval says 0."""
    item = mean_of(np.zeros(2000), (0.0, 9.0), (0.0, 1.0))
    assert CressieRead()([item], 0.95)[0].upper == pytest.approx(2.96 * 9 / 2000, rel=0.01)
    assert ClusterT()([item], 0.95)[0].upper == 0.0


def test_it_tends_to_the_t_interval(rng):
    x = rng.random(100_000)
    one, two = (kind([mean_of(x, (-0.5, 0.5))], 0.95)[0] for kind in (CressieRead(), ClusterT()))
    assert (one.lower, one.upper) == pytest.approx((two.lower, two.upper), abs=1e-5)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=range(len(REFERENCE["cases"])))
def test_empirical_likelihood_equals_vw_estimators(case):
    found = empirical_likelihood(
        case["weight"], case["reward"], weight_range=case["weight_range"], reward_range=case["reward_range"],
        level=case["level"],
    )  # fmt: skip
    assert [found.value, found.lower, found.upper] == pytest.approx([case["value"], *case["interval"]], rel=1e-9)


def test_empirical_likelihood_by_users():
    """Users whose decisions are copies of one are users with one decision, but for the unseen one: a third of them."""
    case = REFERENCE["cases"][2]
    w, r = np.array(case["weight"]), np.array(case["reward"])
    ranges = {"weight_range": (0.0, 8.0), "reward_range": (0.0, 1.0)}
    once = empirical_likelihood(w, r, **ranges)
    thrice = empirical_likelihood(w.repeat(3), r.repeat(3), cluster=np.arange(len(w)).repeat(3), **ranges)
    assert (thrice.value, thrice.lower, thrice.upper) == pytest.approx((once.value, once.lower, once.upper), rel=0.06)
    assert thrice.upper - thrice.lower < once.upper - once.lower
    wrong = empirical_likelihood(w.repeat(3), r.repeat(3), **ranges)
    assert wrong.upper - wrong.lower < 0.7 * (once.upper - once.lower)


def test_empirical_likelihood_corrects_for_a_mean_weight_that_came_out_low():
    """Reward 1 throughout: the value is 1 whatever the weights; IPS says their mean."""
    weight = np.array(REFERENCE["cases"][2]["weight"])
    found = empirical_likelihood(weight, np.ones(300), weight_range=(0.0, 8.0))
    assert weight.mean() < 0.9 and found.value == pytest.approx(1.0, abs=1e-9) and found.upper == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"weight": [9.5, 0.1]}, r"weight\[0\] == 9\.5, must be in \[0, 9\], as declared", id="weight"),
        pytest.param({"reward": [0.0, 2.0]}, r"reward\[1\] == 2\.0, must be in \[0, 1\], as declared", id="reward"),
        pytest.param({"weight_range": (0.0, np.inf)}, r"weight_range == .* must be finite", id="no bound"),
        pytest.param({"weight_range": (2.0, 9.0)}, r"weight_range == .* hold 1 inside", id="without 1"),
        pytest.param({"reward": [0.0]}, r"reward\.shape == \(1,\)", id="shapes"),
        pytest.param({"cluster": [0]}, r"cluster\.shape == \(1,\)", id="labels"),
    ],
)
def test_ranges_that_the_log_breaks(changes, message):
    arguments = {"weight": [9.0, 0.1], "reward": [0.0, 1.0], "weight_range": (0.0, 9.0)} | changes
    with pytest.raises(InvalidInputError, match=message):
        empirical_likelihood(arguments.pop("weight"), arguments.pop("reward"), **arguments)


# Bootstrap


@pytest.mark.parametrize("counts", ["multinomial", "poisson"])
def test_bootstrap_recomputes_ratios(rng, counts):
    """Another route: gather the users of each replicate and divide, with the same counts."""
    length = rng.integers(1, 9, 200)
    x = rng.random(200) * length
    weight = rng.gamma(0.3, 3.0, 200)
    w_mean = float((weight * x).sum() / weight.sum())
    snips_psi = weight * (x - w_mean) / weight.sum()
    item = mean_of(x, length=length)
    both = Contributions(
        item.value + w_mean,
        item.psi + snips_psi,
        (*item.parts, Part(snips_psi, weight / weight.sum())),
    )
    kind = Bootstrap(replicates=50, counts=counts)
    moved = kind.replicate([item, both], np.random.default_rng(3))
    drawn = kind._counts(50, 200, np.random.default_rng(3))
    mean = drawn @ x / (drawn @ length)
    ratio = drawn @ (weight * x) / (drawn @ weight)
    assert np.allclose(item.value + moved[:, 0], mean, rtol=1e-12)
    assert np.allclose(both.value + moved[:, 1], mean + ratio, rtol=1e-12)
    assert drawn.sum(axis=1).mean() == pytest.approx(200, abs=6)  # Poisson totals: ± 3 · √(200 / 50)


def test_bootstrap_agrees_with_the_delta_method_and_with_groups(rng):
    """20,000 users: as they are, and in 500 groups. The standard error's own error is 1/√(2 · 1000) = 2.2 % from the
    replicates and 1/√(2 · 500) = 3.2 % from the groups: 4 standard deviations of both are 16 %."""
    item = mean_of(rng.exponential(1.0, 20_000))
    exact = interval(item.value, item.psi, 0.95)
    grouped = Bootstrap(groups=500)([item], 0.95, np.random.default_rng(2))[0]
    assert grouped.std_error == pytest.approx(exact.std_error, rel=0.16)
    assert (grouped.lower, grouped.upper) == pytest.approx((exact.lower, exact.upper), abs=0.35 * exact.std_error)


def test_bootstrap_of_a_difference_is_paired(some):
    """Both are moved by the same counts: twice an estimate minus itself varies as the estimate does."""
    twice = Contributions(2 * some.value, 2 * some.psi, (Part(2 * some.psi, some.parts[0].share),))
    kind = Bootstrap(replicates=40)
    one, difference = kind.replicate([some, twice.minus(some)], np.random.default_rng(0)).T
    assert np.allclose(one, difference)


def test_bootstrap_survives_a_replicate_without_weight():
    """One of three users carries all weight: a replicate without them says nothing, and is left out."""
    psi = np.array([0.0, 0.0, 0.0])
    item = Contributions(0.5, psi, (Part(psi, np.array([1.0, 0.0, 0.0])),))
    moved = Bootstrap(replicates=200).replicate([item], np.random.default_rng(0))
    assert 0.2 < np.isnan(moved).mean() < 0.4  # (2/3)³ = 0.296
    assert Bootstrap(replicates=200)([item], 0.95, np.random.default_rng(0))[0].upper == 0.5


def test_bootstrap_is_reproducible_and_needs_an_rng(some):
    one, two = (Bootstrap()([some], 0.95, np.random.default_rng(4)) for _ in range(2))
    assert one == two
    with pytest.raises(InvalidInputError, match=r"rng == None, is needed by interval 'bootstrap'\. Pass rng="):
        Bootstrap()([some], 0.95)
    with pytest.raises(InvalidInputError, match=r"groups == 1, must be >= 2"):
        Bootstrap(groups=1)
    with pytest.raises(UnknownNameError, match=r"counts == 'poison'.*Did you mean 'poisson'"):
        Bootstrap(counts="poison")


# Bernstein


def test_bernstein_by_hand():
    """G = 101, values 0 and 1 in [0, 1], 50 of 101: S² = (50 · 51 / 101) / 100, L = ln 80."""
    x = np.arange(101) % 2.0
    item = mean_of(x, (-x.mean(), 1 - x.mean()), bounded=True)
    half = np.sqrt(2 * (50 * 51 / 101 / 100) * np.log(80) / 101) + 7 * np.log(80) / 300
    found = Bernstein()([item], 0.95)[0]
    assert (found.value - found.lower, found.upper - found.value) == pytest.approx((half, half), rel=1e-12)


def test_bernstein_bounds_users_of_different_length(rng):
    """Its ends are the v at which the bound on Σ (a_g - v n_g) is met: checked by putting them in."""
    length = rng.integers(1, 5, 400)
    x = rng.binomial(length, 0.3)
    item = mean_of(x, (-0.3, 0.7), bounded=True, length=length)
    found = Bernstein()([item], 0.9)[0]
    scale, logs = 400 / length.sum(), np.log(4 / 0.1)
    for v in (found.lower, found.upper):
        z = scale * (x - v * length)
        bound = np.sqrt(2 * z.var(ddof=1) * logs / 400) + 7 * length.max() * scale * logs / (3 * 399)
        assert abs(z.mean()) == pytest.approx(bound, rel=1e-9)


def test_bernstein_of_snips_by_its_own_equation(rng):
    """Its ends are the v at which Maurer and Pontil's bound on the users' Σ w (r - v) is met; rewards are 0 or 1,
    weights at most 3, users have 1 to 4 decisions."""
    user = np.repeat(np.arange(900), rng.integers(1, 5, 900))
    n = len(user)
    weight = rng.choice([0.5, 1.0, 3.0], n)
    reward = (rng.random(n) < 0.3).astype(float)
    found = SNIPS()(Rows(weight, reward))
    clusters = Clusters.of(user)
    psi = clusters.sums(found.influence) / n
    share = clusters.sums(weight) / weight.sum()
    reach = -3.0 * found.value / weight.mean(), 3.0 * (1.0 - found.value) / weight.mean()
    longest = np.bincount(user).max() * 900 / n
    item = Contributions(
        found.value, psi, (Part(psi, share, False),), ((reach[0], 0.0), (0.0, reach[1])), bounded=True, longest=longest
    )
    ends = Bernstein()([item], 0.95)[0]
    for v in (ends.lower, ends.upper):
        z = clusters.sums(weight * (reward - v))
        bound = np.sqrt(2 * z.var(ddof=1) * np.log(80) / 900) + 7 * 3.0 * np.bincount(user).max() * np.log(80) / (
            3 * 899
        )
        assert abs(z.mean()) == pytest.approx(bound, rel=1e-9)


def test_bernstein_of_snips_covers(rng):
    """Weights 1/9 and 9 at a rate of 0.5 %, of a log of 3,000: the truth is inside in all of 300 logs, where the t
    interval misses in more than a tenth."""
    missed = dict.fromkeys(("bernstein", "cluster-t"), 0)
    for _ in range(300):
        weight = np.where(rng.random(3000) < 0.1, 9.0, 1 / 9)
        found = SNIPS()(Rows(weight, (rng.random(3000) < 0.005).astype(float)))
        low, high = -9.0 * found.value / weight.mean(), 9.0 * (1.0 - found.value) / weight.mean()
        part = Part(found.influence / 3000, weight / weight.sum(), False)
        item = Contributions(
            found.value, part.psi, (part,), ((low, 0.0), (0.0, high)), (0.0, 1.0), bounded=True, longest=1.0
        )
        for name in missed:
            ends = get_interval(name)([item], 0.95)[0]
            missed[name] += not ends.lower <= 0.005 <= ends.upper
    assert missed["bernstein"] == 0 and missed["cluster-t"] > 30


def test_bernstein_wants_true_bounds(some):
    seen = Contributions(some.value, some.psi, some.parts, some.extremes)
    with pytest.raises(
        InvalidInputError, match=r"bounds == None, are needed by interval 'bernstein'\. Pass bounds=Bou"
    ):
        Bernstein()([seen], 0.95)
    ratio = Contributions(some.value, some.psi, (), some.extremes, bounded=True)
    with pytest.raises(SupportError, match=r"not for what divides by the sum of weights"):
        Bernstein()([ratio], 0.95)
    weighted = Contributions(
        some.value, some.psi, (Part(some.psi, some.parts[0].share, False),), some.extremes, bounded=True, longest=1.0
    )
    assert Bernstein()([weighted], 0.95)[0].lower < some.value
    with pytest.raises(SupportError, match=r"sum of weights and adds\."):
        Bernstein()([ratio.minus(weighted)], 0.95)
    # A difference of ratios: the ends of both at 97.5 %, crosswise.
    each = Bernstein()([weighted], 0.975)[0]
    found = Bernstein()([weighted.minus(weighted, 0.5)], 0.95)[0]
    expected = each.lower - 0.5 * each.upper, each.upper - 0.5 * each.lower
    assert (found.lower, found.upper) == pytest.approx(expected, rel=1e-12)
    length = np.ones(300)
    length[0] = 3000.0
    with pytest.raises(
        SupportError, match=r"spread of users' lengths or weights == .* A few users hold most decisions"
    ):
        Bernstein()([mean_of(np.ones(300), (0.0, 1.0), bounded=True, length=length)], 0.95)


# Anytime


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


# Many at once


def test_simultaneous_levels_are_between_one_and_all(rng):
    base = rng.normal(size=1000)
    near = [base + 0.3 * rng.normal(size=1000) for _ in range(8)]
    apart = list(rng.normal(size=(8, 1000)))
    level = {
        name: simultaneous_level(items, 0.95, rng=np.random.default_rng(0))
        for name, items in (("same", [base] * 8), ("near", near), ("apart", apart))
    }
    assert level["same"] == pytest.approx(0.95, abs=0.002)
    assert level["same"] < level["near"] < level["apart"] <= 0.95 ** (1 / 8)
    assert simultaneous_level(apart, 0.95, method="bonferroni") == pytest.approx(1 - 0.05 / 8)
    # One that is certain costs nothing.
    assert simultaneous_level([base, np.zeros(1000)], 0.95) == 0.95


def test_max_t_is_exact_for_two(rng):
    """P(|Z1| <= q, |Z2| <= q) from the bivariate normal distribution, correlation 0.5; 20,000 draws: ± 0.002."""
    from scipy import stats

    one, two = rng.normal(size=(2, 5000))
    one, two = one / np.linalg.norm(one), two / np.linalg.norm(two)
    two = two - (one @ two) * one
    mixed = 0.5 * one + np.sqrt(0.75) * two / np.linalg.norm(two)
    q = stats.norm.isf((1 - simultaneous_level([one, mixed], 0.95, rng=rng)) / 2)
    law = stats.multivariate_normal(cov=[[1, 0.5], [0.5, 1]])
    held = law.cdf([q, q], lower_limit=[-q, -q])
    assert held == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 20_000))


def test_simultaneous_levels_need_one_log(rng):
    with pytest.raises(InvalidInputError, match=r"influences == .* must be arrays of one length"):
        simultaneous_level([np.ones(2), np.ones(3)], 0.95)
    with pytest.raises(InvalidInputError, match=r"rng == None, is needed by 'max-t'.*or method='sidak'"):
        simultaneous_level([np.array([1.0, -1.0]), np.array([1.0, 1.0])], 0.95)


# Coverage


def test_rare_harms_are_covered(rng):
    """The measured case: rate 0.5 %, 2,000 users, weights 1/9 and 9. The number of events by weight is binomial, so
    20,000 logs cost nothing: the t interval covers about 63 % ± 1.4 % (4 standard errors), Cressie–Read at least 98 %,
    Bernstein's bound all; with the largest term seen instead of the largest possible one it is no bound.
    """
    heavy = rng.binomial(2000, 0.1, 20_000)
    events = rng.binomial(heavy, 0.005), rng.binomial(2000 - heavy, 0.005)
    codes, place, count = np.unique(9 * 1000 * events[0] + events[1], return_inverse=True, return_counts=True)
    held = dict.fromkeys(("cluster-t", "cressie-read", "bernstein", "bernstein of the sample"), 0)
    for code, times in zip(codes, count, strict=True):
        x = np.zeros(2000)
        x[: code // 9000], x[code // 9000 : code // 9000 + code % 9000] = 9.0, 1 / 9
        true, seen = (mean_of(x, (-x.mean(), top - x.mean()), (0.0, 1.0), bounded=True) for top in (9.0, x.max()))
        for name in held:
            found = get_interval(name.split()[0])([seen if "sample" in name else true], 0.95)[0]
            held[name] += times * (found.lower <= 0.005 <= found.upper)
    assert len(place) == 20_000
    assert held["cluster-t"] / 20_000 == pytest.approx(0.633, abs=0.02)
    assert held["cressie-read"] / 20_000 > 0.98
    assert held["bernstein"] == 20_000
    assert held["bernstein of the sample"] / 20_000 < 0.9


def test_clusters_fold_before_anything_else():
    assert Clusters.of(np.array([4, 4, 2])).sums(np.ones(3)).tolist() == [1.0, 2.0]
