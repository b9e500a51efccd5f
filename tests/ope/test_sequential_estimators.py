"""Each sequential estimator by hand, and what they have in common."""

import re
from datetime import timedelta

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import LoggedDataset
from homing.log.candidates import CandidateStore
from homing.ope import compare, evaluate_sequential
from homing.ope.sequential import (
    SEQUENTIAL,
    LinearFQE,
    SequentialEstimator,
    get_sequential,
)
from homing.ope.sequential.magic import MAGIC, simplex_minimum
from homing.promotion import PromotionRules, gate

EVERY = tuple(SEQUENTIAL)
#: v̂ of the six decisions below: q̂ is this for acting and 0 for silence, and the policy always acts.
VALUE = np.array([2.0, 3.0, 1.0, 1.0, 2.0, 4.0])
STATE = ["A", "A", "B", "B", "B", "B"]


def case(make_log, **more):
    """Users with 2, 1 and 3 decisions, interleaved; the policy always acts, the log flipped a coin.

    User 0 acts and acts: weights 2, 4; rewards 1, 3. User 1 acts: weight 2; reward 4. User 2 acts, is silent, acts:
    weights 2, 0, 0; rewards 2, 7, 9.
    """
    log = make_log(
        action=[1, 1, 1, 1, 0, 1], propensity=0.5, reward=[1.0, 4.0, 2.0, 3.0, 7.0, 9.0], user=[0, 1, 2, 0, 2, 2]
    )
    q = np.column_stack([np.zeros(6), VALUE])
    return evaluate_sequential(
        log, np.tile([0.0, 1.0], (6, 1)), gamma=0.5, q_function=q, state=STATE, estimators=EVERY, **more
    )


BY_HAND = {
    # Weights 4, 2, 0 times returns 1 + 3/2, 4, 2 + 7/2 + 9/4.
    "tis": (4 * 2.5 + 2 * 4) / 3,
    "sntis": (4 * 2.5 + 2 * 4) / 6,
    "pdis": (8 + 8 + 4) / 3,
    "snpdis": 7 / 3 + 0.5 * 2,
    # 2 + 2 (1 + ½·1 - 2) + ½·4 (3 - 1);  3 + 2 (4 - 3);  1 + 2 (2 + ½·2 - 1): all are 5.
    "dr": 5.0,
    # Mean v̂ is 2; step 0: (-½ + 1 + 2) / 3; step 1: ½ (3 - 1) with weight 4 of 4 + 2 + 0; step 2: weight 0.
    "wdr": 2 + 2.5 / 3 + 4 / 6,
    "fqe": 2.0,
    # Step 0: d = ⅔, ⅓; rewards 2.5, 2. From A half the weight goes to B, from B all: d_1(B) = ½ (⅓ + ⅓), reward 3 with
    # weights 2, 0. Then only weight 0 is left.
    "smis": 2 / 3 * 2.5 + 1 / 3 * 2 + 1 / 3 * 3,
    # Rewards: A (2·1 + 2·4) / 4, B (2·3 + 2·2 + 0 + 2·9) / 6. d(A) = ⅔; d(B) = ⅓ + ½ (½·⅔ + ⅓ d(B)) = 0.6.
    "mwl": 2 / 3 * 2.5 + 0.6 * 28 / 6,
    # Pooled over steps, but for what follows the longest journey's third decision: from A a quarter goes on to B, and
    # from B ½ · 2 / (2 + 2 + 0), as users 0 and 1 end before; visits to B are ⅓ + ¼ + 1/16. Unweighed, from B ½ · 2/3:
    # ⅓ + 5/18 + 5/54 at a mean reward of 21/4; what A earns cancels. Logged: (2.5 + 4 + 7.75) / 3.
    "arp": 14.25 / 3 + 31 / 48 * 28 / 6 - 38 / 54 * 21 / 4,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(make_log, name):
    assert case(make_log).estimate("clicked", name).value == pytest.approx(BY_HAND[name], rel=1e-13)


def test_unbiased_errors_by_hand(make_log):
    report = case(make_log)
    for name, terms in (("tis", [10.0, 8.0, 0.0]), ("pdis", [8.0, 8.0, 4.0]), ("dr", [5.0, 5.0, 5.0])):
        wanted = np.std(terms, ddof=1) / np.sqrt(3)
        assert report.estimate("clicked", name).std_error == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_wdr_error_by_hand(make_log):
    # ψ = (v̂ - 2) / 3 + Σ_t share (term - average): averages 2.5/3 and 2/3.
    psi = [
        0 + (-0.5 - 2.5 / 3) / 3 + 4 / 6 * (1 - 2 / 3),
        1 / 3 + (1 - 2.5 / 3) / 3 + 2 / 6 * (0 - 2 / 3),
        -1 / 3 + (2 - 2.5 / 3) / 3,
    ]
    wanted = np.sqrt(1.5 * np.square(psi).sum())
    assert case(make_log).estimate("clicked", "wdr").std_error == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "magic"])
