"""Sequential evaluation: by hand, on a decision process with known values, and where weights explode."""

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope import OPEReport, compare, evaluate_policy, evaluate_sequential


def case(make_log):
    """Three users with 2, 1 and 3 decisions, interleaved in time; the policy always acts, the log flipped a coin."""
    log = make_log(
        action=[1, 1, 1, 1, 0, 1], propensity=0.5, reward=[1.0, 4.0, 2.0, 3.0, 7.0, 9.0], user=[0, 1, 2, 0, 2, 2]
    )
    return log, np.tile([0.0, 1.0], (6, 1))


def test_ragged_trajectories_by_hand(make_log):
    log, probs = case(make_log)
    report = evaluate_sequential(log, probs, gamma=0.5)
    # User 0: 2·1 + ½·4·3 = 8. User 1: 2·4 = 8. User 2: 2·2, then the policy would not have gone on: 4.
    assert report.estimate("clicked", "pdis").value == pytest.approx(20 / 3, rel=1e-14)
    returns = np.array([8.0, 8.0, 4.0])
    assert report.estimate("clicked", "pdis").std_error == pytest.approx(returns.std(ddof=1) / np.sqrt(3), rel=1e-12)
    # Step 0: weights 2, 2, 2: (1 + 4 + 2) / 3. Step 1: weights 4, 2 (ended, reward 0), 0: 4·3 / 6, discounted by ½.
    # Step 2: weights 4, 2, 0, nobody earns anything.
    assert report.estimate("clicked", "snpdis").value == pytest.approx(7 / 3 + 0.5 * 2, rel=1e-14)
    # The delta method, by hand: ψ = Σ_t γ^t ρ (r - V_t) / Σρ with V_0 = 7/3, V_1 = 2.
    psi = np.array([
        2 * (1 - 7 / 3) / 6 + 0.5 * 4 * (3 - 2) / 6,
        2 * (4 - 7 / 3) / 6 + 0.5 * 2 * (0 - 2) / 6,
        2 * (2 - 7 / 3) / 6,
    ])  # fmt: skip
    assert report.estimate("clicked", "snpdis").std_error == pytest.approx(np.sqrt(1.5 * (psi**2).sum()), rel=1e-12)
    assert report.logged["clicked"].value == pytest.approx(((1 + 1.5) + 4 + (2 + 3.5 + 2.25)) / 3, rel=1e-14)
    assert (report.unit, report.n, report.n_users, report.gamma) == ("user", 3, 3, 0.5)
    assert "per user" in report.to_text() and "3 trajectories" in report.to_text()
    assert "3 trajectories" in report.to_html()


def test_gamma_zero_judges_first_decisions_only(make_log):
    log, probs = case(make_log)
    first = evaluate_policy(log.take(np.array([0, 1, 2])), probs[:3], estimators=("ips", "snips"))
    report = evaluate_sequential(log, probs, gamma=0.0)
    for sequential, single in (("pdis", "ips"), ("snpdis", "snips")):
        found, wanted = report.estimate("clicked", sequential), first.estimate("clicked", single)
        assert (found.value, found.std_error) == pytest.approx((wanted.value, wanted.std_error), rel=1e-12)


def test_the_logging_policy_earns_what_it_earned(rng, make_log):
    n = 500
    logging = rng.dirichlet(np.ones(3), n)
    action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, 2)
    log = make_log(
        action=action, propensity=logging[np.arange(n), action], reward=rng.normal(size=(n, 2)),
        user=rng.integers(0, 80, n), k=3,
    )  # fmt: skip
    report = evaluate_sequential(log, logging, gamma=0.9)
    for objective in log.objectives:
        for name in ("pdis", "snpdis"):
            found = report.estimate(objective, name)
            assert found.value == pytest.approx(report.logged[objective].value, rel=1e-12)
        assert report.estimate(objective, "pdis").std_error == pytest.approx(report.logged[objective].std_error)


REWARD = np.array([[0.0, 0.5], [1.0, 1.0]])  # state, action
UP = np.array([[0.2, 0.5], [0.5, 0.8]])  # probability of state 1 next
TARGET = np.array([[0.3, 0.7], [0.3, 0.7]])
GAMMA, MOST = 0.9, 4


def true_value():
    """Backwards induction; trajectories of 1 to 4 decisions are equally likely, states start at 0."""
    values, remaining = [], np.zeros(2)
    for _ in range(MOST):
        q = REWARD + GAMMA * (UP * remaining[1] + (1 - UP) * remaining[0])
        remaining = (TARGET * q).sum(axis=1)
        values.append(remaining[0])
    return float(np.mean(values))


def simulate(make_log, rng, users):
    """A coin-flipping log of the process."""
    columns = {"user": [], "action": [], "reward": []}
    length = rng.integers(1, MOST + 1, users)
    state = np.zeros(users, int)
    for step in range(MOST):
        alive = np.flatnonzero(length > step)
        action = rng.integers(0, 2, len(alive))
        columns["user"].append(alive)
        columns["action"].append(action)
        columns["reward"].append(REWARD[state[alive], action] + rng.normal(0, 0.2, len(alive)))
        state[alive] = rng.random(len(alive)) < UP[state[alive], action]
    return make_log(propensity=0.5, **{name: np.concatenate(parts) for name, parts in columns.items()})


