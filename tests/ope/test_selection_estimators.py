"""Which estimator suits a policy: the fit against an optimiser, the subsample as drawn, picks against the truth."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from homing.errors import InvalidInputError, SupportError
from homing.ope.estimate import Clusters
from homing.ope.estimators import Rows, get_estimator
from homing.ope.selection import imitate, select_estimator
from homing.ope.selection.importance_fitting import project
from tests.ope.conftest import build_log

K = 6


def test_weights_are_projected(rng):
    """Against a general optimiser of the convex problem; weights within the bound are left alone."""
    for _ in range(20):
        logging, target = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
        ratio, top = target / logging, rng.uniform(1.5, 4.0)
        found = project(ratio[None], logging[None], top)[0]
        assert found.min() >= 0.0 and found.max() <= top and logging @ found == pytest.approx(1.0, abs=1e-9)
        other = minimize(
            lambda w, p=logging, r=ratio: p @ (w - r) ** 2, np.ones(4), bounds=[(0.0, top)] * 4, method="SLSQP",
            constraints={"type": "eq", "fun": lambda w, p=logging: p @ w - 1.0}, options={"ftol": 1e-12},
        )  # fmt: skip
        assert logging @ (found - ratio) ** 2 <= other.fun + 1e-7
    within = np.array([[0.5, 1.5]])
    assert project(within, np.array([[0.5, 0.5]]), 2.0).tolist() == within.tolist()


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def world(rng, n, *, users=None, against=-1.0, wrong=1.0, eligible=None):
    """A log, a policy that prefers what the log avoids, and a model that is right where `wrong` is 0.

    Returns also the policy's value in these contexts.
    """
    x = rng.normal(size=(n, 3))
    slope = np.random.default_rng(0).normal(size=(3, K))
    rate = 1 / (1 + np.exp(0.5 - 0.6 * x @ slope))
    allowed = np.ones((n, K), bool) if eligible is None else eligible
    masked = np.where(allowed, 5 * rate, -np.inf)
    logging, target = softmax(masked), softmax(np.where(allowed, against * masked, -np.inf))
    logging = 0.95 * logging + 0.05 * allowed / allowed.sum(axis=1, keepdims=True)
    action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, K - 1)
    at = np.arange(n), action
    log = build_log(
        action=action, propensity=logging[at], reward=rng.random(n) < rate[at], k=K, probs=logging, user=users,
        eligible=allowed,
    )  # fmt: skip
    return log, target, ((1 - wrong) * rate + wrong * 0.4)[:, :, None], float((target * rate).sum(axis=1).mean())


def test_the_subsample_is_distributed_as_under_the_imitated_policy(rng):
    """Drawn, as the paper does: kept rows have the imitated policy's actions, and the log's contexts; the mean reward
    over draws is what is taken in its place. Expected counts ± 4 standard errors; candidates are 2 to 6."""
    n = 20_000
    eligible = np.arange(K) < rng.integers(2, K + 1, n)[:, None]
    log, target, _, _ = world(rng, n, eligible=eligible)
    found = imitate(log, target)
    assert found.distance <= 0.05 and not found.probs[~eligible].any()
    assert np.allclose(found.probs.sum(axis=1), 1.0) and found.weight.max() <= 1 / found.share + 1e-12
    kept = rng.random(n) < found.share * found.weight
    assert kept.mean() == pytest.approx(found.share, abs=4 * np.sqrt(found.share / n))
    for group in (eligible.sum(axis=1) <= 3, eligible.sum(axis=1) > 3):
        inside = kept & group
        expected = (found.share * found.probs[group]).sum(axis=0)
        counts = np.bincount(log.action[inside], minlength=K)
        assert (np.abs(counts - expected) <= 4 * np.sqrt(expected) + 1).all()
    means = [log.reward[rng.random(n) < found.share * found.weight, 0].mean() for _ in range(200)]
    averaged = float((found.weight * log.reward[:, 0]).sum() / found.weight.sum())
    assert np.mean(means) == pytest.approx(averaged, abs=4 * np.std(means) / np.sqrt(200))


def test_by_hand():
    """Uniform over two, the policy always takes the second: w = 0, 2; 'dm' says 0.5 where the log has 0.75.

    IPS of the subsample is 0.75 as well, and DR's is 0.5 + mean(w (r - 0.5)); both see a bias of -0.25 in 'dm', and
    none in 'dr'. Var(DR): w (r - 0.5) is 0 in half of the rows, ±1 in the others: mean 0.25.
    """
    n = 4000
    reward = np.where(np.arange(n) % 8 == 1, 0.0, 1.0)  # of odd rows, 3 in 4
    log = build_log(action=np.arange(n) % 2, propensity=0.5, reward=reward)
    always = np.tile([0.0, 1.0], (n, 1))
    found = select_estimator(log, always, ("dm", "dr"), q_hat=np.full((n, 2), 0.5))["clicked"]
    assert (found.share, found.distance, found.ess) == (0.5, 0.0, 2000.0)
    dm, dr = found.of("dm"), found.of("dr")
    error = np.sqrt((0.5 * 1.0 - 0.25**2) / (n - 1))
    assert dr.bias.value == dr.bias.std_error == 0.0 and dr.mse == pytest.approx(error**2, rel=1e-9)
    assert dm.bias.value == pytest.approx(-0.25) and dm.bias.std_error == pytest.approx(error, rel=1e-9)
    assert dm.mse == pytest.approx(0.25**2 - error**2, rel=1e-9)
    assert dm.mse_lower == pytest.approx((0.25 - 1.9605 * error) ** 2, rel=1e-3)
    assert found.chosen == "dr" and found.reason.startswith("'dr' is likely to be least wrong.")
    json.dumps(found.to_dict(), allow_nan=False)


def test_users_are_the_units(rng):
    """Rows of a user three times over: the same values, errors √3 larger than if rows were independent."""
    log, target, q_hat, _ = world(rng, 3000, users=np.arange(3000) // 3)
    tripled = log.take(np.arange(3000).repeat(3))
    assert len(np.unique(tripled.user)) == 1000
    names = ("ips", "snips", "dm", "dr")  # thresholds of others depend on the number of rows
    one = select_estimator(log, target, names, q_hat=q_hat)["clicked"]
    target, q_hat = target.repeat(3, axis=0), q_hat.repeat(3, axis=0)
    two = select_estimator(tripled, target, names, q_hat=q_hat)["clicked"]
    for item, again in zip(one.candidates, two.candidates, strict=True):
        assert again.mse == pytest.approx(item.mse, rel=1e-9)
    rows = Clusters(np.arange(9000), 9000)
    apart = select_estimator(tripled, target, names, q_hat=q_hat, clusters=rows)["clicked"]
    assert apart.of("ips").estimate.std_error < 0.75 * two.of("ips").estimate.std_error


def test_questions_that_the_log_cannot_answer(rng):
    log, target, _, _ = world(rng, 400)
    silent = build_log(action=log.action, propensity=log.propensity, reward=log.reward, k=K)
    with pytest.raises(InvalidInputError, match=r"dataset\.probs == None, must hold .* to tell how a subsample"):
        select_estimator(silent, target)
    with pytest.raises(InvalidInputError, match=r"q_hat == None, is needed by dm"):
        select_estimator(log, target, ("dm",))
    with pytest.raises(InvalidInputError, match=r"estimators == 'mips-message', must use the weights"):
        select_estimator(log, target, ("mips-message",))
    with pytest.raises(InvalidInputError, match="estimators == 'ips', must be a sequence of names"):
        select_estimator(log, target, "ips")
    with pytest.raises(InvalidInputError, match=r"q_hat\[0, 0, 0\] == nan, must be finite"):
        select_estimator(log, target, q_hat=np.full((400, K, 1), np.nan))
    with pytest.raises(InvalidInputError, match=r"pretend\.shape == \(3, \d\)"):
        select_estimator(log, target, pretend=target[:3])
    with pytest.raises(SupportError, match=r"effective sample size of the subsample == .*, must be >= 30"):
        select_estimator(log.take(np.arange(40)), target[:40])
    # Half of the policy is what the log never does.
    silence = np.tile([1.0, 0.0], (400, 1))
    never = build_log(action=np.zeros(400, int), propensity=1.0, reward=np.ones(400), probs=silence)
    with pytest.raises(SupportError, match=r"distance of the closest subsample from the policy == 0\.5, must be"):
        select_estimator(never, np.full((400, 2), 0.5))


def test_picks_have_less_regret_than_chance_and_than_one_that_does_not_adapt():
    """The policy prefers what the log avoids: weights up to 80. With a wrong model importance weights win, with a right
    one the model does. The truth of each estimator's error is its mean over 120 logs; 40 logs are picked on. Regret is
    the mean of log(MSE of the pick / least MSE). The heuristic pretends that the uniform policy is asked for.
    """
    rng = np.random.default_rng(3)
    names = ("ips", "snips", "dm", "dr", "switch-dr", "clipped-ips")
    regret = dict.fromkeys(("ours", "not adaptive", "chance"), 0.0)
    for wrong in (0.0, 1.0):
        logs = [world(rng, 1000, wrong=wrong) for _ in range(120)]
        truth = np.mean([value for *_, value in logs])  # over 120,000 contexts
        error = np.mean([(_values(log, target, q_hat, names) - truth) ** 2 for log, target, q_hat, _ in logs], axis=0)
        relative = np.log(error / error.min())
        regret["chance"] += relative.mean() / 2
        for log, target, q_hat, _ in logs[:40]:
            uniform = np.full((log.n, K), 1 / K)
            ours = select_estimator(log, target, names, q_hat=q_hat)["clicked"].chosen
            other = select_estimator(log, target, names, q_hat=q_hat, pretend=uniform)["clicked"].chosen
            regret["ours"] += relative[names.index(ours)] / 80
            regret["not adaptive"] += relative[names.index(other)] / 80
    assert regret["ours"] < 0.6 * min(regret["chance"], regret["not adaptive"])


def _values(log, target, q_hat, names):
    at = np.arange(log.n), log.action
    rows = Rows(
        target[at] / log.propensity, log.reward[:, 0], q_hat[:, :, 0][at], (target * q_hat[:, :, 0]).sum(axis=1)
    )
    return np.array([get_estimator(name)(rows).value for name in names])
