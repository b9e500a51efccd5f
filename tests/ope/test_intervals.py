"""Intervals: clustered standard errors by other routes, and their coverage in simulation."""

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope import compare, evaluate_policy
from homing.ope.estimate import Clusters, Estimate, interval


def test_two_clusters_by_hand(make_log):
    # Weights 2, 0, 0, 2 and reward 1: terms 2, 0, 0, 2, mean 1. Users {1, 4} and {2, 3} sum to +2 and -2 around it:
    # ψ = ±2/4, Var = 2/1 · (1/4 + 1/4) = 1; the t quantile with one degree of freedom is tan(0.475 π).
    log = make_log(action=[1, 1, 1, 1], propensity=0.5, reward=np.ones(4), user=[0, 1, 1, 0])
    probs = np.array([[0, 1], [1, 0], [1, 0], [0, 1]], dtype=float)
    found = evaluate_policy(log, probs).estimate("clicked", "ips")
    assert (found.value, found.std_error, found.df) == (1.0, 1.0, 1)
    assert found.upper == pytest.approx(1.0 + np.tan(0.475 * np.pi), rel=1e-12)
    assert found.lower == pytest.approx(1.0 - np.tan(0.475 * np.pi), rel=1e-12)


def test_singleton_clusters_give_the_classical_interval(random_case):
    from scipy import stats

    log, _, target, _ = random_case()
    terms = target[np.arange(log.n), log.action] / log.propensity * log.reward[:, 0]
    report = evaluate_policy(log, target, cluster="decision")
    found = report.estimate("clicked", "ips")
    assert found.std_error == pytest.approx(terms.std(ddof=1) / np.sqrt(log.n), rel=1e-12)
    expected = stats.t.interval(0.95, log.n - 1, terms.mean(), stats.sem(terms))
    assert (found.lower, found.upper) == pytest.approx(expected, rel=1e-12)


def test_duplicating_every_row_within_its_user_changes_nothing(random_case, make_log):
    log, _, target, q_hat = random_case()
    twice = np.repeat(np.arange(log.n), 2)
    doubled = log.take(twice)
    one = evaluate_policy(log, target, q_hat=q_hat, estimators=("ips", "snips", "dr"))
    two = evaluate_policy(doubled, target[twice], q_hat=q_hat[twice], estimators=("ips", "snips", "dr"))
    for key, item in one.estimates.items():
        assert two.estimates[key].value == pytest.approx(item.value, rel=1e-12)
        assert two.estimates[key].std_error == pytest.approx(item.std_error, rel=1e-10)
    # Taken as independent, the same rows would look √2 times as certain.
    naive = evaluate_policy(doubled, target[twice], estimators=("ips",), cluster="decision").estimate("clicked", "ips")
    single = evaluate_policy(log, target, estimators=("ips",), cluster="decision").estimate("clicked", "ips")
    assert naive.std_error == pytest.approx(single.std_error / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr", "switch-dr", "dros"])
def test_standard_error_agrees_with_the_jackknife_over_users(random_case, estimator):
    """Leave-one-user-out needs no influence function; the two agree to O(1/G), 200 users here."""
    log, _, target, q_hat = random_case(n=800, users=200)
    # Fixed thresholds: the defaults depend on n, which the jackknife changes.
    from homing.ope.estimators import DRos, Rows, SwitchDR, get_estimator

    chosen = get_estimator({"switch-dr": SwitchDR(tau=3.0), "dros": DRos(lam=9.0)}.get(estimator, estimator))
    taken = np.arange(log.n), log.action
    q = q_hat[:, :, 1]
    columns = (target[taken] / log.propensity, log.reward[:, 1], q[taken], (target * q).sum(axis=1))

    def value(rows):
        return chosen(Rows(*(column[rows] for column in columns))).value

    users = np.unique(log.user)
    left_out = np.array([value(np.flatnonzero(log.user != user)) for user in users])
    count = len(users)
    jackknife = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    found = evaluate_policy(log, target, q_hat=q_hat, estimators=(chosen,)).estimate("spend", estimator)
    assert found.std_error == pytest.approx(jackknife, rel=0.03)


def test_snips_does_not_hold_its_normaliser_fixed(make_log, rng):
    """With reward 1 everywhere SNIPS is 1 whatever the weights: a fixed normaliser would report a wide interval."""
    action = rng.integers(0, 2, 500)
    log = make_log(action=action, propensity=0.5, reward=np.ones(500))
    found = evaluate_policy(log, np.tile([0.1, 0.9], (500, 1)))
    assert found.estimate("clicked", "snips").std_error < 1e-15
    assert found.estimate("clicked", "ips").std_error > 0.03


def test_paired_comparison_is_the_interval_of_the_difference(random_case):
    log, logging, target, q_hat = random_case()
    one = evaluate_policy(log, target, q_hat=q_hat, policy="a")
    two = evaluate_policy(log, logging, q_hat=q_hat, policy="b")
    found = compare(one, two, "spend", "dr")
    # By hand: the difference of the two policies' terms is itself a mean, clustered by user.
    rows = np.arange(log.n)
    terms = np.zeros(log.n)
    for sign, probs in ((1, target), (-1, logging)):
        weight = probs[rows, log.action] / log.propensity
        model = (probs * q_hat[:, :, 1]).sum(axis=1)
        terms += sign * (model + weight * (log.reward[:, 1] - q_hat[rows, log.action, 1]))
    sums = np.array([(terms - terms.mean())[log.user == user].sum() for user in np.unique(log.user)]) / log.n
    count = len(sums)
    assert found.value == pytest.approx(terms.mean(), rel=1e-12)
    assert found.std_error == pytest.approx(np.sqrt(count / (count - 1) * (sums**2).sum()), rel=1e-10)
    assert found.df == count - 1
    against_log = compare(one, one, "spend", "ips", champion_estimator="logged")
    assert against_log.value == pytest.approx(one.estimate("spend", "ips").value - log.reward[:, 1].mean(), rel=1e-12)


def test_a_policy_against_itself_differs_by_nothing(random_case):
    log, _, target, _ = random_case()
    report = evaluate_policy(log, target)
    assert compare(report, report, "clicked", "snips") == Estimate(0.0, 0.0, 0.0, 0.0, 0.95, report.n_users - 1)


def test_reports_on_different_logs_do_not_compare(random_case):
    one, two = (evaluate_policy(log, target) for log, _, target, _ in (random_case(), random_case()))
    with pytest.raises(InvalidInputError, match=r"champion\.fingerprint == .*Evaluate both policies on the same log"):
        compare(one, two, "clicked", "ips")


def test_reports_clustered_differently_do_not_compare(random_case):
    log, _, target, _ = random_case()
    one, two = evaluate_policy(log, target), evaluate_policy(log, target, cluster="decision")
    with pytest.raises(InvalidInputError, match=r"champion\.cluster == 'decision', must be 'user'"):
        compare(one, two, "clicked", "ips")


def test_clusters_can_be_given(random_case):
    log, _, target, _ = random_case()
    by_user, given = evaluate_policy(log, target), evaluate_policy(log, target, cluster=log.user * 7)
    assert given.estimates == by_user.estimates and given.cluster.startswith("custom ")
    assert compare(given, evaluate_policy(log, target, cluster=log.user * 3), "clicked", "ips").value == 0.0
    shifted = evaluate_policy(log, target, cluster=np.roll(log.user, 1))  # as many, but others
    with pytest.raises(InvalidInputError, match=r"champion\.cluster == 'custom .*, must be 'custom "):
        compare(given, shifted, "clicked", "ips")
    with pytest.raises(UnknownNameError, match=r"cluster == 'users'.*Did you mean 'user'"):
        evaluate_policy(log, target, cluster="users")
    with pytest.raises(InvalidInputError, match=r"cluster\.shape"):
        evaluate_policy(log, target, cluster=np.arange(3))


def test_one_user_gives_no_interval(make_log):
    log = make_log(action=[0, 1], propensity=0.5, reward=[0, 1], user=[3, 3])
    with pytest.raises(SupportError, match=r"number of clusters == 1, must be >= 2.*log with more users"):
        evaluate_policy(log, np.full((2, 2), 0.5))


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_must_be_a_probability(random_case, level):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=r"level == .* must be in \(0, 1\)"):
        evaluate_policy(log, target, level=level)


