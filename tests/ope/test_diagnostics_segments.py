"""Support by segment, and reward models held against the log."""

import json
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.ope import evaluate_policy
from homing.ope.diagnostics import (
    RewardModelCalibration,
    SegmentSupport,
    context_segments,
    propensity_calibration,
    reward_model_calibration,
    segment_support,
    zero_mean_p_value,
)


def log_of(make_log, rng, n=4000, **changes):
    values = {"action": rng.integers(0, 2, n), "propensity": 0.5, "reward": rng.random(n) < 0.2} | changes
    return make_log(**values)


def test_a_segment_that_was_never_sent_it_is_named(make_log, rng):
    """5 % of the rows never got candidate 1, which the log as a whole has often: only the segment shows it."""
    n = 4000
    vip = np.arange(n) % 20 == 0
    action = np.where(vip, 0, rng.integers(0, 2, n))
    log = log_of(make_log, rng, action=action, propensity=np.where(vip, 0.99, 0.5))
    first, second = segment_support(log, np.full((n, 2), 0.5), np.where(vip, "vip", "other"))
    assert (first.segment, first.verdict, first.unsupported, first.messages) == ("vip", "refuse", 0.5, ("candidate 1",))
    assert first.reasons == ("In vip, 50.0% of the policy's choices (candidate 1) were never made in this log.",)
    assert (first.rows, first.users, first.share) == (200, 200, 0.05)
    assert second.verdict == "fine" and second.unsupported == 0.0
    assert second.ess == 3800.0 and second.weight_mean.value == pytest.approx(1.0)
    assert SegmentSupport.from_dict(json.loads(json.dumps(first.to_dict()))) == first


def test_a_known_distribution_of_zero_is_no_support(make_log, rng):
    n = 1000
    probs = np.where((np.arange(n) < 500)[:, None], [1.0, 0.0], [0.5, 0.5])
    action = np.where(np.arange(n) < 500, 0, np.arange(n) % 2)
    log = log_of(make_log, rng, n, action=action, propensity=probs[np.arange(n), action], probs=probs)
    found = {
        item.segment: item for item in segment_support(log, np.full((n, 2), 0.5), (np.arange(n) < 500).astype(int))
    }
    assert found["1"].unsupported == 0.5 and found["0"].unsupported == 0.0


def test_wrong_propensities_in_a_segment_are_named(make_log, rng):
    half = np.arange(4000) < 2000
    log = log_of(make_log, rng, propensity=np.where(half, 0.5, 0.9))
    first, second = segment_support(log, np.tile([0.0, 1.0], (4000, 1)), np.where(half, "a", "b"))
    assert (first.segment, first.verdict, second.verdict) == ("b", "refuse", "fine")
    assert first.reasons[0].startswith("In b, the mean importance weight is 0.5")


def test_few_effective_rows_are_named(make_log, rng):
    few = np.arange(4000) < 8
    found = segment_support(log_of(make_log, rng), np.full((4000, 2), 0.5), np.where(few, "few", "many"))
    assert found[0].segment == "few" and found[0].verdict == "refuse"
    assert found[0].reasons == ("In few, the effective sample size is 8.0 of 8 rows.",)


def test_segments_of_context_features(make_log, rng):
    log = replace(
        log_of(make_log, rng, 8),
        context=np.c_[np.arange(8) % 2, [0, 1, 2, 3, 4, 5, 6, 7], np.arange(8)[::-1] * 1.5].astype(np.float32),
    )
    assert context_segments(log, "context[0]").tolist() == ["context[0]=0", "context[0]=1"] * 4
    with pytest.raises(UnknownNameError, match=r"segments == 'plan', must be one of 'context\[0\]'"):
        context_segments(log, "plan")
    many = replace(log_of(make_log, rng), context=np.arange(4000, dtype=np.float32)[:, None])
    names, counts = np.unique(context_segments(many, "context[0]"), return_counts=True)
    assert len(names) == 4 and set(counts.tolist()) == {1000}
    assert len(segment_support(many, np.full((4000, 2), 0.5), "context[0]")) == 4


def test_wrong_segments(make_log, rng):
    log = log_of(make_log, rng)
    with pytest.raises(InvalidInputError, match=r"segments\.shape == \(3,\)"):
        segment_support(log, np.full((4000, 2), 0.5), ["a", "b", "c"])
    with pytest.raises(InvalidInputError, match=r"number of segments == 4000, must be <= 200"):
        segment_support(log, np.full((4000, 2), 0.5), np.arange(4000))


