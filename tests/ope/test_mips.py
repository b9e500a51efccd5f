"""Marginalised weights: by hand, against the plain ones, and where their assumption fails."""

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder, Field
from homing.ope import evaluate_policy
from homing.ope.estimators import IPS, MIPS, SNMIPS, marginal_weights
from homing.ope.estimators.mips import embedding_codes, logging_policy
from homing.ope.messages import Messages

#: Two messages of one campaign, each on two channels; the encoder knows neither "new" nor "sms".
ENCODER = FeatureEncoder(
    context=(Field("age", "number"),),
    candidate=(
        Field("message_id", "category", ("hello", "offer")),
        Field("campaign", "category", ("spring",)),
        Field("channel", "category", ("email", "push")),
        Field("domain", "category", ()),
    ),
)


def candidate(message, campaign="spring", channel="email"):
    return {"message_id": message, "campaign": campaign, "channel": channel}


SILENCE = {"message_id": "silence"}
CANDIDATES = [
    [SILENCE, candidate("hello"), candidate("hello", channel="push"), candidate("offer"), candidate("offer", "autumn")],
    [SILENCE, candidate("new"), candidate("new", "autumn", "sms"), candidate("offer", channel="push")],
]


@pytest.fixture
def encoded():
    store = ENCODER.encode_candidates(CANDIDATES, 0)
    eligible = np.array([[True] * 5, [True] * 4 + [False]])
    return LoggedDataset(
        context=np.zeros((2, 1)), candidates=store, eligible=eligible, action=[1, 3], propensity=[0.2, 0.5],
        reward=[[1.0], [0.0]], objectives=("clicked",), user=[0, 1], time=[0, 1], encoder=ENCODER,
        probs=[[0.1, 0.2, 0.3, 0.2, 0.2], [0.1, 0.2, 0.2, 0.5, 0.0]],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("embedding", "weights"),
    [
        # Row 0 logged hello by email: hello has 0.2 + 0.3 of the log and 0.4 + 0.1 of the policy.
        pytest.param("message", [0.5 / 0.5, 0.25 / 0.5], id="message"),
        # Spring holds all but silence and the last: 0.7 of the log, 0.8 of the policy. Row 1: new and offer are spring.
        pytest.param("campaign", [0.8 / 0.7, 0.5 / 0.7], id="campaign"),
        # By email: three of row 0 (the second message by push is apart). Row 1: push alone.
        pytest.param("channel", [0.8 / 0.6, 0.25 / 0.5], id="channel"),
    ],
)
def test_by_hand(encoded, embedding, weights):
    policy = np.array([[0.1, 0.4, 0.1, 0.3, 0.1], [0.25, 0.25, 0.25, 0.25, 0.0]])
    codes = embedding_codes(encoded, embedding, Messages.of(encoded))
    assert marginal_weights(encoded, policy, codes) == pytest.approx(weights, rel=1e-14)
    report = evaluate_policy(encoded, policy, estimators=(MIPS(embedding), SNMIPS(embedding)))
    assert report.estimate("clicked", f"mips-{embedding}").value == pytest.approx(weights[0] / 2, rel=1e-14)
    assert report.estimate("clicked", f"snmips-{embedding}").value == pytest.approx(
        weights[0] / sum(weights), rel=1e-14
    )


def test_levels_that_the_encoder_does_not_know_are_not_taken_for_one(encoded):
    messages = Messages.of(encoded)
    for embedding in ("message", "campaign", "channel"):
        codes = embedding_codes(encoded, embedding, messages)
        assert codes[1, 4] == -1 and (codes[:, 0] == 0).all() and (codes[:, 1:4] > 0).all()
    assert len(set(embedding_codes(encoded, "message", messages)[1, 1:3])) == 2  # "new" twice
    assert len({*embedding_codes(encoded, "campaign", messages)[:, 1:4].ravel()}) == 2  # spring, and one unknown


def test_a_field_without_columns_is_an_error_that_says_what_to_do(encoded):
    with pytest.raises(
        InvalidInputError, match=r"embedding == 'domain', must have columns .* has message_id, campaign, c"
    ):
        evaluate_policy(encoded, encoded.probs, estimators=(MIPS("domain"),))
    with pytest.raises(InvalidInputError, match=r"ratios == \[\], must hold 'topic'\. Pass ratios=\{'topic'"):
        evaluate_policy(encoded, encoded.probs, estimators=(MIPS("topic"),))


def test_codes_of_ones_own(random_case, make_log):
    log, logging, target, _ = random_case(m=1)
    known = make_log(action=log.action, propensity=log.propensity, reward=log.reward, k=4, probs=logging)
    own = marginal_weights(known, target, np.tile([0, 1, 2, 3], (log.n, 1)))
    np.testing.assert_array_equal(own, target[np.arange(log.n), log.action] / log.propensity)
    assert marginal_weights(known, target, np.zeros((log.n, 4), int)) == pytest.approx(1.0, rel=1e-12)
    report = evaluate_policy(known, target, estimators=("ips", MIPS("mine")), ratios={"mine": own})
    assert report.estimate("clicked", "mips-mine") == report.estimate("clicked", "ips")