def test_the_influence_is_that_of_leaving_a_user_out(rng, make_log, name, draw_journeys):
    """An independent route to every standard error: the jackknife, which only calls the estimator for its value.

    Both are first order; with 60 users their standard errors differ by O(1/G), measured up to 4 %, allowed 15 %; and a
    user's influence and what leaving the user out changes are correlated by more than 0.98. MAGIC is not among them:
    its shares jump, and its interval takes them as given.
    """
    log, _, target, q, state = draw_journeys()

    def estimate(rows):
        return evaluate_sequential(
            log.take(rows), target[rows], gamma=0.9, q_function=q[rows], state=state[rows], estimators=(name,)
        )

    whole = estimate(np.arange(log.n))
    users = np.unique(log.user)
    left_out = np.array([estimate(np.flatnonzero(log.user != user)).estimate("clicked", name).value for user in users])
    g = len(users)
    jackknife = np.sqrt((g - 1) / g * np.square(left_out - left_out.mean()).sum())
    assert whole.estimate("clicked", name).std_error == pytest.approx(jackknife, rel=0.15)
    changes = (g - 1) / g * (left_out.mean() - left_out)
    assert np.corrcoef(changes, whole.influence[name, "clicked"])[0, 1] > 0.98


def test_the_logging_policy_earns_what_it_earned(rng, make_log, draw_journeys):
    """With π = propensity all weights are 1: no estimator that corrects by the log can say anything but the mean."""
    log, logging, _, q, state = draw_journeys()
    report = evaluate_sequential(log, logging, gamma=0.9, q_function=q, state=state, estimators=EVERY)
    earned = report.logged["clicked"].value
    for name in ("tis", "sntis", "pdis", "snpdis", "smis", "arp"):
        assert report.estimate("clicked", name).value == pytest.approx(earned, rel=1e-11), name
    for name in ("dr", "wdr", "mwl"):  # right on average over what the log drew, not draw by draw
        found = report.estimate("clicked", name)
        assert abs(found.value - earned) < 4 * max(found.std_error, report.logged["clicked"].std_error), name


@pytest.mark.parametrize("q_function", [0.0, 1.0])
def test_without_predictions_dr_is_pdis_and_wdr_snpdis(rng, make_log, q_function, draw_journeys):
    """q = 0; and a Q-function that depends on nothing but the last step's reward cancels where weights are 1."""
    log, logging, target, q, _ = draw_journeys()
    if q_function == 0.0:
        report = evaluate_sequential(log, target, gamma=0.9, q_function=np.zeros_like(q))
        for mine, other in (("dr", "pdis"), ("wdr", "snpdis")):
            a, b = report.estimate("clicked", mine), report.estimate("clicked", other)
            assert (a.value, a.std_error) == pytest.approx((b.value, b.std_error), rel=1e-12)
        assert report.estimate("clicked", "fqe").value == 0.0
        return
    # A Q-function of the state alone, v̂ = q̂, cancels exactly under the logging policy.
    report = evaluate_sequential(log, logging, gamma=0.9, q_function=np.repeat(q[:, :1], log.k, axis=1))
    for name in ("dr", "wdr"):
        assert report.estimate("clicked", name).value == pytest.approx(report.logged["clicked"].value, rel=1e-11)