def test_another_level_of_the_same_estimate():
    wide = interval(0.0, np.array([1.0, -1.0, 0.5, -0.5]), 0.95)
    assert wide.at(0.95) == wide
    assert wide.at(0.5).upper < wide.upper and wide.at(0.5).std_error == wide.std_error
    assert Clusters.of(np.array([5, 5, 9])).sums(np.array([1.0, 2.0, 4.0])).tolist() == [3.0, 4.0]


REPLICATIONS = 1500


@pytest.fixture(scope="module")
def coverage():
    """Share of 1,500 small logs whose 95% interval holds the truth, by estimator, and how many were judged `fine`.

    200 users with 1 to 5 decisions each and strong user effects; the policy prefers what the log avoided.
    """
    from homing.log.dataset import LoggedDataset

    rng = np.random.default_rng(7)
    logging, target, effect = np.array([0.4, 0.35, 0.25]), np.array([0.15, 0.25, 0.6]), np.array([0.0, 0.1, 0.3])
    truth = 0.35 + target @ effect
    hits = dict.fromkeys(("ips", "snips", "dr", "naive"), 0)
    fine = 0
    for _ in range(REPLICATIONS):
        user = np.repeat(np.arange(200), rng.integers(1, 6, 200))
        n = len(user)
        base = rng.choice([0.05, 0.65], 200)[user]
        action = (logging.cumsum() < rng.random(n)[:, None]).sum(axis=1).clip(0, 2)
        log = LoggedDataset(
            context=np.zeros((n, 1)), candidates=np.zeros((n, 3, 1)), eligible=np.ones((n, 3), bool), action=action,
            propensity=logging[action], reward=(rng.random(n) < base + effect[action]).astype(float)[:, None],
            objectives=("clicked",), user=user, time=np.arange(n),
        )  # fmt: skip
        probs = np.tile(target, (n, 1))
        report = evaluate_policy(log, probs, q_hat=np.tile(0.3 + effect, (n, 1)), estimators=("ips", "snips", "dr"))
        fine += report.support.verdict_for("clicked") == "fine"
        naive = evaluate_policy(log, probs, estimators=("ips",), cluster="decision").estimate("clicked", "ips")
        for name in ("ips", "snips", "dr"):
            item = report.estimate("clicked", name)
            hits[name] += item.lower <= truth <= item.upper
        hits["naive"] += naive.lower <= truth <= naive.upper
    return {name: count / REPLICATIONS for name, count in hits.items()} | {"fine": fine / REPLICATIONS}


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["ips", "snips", "dr"])
def test_intervals_cover_as_promised(coverage, estimator):
    """0.93 to 0.97 is ± 3.6 standard errors: sqrt(0.95 · 0.05 / 1500) = 0.0056."""
    assert coverage["fine"] > 0.99
    assert 0.93 <= coverage[estimator] <= 0.97


@pytest.mark.slow
def test_forgetting_that_users_come_back_covers_too_little(coverage):
    """Its shortfall of more than 0.02 is beyond 3.6 standard errors of 0.0056."""
    assert coverage["naive"] < 0.93
