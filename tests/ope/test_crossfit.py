"""Cross-fitting: no row is predicted by a model that saw its user, and why that matters."""

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log.candidates import CandidateStore
from homing.log.dataset import LoggedDataset
from homing.ope import Rows, evaluate_policy
from homing.ope.crossfit import cross_fit, user_folds
from homing.ope.estimate import Clusters, cluster_influence, interval
from homing.ope.estimators import DR, mrdr_weights


def by_action(train, test):
    means = [train.reward[train.action == a].mean(axis=0) if (train.action == a).any() else 0.0 for a in range(test.k)]
    return np.broadcast_to(np.stack(means), (test.n, test.k, train.reward.shape[1]))


def test_no_row_is_predicted_by_a_model_that_saw_its_user(random_case, rng):
    log, _, _, _ = random_case(n=500, users=60)
    scored = []

    def spy(train, test):
        assert set(train.user) & set(test.user) == set()
        assert set(train.user) | set(test.user) == set(log.user)
        assert train.n + test.n == log.n
        assert not test.reward.any()  # what is to be predicted is not shown
        scored.append(test.n)
        return np.tile(test.user[:, None, None].astype(float), (1, 4, 2))

    found = cross_fit(log, spy, 5, rng)
    assert len(scored) == 5 and sum(scored) == 500
    # Each row came back to its place.
    np.testing.assert_array_equal(found, np.tile(log.user[:, None, None].astype(float), (1, 4, 2)))


def test_folds_are_even_and_of_whole_users(rng):
    user = rng.integers(0, 103, 2000)
    fold = user_folds(user, 4, rng)
    sizes = [len(np.unique(user[fold == number])) for number in range(4)]
    assert sum(sizes) == 103 and max(sizes) - min(sizes) == 1