@pytest.mark.parametrize("name", EVERY)
def test_order_of_rows_and_numbers_of_users_do_not_matter(rng, make_log, name, draw_journeys):
    """Users renumbered, and their rows interleaved otherwise (in time order within each)."""
    log, _, target, q, state = draw_journeys()
    shuffled = np.argsort(rng.random(log.n))
    rows = np.lexsort((log.time, shuffled[log.user]))
    options = {"gamma": 0.9, "estimators": (name,)}
    one = evaluate_sequential(log, target, q_function=q, state=state, **options)
    two = evaluate_sequential(log.take(rows), target[rows], q_function=q[rows], state=state[rows], **options)
    a, b = one.estimate("clicked", name), two.estimate("clicked", name)
    assert (a.value, a.std_error) == pytest.approx((b.value, b.std_error), rel=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_contract(name):
    estimator = get_sequential(name)
    assert isinstance(estimator, SequentialEstimator) and estimator.name == name


def test_six_hundred_decisions(rng, make_log):
    """Products of 600 probabilities underflow (0.5^1100 is 0): a ratio of cumulative products is 0/0, logs are not."""
    users, steps = 30, 1200
    action = rng.integers(0, 2, users * steps)
    log = make_log(
        action=action, propensity=0.5, reward=rng.random(users * steps), user=np.tile(np.arange(users), steps)
    )
    q = rng.random((log.n, 2))
    state = rng.integers(0, 3, log.n)
    report = evaluate_sequential(
        log, np.tile([0.45, 0.55], (log.n, 1)), gamma=0.99, q_function=q, state=state, estimators=EVERY
    )
    assert not [note for note in report.notes if "left out" in note]
    assert all(np.isfinite([item.value, item.std_error]).all() for item in report.estimates.values())
    assert report.support.verdict == "refuse"
    # Those that do not multiply weights still answer: the mean reward is ½ whatever one does. Pooled over steps, the
    # end of all journeys after 1,200 decisions looks to `mwl` like a chance of 1 in 1,200 to end at each.
    whole = 0.5 * (1 - 0.99**steps) / 0.01
    for name, truth in (("smis", whole), ("arp", whole), ("mwl", 0.5 / (1 - 0.99 * (1 - 1 / steps)))):
        found = report.estimate("clicked", name)
        assert abs(found.value - truth) < 4 * found.std_error < 2


def test_users_who_left_long_ago_still_count(make_log):
    """After 900 decisions the normaliser is e^-500 of what it was: suffix sums in logs neither overflow nor vanish."""
    steps = 900
    # User 0 follows the policy half-heartedly (weight 0.5 each time), user 1 leaves at once, with weight 2^-10 only.
    user = np.concatenate([np.zeros(steps, int), np.ones(10, int)])
    log = make_log(action=np.ones(steps + 10, int), propensity=1.0, reward=np.ones(steps + 10), user=user)
    report = evaluate_sequential(log, np.full((steps + 10, 2), 0.5), gamma=1.0, estimators=("snpdis",))
    found = report.estimate("clicked", "snpdis")
    # Steps 0 to 9: both earn 1. From then on user 0's share is 1 / (1 + 2^(t - 9)): 1/3, 1/5, 1/9 …
    wanted = 10 + sum(1 / (1 + 2.0**s) for s in range(1, steps - 9))
    assert found.value == pytest.approx(wanted, rel=1e-12)
    assert np.isfinite(found.std_error)


def test_ragged_candidates(rng, make_log, draw_journeys):
    """Decisions with two and with three candidates: the padding is one more candidate that is not eligible."""
    log, _, target, _, state = draw_journeys()
    candidates = rng.normal(size=(log.n, 3, 2)).astype(np.float32)
    counts = np.where(log.eligible[:, 2], 3, 2)
    candidates[counts == 2, 2] = 0.0
    parts = {name: getattr(log, name) for name in (
        "context", "eligible", "action", "propensity", "reward", "objectives", "user", "time")}  # fmt: skip
    padded = LoggedDataset(candidates=candidates, **parts)
    ragged = LoggedDataset(candidates=CandidateStore.from_padded(candidates, counts), **parts)
    assert set(ragged.candidates.counts) == {2, 3}
    one, two = (
        evaluate_sequential(data, target, gamma=0.9, state=state, q_function=LinearFQE(), estimators=EVERY)
        for data in (padded, ragged)
    )
    assert len(one.estimates) == len(EVERY)
    for key, item in one.estimates.items():
        assert (item.value, item.std_error) == pytest.approx(
            (two.estimates[key].value, two.estimates[key].std_error), rel=1e-12
        )


def test_one_state_is_snips_at_every_step(rng, make_log):
    """What arXiv 2202.03867 calls one-step weights: least variance, most bias."""
    users, steps = 50, 4
    n = users * steps
    log = make_log(
        action=rng.integers(0, 2, n), propensity=0.5, reward=rng.random(n), user=np.tile(np.arange(users), steps)
    )
    probs = np.tile([0.3, 0.7], (n, 1))
    found = evaluate_sequential(log, probs, gamma=0.9, state=np.zeros(n), estimators=("smis",))
    weight = probs[np.arange(n), log.action] / 0.5
    by_step = [slice(t * users, (t + 1) * users) for t in range(steps)]
    wanted = sum(0.9**t * np.average(log.reward[at, 0], weights=weight[at]) for t, at in enumerate(by_step))
    assert found.estimate("clicked", "smis").value == pytest.approx(wanted, rel=1e-12)


def test_semi_markov_discount(make_log):
    """Half-lives of one day: decisions one and three days after the first count ½ and ⅛; another user starts later."""
    day = 86_400_000_000
    log = make_log(action=[1, 1, 1, 1], propensity=1.0, reward=[1.0, 1.0, 1.0, 4.0], user=[0, 0, 0, 1])
    log = type(log)(**{**{name: getattr(log, name) for name in (
        "context", "candidates", "eligible", "action", "propensity", "reward", "objectives", "user")},
        "time": np.array([0, day, 3 * day, 7 * day])})  # fmt: skip
    act = np.tile([0.0, 1.0], (4, 1))
    report = evaluate_sequential(log, act, gamma=0.5, time_unit=timedelta(days=1), state=[0, 0, 0, 0], estimators=EVERY,
                                 q_function=np.ones((4, 2)))  # fmt: skip
    mean = (1 + 0.5 + 0.125 + 4) / 2
    for name in ("tis", "sntis", "pdis", "snpdis", "dr", "wdr"):
        assert report.estimate("clicked", name).value == pytest.approx(mean, rel=1e-13), name
    assert report.time_unit_seconds == 86_400.0
    again = evaluate_sequential(log, act, gamma=0.5)
    assert again.estimate("clicked", "pdis").value == pytest.approx((1 + 0.5 + 0.25 + 4) / 2, rel=1e-13)
    with pytest.raises(InvalidInputError, match=r"champion\.time_unit_seconds == None, must be 86400\.0"):
        compare(report, again, "clicked", "pdis")


def test_simplex_minimum_against_a_grid(rng):
    steps = np.linspace(0, 1, 101)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12])
    for _ in range(20):
        root = rng.normal(size=(rng.integers(1, 5), 3)) * rng.choice([1e-8, 1.0, 1e6])
        matrix = root.T @ root
        found = simplex_minimum(matrix)
        assert found.min() >= 0 and found.sum() == pytest.approx(1.0, rel=1e-14)
        best = np.einsum("gi,ij,gj->g", grid, matrix, grid).min()
        assert found @ matrix @ found <= best * (1 + 1e-9) + 1e-12 * np.trace(matrix)