def test_recovers_a_known_value(make_log, rng):
    log = simulate(make_log, rng, 20_000)
    report = evaluate_sequential(log, np.tile([0.3, 0.7], (log.n, 1)), gamma=GAMMA)
    assert report.support.verdict == "fine"
    for name in ("pdis", "snpdis"):
        found = report.estimate("clicked", name)
        assert abs(found.value - true_value()) < 4 * found.std_error < 0.06
    # The coin-flipping log itself earns clearly less.
    assert compare(report, report, "clicked", "snpdis", champion_estimator="logged").lower > 0


@pytest.mark.slow
def test_intervals_cover_a_known_value(make_log, rng):
    """800 logs of 250 users: 0.95 ± 4 standard errors of 0.0077."""
    hits = {"pdis": 0, "snpdis": 0}
    for _ in range(800):
        log = simulate(make_log, rng, 250)
        report = evaluate_sequential(log, np.tile([0.3, 0.7], (log.n, 1)), gamma=GAMMA)
        for name in hits:
            found = report.estimate("clicked", name)
            hits[name] += found.lower <= true_value() <= found.upper
    assert 0.92 <= hits["pdis"] / 800 <= 0.98
    assert 0.92 <= hits["snpdis"] / 800 <= 0.98


def test_long_trajectories_stay_finite_and_are_refused(make_log, rng):
    """600 decisions each: products of ratios would underflow to 0/0; sums of logs do not."""
    users, steps = 40, 600
    action = rng.integers(0, 2, users * steps)
    log = make_log(
        action=action, propensity=0.5, reward=rng.random(users * steps), user=np.tile(np.arange(users), steps)
    )
    report = evaluate_sequential(log, np.tile([0.4, 0.6], (log.n, 1)), gamma=0.99)
    assert all(np.isfinite(item.value) for item in report.estimates.values())
    assert report.support.verdict == "refuse"
    assert 0 <= report.estimate("clicked", "snpdis").value <= 1 / (1 - 0.99)


@pytest.mark.parametrize("steps", [400, 600])
def test_weights_beyond_float64_are_an_error(make_log, steps):
    """Each decision doubles the weight: 400 give e^277, whose square still fits, 600 do not."""
    n = 2 * steps
    log = make_log(action=np.ones(n, int), propensity=0.5, reward=np.ones(n), user=np.arange(n) % 2)
    probs = np.tile([0.0, 1.0], (n, 1))
    if steps == 400:
        report = evaluate_sequential(log, probs, gamma=1.0)
        assert report.estimate("clicked", "snpdis").value == pytest.approx(400.0)
        assert report.support.verdict == "refuse"
        return
    with pytest.raises(SupportError, match=r"log of a trajectory's weight == 415\.\d+, must be <= 300\. Shorten"):
        evaluate_sequential(log, probs, gamma=1.0)


def test_nobody_followed_the_policy(make_log):
    log = make_log(action=[0, 0, 0], propensity=0.5, reward=[1, 1, 1])
    report = evaluate_sequential(log, np.tile([0.0, 1.0], (3, 1)), gamma=1.0)
    assert report.support.verdict == "refuse"
    assert report.estimate("clicked", "pdis").value == 0.0
    assert report.notes[0].startswith("snpdis of clicked is left out: weights at decision 0 == 0.0")


def test_reports_keep_their_discount(make_log, tmp_path):
    log, probs = case(make_log)
    report = evaluate_sequential(log, probs, gamma=0.5)
    report.save(tmp_path)
    again = OPEReport.load(tmp_path)
    assert again.to_dict() == report.to_dict()
    with pytest.raises(InvalidInputError, match=r"champion\.gamma == 0\.9, must be 0\.5"):
        compare(again, evaluate_sequential(log, probs, gamma=0.9), "clicked", "pdis")
    with pytest.raises(InvalidInputError, match=r"champion\.unit == 'decision', must be 'user'"):
        compare(again, evaluate_policy(log, probs), "clicked", "pdis", champion_estimator="ips")


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan"), "1"])
def test_gamma_is_a_discount(make_log, gamma):
    log, probs = case(make_log)
    with pytest.raises(InvalidInputError, match=r"gamma == .*, must be in \[0, 1\]"):
        evaluate_sequential(log, probs, gamma=gamma)


def test_unknown_sequential_estimator(make_log):
    log, probs = case(make_log)
    with pytest.raises(UnknownNameError, match=r"sequential estimator == 'pids', must be one of 'arp', 'dr', 'fqe'"):
        evaluate_sequential(log, probs, gamma=1.0, estimators=("pids",))


def test_whole_trajectories_intervals_are_said_to_be_narrow(make_log):
    log, probs = case(make_log)
    notes = evaluate_sequential(log, probs, gamma=1.0, estimators=("tis", "sntis", "pdis")).notes
    assert notes == (
        "Caution: cluster-t intervals of tis, sntis are too narrow, as the tails of whole trajectories' weights are "
        "not in the sample; ask for interval='cressie-read', or use pdis or snpdis.",
    )
    assert evaluate_sequential(log, probs, gamma=1.0, estimators=("tis",), interval="cressie-read").notes == ()
    assert evaluate_sequential(log, probs, gamma=1.0, estimators=("pdis",)).notes == ()
