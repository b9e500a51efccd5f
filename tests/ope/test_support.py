"""When a log can answer, when it can only roughly, and when it must say that it cannot."""

import numpy as np
import pytest

from homing.ope import SupportLimits, evaluate_policy
from homing.ope.support import kish


def many(make_log, rng, **changes):
    """A healthy log: 4,000 users, two candidates, a coin flip, clicks at 20 %."""
    n = 4000
    values = {"action": rng.integers(0, 2, n), "propensity": 0.5, "reward": rng.random(n) < 0.2} | changes
    return make_log(**values)


def always(log, action):
    return np.tile(np.eye(log.k)[action], (log.n, 1))


def test_a_healthy_log_is_fine(make_log, rng):
    log = many(make_log, rng)
    support = evaluate_policy(log, always(log, 1)).support
    assert support.verdict == "fine" and support.reasons == ()
    assert support.verdict_for("clicked") == "fine"
    # Half of the rows weigh 2, the others 0.
    chosen = int((log.action == 1).sum())
    assert support.ess == chosen and support.ess_share == chosen / 4000
    assert support.max_weight == 2.0 and support.weight_mean == pytest.approx(2 * chosen / 4000)
    assert support.zero_weight_share == pytest.approx(1 - chosen / 4000)
    assert sum(support.histogram_counts) == chosen


def test_deterministic_logging_refuses_every_other_policy(make_log, rng):
    log = many(make_log, rng, action=np.zeros(4000, int), propensity=1.0)
    own = evaluate_policy(log, always(log, 0)).support
    assert own.verdict == "fine"
    other = evaluate_policy(log, np.full((4000, 2), 0.5)).support
    assert other.verdict == "refuse"
    assert other.share_of_mass_on_unsupported == 0.5
    assert any("50.0% of the policy's choices (most on candidate 1) were never made" in item for item in other.reasons)
    assert any("mean importance weight is 0.500" in item and "should be 1" in item for item in other.reasons)


def test_deterministic_logging_of_the_opposite_has_no_weight_at_all(make_log, rng):
    log = many(make_log, rng, action=np.zeros(4000, int), propensity=1.0)
    report = evaluate_policy(log, always(log, 1))
    assert report.support.verdict == "refuse" and report.support.ess == 0.0
    assert report.support.reasons[0] == "The policy never takes a logged action: all 4,000 weights are 0."
    assert ("snips", "clicked") not in report.estimates
    assert any(note.startswith("snips of clicked is left out: mean importance weight == 0.0") for note in report.notes)
    report.to_text(), report.to_html()


def test_a_message_that_was_never_sent_refuses(make_log, rng):
    n = 4000
    log = many(make_log, rng, k=3)
    probs = np.tile([0.45, 0.45, 0.1], (n, 1))
    support = evaluate_policy(log, probs).support
    assert support.share_of_mass_on_unsupported == pytest.approx(0.1)
    assert support.verdict == "refuse" and "candidate 2" in support.reasons[-1]
    line = next(item for item in support.messages if item.message == "candidate 2")
    assert (line.logged, line.eligible) == (0, n) and line.policy_share == pytest.approx(0.1)


def test_a_known_distribution_tells_more_than_the_draws(make_log, rng):
    """Candidate 1 is sent often, but never on the first half of the rows: only `probs` can know."""
    n = 4000
    half = np.arange(n) < n // 2
    logging = np.where(half[:, None], [1.0, 0.0], [0.5, 0.5])
    action = (rng.random(n) > logging[:, 0]).astype(int)
    log = many(make_log, rng, action=action, propensity=logging[np.arange(n), action], probs=logging)
    support = evaluate_policy(log, np.full((n, 2), 0.5)).support
    assert support.share_of_mass_on_unsupported == pytest.approx(0.25)
    assert support.verdict == "refuse"


def test_wrong_propensities_show_in_the_mean_weight(make_log, rng):
    log = many(make_log, rng, propensity=0.8)
    too_large = evaluate_policy(log, always(log, 1)).support
    assert too_large.verdict == "refuse" and "propensities are too large" in too_large.reasons[0]
    log = many(make_log, rng, propensity=0.4)
    too_small = evaluate_policy(log, always(log, 1)).support
    assert too_small.verdict == "refuse" and "logged propensities are too small" in too_small.reasons[0]


