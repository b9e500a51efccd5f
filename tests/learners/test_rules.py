"""Rules of thumb: worked by hand on logs of known counts."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import make
from homing.log import FeatureEncoder, LoggedDataset
from homing.log.features import Field
from homing.policies import dataset_probs

#: 4 × silence (visited 3 times), 4 × message a (clicked once), 2 × message b (clicked once).
ACTION = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
REWARD = np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0.0])


def log(eligible=None, action=ACTION) -> LoggedDataset:
    n = len(action)
    candidates = np.zeros((n, 3, 4), dtype=np.float32)
    candidates[:, 1, 0] = candidates[:, 2, 1] = candidates[:, 0, 3] = 1  # message_id=a, message_id=b, value, is_silence
    encoder = FeatureEncoder(
        (Field("age", "number"),), (Field("message_id", "category", ("a", "b")), Field("value", "number"))
    )
    assert encoder.candidate_names == ("message_id=a", "message_id=b", "is_silence", "value")
    candidates = candidates[:, :, [0, 1, 3, 2]]
    return LoggedDataset(
        context=np.zeros((n, 1)), candidates=candidates,
        eligible=np.ones((n, 3), bool) if eligible is None else eligible, action=action, propensity=np.full(n, 1 / 3),
        reward=REWARD[:n, None], objectives=("clicked",), user=np.arange(n), time=np.zeros(n), encoder=encoder,
    )  # fmt: skip


def choice(learner, data) -> list[int]:
    return dataset_probs(learner.fit(data, rng=np.random.default_rng(0)), data).argmax(axis=1).tolist()


def test_best_rate_sends_what_was_clicked_most_after_sending_never_silence() -> None:
    assert choice(make("best-ctr", epsilon=0.0, prior_sends=0.0), log()) == [2] * 10  # 1/2 against 1/4; silence's 3/4
    eligible = np.ones((10, 3), bool)
    eligible[:3, 2] = False
    eligible[0, 1] = False
    assert choice(make("best-ctr", epsilon=0.0), log(eligible))[:4] == [0, 1, 1, 2]


def test_rates_are_shrunk_to_the_pooled_mean() -> None:
    learner = make("best-ctr", epsilon=0.0, prior_sends=6.0)
    model = learner.fit(log(), rng=np.random.default_rng(0)).scorer
    pooled = 2 / 6
    expected = [(1 + 6 * pooled) / 10, (1 + 6 * pooled) / 8]
    np.testing.assert_allclose(model.candidate[0, :2], expected, rtol=1e-6)


def test_priority_follows_its_order_and_sends_nothing_else() -> None:
    assert choice(make("priority", order=["message_id=a"], epsilon=0.0), log()) == [1] * 10
    eligible = np.ones((10, 3), bool)
    eligible[0, 1] = False
    assert choice(make("priority", order=["message_id=a", "message_id=b"], epsilon=0.0), log(eligible))[:2] == [2, 1]
    assert choice(make("priority", order=["message_id=a"], epsilon=0.0), log(eligible))[:2] == [0, 1]
    assert choice(make("priority", epsilon=0.0), log()) == [1] * 10  # sent most


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"order == 'message_id=c', must be one of .*Did you mean"):
        choice(make("priority", order=["message_id=c"]), log())
    with pytest.raises(InvalidInputError, match="messages sent == 0, must be >= 1"):
        choice(make("best-ctr"), log(action=np.zeros(10, dtype=int)))
    with pytest.raises(InvalidInputError, match=r"order == .* must be a list of different"):
        make("priority", order=["a", "a"])
