"""What every learner says of a log that teaches nothing, or less than it seems: an error or a named warning."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

from homing.errors import HomingError
from homing.learners import make, names
from homing.log import LoggedDataset
from homing.policies import dataset_probs

HOUR = 3_600_000_000
#: Little to train: what is said does not depend on it.
SHORT = {
    "steps": 10, "max_epochs": 1, "folds": 2, "penalties": [10.0], "model_penalties": [10.0], "draws": 8,
    "sizes": (4, 4),
}  # fmt: skip
NEEDED = {
    "structured": {"tail_days": 0.0, "leave": ""},
    "survival-rule": {"objective": "session", "horizon_hours": 200.0},
    "progressive": {"days": 2},
}
#: Those that copy what was logged, or follow an order, whatever came of it.
RULES = ("message-shares", "priority", "uniform")


def log(rng, *, n=96, k=3, silence=True, certain=False, varied=True, rewards=True, users=24) -> LoggedDataset:
    """Uniform choices with an effect on a session and a click, three candidates, two numbers of context."""
    least = 0 if silence else 1
    action = np.full(n, k - 1) if certain else rng.integers(least, k, n)
    session, click = rng.random(n) < 0.2 + 0.3 * (action > 0), (action > 0) & (rng.random(n) < 0.4)
    return LoggedDataset(
        context=rng.normal(size=(n, 2)) if varied else np.zeros((n, 2)),
        candidates=np.broadcast_to(np.eye(k, dtype=np.float32), (n, k, k)), eligible=np.ones((n, k), bool),
        action=action, propensity=np.full(n, 1.0 if certain else 1 / (k - least)),
        reward=np.stack([session, click], axis=1) * float(rewards), objectives=("session", "click"),
        user=np.arange(n) % users, time=np.arange(n) * 3 * HOUR,
    )  # fmt: skip


@dataclass(frozen=True)
class Odd:
    """A log, and what must be said of it.

    Attributes:
        made: arguments of `log`.
        warning: its name where the learner goes on.
        weights: of objectives.
    """

    made: dict[str, object]
    warning: str
    weights: dict[str, float] | None = None


ODD = {
    "silence was never left to chance": Odd({"silence": False}, "silence-not-random"),
    "one action was always taken": Odd({"certain": True}, "one-action"),
    "one candidate": Odd({"k": 1, "certain": True}, "nothing-to-learn"),
    "constant rewards": Odd({"rewards": False}, "constant-rewards"),
    "features without variance": Odd({"varied": False}, "constant-features"),
    "users with one decision": Odd({"users": 96}, "contextual-bandit"),
    "weights that sum to 0": Odd({}, "weights-sum-to-zero", {"session": 1.0, "click": -1.0}),
}


def learner_of(name):
    known = inspect.signature(type(make(name))).parameters
    return make(name, **NEEDED.get(name, {}), **{key: value for key, value in SHORT.items() if key in known})


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", names())
def test_nothing_trains_silently_on_garbage(name, odd):
    data = log(np.random.default_rng(4), **odd.made)
    learner = learner_of(name)
    try:
        learner.fit(data, weights=odd.weights, rng=np.random.default_rng(5))
    except HomingError as error:
        assert ", must " in str(error) and name not in RULES
        assert name != "behaviour-cloning" or odd.warning != "constant-rewards"
    else:
        assert odd.warning in learner.report["warnings"]
        assert all(isinstance(text, str) and text.endswith(".") for text in learner.report["warnings"].values())


@pytest.mark.parametrize("name", names())
def test_a_sound_log_is_taken_without_a_word(name):
    """What a learner lacks itself (channels, time to train) it may name."""
    learner = learner_of(name)
    learner.fit(log(np.random.default_rng(4)), rng=np.random.default_rng(5))
    assert set(learner.report["warnings"]) <= {"reach-not-identified", "effects-not-told", "no-progress", "no-recency"}


@pytest.mark.parametrize("name", ["behaviour-cloning", "decision-transformer", "linear", "structured", "r-learner"])
def test_features_too_large_to_compute_with_are_refused(name):
    """Squares of 1e30 are beyond a float32: nothing but NaN would come of it."""
    data = log(np.random.default_rng(4))
    huge = replace(data, context=data.context * np.float32(1e30))
    with pytest.raises(HomingError, match=r"largest context feature == .*e\+30, must be <= 1e\+08. Standardise"):
        learner_of(name).fit(huge, rng=np.random.default_rng(5))


@pytest.mark.parametrize("name", ["cql", "linear", "doubly-robust", "survival-rule"])
def test_features_that_are_not_standardised_are_named(name):
    """Money in cents among the features, say."""
    data = log(np.random.default_rng(4))
    learner = learner_of(name)
    policy = learner.fit(replace(data, context=data.context * np.float32(1e4)), rng=np.random.default_rng(5))
    assert "Standardise them" in learner.report["warnings"]["large-context-features"]
    assert np.isfinite(dataset_probs(policy, data)).all()


def test_features_beside_which_chance_is_lost_are_said_to_be_too_large():
    data = log(np.random.default_rng(4))
    large = np.array(data.candidates[np.arange(data.n)]) * np.array([1.0, 1.0, 1e7], dtype=np.float32)
    with pytest.raises(HomingError, match=r"variance of sending under the log's policy == 0.1\d+, must be > .*lost"):
        learner_of("r-learner").fit(replace(data, candidates=large), rng=np.random.default_rng(5))


@pytest.mark.parametrize("name", ["doubly-robust", "surrogate", "linear", "uniform"])
def test_candidates_without_columns_are_named(name):
    data = log(np.random.default_rng(4))
    bare = replace(data, candidates=np.zeros((data.n, data.k, 0)))
    learner = learner_of(name)
    policy = learner.fit(bare, rng=np.random.default_rng(5))
    assert "candidates-alike" in learner.report["warnings"]
    np.testing.assert_allclose(dataset_probs(policy, bare).sum(axis=1), 1.0)


WRONG = {
    "a device that there is not": ("cql", {"device": "gpu"}, "device == 'gpu', must be a device of torch"),
    "an engine that is none": ("iql", {"engine": 3}, "engine == 3, must be 'process', 'ray' or an Engine"),
    "a text for yes or no": ("cql", {"sampled_weights": "false"}, "sampled_weights == 'false', must be true or false"),
    "another": ("linear", {"calibrate": "no"}, "calibrate == 'no', must be true or false"),
    "no temperature": ("linear", {"temperature": None}, "temperature == None, must be a finite number > 0"),
    "one layer": ("neural-linear", {"sizes": [64]}, "sizes == [64], must be two layers"),
    "a number for layers": ("neural-linear", {"sizes": 64}, "sizes == 64, must be two layers"),
    "a number for an order": ("priority", {"order": 3}, "order == 3, must be a list of different candidate columns"),
    "a list for permissions": ("structured", {"permissions": ["push"]}, "permissions == ['push'], must be a mapping"),
    "leaving as the response": ("structured", {"leave": "click", "response": "click"}, "must be another objective"),
    "a list for settings": ("surrogate", {"params": ["linear"]}, "params == ['linear'], must be a mapping"),
    "a text for a discount": ("surrogate", {"gamma": "x"}, "gamma == 'x', must be in (0, 1)"),
    "silence of less than no days": (
        "decision-transformer", {"gone_after_days": -1}, "gone_after_days == -1, must be a number >= 0",
    ),
    "a threshold that is no number": ("t-learner", {"threshold": "high"}, "threshold == 'high', must be a finite"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "params", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_refused_before_a_log_is_read(name, params, message):
    with pytest.raises(HomingError, match=re.escape(message)):
        make(name, **params)


def test_a_device_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(HomingError, match=r"device == 'cuda:63', must be there\. Take 'cpu', or a machine that has it"):
        make("cql", device="cuda:63").fit(log(np.random.default_rng(4)), rng=np.random.default_rng(5))


def test_cloning_does_not_speak_of_rewards_that_it_does_not_read():
    """Users who churn decide no more: of that nothing is learnt by those who read it."""
    data = log(np.random.default_rng(4))
    churned = replace(data, reward=np.stack([data.reward[:, 0], (data.next < 0).astype(float)], axis=1), next=None)
    for name, told in (("cql", True), ("behaviour-cloning", False)):
        learner = learner_of(name)
        learner.fit(churned, rng=np.random.default_rng(5))
        assert ("rewards-cut-off" in learner.report["warnings"]) is told


def test_what_is_no_dataset_and_what_are_no_weights():
    data = log(np.random.default_rng(4))
    with pytest.raises(HomingError, match=r"dataset == 'dict', must be a LoggedDataset\. Build one of a log"):
        make("linear").fit({}, rng=np.random.default_rng(5))
    with pytest.raises(
        HomingError, match=r"weights == \[1.0, 2.0\], must be a mapping .*\. Write {'session': 1.0}, say"
    ):
        make("linear").fit(data, weights=[1.0, 2.0], rng=np.random.default_rng(5))


def test_numbers_of_numpy_are_numbers():
    """Settings and weights out of an array."""
    data = log(np.random.default_rng(4))
    learner = make("linear", epsilon=np.float32(0.25), penalties=[10.0])
    weights = {"session": np.float32(1.0), "click": np.int64(2)}
    learner.fit(data, weights=weights, rng=np.random.default_rng(5))
    assert learner.epsilon == 0.25 and make("cql", steps=np.int64(10)).steps == 10


def test_structured_says_which_terms_are_not_identified():
    with pytest.raises(
        HomingError, match=r"chance chose silence == 0, must be >= 1. Not identified: `now` and `sticks`"
    ):
        learner_of("structured").fit(log(np.random.default_rng(4), silence=False), rng=np.random.default_rng(5))