def test_a_reward_model_by_hand(make_log):
    """Predictions 0.2 and 0.6, rewards of 0.3 and 0.7 on average: 0.1 too low, slope 1."""
    n = 1000
    high = np.arange(n) % 2 == 1
    reward = np.where(high, np.arange(n) // 2 % 10 < 7, np.arange(n) // 2 % 10 < 3).astype(float)
    q = np.where(high, 0.6, 0.2)
    log = make_log(action=np.arange(n) // 2 % 2, propensity=0.5, reward=reward)
    (found,) = reward_model_calibration(log, np.stack([q, q], axis=1), action_probs=np.tile([0.0, 1.0], (n, 1)))
    assert found.residual.value == pytest.approx(0.1) and found.slope.value == pytest.approx(1.0)
    assert [item.predicted for item in found.bins] == pytest.approx([0.2, 0.6])
    assert [item.observed.value for item in found.bins] == pytest.approx([0.3, 0.7])
    odd = np.arange(n) // 2 % 2 == 1
    assert found.policy_residual.value == pytest.approx((2.0 * odd * (reward - q)).mean())
    assert found.verdict == "caution" and found.reasons[0].startswith("The reward model of clicked is 0.1 too low")
    assert RewardModelCalibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda x: 2 * x - 0.5, "exaggerates differences", id="too steep"),
        pytest.param(lambda x: 0.4 * x + 0.3, "understates differences", id="too flat"),
        pytest.param(lambda x: np.full_like(x, 0.7), "too high", id="too high"),
        pytest.param(lambda x: np.where(abs(x - 0.5) < 0.15, x + 0.15 * np.sign(0.5 - x), x), "bins of its", id="bent"),
    ],
)
def test_wrong_models_are_said_to_be_wrong(make_log, rng, change, says):
    x = rng.random(8000)
    log = log_of(make_log, rng, 8000, reward=rng.random(8000) < x)
    (found,) = reward_model_calibration(log, np.stack([change(x)] * 2, axis=1))
    assert found.verdict == "caution" and any(says in reason for reason in found.reasons)


def test_true_models_are_fine(make_log):
    """At the level 1 % for each of three tests, 3 % of 200 logs are 6: not more than 6 + 3 · √6 are named."""
    named = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = rng.beta(0.5, 8.0, 2000)  # rare events: a mean of 6 %
        user = rng.integers(0, 700, 2000)
        log = make_log(action=np.zeros(2000, int), propensity=0.5, reward=rng.random(2000) < x, user=np.sort(user))
        (found,) = reward_model_calibration(log, np.stack([x, x], axis=1))
        named += found.verdict != "fine"
    assert named <= 13


def test_the_zero_mean_test_holds_its_level_on_rare_events(rng):
    """20,000 sets of 2,000 rows with 20 events expected: at 1 % the plain t test errs in 2.1 %, all on one side."""
    events = rng.poisson(20.0, 20_000).clip(1)
    error = np.zeros(2000)
    found = {}
    for count in np.unique(events):
        error[:] = -20.0 / 2000
        error[: int(count)] += 1.0
        found[count] = zero_mean_p_value(error / 20.0) < 0.01
    assert np.mean([found[count] for count in events]) < 0.015


def test_the_report_names_the_segment(make_log, rng):
    """20 % of the rows never got candidate 1; half of what the policy does there is unknown, 10 % of all."""
    n = 4000
    vip = np.arange(n) % 5 == 0
    action = np.where(vip, 0, rng.integers(0, 2, n))
    log = log_of(make_log, rng, action=action, propensity=np.where(vip, 0.99, 0.5))
    report = evaluate_policy(log, np.full((n, 2), 0.5), segments=np.where(vip, "vip", "other"))
    assert report.support.verdict == "refuse"
    named = "In vip, 50.0% of the policy's choices (candidate 1) were never made in this log."
    assert named in report.support.reasons and named in report.to_text()
    assert type(report.support).from_dict(json.loads(json.dumps(report.support.to_dict()))) == report.support
    html = report.to_html()
    assert "Where the log can answer" in html and "Pareto k of the largest weights" in html
    few = np.arange(n) % 50 == 0  # 2 % of the rows: half of what is done there is 1 % of all, a caution that names it
    log = log_of(make_log, rng, action=np.where(few, 0, rng.integers(0, 2, n)), propensity=np.where(few, 0.99, 0.5))
    support = evaluate_policy(log, np.full((n, 2), 0.5), segments=np.where(few, "few", "other")).support
    assert support.verdict == "caution" and support.reasons[-1].startswith("In few, 50.0%")


def test_open_bandit_propensities_are_true(shared_data):
    """The random log's are those of its design; nothing speaks against Thompson sampling's."""
    from homing import datasets
    from homing.log import build_dataset

    for behaviour in ("random", "bts"):
        log = datasets.load("open-bandit", path=shared_data / "obd_sample", behaviour=behaviour)
        data = build_dataset(log, datasets.objectives("open-bandit"))
        found = propensity_calibration(data)
        assert found.verdict == "fine" and found.tested >= 4
        uniform = data.eligible / data.eligible.sum(axis=1, keepdims=True)
        parts = {item.segment: item for item in segment_support(data, uniform, "position")}
        assert len(parts) == 3 and sum(item.rows for item in parts.values()) == data.n
        assert all(name.startswith("position=") for name in parts)
        assert behaviour == "bts" or {item.verdict for item in parts.values()} == {"fine"}


def test_open_bandit_random_from_the_thompson_log_is_refused():
    """Of the women's items some are hardly ever shown: one row of 10,000 carries 69 % of all weight, as is said."""
    from homing import datasets
    from homing.log import build_dataset

    log = datasets.load("open-bandit", behaviour="bts", campaign="women")
    data = build_dataset(log, datasets.objectives("open-bandit"))
    uniform = data.eligible / data.eligible.sum(axis=1, keepdims=True)
    support = evaluate_policy(data, uniform, policy="uniform").support
    assert support.verdict == "refuse" and support.ess == pytest.approx(2.08, abs=0.01)
    assert support.reasons[0].startswith("The effective sample size is 2 of 10,000 decisions")
    assert "One user carries 69% of all weight." in support.reasons