def test_the_seed_decides_and_row_order_does_not(random_case, rng):
    log, _, _, _ = random_case()
    one, two = (cross_fit(log, by_action, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (one != cross_fit(log, by_action, 3, np.random.default_rng(6))).any()
    order = np.argsort(rng.permutation(90)[log.user], kind="stable")
    shuffled = cross_fit(log.take(order), by_action, 3, np.random.default_rng(5))
    np.testing.assert_allclose(shuffled, one[order], rtol=1e-12)


def test_by_hand(make_log):
    """Leave-one-user-out of four users: each row is predicted by the mean of the other three."""
    reward = np.array([1.0, 2.0, 4.0, 8.0])
    log = make_log(action=[0, 0, 0, 0], propensity=1.0, reward=reward)

    def mean(train, test):
        return np.full((test.n, test.k), train.reward.mean())

    found = cross_fit(log, mean, 4, np.random.default_rng(0))
    assert found.shape == (4, 2, 1)
    np.testing.assert_allclose(found[:, 0, 0], (15.0 - reward) / 3.0, rtol=1e-15)


def test_folds_with_fewer_candidates_are_padded():
    """A fold without the decision of three candidates has two columns; the third is padding there."""
    store = CandidateStore.from_padded(np.zeros((4, 3, 1)), np.array([2, 3, 2, 2]))
    eligible = np.arange(3) < np.array([2, 3, 2, 2])[:, None]
    log = LoggedDataset(
        context=np.zeros((4, 1)), candidates=store, eligible=eligible, action=[0, 2, 1, 0], propensity=np.full(4, 0.5),
        reward=np.ones((4, 1)), objectives=("clicked",), user=np.arange(4), time=np.arange(4),
    )  # fmt: skip
    found = cross_fit(log, lambda train, test: np.ones((test.n, test.k)), 4, np.random.default_rng(0))
    np.testing.assert_array_equal(found[:, :, 0], 1.0 * eligible)


def test_regression_weights_follow_their_rows(random_case, rng):
    log, _, target, _ = random_case(m=1)
    weight = mrdr_weights(log, target)

    def spy(train, test, given):
        # Weights are functions of the row, so each can be found again from it.
        rows = np.isin(log.user, train.user)
        np.testing.assert_array_equal(np.sort(given), np.sort(weight[rows]))
        np.testing.assert_array_equal(given, weight[rows])
        np.testing.assert_array_equal(train.reward, log.reward[rows])
        return np.zeros((test.n, test.k))

    cross_fit(log, spy, 3, rng, weight=weight)


def test_a_model_fitted_with_mrdr_weights_makes_dr_more_precise(make_log, rng):
    """A model that knows the action alone, where reward and logging depend on the context too.

    Where x = 1 the log hardly ever took action 1, so DR's variance is made there; plain least squares fits where rows
    are many, at x = 0. Action 1 earns 0 and 4; the plain mean of its rows is 4 · 0.02 / 0.8 = 0.1, the weighted one,
    with (1 - μ) / μ, is 3.98.
    """
    n = 6000
    x = rng.integers(0, 2, n)
    chance = np.where(x == 1, 0.02, 0.78)
    action = (rng.random(n) < chance).astype(int)
    reward = 4.0 * x * action + rng.normal(0.0, 0.5, n)
    log = make_log(action=action, propensity=np.where(action == 1, chance, 1 - chance), reward=reward)
    target = np.tile([0.0, 1.0], (n, 1))

    def mean(train, test, weight):
        sent = train.action == 1
        return np.tile([0.0, np.average(train.reward[sent, 0], weights=weight[sent])], (test.n, 1))

    found = {}
    for name, weight in (("plain", np.ones(n)), ("mrdr", mrdr_weights(log, target))):
        q_hat = cross_fit(log, mean, 5, np.random.default_rng(0), weight=weight)
        found[name] = evaluate_policy(log, target, q_hat=q_hat, estimators=("dr",)).estimate("clicked", "dr")
        assert abs(found[name].value - 4.0 * x.mean()) < 4 * found[name].std_error
    assert found["mrdr"].std_error < 0.5 * found["plain"].std_error


def test_a_model_that_saw_the_rows_makes_the_interval_too_narrow(make_log):
    """A model that remembers each user: in sample DR's residuals are small; across users it is honest.

    150 logs of 100 users with two decisions on one action each, drawn by a coin; rewards with a spread of 1 between and
    of ½ within users. 95 % intervals hold in 95 ± 5.3 % of 150 logs (three errors). In sample the reported spread is
    about half of the true one (0.8² / 2 + 0.2² / 2 against twice 0.8² + 0.2²), so about two of three hold.
    """
    rng = np.random.default_rng(2)
    users, logs, truth = 100, 150, 0.8 * 0.5
    user, target = np.repeat(np.arange(users), 2), np.array([0.2, 0.8])

    def remember(train, test):
        total, count = np.zeros((users, 2)), np.zeros((users, 2))
        np.add.at(total, (train.user, train.action), train.reward[:, 0])
        np.add.at(count, (train.user, train.action), 1.0)
        overall = total.sum(axis=0) / count.sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1.0), overall)[test.user]

    hits = {"same rows": 0, "other users": 0}
    for _ in range(logs):
        action = np.repeat(rng.integers(0, 2, users), 2)
        reward = 0.5 * action + rng.normal(0.0, 1.0, users)[user] + rng.normal(0.0, 0.5, 2 * users)
        log = make_log(action=action, propensity=0.5, reward=reward, user=user)
        for name, q_hat in (
            ("same rows", remember(log, log)),
            ("other users", cross_fit(log, remember, 2, rng)[:, :, 0]),
        ):
            rows = Rows(2.0 * target[action], reward, q_hat[np.arange(log.n), action], q_hat @ target)
            found = DR()(rows)
            held = interval(found.value, cluster_influence(found.influence, Clusters.of(user)), 0.95)
            hits[name] += held.lower <= truth <= held.upper
    assert abs(hits["other users"] / logs - 0.95) < 3 * np.sqrt(0.95 * 0.05 / logs)
    assert hits["same rows"] / logs < 0.8


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        pytest.param(1, r"folds == 1, must be an integer >= 2", id="one"),
        pytest.param(2.0, r"folds == 2\.0, must be an integer >= 2", id="not whole"),
        pytest.param(91, r"number of users == \d+, must be at least 91, the folds\. Use a log of more", id="too many"),
    ],
)
def test_wrong_folds(random_case, rng, folds, message):
    log, _, _, _ = random_case()
    with pytest.raises(InvalidInputError, match=message):
        cross_fit(log, by_action, folds, rng)


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        pytest.param(
            lambda train, test: np.zeros((test.n, test.k)),
            r"fold 0\.shape == \(\d+, 4\), must be \(\d+, 4, 2\)",
            id="m",
        ),
        pytest.param(lambda train, test: np.zeros((3, 4, 2)), r"fold 0\.shape == \(3, 4, 2\)", id="rows"),
        pytest.param(
            lambda train, test: np.full((test.n, 4, 2), np.nan), r"fold 0\[0, 0, 0\] == nan, must be finite", id="nan"
        ),
    ],
)
def test_wrong_predictions(random_case, rng, predict, message):
    log, _, _, _ = random_case()
    with pytest.raises(InvalidInputError, match=message):
        cross_fit(log, predict, 2, rng)
