"""Synthetic logs."""

from collections.abc import Callable

import numpy as np
import pytest

from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder, Field
from homing.policies import GreedyPolicy, LinearRewardModel, MessageSharesPolicy, SoftmaxPolicy, save_policy
from tests.ope.contributions import mean_of

OBJECTIVES = ("clicked", "unsubscribed")
ENCODER = FeatureEncoder(
    context=(Field("age", "number", mean=40.0, scale=10.0),),
    candidate=(Field("message_id", "category", ("hello", "offer", "rare")),),
)
#: What an earlier month's policy was trained with: another scale, the messages in another order.
OLDER = FeatureEncoder(
    context=(Field("age", "number", mean=20.0, scale=20.0),),
    candidate=(Field("message_id", "category", ("another", "hello", "offer")),),
)
N = 6000


def build_log(*, action, propensity, reward, user=None, eligible=None, k=2, probs=None, objectives=None):
    """A log from its essential columns; features are constant."""
    action = np.asarray(action)
    n = len(action)
    reward = np.asarray(reward, dtype=float).reshape(n, -1)
    return LoggedDataset(
        context=np.zeros((n, 1)),
        candidates=np.zeros((n, k, 1)),
        eligible=np.ones((n, k), bool) if eligible is None else eligible,
        action=action,
        propensity=np.broadcast_to(np.asarray(propensity, dtype=float), (n,)),
        reward=reward,
        objectives=objectives or ("clicked", "spend", "sessions")[: reward.shape[1]],
        user=np.arange(n) if user is None else np.asarray(user),
        time=np.arange(n),
        probs=probs,
    )


@pytest.fixture
def make_log() -> Callable[..., LoggedDataset]:
    return build_log


@pytest.fixture
def random_case(rng):
    """A log of 400 decisions of 90 users, its logging policy, another policy and predictions, all drawn."""

    def draw(n=400, users=90, k=4, m=2):
        logging, target = rng.dirichlet(np.full(k, 3.0), n), rng.dirichlet(np.full(k, 3.0), n)
        action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, k - 1)
        log = build_log(
            action=action,
            propensity=logging[np.arange(n), action],
            reward=rng.normal(1.0, 1.0, (n, m)),
            user=rng.integers(0, users, n),
            k=k,
        )
        return log, logging, target, rng.normal(1.0, 0.5, (n, k, m))

    return draw


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A log in which older users prefer offers, and three artifacts trained for it."""
    rng = np.random.default_rng(11)
    age = rng.normal(40.0, 10.0, N)
    message = np.array(["silence", "hello", "offer"])
    lists = [[{"message_id": name} for name in message]] * N
    action = rng.integers(0, 3, N)
    lift = np.array([0.0, 0.1, 0.1])[action] + np.where(action == 2, 0.08, 0.0) * (age - 40.0) / 10.0
    log = LoggedDataset(
        context=ENCODER.encode_context([{"age": float(a)} for a in age]),
        candidates=ENCODER.encode_candidates(lists, 0),
        eligible=np.ones((N, 3), bool),
        action=action,
        propensity=np.full(N, 1 / 3),
        reward=np.stack([rng.random(N) < 0.2 + lift, rng.random(N) < 0.01 + 0.01 * (action > 0)], axis=1).astype(float),
        objectives=OBJECTIVES,
        user=np.repeat(np.arange(N // 2), 2),
        time=np.arange(N),
        encoder=ENCODER,
    )
    root = tmp_path_factory.mktemp("world")
    log.save(root / "evaluation")
    # Columns: message_id=hello, =offer, =rare, is_silence. The reward model has the objectives the other way round.
    cross = np.zeros((2, 4, 1), np.float32)
    cross[1, 1, 0] = 0.08
    model = LinearRewardModel(
        links=("identity", "identity"), slope=np.ones(2), offset=np.zeros(2), weights=np.array([0.0, 1.0]),
        interaction=cross, candidate=np.array([[0.01, 0.01, 0, 0], [0.1, 0.1, 0, 0]], np.float32),
        context=np.zeros((2, 1), np.float32), intercept=np.array([0.01, 0.2], np.float32),
    )  # fmt: skip
    common = {"features": ENCODER.to_dict(), "objectives": OBJECTIVES[::-1]}
    save_policy(GreedyPolicy(model), root / "reward_model", **common)
    save_policy(SoftmaxPolicy(model, temperature=0.05), root / "policy", **common)
    shares = MessageSharesPolicy(shares=np.ones(2), columns=np.arange(2), silence=1.0)
    save_policy(shares, root / "baseline", features=ENCODER.to_dict(), name="message-shares")
    # The same softmax policy, in the older encoder's columns: z = 2 (age - 40) / 10 ... = 2 · old - 2 on its scale.
    older = np.zeros((2, 4, 1), np.float32)
    older[1, 2, 0] = 0.16
    old_model = LinearRewardModel(
        links=("identity", "identity"), slope=np.ones(2), offset=np.zeros(2), weights=np.array([0.0, 1.0]),
        interaction=older, candidate=np.array([[0, 0.01, 0.01, 0], [0, 0.1, 0.1 - 0.16, 0]], np.float32),
        context=np.zeros((2, 1), np.float32), intercept=np.array([0.01, 0.2], np.float32),
    )  # fmt: skip
    save_policy(
        SoftmaxPolicy(old_model, temperature=0.05),
        root / "older",
        features=OLDER.to_dict(),
        objectives=OBJECTIVES[::-1],
    )
    return root


@pytest.fixture
def draw_journeys(rng, make_log):
    """Draws a log with ineligible candidates and ragged trajectories, two policies, predictions and states."""

    def draw(*, users=60, n=240, k=3):
        eligible = rng.random((n, k)) < 0.8
        eligible[:, 0] = True
        logging, target = (np.where(eligible, rng.dirichlet(np.full(k, 4.0), n), 0.0) for _ in range(2))
        logging /= logging.sum(axis=1, keepdims=True)
        target /= target.sum(axis=1, keepdims=True)
        action = (logging.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, k - 1)
        log = make_log(
            action=action, propensity=logging[np.arange(n), action], reward=rng.normal(1.0, 1.0, n), eligible=eligible,
            user=rng.integers(0, users, n), k=k,
        )  # fmt: skip
        return log, logging, target, rng.normal(1.0, 0.5, (n, k)), rng.integers(0, 3, n)

    return draw


@pytest.fixture
def some(rng):
    """A positive, skewed mean of 300 users, all that can be known of it."""
    x = rng.gamma(0.5, 2.0, 300).clip(0, 20)
    return mean_of(x, (-x.mean(), 20 - x.mean()), (0.0, 20.0), bounded=True)