def test_magic_trusts_a_good_model_and_leaves_a_bad_one(rng, make_log):
    """Rewards are 1 whatever is done, weights are noisy: a model that says so gets all, one that says 5 nothing."""
    users, steps = 400, 5
    n = users * steps
    log = make_log(
        action=rng.integers(0, 2, n), propensity=0.5, reward=1 + rng.normal(0, 0.5, n),
        user=np.tile(np.arange(users), steps),
    )  # fmt: skip
    left = np.repeat(np.arange(steps, 0, -1), users)
    right = np.repeat(left[:, None], 2, axis=1).astype(float) + rng.normal(0, 0.05, (n, 1))
    probs = np.tile([0.2, 0.8], (n, 1))
    good = evaluate_sequential(log, probs, gamma=1.0, q_function=right, estimators=("fqe", "wdr", "magic"))
    bad = evaluate_sequential(log, probs, gamma=1.0, q_function=5 * right, estimators=("fqe", "wdr", "magic"))
    assert good.details["magic", "clicked"]["model_share"] > 0.9
    assert good.estimate("clicked", "magic").std_error < 0.5 * good.estimate("clicked", "wdr").std_error
    assert bad.details["magic", "clicked"]["model_share"] < 0.05
    assert bad.estimate("clicked", "magic").value == pytest.approx(bad.estimate("clicked", "wdr").value, rel=0.1)


@pytest.mark.parametrize("steps", [1, 2, 24])
def test_magic_lies_between_the_model_and_wdr(rng, make_log, steps, draw_journeys):
    log, _, target, q, _ = draw_journeys()
    report = evaluate_sequential(log, target, gamma=0.9, q_function=q, estimators=("fqe", "wdr", MAGIC(steps=steps)))
    share = report.details["magic", "clicked"]
    assert 0 <= share["model_share"] <= 1 and 0 <= share["wdr_share"] <= 1
    if steps == 1:  # only the two ends are blended
        fqe, wdr, magic = (report.estimate("clicked", name).value for name in ("fqe", "wdr", "magic"))
        assert magic == pytest.approx(share["model_share"] * fqe + share["wdr_share"] * wdr, rel=1e-12)