def test_one_enormous_weight_refuses(make_log, rng):
    """A greedy log judged for a uniform policy: effective sample size of a handful."""
    propensity = np.full(4000, 0.999)
    action = np.zeros(4000, int)
    action[7], propensity[7] = 1, 1e-4
    log = many(make_log, rng, action=action, propensity=propensity)
    support = evaluate_policy(log, np.full((4000, 2), 0.5)).support
    assert support.verdict == "refuse"
    assert support.max_weight == 5000.0 and support.ess < 5
    assert any("One user carries" in reason for reason in support.reasons)


def test_few_users_are_a_caution_however_many_rows(make_log, rng):
    log = many(make_log, rng, user=np.arange(4000) % 25)
    support = evaluate_policy(log, always(log, 1)).support
    assert support.verdict == "caution" and "of 25 users" in support.reasons[0]
    fewer = many(make_log, rng, user=np.arange(4000) % 5)
    assert evaluate_policy(fewer, always(fewer, 1)).support.verdict == "refuse"


def test_rare_events_are_a_caution_for_their_objective_alone(make_log, rng):
    n = 4000
    rare = np.zeros(n)
    rare[:12] = 1.0
    log = many(make_log, rng, action=np.arange(n) % 2, reward=np.c_[rng.random(n) < 0.2, rare])
    report = evaluate_policy(log, always(log, 1))
    support = report.support
    assert support.verdict == "fine" and support.verdict_for("clicked") == "fine"
    assert support.verdict_for("spend") == "caution"
    # Six of the twelve were followed by the action that the policy takes, all with weight 2.
    assert support.events["spend"].events == 12 and support.events["spend"].effective_events == 6.0
    assert "rests on effectively 6.0 users with an event" in support.reasons_for("spend")[-1]
    assert "spend rests on effectively 6.0 users" in report.to_text()


def test_rare_failures_are_as_bad_as_rare_successes(make_log, rng):
    kept = np.ones(4000)
    kept[:6] = 0.0
    log = many(make_log, rng, action=np.ones(4000, int), reward=kept)
    assert evaluate_policy(log, np.full((4000, 2), 0.5)).support.events["clicked"].effective_events == 6.0


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        pytest.param(np.zeros(4000), "clicked is 0 in all 4,000 decisions", id="no event at all"),
        pytest.param((np.arange(4000) == 0) * 1.0, "None of the 1 events of clicked carries weight", id="none weighs"),
    ],
)
def test_no_event_is_no_certainty(make_log, rng, reward, message):
    """0 ± 0 is what the formula says, and a lie."""
    log = many(make_log, rng, action=np.arange(4000) % 2, reward=reward)
    support = evaluate_policy(log, always(log, 1)).support
    assert support.verdict_for("clicked") == "refuse" and message in support.reasons_for("clicked")[-1]


def test_a_skewed_mean_is_a_caution_until_the_log_has_grown(make_log, rng):
    """A rate p of n rows of weight 2 or 0 (SNIPS keeps n / 2 of them): skewness (1 - 2p) / √(p (1 - p) n / 2)."""
    for n, verdict in ((1200, "caution"), (4000, "fine")):
        reward = np.arange(n) // 2 % 20 == 0
        log = make_log(action=np.arange(n) % 2, propensity=0.5, reward=reward)
        events = evaluate_policy(log, always(log, 1)).support.events["clicked"]
        assert events.skewness == pytest.approx(0.9 / np.sqrt(0.05 * 0.95 * n / 2), rel=1e-9)
        assert events.verdict == verdict
    spend = np.exp(2.0 * rng.standard_normal(4000))
    support = evaluate_policy(many(make_log, rng, reward=spend), np.full((4000, 2), 0.5)).support
    assert support.verdict_for("clicked") == "caution"
    assert "is skewed by a few large contributions (skewness 0." in support.reasons_for("clicked")[-1]
    assert "beyond 0.15 normal intervals are too short on one side" in support.reasons_for("clicked")[-1]


def test_limits_can_be_set(make_log, rng):
    log = many(make_log, rng)
    strict = evaluate_policy(log, always(log, 1), limits=SupportLimits(refuse_ess=1e5, caution_ess=1e6)).support
    assert strict.verdict == "refuse" and "below 1e+06 intervals are rough" in strict.reasons[0]


def test_effective_number():
    assert kish(np.array([3.0, 3.0, 3.0])) == 3.0
    assert kish(np.array([1.0, 0.0])) == 1.0
    assert kish(np.zeros(3)) == 0.0
    assert kish(np.array([1e200, 1e200])) == 2.0  # squares of these overflow