def population(reward):
    """Ten decisions on silence, two channels of one message and another message, each as often as its probability."""
    logging, target = np.array([0.2, 0.1, 0.4, 0.3]), np.array([0.1, 0.6, 0.1, 0.2])
    action = np.repeat(np.arange(4), [2, 1, 4, 3])
    tile = lambda p: np.tile(p, (10, 1))  # noqa: E731
    return {"action": action, "propensity": logging[action], "reward": reward[action], "k": 4,
            "probs": tile(logging)}, tile(target), target @ reward  # fmt: skip


def test_unbiased_and_more_precise_where_the_reward_depends_on_the_message_alone(make_log):
    columns, target, truth = population(np.array([0.0, 2.0, 2.0, 1.0]))
    log = make_log(**columns)
    ratios = {"message": marginal_weights(log, target, np.tile([0, 1, 1, 2], (10, 1)))}
    report = evaluate_policy(log, target, estimators=("ips", "mips-message"), ratios=ratios)
    plain, shared = (report.estimate("clicked", name) for name in ("ips", "mips-message"))
    assert plain.value == pytest.approx(truth, rel=1e-14) and shared.value == pytest.approx(truth, rel=1e-14)
    assert shared.std_error < 0.5 * plain.std_error
    details = report.details["mips-message", "clicked"]
    assert details["weight_mean"] == pytest.approx(1.0) and details["ess"] > 2 * report.support.ess


def test_biased_where_the_channel_matters(make_log):
    """Logged, the message came on its second channel in 4 of 5 cases; the policy prefers the first, 6 to 1."""
    reward = np.array([0.0, 2.0, 1.0, 1.0])
    columns, target, truth = population(reward)
    log = make_log(**columns)
    ratios = {"message": marginal_weights(log, target, np.tile([0, 1, 1, 2], (10, 1)))}
    found = evaluate_policy(log, target, estimators=("mips-message",), ratios=ratios).estimate(
        "clicked", "mips-message"
    )
    assert found.value == pytest.approx(0.7 * (2.0 / 5 + 1.0 * 4 / 5) + 0.2, rel=1e-14)
    assert truth == pytest.approx(1.5) and found.value < 1.1


def test_a_uniformly_random_log_needs_no_distribution(make_log, rng):
    eligible = rng.random((300, 4)) < 0.7
    eligible[:, 0] = True
    action = np.array([rng.choice(np.flatnonzero(row)) for row in eligible])
    share = 1.0 / eligible.sum(axis=1)
    log = make_log(action=action, propensity=share, reward=rng.random(300), k=4, eligible=eligible)
    np.testing.assert_allclose(logging_policy(log), eligible * share[:, None], rtol=1e-15)
    codes = np.tile([0, 1, 1, 2], (300, 1))
    stated = make_log(
        action=action, propensity=share, reward=log.reward, k=4, eligible=eligible, probs=eligible * share[:, None]
    )
    target = eligible * rng.random((300, 4))
    target /= target.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        marginal_weights(log, target, codes), marginal_weights(stated, target, codes), rtol=1e-14
    )


def test_a_log_that_does_not_say_how_it_chose_is_refused(random_case):
    log, _, target, _ = random_case()
    message = (
        r"dataset\.probs == None, must hold the logging policy's whole distribution.*row 0 has propensity 0\.\d+, and"
    )
    with pytest.raises(InvalidInputError, match=message):
        evaluate_policy(log, target, estimators=("mips-message",))
    # Estimators that do not need it are not held up.
    assert evaluate_policy(log, target, estimators=("ips",)).estimators == ("ips",)


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        pytest.param({"a": np.ones(3)}, r"ratios\['a'\]\.shape == \(3,\), must be \(400\)", id="shape"),
        pytest.param({"a": np.full(400, np.nan)}, r"ratios\['a'\]\[0\] == nan, must be finite", id="nan"),
        pytest.param({"a": -np.ones(400)}, r"ratios\['a'\]\[0\] == -1\.0, must be >= 0", id="negative"),
    ],
)
def test_wrong_ratios(random_case, ratios, message):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=message):
        evaluate_policy(log, target, ratios=ratios)


def test_wrong_codes(random_case):
    log, _, target, _ = random_case()
    with pytest.raises(InvalidInputError, match=r"codes\.shape == \(4,\), must be \(400, 4\)\. One code for each"):
        marginal_weights(log, target, np.arange(4))


def test_the_plain_weights_are_left_alone(random_case, make_log):
    log, logging, target, _ = random_case(m=1)
    known = make_log(action=log.action, propensity=log.propensity, reward=log.reward, k=4, probs=logging)
    report = evaluate_policy(known, target, estimators=(IPS(), MIPS()))
    # Without an encoder every candidate is a message of its own.
    assert report.estimate("clicked", "ips") == report.estimate("clicked", "mips-message")