def test_the_gate_takes_them(rng, make_log):
    n = 6000
    action = rng.integers(0, 2, n)
    log = make_log(
        action=action, propensity=0.5, reward=rng.random(n) < 0.2 + 0.2 * action, user=np.arange(n) % 2000,
        objectives=("clicked",),
    )  # fmt: skip
    state = np.zeros(n)
    often, seldom = (evaluate_sequential(log, np.tile([1 - p, p], (n, 1)), gamma=0.9, state=state, policy=name,
                                         estimators=EVERY) for p, name in ((0.8, "often"), (0.5, "coin")))  # fmt: skip
    for name in EVERY:
        rules = PromotionRules.from_dict({"estimator": name, "objectives": {"clicked": {"rule": "superiority"}}})
        assert gate(often, seldom, rules).verdict == "promote", name
        assert gate(seldom, often, rules).verdict == "hold", name


@pytest.mark.parametrize("kind", ["cressie-read", "bootstrap", "anytime"])
def test_other_intervals(make_log, rng, kind):
    n = 3000
    log = make_log(action=rng.integers(0, 2, n), propensity=0.5, reward=rng.random(n), user=np.arange(n) % 1000)
    options = {"gamma": 0.9, "rng": np.random.default_rng(1), "state": np.zeros(n), "estimators": EVERY}
    probs = np.tile([0.4, 0.6], (n, 1))
    plain, other = (evaluate_sequential(log, probs, interval=name, **options) for name in ("cluster-t", kind))
    for name in EVERY:
        one, two = plain.estimate("clicked", name), other.estimate("clicked", name)
        assert (two.value, two.interval) == (one.value, kind)
        wider = (two.upper - two.lower) / (one.upper - one.lower)
        assert 0.85 < wider < (3 if kind == "anytime" else 1.15), name
    assert compare(other, other, "clicked", "wdr", champion_estimator="logged").interval == kind


def test_what_is_named_gets_what_it_needs(rng, make_log, draw_journeys):
    log, _, target, q, state = draw_journeys()
    plain = evaluate_sequential(log, target, gamma=0.9)
    assert plain.estimators == ("pdis", "snpdis") and plain.notes == ()
    given = evaluate_sequential(log, target, gamma=0.9, q_function=q, state=state)
    assert given.estimators == ("pdis", "snpdis", "dr", "wdr", "fqe", "smis")
    assert not [note for note in given.notes if "was given" in note]
    named = evaluate_sequential(log, target, gamma=0.9, estimators=("pdis", "smis", "dr", "fqe"))
    assert set(named.estimates) == {(name, "clicked") for name in ("pdis", "smis", "dr", "fqe")}
    assert named.notes[:2] == (
        "No Q-function was given: dr, fqe use a linear one on the log's features, cross-fitted by user.",
        "No state was given: smis take the number of messages that a user had been sent (up to 5) for all that matters "
        "of the past.",
    )


def test_a_wrong_model_and_a_wrong_state_are_named(rng, make_log):
    """Half of the users tire: a state and a model that know nothing of it are biased, by no more than the note says."""
    sent = rng.integers(0, 2, (3000, 5))
    before = sent.cumsum(axis=1) - sent
    log = make_log(
        action=sent.ravel(), propensity=0.5, reward=rng.random(15_000) < (0.5 + 0.1 * sent - 0.1 * before).ravel(),
        user=np.repeat(np.arange(3000), 5),
    )  # fmt: skip
    often = np.tile([0.2, 0.8], (log.n, 1))
    truth = sum(0.5 + 0.08 - 0.08 * t for t in range(5))
    blind = {"state": np.zeros(log.n), "q_function": np.tile([0.5, 0.6], (log.n, 1))}
    seeing = {"state": before.ravel(), "q_function": LinearFQE(features=before_and_left(before))}
    for name in ("smis", "fqe"):
        wrong, right = (
            evaluate_sequential(log, often, gamma=1.0, estimators=(name,), **options) for options in (blind, seeing)
        )
        found = wrong.estimate("clicked", name)
        assert truth < found.lower or found.upper < truth  # the interval alone would mislead
        assert abs(found.value - truth) < wrong.details[name, "clicked"]["possible_bias"]
        assert re.search(rf"possible bias of up to [0-9.]+ in {name} of clicked", wrong.notes[-1])
        assert abs(right.estimate("clicked", name).value - truth) < 4 * right.estimate("clicked", name).std_error
        assert right.details[name, "clicked"]["possible_bias"] < 0.5 * wrong.details[name, "clicked"]["possible_bias"]


def before_and_left(before):
    """Features in which the value of the process above is linear: what is left, times what was sent before."""
    n, left, action = before.size, np.tile(np.arange(5, 0, -1), len(before))[:, None], np.array([[0.0, 1.0]])
    rows = np.broadcast_arrays(np.ones((n, 2)), left, left**2, left * before.reshape(-1, 1), action, action * left)
    return np.stack(rows, axis=2).astype(float)
